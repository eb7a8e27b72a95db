"""How the operations on an old log are written into a migration."""

from __future__ import annotations

from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext

from .ops import ConvertAuditLoggerLogOp, OldLog, RestoreAuditLoggerLogOp


@renderers.dispatch_for(ConvertAuditLoggerLogOp)
def _convert(context: AutogenContext, op: ConvertAuditLoggerLogOp) -> str:
    old = op.old
    keys = [(schema, table, list(columns)) for schema, table, columns in old.record_keys]
    given = {"record_keys": keys, "functions": old.functions, "operators": old.operators}
    return _call(context, "convert_audit_logger_log", old, given)


@renderers.dispatch_for(RestoreAuditLoggerLogOp)
def _restore(context: AutogenContext, op: RestoreAuditLoggerLogOp) -> str:
    return _call(context, "restore_audit_logger_log", op.old, {"statements": op.old.statements})


def _call(context: AutogenContext, name: str, old: OldLog, lists: dict[str, Any]) -> str:
    prefix = context.opts.get("alembic_module_prefix") or ""
    arguments = [f"origin={old.origin!r}"]
    if old.schema is not None:
        arguments.append(f"schema={old.schema!r}")
    for argument, values in lists.items():
        if values:
            items = "".join(f"        {value!r},\n" for value in values)
            arguments.append(f"{argument}=[\n{items}    ]")
    arguments.append(f"version={old.version}")
    return f"{prefix}{name}(\n" + "".join(f"    {argument},\n" for argument in arguments) + ")"
