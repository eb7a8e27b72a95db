"""The operations of migrations and what autogenerate makes of them.

Importing this registers them with Alembic.
"""

from . import autogenerate, locks, log_tables, operations, renames
from .from_2 import conversion

__all__ = ["autogenerate", "conversion", "locks", "log_tables", "operations", "renames"]
