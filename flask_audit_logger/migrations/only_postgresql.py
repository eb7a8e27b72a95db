"""The tables of a log in a migration that also runs on other databases.

Alembic's own operations make these tables, with types that only PostgreSQL has. They stand below a condition; our own
operations do nothing on other databases by themselves.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import render_op
from alembic.operations import MigrateOperation, Operations
from alembic.operations.ops import OpContainer

from ..schema.dialects import is_supported
from .neighbours import is_on_log
from .operations import AuditOperation, operation


@operation("supports_audit_logger")
class SupportsAuditLoggerOp(AuditOperation):
    """Ask whether the database can have a log."""

    @classmethod
    def supports_audit_logger(cls, operations: Operations) -> bool:
        """Whether the database can have a log: ``True`` on PostgreSQL, also with ``--sql``."""
        return bool(operations.invoke(cls()))

    def execute(self, operations: Operations) -> bool:
        return is_supported(operations.migration_context)


class OnlyPostgreSQLOps(OpContainer):
    """Operations below ``if op.supports_audit_logger():``."""

    def reverse(self) -> OnlyPostgreSQLOps:
        """The reverse of each operation, the last one first, below the same condition."""
        return OnlyPostgreSQLOps([op.reverse() for op in reversed(self.ops)])


@renderers.dispatch_for(OnlyPostgreSQLOps)
def _render(context: AutogenContext, op: OnlyPostgreSQLOps) -> list[str]:
    prefix = context.opts.get("alembic_module_prefix") or ""
    body = [line for part in op.ops for line in render_op(context, part)]
    # The empty line ends the block.
    return [f"if {prefix}supports_audit_logger():", *(body or ["pass"]), ""]


def put_below_condition(ops: list[MigrateOperation], schemas: set[str | None]) -> list[MigrateOperation]:
    """The same operations in the same order, with those on the tables of a log below the condition.

    :param schemas: the schemas of logs; ``None`` is the default one.
    """

    def is_logs(op: Any) -> bool:
        return any(is_on_log(op, schema) for schema in schemas)

    ordered: list[MigrateOperation] = []
    for of_log, group in groupby(ops, is_logs):
        parts = list(group)
        ordered += [OnlyPostgreSQLOps(parts)] if of_log else parts
    return ordered
