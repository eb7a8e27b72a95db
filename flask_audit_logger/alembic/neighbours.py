"""Other packages that compare functions and triggers. Ours are nobody else's to drop."""

from __future__ import annotations

from typing import Any

from alembic.operations.ops import UpgradeOps

from ..sql import FUNCTIONS, VERBS

_FUNCTIONS = tuple(f"audit_logger_{name}(" for name, _ in FUNCTIONS)
_TRIGGERS = tuple(f"audit_logger_{verb}" for verb in VERBS)


def leave_alone(upgrade_ops: UpgradeOps) -> None:
    """Take out what alembic_utils wants to drop because it finds it in the database and not among its entities."""
    upgrade_ops.ops[:] = [op for op in upgrade_ops.ops if not _drops_ours(op)]


def _drops_ours(op: Any) -> bool:
    # by name: the package need not be installed
    if not type(op).__module__.startswith("alembic_utils.") or type(op).__name__ != "DropOp":
        return False
    signature = str(op.target.signature).replace('"', "")
    if signature in _TRIGGERS:
        return "audit_logger_capture(" in op.target.definition
    return signature.startswith(_FUNCTIONS)
