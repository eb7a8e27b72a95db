"""A log and audited tables by plain SQL, without an application: what the triggers do by themselves."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine, Row
from sqlalchemy.schema import CreateSchema

from flask_audit_logger.schema.objects import Functions, Tables, Triggers
from flask_audit_logger.schema.table_options import TableOptions
from flask_audit_logger.sql import CURRENT_VERSION
from tests.support.apps import LAYOUT


def run(engine: Engine, *statements: str, role: str | None = None) -> None:
    """Run statements in one transaction, as another role if one is given."""
    with engine.begin() as connection, connection.connection.cursor() as cursor:
        if role is not None:
            cursor.execute(f'SET LOCAL ROLE "{role}"')
        for statement in statements:
            cursor.execute(statement)


def install(engine: Engine, schema: str | None = None) -> None:
    """Make the tables and functions of a log. Twice is once."""
    with engine.begin() as connection:
        if sa.inspect(connection).has_table("activity", schema=schema):
            return
        if schema is not None:
            connection.execute(CreateSchema(schema, if_not_exists=True))
    made = Tables(schema, CURRENT_VERSION, "text", LAYOUT).create() + Functions(schema, CURRENT_VERSION).create()
    run(engine, *made)


def audited(
    engine: Engine, table: str, *, schema: str | None = None, audit_schema: str | None = None, **options: Any
) -> None:
    """Put the triggers on a table."""
    install(engine, audit_schema)
    triggers = Triggers(
        table=table,
        schema=schema,
        audit_schema=audit_schema,
        version=CURRENT_VERSION,
        options=TableOptions.make(**options),
    )
    run(engine, *triggers.create())


def logged(engine: Engine, schema: str = "public", **columns: Any) -> list[Row[Any]]:
    """The activities in a log, oldest first, joined with their transactions."""
    conditions = "".join(f" AND a.{name} = :{name}" for name in columns)
    query = (
        f'SELECT a.*, t.actor_id, t.actor_label, t.context, t.marks, t.id AS t_id FROM "{schema}".activity AS a'
        f' LEFT JOIN "{schema}".transaction AS t ON t.id = a.transaction_id WHERE true{conditions} ORDER BY a.id'
    )
    with engine.connect() as connection:
        return list(connection.execute(sa.text(query), columns))


def short(rows: list[Row[Any]]) -> list[tuple[str, str, str | None]]:
    """Verb, table and record key of each activity."""
    return [(row.verb, row.table_name, row.record_key) for row in rows]
