"""Runs migrations for ``flask db …``. What they compare is set by ``migrate.init_app()`` in ``create_app()``.

Made by ``flask db init`` and shortened: one database, current versions of Flask-SQLAlchemy, other loggers left alone.
"""

from __future__ import annotations

import logging
from logging.config import fileConfig
from typing import Any

from alembic import context
from flask import current_app

config = context.config
if config.config_file_name is not None and not logging.getLogger().handlers:  # whoever logs already goes on as before
    fileConfig(config.config_file_name, disable_existing_loggers=False)
logger = logging.getLogger("alembic.env")
db = current_app.extensions["migrate"].db


def skip_empty_revision(_context: Any, _revision: Any, directives: list[Any]) -> None:
    """Write no migration if nothing changed."""
    if getattr(config.cmd_opts, "autogenerate", False) and directives[0].upgrade_ops.is_empty():
        directives[:] = []
        logger.info("No changes in schema detected.")


def run_offline() -> None:
    """Print the statements instead of running them."""
    url = db.engine.url.render_as_string(hide_password=False)
    context.configure(url=url, target_metadata=db.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    """Run the statements on the application's database."""
    options = {"process_revision_directives": skip_empty_revision, **current_app.extensions["migrate"].configure_args}
    with db.engine.connect() as connection:
        context.configure(connection=connection, target_metadata=db.metadata, **options)
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
