"""Operations of migrations and what autogenerate makes of them. Importing this registers them with Alembic."""

from . import compare, implement, old_log, ops, renames, render

__all__ = ["compare", "implement", "old_log", "ops", "renames", "render"]
