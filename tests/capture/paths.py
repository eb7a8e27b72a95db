"""Every way in which an application can write: what it does, and what has to be in the log then.

Each path starts with the things ``1: a`` and ``2: b``, which nobody in particular made before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from tests.support.apps import Application


@dataclass(frozen=True)
class Path:
    """One way to write.

    :param name: what it is called in docs/recording.md.
    :param act: writes, and commits.
    :param expected: the activities, in order, each in one line.
    """

    name: str
    act: Callable[[Application], None]
    expected: tuple[str, ...]


PATHS: dict[str, Path] = {}

A3 = "insert things 3: id=3 name=c"
A4 = "insert things 4: id=4 name=d"
U1 = "update things 1: name=a>x"
D2 = "delete things 2: id=2 name=b"


def path(name: str, *expected: str) -> Callable[[Callable[[Application], None]], Callable[[Application], None]]:
    def register(act: Callable[[Application], None]) -> Callable[[Application], None]:
        PATHS[act.__name__] = Path(name, act, expected)
        return act

    return register


def thing(w: Application, number: int) -> Any:
    found = w.db.session.get(w.models.Thing, number)
    assert found is not None
    return found


def table(w: Application) -> sa.Table:
    return w.models.Thing.__table__


# ORM: unit of work


@path("ORM `add`", A3)
def orm_add(w):
    w.db.session.add(w.models.Thing(name="c"))
    w.db.session.commit()


@path("ORM attribute change", U1)
def orm_change(w):
    thing(w, 1).name = "x"
    w.db.session.commit()


@path("ORM `delete`", D2)
def orm_delete(w):
    w.db.session.delete(thing(w, 2))
    w.db.session.commit()


@path("ORM flush in the middle", A3, "update things 3: name=c>d", U1)
def orm_flush(w):
    new = w.models.Thing(name="c")
    w.db.session.add(new)
    w.db.session.flush()
    new.name = "d"
    w.db.session.flush()
    thing(w, 1).name = "x"
    w.db.session.commit()


@path("ORM change that is taken back before the flush")
def orm_nothing(w):
    first = thing(w, 1)
    first.name = "x"
    first.name = "a"
    w.db.session.commit()


@path("ORM `merge`", U1)
def orm_merge(w):
    w.db.session.merge(w.models.Thing(id=1, name="x"))
    w.db.session.commit()


@path("ORM cascade to children", "insert things 3: id=3 name=c", "insert comments 1: id=1 text=hi thing_id=3")
def orm_cascade(w):
    w.db.session.add(w.models.Thing(name="c", comments=[w.models.Comment(text="hi")]))
    w.db.session.commit()


@path(
    "ORM delete-orphan",
    "insert comments 1: id=1 text=hi thing_id=1",
    "delete comments 1: id=1 text=hi thing_id=1",
)
def orm_orphan(w):
    first = thing(w, 1)
    first.comments.append(w.models.Comment(text="hi"))
    w.db.session.commit()
    first.comments.clear()
    w.db.session.commit()


@path(
    "ORM delete cascade",
    "insert comments 1: id=1 text=hi thing_id=1",
    "delete comments 1: id=1 text=hi thing_id=1",
    "delete things 1: id=1 name=a",
)
def orm_delete_cascade(w):
    first = thing(w, 1)
    first.comments.append(w.models.Comment(text="hi"))
    w.db.session.commit()
    w.db.session.delete(first)
    w.db.session.commit()


@path(
    "ORM secondary table",
    "insert labels 1: id=1",
    'insert thing_labels ["1", "1"]: label_id=1 thing_id=1',
    'delete thing_labels ["1", "1"]: label_id=1 thing_id=1',
)
def orm_secondary(w):
    first = thing(w, 1)
    first.labels.append(w.models.Label())
    w.db.session.commit()
    first.labels.clear()
    w.db.session.commit()


@path(
    "ORM joined-table inheritance",
    "insert documents 1: id=1 kind=report text=None",
    "insert reports 1: id=1 title=t",
    "update reports 1: title=t>u",
    "delete reports 1: id=1 title=u",
    "delete documents 1: id=1 kind=report text=None",
)
def orm_joined(w):
    report = w.models.Report(title="t")
    w.db.session.add(report)
    w.db.session.commit()
    report.title = "u"
    w.db.session.commit()
    w.db.session.delete(report)
    w.db.session.commit()


@path("ORM single-table inheritance", "insert documents 1: id=1 kind=memo text=m")
def orm_single(w):
    w.db.session.add(w.models.Memo(text="m"))
    w.db.session.commit()


@path("ORM concrete inheritance", "insert circles 1: id=1 radius=2", "insert shapes 1: id=1")
def orm_concrete(w):
    w.db.session.add(w.models.Circle(radius=2))
    w.db.session.flush()
    w.db.session.add(w.models.Shape())
    w.db.session.commit()


@path("ORM key change", "update things 1: id=1>7")
def orm_key_change(w):
    thing(w, 1).id = 7
    w.db.session.commit()


@path(
    "ORM composite key",
    'insert lines ["d", "1"]: n=5 doc=d pos=1',
    'update lines ["d", "1"]: n=5>6',
    'update lines ["d", "1"]: pos=1>2',
    'delete lines ["d", "2"]: n=6 doc=d pos=2',
)
def orm_composite(w):
    row = w.models.Line(doc="d", pos=1, n=5)
    w.db.session.add(row)
    w.db.session.commit()
    row.n = 6
    w.db.session.commit()
    row.pos = 2
    w.db.session.commit()
    w.db.session.delete(row)
    w.db.session.commit()


# ORM: bulk and statements


@path("`bulk_insert_mappings`", A3, A4)
def bulk_insert_mappings(w):
    w.db.session.bulk_insert_mappings(w.models.Thing, [{"name": "c"}, {"name": "d"}])
    w.db.session.commit()


@path("`bulk_save_objects`", A3, A4)
def bulk_save_objects(w):
    w.db.session.bulk_save_objects([w.models.Thing(name="c"), w.models.Thing(name="d")])
    w.db.session.commit()


@path("`bulk_update_mappings`", U1, "update things 2: name=b>y")
def bulk_update_mappings(w):
    w.db.session.bulk_update_mappings(w.models.Thing, [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}])
    w.db.session.commit()


@path("ORM-enabled `insert()`", A3, A4)
def orm_insert(w):
    w.db.session.execute(sa.insert(w.models.Thing), [{"name": "c"}, {"name": "d"}])
    w.db.session.commit()


@path("ORM-enabled `update()`", U1)
def orm_update(w):
    w.db.session.execute(sa.update(w.models.Thing).where(w.models.Thing.id == 1).values(name="x"))
    w.db.session.commit()


@path("ORM-enabled `update()` by primary key", U1, "update things 2: name=b>y")
def orm_update_by_key(w):
    w.db.session.execute(sa.update(w.models.Thing), [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}])
    w.db.session.commit()


@path("ORM-enabled `delete()`", D2)
def orm_delete_statement(w):
    w.db.session.execute(sa.delete(w.models.Thing).where(w.models.Thing.id == 2))
    w.db.session.commit()


@path("`Query.update()` and `Query.delete()`", U1, D2)
def orm_query(w):
    w.db.session.query(w.models.Thing).filter_by(id=1).update({"name": "x"})
    w.db.session.query(w.models.Thing).filter_by(id=2).delete()
    w.db.session.commit()


@path("a session of its own on the engine", A3)
def orm_own_session(w):
    with Session(w.db.engine) as session, session.begin():
        session.add(w.models.Thing(name="c"))


# Core


@path("Core `insert()`", A3)
def core_insert(w):
    with w.db.engine.begin() as connection:
        connection.execute(sa.insert(table(w)).values(name="c"))


@path("Core `insert()` with RETURNING", A3)
def core_insert_returning(w):
    with w.db.engine.begin() as connection:
        assert connection.scalar(sa.insert(table(w)).values(name="c").returning(table(w).c.id)) == 3


@path(
    "Core `insert()` of many rows (insertmanyvalues)", *[f"insert things {n}: id={n} name=n{n}" for n in range(3, 1503)]
)
def core_insert_many(w):
    with w.db.engine.begin() as connection:
        rows = [{"name": f"n{n}"} for n in range(3, 1503)]
        got = connection.execute(sa.insert(table(w)).returning(table(w).c.id, sort_by_parameter_order=True), rows)
        assert len(got.all()) == 1500


@path("Core `insert()` from SELECT", "insert things 3: id=3 name=aa", "insert things 4: id=4 name=bb")
def core_insert_select(w):
    t = table(w)
    with w.db.engine.begin() as connection:
        connection.execute(sa.insert(t).from_select(["name"], sa.select(t.c.name + t.c.name).order_by(t.c.id)))


@path("Core `update()`", U1)
def core_update(w):
    with w.db.engine.begin() as connection:
        connection.execute(sa.update(table(w)).where(table(w).c.id == 1).values(name="x"))


@path("Core `update()` with RETURNING", U1)
def core_update_returning(w):
    t = table(w)
    with w.db.engine.begin() as connection:
        assert connection.scalar(sa.update(t).where(t.c.id == 1).values(name="x").returning(t.c.name)) == "x"


@path("Core `update()` that changes nothing")
def core_update_nothing(w):
    with w.db.engine.begin() as connection:
        connection.execute(sa.update(table(w)).values(name=table(w).c.name))


@path("Core executemany", U1, "update things 2: name=b>y")
def core_executemany(w):
    statement = sa.update(table(w)).where(table(w).c.id == sa.bindparam("key")).values(name=sa.bindparam("name"))
    with w.db.engine.begin() as connection:
        connection.execute(statement, [{"key": 1, "name": "x"}, {"key": 2, "name": "y"}])


@path("Core `delete()` with RETURNING", D2)
def core_delete(w):
    with w.db.engine.begin() as connection:
        connection.execute(sa.delete(table(w)).where(table(w).c.id == 2).returning(table(w).c.id))


@path("INSERT ON CONFLICT DO UPDATE", U1, A3)
def on_conflict_update(w):
    statement = upsert(table(w)).values([{"id": 1, "name": "x"}, {"id": 3, "name": "c"}])
    statement = statement.on_conflict_do_update(index_elements=["id"], set_={"name": statement.excluded.name})
    with w.db.engine.begin() as connection:
        connection.execute(statement)


@path("INSERT ON CONFLICT DO NOTHING", "insert things 9: id=9 name=i")
def on_conflict_nothing(w):
    statement = upsert(table(w)).values([{"id": 1, "name": "x"}, {"id": 9, "name": "i"}]).on_conflict_do_nothing()
    with w.db.engine.begin() as connection:
        connection.execute(statement)


@path(
    "table without a key",
    "insert loose: a=1 b=x",
    "insert loose: a=1 b=x",
    "update loose: b=x>y",
    "update loose: b=x>y",
)
def no_key(w):
    loose = w.models.loose
    with w.db.engine.begin() as connection:
        connection.execute(sa.insert(loose).values([{"a": 1, "b": "x"}, {"a": 1, "b": "x"}]))
        connection.execute(sa.update(loose).values(b="y"))


@path("Core connection of the session", U1)
def core_of_session(w):
    w.db.session.connection().execute(sa.update(table(w)).where(table(w).c.id == 1).values(name="x"))
    w.db.session.commit()


@path("engine with execution options", A3)
def engine_options(w):
    with w.db.engine.execution_options(isolation_level="SERIALIZABLE").begin() as connection:
        connection.execute(sa.insert(table(w)).values(name="c"))


# SQL as text


@path("`text()` in a session", U1)
def text_session(w):
    w.db.session.execute(sa.text("UPDATE things SET name = 'x' WHERE id = 1"))
    w.db.session.commit()


@path("`text()` before a flush", U1, A3)
def text_before_flush(w):
    w.db.session.execute(sa.text("-- it's quick\n  update things SET name = 'x' WHERE id = 1"))
    w.db.session.add(w.models.Thing(name="c"))
    w.db.session.commit()


@path("`text()` on a connection", D2)
def text_core(w):
    with w.db.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM things WHERE id = :id"), {"id": 2})


@path("`exec_driver_sql`", A3)
def driver_sql(w):
    with w.db.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO things (name) VALUES (%s)", ("c",))


@path("several statements in one text", U1, D2)
def text_several(w):
    with w.db.engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0; UPDATE things SET name = 'x' WHERE id = 1")
        connection.exec_driver_sql("SELECT 1; DELETE FROM things WHERE id = 2")


@path("data-modifying CTE in a SELECT", A3)
def cte(w):
    with w.db.engine.begin() as connection:
        connection.execute(
            sa.text("WITH made AS (INSERT INTO things (name) VALUES ('c') RETURNING id) SELECT id FROM made")
        )


@path("several data-modifying CTEs", U1, D2)
def cte_several(w):
    with w.db.engine.begin() as connection:
        connection.execute(
            sa.text(
                "WITH u AS (UPDATE things SET name = 'x' WHERE id = 1 RETURNING id),"
                " d AS (DELETE FROM things WHERE id = 2 RETURNING id)"
                " SELECT (SELECT count(*) FROM u), (SELECT count(*) FROM d)"
            )
        )


@path("function that writes, called by SELECT", A3, A4)
def function(w):
    w.db.session.execute(sa.select(sa.func.save_thing("c")))
    w.db.session.execute(sa.text("SELECT to_things('d')"))
    w.db.session.commit()


@path("function that catches its own error", "insert things 4: id=4 name=c again")
def function_subtransaction(w):
    w.db.session.execute(sa.text("SELECT try_thing('c')"))
    w.db.session.commit()


@path("procedure by CALL", A3)
def procedure(w):
    w.db.session.execute(sa.text("CALL add_thing('c')"))
    w.db.session.commit()


@path("DO block", A3)
def do_block(w):
    w.db.session.execute(sa.text("DO $$ BEGIN INSERT INTO things (name) VALUES ('c'); END $$"))
    w.db.session.commit()


@path("PREPARE and EXECUTE", A3)
def prepared(w):
    with w.db.engine.begin() as connection:
        connection.exec_driver_sql("PREPARE add_one (text) AS INSERT INTO things (name) VALUES ($1)")
        connection.exec_driver_sql("EXECUTE add_one ('c')")
        connection.exec_driver_sql("DEALLOCATE add_one")


@path("MERGE", U1, A3)
def merge(w):
    with w.db.engine.begin() as connection:
        connection.exec_driver_sql(
            "MERGE INTO things AS t USING (VALUES (1, 'x'), (3, 'c')) AS s (id, name) ON t.id = s.id "
            "WHEN MATCHED THEN UPDATE SET name = s.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name)"
        )


@path("write through a view", U1)
def view(w):
    with w.db.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE thing_view SET name = 'x' WHERE id = 1")


@path("EXPLAIN ANALYZE of a write", D2)
def explain(w):
    with w.db.engine.begin() as connection:
        connection.exec_driver_sql("EXPLAIN ANALYZE DELETE FROM things WHERE id = 2").all()


@path("TRUNCATE", "truncate things", "truncate comments", "truncate parts", "truncate thing_labels")
def truncate(w):
    with w.db.engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE things, comments, parts, thing_labels")


@path("server-side cursor over a function that writes", A3, A4)
def server_side(w):
    with w.db.engine.begin() as connection:
        query = sa.text("SELECT save_thing(name) FROM unnest(ARRAY['c', 'd']) AS x (name)")
        streamed = connection.execution_options(stream_results=True, max_row_buffer=1).execute(query)
        assert streamed.scalars().all() == [3, 4]


# The driver


@path("cursor of the driver, after `audit_logger.stamp()`", A3)
def raw_cursor(w):
    connection = w.db.engine.raw_connection()
    try:
        w.audit_logger.stamp(connection)
        connection.cursor().execute("INSERT INTO things (name) VALUES ('c')")
        connection.commit()
    finally:
        connection.close()


@path("COPY, after `audit_logger.stamp()`", A3, A4)
def copy(w):
    w.audit_logger.stamp(w.db.session)
    connection = w.db.session.connection().connection.dbapi_connection
    with connection.cursor() as cursor:
        if hasattr(cursor, "copy_expert"):
            import io

            cursor.copy_expert("COPY things (name) FROM STDIN", io.StringIO("c\nd\n"))
        else:
            with cursor.copy("COPY things (name) FROM STDIN") as target:
                target.write("c\nd\n")
    w.db.session.commit()


@path("cursor of the driver in a transaction that wrote before", U1, A3)
def raw_cursor_later(w):
    thing(w, 1).name = "x"
    w.db.session.flush()
    connection = w.db.session.connection().connection
    connection.cursor().execute("INSERT INTO things (name) VALUES ('c')")
    w.db.session.commit()


@path("commit on the connection of the driver", U1, D2)
def raw_commit(w):
    with w.db.engine.connect() as connection:
        connection.exec_driver_sql("UPDATE things SET name = 'x' WHERE id = 1")
        connection.connection.commit()
        connection.exec_driver_sql("DELETE FROM things WHERE id = 2")
        connection.commit()


# Transactions


@path("AUTOCOMMIT", A3, U1, A4, "delete things 2: id=2 name=b")
def autocommit(w):
    with w.db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.insert(table(w)).values(name="c"))
        connection.execute(sa.text("UPDATE things SET name = 'x' WHERE id = 1"))
        connection.execute(sa.text("SELECT save_thing('d')"))
        connection.execute(sa.text("DELETE FROM things WHERE id = 2"))


@path("BEGIN and COMMIT as text in AUTOCOMMIT", A3, U1)
def autocommit_begin(w):
    with w.db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql("INSERT INTO things (name) VALUES ('c')")
        connection.exec_driver_sql("UPDATE things SET name = 'x' WHERE id = 1")
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql("DELETE FROM things")
        connection.exec_driver_sql("ROLLBACK")


@path("error in AUTOCOMMIT", A3)
def autocommit_error(w):
    with w.db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        try:
            connection.execute(sa.insert(table(w)).values(id=1))
        except sa.exc.IntegrityError:
            connection.execute(sa.text("INSERT INTO things (id, name) VALUES (3, 'c')"))


@path("two-phase commit", U1, A3)
def two_phase(w):
    with Session(w.db.engine, twophase=True) as session:
        session.get(w.models.Thing, 1).name = "x"
        session.add(w.models.Thing(name="c"))
        session.commit()


@path("several commits in a row", U1, A3, D2)
def commits(w):
    thing(w, 1).name = "x"
    w.db.session.commit()
    w.db.session.execute(sa.insert(table(w)).values(name="c"))
    w.db.session.commit()
    w.db.session.delete(thing(w, 2))
    w.db.session.commit()


@path("rollback, then another transaction", D2)
def rollback(w):
    thing(w, 1).name = "x"
    w.db.session.flush()
    w.db.session.rollback()
    w.db.session.delete(thing(w, 2))
    w.db.session.commit()


@path("savepoint that is released", U1, "insert things 3: id=3 name=c", D2)
def savepoint_released(w):
    thing(w, 1).name = "x"
    with w.db.session.begin_nested():
        w.db.session.add(w.models.Thing(name="c"))
    w.db.session.execute(sa.text("DELETE FROM things WHERE id = 2"))
    w.db.session.commit()


@path("savepoint that is rolled back", U1, D2)
def savepoint_rolled_back(w):
    thing(w, 1).name = "x"
    w.db.session.flush()
    nested = w.db.session.begin_nested()
    w.db.session.add(w.models.Thing(name="c"))
    w.db.session.flush()
    nested.rollback()
    w.db.session.execute(sa.text("DELETE FROM things WHERE id = 2"))
    w.db.session.commit()


@path("first write inside a savepoint that is rolled back", D2)
def savepoint_first(w):
    nested = w.db.session.begin_nested()
    w.db.session.execute(sa.text("UPDATE things SET name = 'x' WHERE id = 1"))
    nested.rollback()
    w.db.session.execute(sa.text("DELETE FROM things WHERE id = 2"))
    w.db.session.commit()


@path("savepoints as text", "update things 1: name=a>x", D2)
def savepoint_text(w):
    with w.db.engine.begin() as connection:
        connection.exec_driver_sql("SAVEPOINT one")
        connection.exec_driver_sql("UPDATE things SET name = 'gone' WHERE id = 1")
        connection.exec_driver_sql("ROLLBACK TO one")
        connection.exec_driver_sql("UPDATE things SET name = 'x' WHERE id = 1")
        connection.exec_driver_sql("RELEASE one")
        connection.exec_driver_sql("DELETE FROM things WHERE id = 2")


@path("error inside a savepoint", U1)
def savepoint_error(w):
    try:
        with w.db.session.begin_nested():
            w.db.session.add(w.models.Thing(id=1))
    except sa.exc.IntegrityError:
        pass
    w.db.session.execute(sa.text("UPDATE things SET name = 'x' WHERE id = 1"))
    w.db.session.commit()


# What the database does by itself


@path(
    "foreign key ON DELETE CASCADE",
    "insert parts 1: id=1 thing_id=2",
    "insert parts 2: id=2 thing_id=2",
    D2,
    "delete parts 1: id=1 thing_id=2",
    "delete parts 2: id=2 thing_id=2",
)
def cascade_delete(w):
    with w.db.engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO parts (thing_id) VALUES (2), (2)"))
    w.db.session.delete(thing(w, 2))
    w.db.session.commit()


@path(
    "foreign key ON UPDATE CASCADE",
    "insert parts 1: id=1 thing_id=1",
    "update things 1: id=1>8",
    "update parts 1: thing_id=1>8",
)
def cascade_update(w):
    with w.db.engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO parts (thing_id) VALUES (1)"))
        connection.execute(sa.text("UPDATE things SET id = 8 WHERE id = 1"))


@path("swap of two keys", "update things 1: id=1>9", "update things 2: id=2>1", "update things 9: id=9>2")
def key_swap(w):
    with w.db.engine.begin() as connection:
        for old, new in ((1, 9), (2, 1), (9, 2)):
            connection.execute(sa.text("UPDATE things SET id = :new WHERE id = :old"), {"old": old, "new": new})


@path("change of many keys in one statement", "update things 1: id=1>-1", "update things 2: id=2>-2")
def key_change_many(w):
    with w.db.engine.begin() as connection:
        connection.execute(sa.text("UPDATE things SET id = -id"))


@path(
    "triggers that change the row, or write to another table",
    "insert mirrors 1: id=1 of=1",
    "insert mirrors 2: id=2 of=2",
    "insert sources 1: id=1 name=S",
    "insert sources 2: id=2 name=T",
)
def nested_triggers(w):
    with w.db.engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO sources (name) VALUES ('s'), ('t')"))
