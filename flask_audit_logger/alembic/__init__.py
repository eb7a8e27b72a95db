"""Operations of migrations and what autogenerate makes of them. Importing this registers them with Alembic."""

from . import actor_type, compare, implement, old_log, only_postgresql, ops, renames, render

__all__ = ["actor_type", "compare", "implement", "old_log", "only_postgresql", "ops", "renames", "render"]
