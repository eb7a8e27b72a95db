"""Writes that need tables of their own: MERGE on partitions, TRUNCATE by rows, options drawn at random."""

from __future__ import annotations

import random
from typing import Any

import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy

from tests.support.models import AUDITED
from tests.torture.model import BY_HAND, Entry

THREADS = range(1, 17)
PICKY = range(6)
MASKED = {"audit_logger": "masked"}

PARTITIONS = """
CREATE TABLE parts_0 PARTITION OF parts FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES WITH (MODULUS 3, REMAINDER 2);
"""

#: What somebody does by hand while the applications run.
ALTERATIONS = [
    f"ALTER TABLE {table} {change}"
    for table in ("items", "shared", "parts")
    for change in (
        f"ADD COLUMN IF NOT EXISTS {BY_HAND} int DEFAULT 5",
        f"DROP COLUMN IF EXISTS {BY_HAND}",
        "ALTER COLUMN token TYPE varchar",
        "ALTER COLUMN token TYPE text",
    )
] + [f"SELECT audit_logger_compile_again('{table}'::regclass::oid)" for table in ("items", "shared", "parts")]


def draw_options(seed: int, number: int) -> dict[str, Any]:
    """The options of a table of a run."""
    rng = random.Random(f"{seed} {number}")
    options: dict[str, Any] = {"old_data": rng.choice(["row", "changed"])}
    for column in ("secret", "noise"):
        kind = rng.choice([None, "exclude", "ignore", "mask"])
        if kind:
            options.setdefault(kind, []).append(column)
    return options


def declare_wilder(db: SQLAlchemy, seed: int) -> None:
    def key() -> sa.Column[int]:
        return sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False)

    owner = sa.Column("owner", sa.Integer)
    sa.Table(
        "parts", db.metadata, key(), owner, sa.Column("token", sa.Text), postgresql_partition_by="HASH (id)", **AUDITED
    )
    for number in THREADS:
        rows = {"info": {"audit_logged": {"truncate": "rows"}}}
        sa.Table(f"scratch_{number}", db.metadata, key(), sa.Column("token", sa.Text), **rows)
    for number in PICKY:
        picky = {"info": {"audit_logged": draw_options(seed, number)}}
        columns = [sa.Column(name, sa.Text) for name in ("token", "secret", "noise")]
        sa.Table(f"picky_{number}", db.metadata, key(), *columns, **picky)


def stored(options: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """A row as the log has it."""
    return {
        name: MASKED if name in options.get("mask", ()) else value
        for name, value in row.items()
        if name not in options.get("exclude", ())
    }


def merge_parts(attempt: Any, actor: int | None) -> list[Entry]:
    """Update some rows and insert others in one statement, in any order, on a partitioned table."""
    rows = attempt.others("parts")
    old = attempt.random.sample(sorted(rows), min(len(rows), attempt.random.randint(0, 3)))
    new = [next(attempt.worker.ids) for _ in range(attempt.random.randint(0, 3))]
    if len(rows) > 40:
        return _delete_parts(attempt, actor)
    ids = [*old, *new]
    if not ids:
        return []
    attempt.random.shuffle(ids)
    token, owner = attempt._token(), attempt.worker.number
    values = ", ".join(f"({id_}, '{token}/{id_}')" for id_ in ids)
    attempt.session.execute(
        sa.text(
            f"MERGE INTO parts AS p USING (VALUES {values}) AS v (id, token) ON p.id = v.id"
            " WHEN MATCHED THEN UPDATE SET token = v.token"
            f" WHEN NOT MATCHED THEN INSERT (id, owner, token) VALUES (v.id, {owner}, v.token)"
        )
    )
    entries = []
    for id_ in ids:
        changed = {"token": f"{token}/{id_}"}
        if id_ in rows:
            entries.append(Entry("update", "parts", str(id_), rows[id_], changed, actor))
            rows[id_] = {**rows[id_], **changed}
        else:
            rows[id_] = {"id": id_, "owner": owner, **changed}
            entries.append(Entry("insert", "parts", str(id_), {}, rows[id_], actor))
    return entries


def _delete_parts(attempt: Any, actor: int | None) -> list[Entry]:
    rows = attempt.others("parts")
    ids = sorted(rows)[:20]
    attempt.session.execute(sa.text("DELETE FROM parts WHERE id = ANY (:ids)"), {"ids": ids})
    return [Entry("delete", "parts", str(id_), rows.pop(id_), {}, actor) for id_ in ids]


def fill_scratch(attempt: Any, actor: int | None) -> list[Entry]:
    table = f"scratch_{attempt.worker.number}"
    rows = attempt.others(table)
    made = [{"id": next(attempt.worker.ids), "token": attempt._token()} for _ in range(attempt.random.randint(1, 4))]
    attempt.session.execute(sa.text(f"INSERT INTO {table} VALUES (:id, :token)"), made)
    rows |= {row["id"]: row for row in made}
    return [Entry("insert", table, str(row["id"]), {}, row, actor) for row in made]


def truncate_scratch(attempt: Any, actor: int | None) -> list[Entry]:
    """By rows; where the snapshot may be older than the table, as a marker."""
    table = f"scratch_{attempt.worker.number}"
    rows = attempt.others(table)
    attempt.session.execute(sa.text(f"TRUNCATE {table}"))
    if attempt.level == "READ COMMITTED":
        entries = [Entry("delete", table, str(id_), row, {}, actor) for id_, row in rows.items()]
    else:
        entries = [Entry("truncate", table, None, {}, {}, actor)]
    rows.clear()
    return entries


def write_picky(attempt: Any, actor: int | None) -> list[Entry]:
    """Insert, update or delete a row of a table whose options were drawn."""
    number = attempt.random.choice(PICKY)
    table, options = f"picky_{number}", draw_options(attempt.worker.seed, number)
    rows = attempt.others(table)
    kind = attempt.random.choice(["insert", "update", "update", "delete"]) if rows else "insert"
    if kind == "insert":
        row = {"id": next(attempt.worker.ids), "token": attempt._token(), "secret": "s", "noise": None}
        attempt.session.execute(sa.text(f"INSERT INTO {table} VALUES (:id, :token, :secret, :noise)"), row)
        rows[row["id"]] = row
        return [Entry("insert", table, str(row["id"]), {}, stored(options, row), actor)]
    id_ = attempt.random.choice(sorted(rows))
    old = rows[id_]
    if kind == "delete":
        attempt.session.execute(sa.text(f"DELETE FROM {table} WHERE id = :id"), {"id": id_})
        del rows[id_]
        return [Entry("delete", table, str(id_), stored(options, old), {}, actor)]
    names = attempt.random.sample(["token", "secret", "noise"], attempt.random.randint(1, 3))
    new = {**old, **{name: attempt.random.choice([attempt._token(), old[name]]) for name in names}}
    attempt.session.execute(
        sa.text(f"UPDATE {table} SET token = :token, secret = :secret, noise = :noise WHERE id = :id"), new
    )
    rows[id_] = new
    changed = {name: value for name, value in new.items() if value != old[name]}
    if not stored(options, changed).keys() - set(options.get("ignore", ())):
        return []
    before = {name: old[name] for name in changed} if options["old_data"] == "changed" else old
    return [Entry("update", table, str(id_), stored(options, before), stored(options, changed), actor)]
