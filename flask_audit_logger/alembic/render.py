"""How the operations are written into a migration."""

from __future__ import annotations

from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext

from ..schema.objects import Functions, Triggers
from .ops import (
    COLUMN_ARGUMENTS,
    InitAuditLoggerFunctionsOp,
    InitAuditLoggerSchemaOp,
    InitAuditLoggerTriggersOp,
    RemoveAuditLoggerFunctionsOp,
    RemoveAuditLoggerSchemaOp,
    RemoveAuditLoggerTriggersOp,
)

_OPTION_ARGUMENTS = {option: argument for argument, option in COLUMN_ARGUMENTS.items()}


@renderers.dispatch_for(InitAuditLoggerSchemaOp)
def _init_schema(context: AutogenContext, op: InitAuditLoggerSchemaOp) -> str:
    return _call(context, "init_audit_logger_schema", [repr(op.schema)])


@renderers.dispatch_for(RemoveAuditLoggerSchemaOp)
def _remove_schema(context: AutogenContext, op: RemoveAuditLoggerSchemaOp) -> str:
    return _call(context, "remove_audit_logger_schema", [repr(op.schema)])


@renderers.dispatch_for(InitAuditLoggerFunctionsOp)
def _init_functions(context: AutogenContext, op: InitAuditLoggerFunctionsOp) -> str:
    return _call(context, "init_audit_logger_functions", _function_arguments(op.functions))


@renderers.dispatch_for(RemoveAuditLoggerFunctionsOp)
def _remove_functions(context: AutogenContext, op: RemoveAuditLoggerFunctionsOp) -> str:
    return _call(context, "remove_audit_logger_functions", _function_arguments(op.functions))


@renderers.dispatch_for(InitAuditLoggerTriggersOp)
def _init_triggers(context: AutogenContext, op: InitAuditLoggerTriggersOp) -> str:
    options = op.triggers.options.changed_from_default()
    given = {_OPTION_ARGUMENTS.get(option, option): value for option, value in options.items()}
    given |= {"audit_schema": op.triggers.audit_schema, "version": op.triggers.version}
    return _call(context, "init_audit_logger_triggers", [*_table_arguments(op.triggers), *_named(given)])


@renderers.dispatch_for(RemoveAuditLoggerTriggersOp)
def _remove_triggers(context: AutogenContext, op: RemoveAuditLoggerTriggersOp) -> str:
    given = {"partitioned": op.triggers.options.partitioned or None}
    return _call(context, "remove_audit_logger_triggers", [*_table_arguments(op.triggers), *_named(given)])


def _table_arguments(triggers: Triggers) -> list[str]:
    return [repr(triggers.table), *_named({"schema": triggers.schema})]


def _function_arguments(functions: Functions) -> list[str]:
    return _named({"version": functions.version, "schema": functions.schema})


def _named(given: dict[str, Any]) -> list[str]:
    return [f"{name}={value!r}" for name, value in given.items() if value is not None]


def _call(context: AutogenContext, name: str, arguments: list[str]) -> str:
    prefix = context.opts.get("alembic_module_prefix") or ""
    return f"{prefix}{name}({', '.join(arguments)})"
