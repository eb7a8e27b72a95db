"""A migration environment of plain Alembic in a temporary folder, driven in this process."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, MetaData, create_engine
from sqlalchemy.pool import NullPool

from tests.support.apps import Application

ENV = """
from alembic import context

settings = context.config.attributes

def leave_out_empty(context, revision, directives):
    if getattr(settings["migrate"], "is_migrate", False) and directives[0].upgrade_ops.is_empty():
        directives[:] = []

def run(**options):
    context.configure(**{**settings["options"], **options})
    with context.begin_transaction():
        context.run_migrations()

if context.is_offline_mode():
    run(url=settings["url"], literal_binds=True)
else:
    for tenant in settings["tenants"] or [None]:
        with settings["engine"].connect() as connection:
            if tenant is not None:
                connection = settings["place"](connection, tenant)
                connection.commit()
            is_translated = "schema_translate_map" in connection.get_execution_options()
            version_table = {"version_table_schema": tenant} if is_translated else {}
            run(
                connection=connection,
                target_metadata=settings["metadata"],
                process_revision_directives=leave_out_empty,
                **version_table,
            )
            connection.commit()
"""

SCRIPT = '''"""${message}"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade():
    ${upgrades if upgrades else "pass"}


def downgrade():
    ${downgrades if downgrades else "pass"}
'''


class _Migrate:
    is_migrate = False


class Project:
    """Migrations of one database, as somebody keeps them in a folder.

    :param folder: where they are kept.
    :param url: the database.
    :param options: what ``env.py`` gives to ``context.configure()``.
    """

    def __init__(self, folder: Path, url: URL, **options: Any) -> None:
        self.versions = folder / "versions"
        self.versions.mkdir(parents=True, exist_ok=True)
        (folder / "env.py").write_text(ENV)
        (folder / "script.py.mako").write_text(SCRIPT)
        self.url = url
        self.options = options
        #: The schemas for each of which ``env.py`` runs, and what lets a connection work in one.
        self.tenants: tuple[str, ...] = ()
        self.place: Callable[[Connection, str], Connection] | None = None
        self._folder = folder

    def migrate(self, application: Application | MetaData) -> str:
        """``flask db migrate``: the body of the migration that was written, or ``""`` if nothing was found."""
        metadata = application if isinstance(application, MetaData) else application.db.metadata
        before = set(self.versions.glob("*.py"))
        migrate = _Migrate()
        migrate.is_migrate = True
        rev_id = f"{self._next_number():04}"
        config = self._config(metadata=metadata, migrate=migrate)
        command.revision(config, message="m", autogenerate=True, rev_id=rev_id)
        written = sorted(set(self.versions.glob("*.py")) - before)
        return written[0].read_text().partition("def upgrade():")[2] if written else ""

    def write(self, upgrade: str, downgrade: str = "pass") -> None:
        """A migration written by hand, or by another release."""
        number = self._next_number()
        down = f"{number - 1:04}" if number > 1 else None
        body = (
            SCRIPT.partition("def upgrade")[0].replace("${message}", "m").replace('${imports if imports else ""}', "")
        )
        for name, value in {"up_revision": f"{number:04}", "down_revision": down, "branch_labels": None}.items():
            body = body.replace(f"${{repr({name})}}", repr(value))
        body = body.replace("${repr(depends_on)}", "None")
        (self.versions / f"{number:04}_m.py").write_text(
            f"{body}def upgrade():\n{_indented(upgrade)}\n\n\ndef downgrade():\n{_indented(downgrade)}\n"
        )

    def upgrade(self, revision: str = "head") -> None:
        command.upgrade(self._config(), revision)

    def downgrade(self, revision: str = "base") -> None:
        command.downgrade(self._config(), revision)

    def sql(self, revision: str = "head", *, down: bool = False) -> str:
        """``flask db upgrade --sql``: the script of an upgrade from nothing, or of a downgrade to nothing."""
        output = io.StringIO()
        config = self._config(output)
        if down:
            command.downgrade(config, f"{revision}:base", sql=True)
        else:
            command.upgrade(config, revision, sql=True)
        return output.getvalue()

    def migrate_and_upgrade(self, application: Application | MetaData) -> str:
        """Migrate, upgrade, and see that a second migrate finds nothing."""
        written = self.migrate(application)
        self.upgrade()
        again = self.migrate(application)
        assert not again, f"a second migrate found\n{again}\nafter\n{written}"
        return written

    def _next_number(self) -> int:
        return len(list(self.versions.glob("*.py"))) + 1

    def _config(
        self, output: io.StringIO | None = None, metadata: MetaData | None = None, migrate: _Migrate | None = None
    ) -> Config:
        config = Config(**({"output_buffer": output} if output else {}))
        config.set_main_option("script_location", str(self._folder).replace("%", "%%"))
        config.attributes.update(
            engine=create_engine(self.url, poolclass=NullPool),
            url=self.url,
            metadata=metadata,
            options=self.options,
            tenants=self.tenants,
            place=self.place,
            migrate=migrate or _Migrate(),
        )
        return config


def upgrade_part(migration: str) -> list[str]:
    """The operations of ``upgrade()``, one a line, without comments and locks, of which ``test_locks.py`` knows."""
    return _operations(migration.partition("def downgrade():")[0])


def downgrade_part(migration: str) -> list[str]:
    """The operations of ``downgrade()``."""
    return _operations(migration.partition("def downgrade():")[2])


def _operations(body: str) -> list[str]:
    lines = [line.strip() for line in body.splitlines()]
    found = [line for line in lines if line.startswith(("op.", "batch_op."))]
    return [line for line in found if not line.startswith("op.lock_audit_logger_tables(")]


def _indented(source: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in source.strip().splitlines())


ProjectFactory = Callable[..., Project]
