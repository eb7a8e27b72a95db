"""What one thread does: transactions of random writes by random paths, each noted in the model."""

from __future__ import annotations

import contextlib
import io
import itertools
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import sqlalchemy as sa
from flask import g
from flask_login import UserMixin, login_user
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.dialects.postgresql import insert as upsert

from tests.support.apps import Application, logged_in_as
from tests.support.models import AUDITED, Models
from tests.torture.model import Entry, Expected
from tests.torture.wilder import (
    PARTITIONS,
    declare_wilder,
    fill_scratch,
    merge_parts,
    truncate_scratch,
    write_picky,
)

USERS = range(1, 10)
SHARED_ROWS = range(1, 21)
MAX_OWN_ROWS = 30

_numbers = itertools.count(1)

#: An actor that was not chosen: whoever is logged in or was said around.
AROUND: Any = object()


def declare_torture(db: SQLAlchemy, seed: int = 0) -> Models:
    """Rows of one thread each, rows that all threads write, what is never logged, and a mark per transaction."""
    model: Any = db.Model

    class User(UserMixin, model):
        __tablename__ = "users"
        id = sa.Column(sa.BigInteger, primary_key=True)

    class Item(model):
        __tablename__ = "items"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.BigInteger, primary_key=True, autoincrement=False)
        owner = sa.Column(sa.Integer)
        token = sa.Column(sa.Text)

    class Shared(model):
        __tablename__ = "shared"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.BigInteger, primary_key=True, autoincrement=False)
        token = sa.Column(sa.Text)

    class Dark(model):
        __tablename__ = "dark"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.BigInteger, sa.Identity(), primary_key=True)

    marks = sa.Table(
        "marks", db.metadata, sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False), **AUDITED
    )
    declare_wilder(db, seed)
    return Models(User=User, Item=Item, Shared=Shared, Dark=Dark, marks=marks)


DATABASE_SIDE = (
    """
CREATE FUNCTION put_item(a bigint, b int, c text) RETURNS bigint LANGUAGE sql AS
    'INSERT INTO items (id, owner, token) VALUES (a, b, c) RETURNING id';
CREATE FUNCTION set_item(a bigint, c text) RETURNS void LANGUAGE sql AS 'UPDATE items SET token = c WHERE id = a';
INSERT INTO users SELECT generate_series(1, 9);
"""
    + PARTITIONS
)


class Worker:
    """One thread.

    :param applications: the applications it writes through, in turn at random.
    :param number: which thread; its rows are ``number * 10**9`` and following.
    :param seed: makes the run what it is.
    """

    def __init__(self, applications: list[Application], number: int, seed: int) -> None:
        self.applications = applications
        self.number = number
        self.seed = seed
        self.random = random.Random(f"{seed} {number}")
        self.ids = itertools.count(number * 10**9 + 1)
        #: id and token of the rows that are committed
        self.rows: dict[int, str] = {}
        #: rows of the other tables that are committed, by table and id
        self.others: dict[str, dict[int, dict[str, Any]]] = {}
        self.committed: list[Expected] = []
        self.rolled_back = 0
        self.in_doubt = 0

    def run(self, until: float) -> None:
        """Work until a moment of ``time.monotonic()``."""
        while time.monotonic() < until:
            self.transaction()

    def transaction(self) -> None:
        """One transaction, whatever becomes of it."""
        app = self.random.choice(self.applications)
        attempt = Attempt(self, app)
        try:
            with attempt.surroundings():
                attempt.run()
        except (sa.exc.SQLAlchemyError, Failure):
            pass
        except Exception as error:
            # the errors of a driver whose connection is gone; psycopg2 has a SystemError if that happens in a COPY
            if not type(error).__module__.startswith("psycopg") and not isinstance(error, SystemError):
                raise
        if attempt.is_committed or (attempt.was_committing and self._was_committed(app, attempt.expected.number)):
            self.committed.append(attempt.expected)
            self.rows, self.others = attempt.rows, attempt.other_rows
        else:
            self.rolled_back += 1

    def _was_committed(self, app: Application, number: int) -> bool:
        self.in_doubt += 1
        url = app.app.config["SQLALCHEMY_DATABASE_URI"]
        while True:
            engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
            try:
                with engine.connect() as connection:
                    query = sa.text("SELECT count(*) FROM marks WHERE id = :id")
                    return bool(connection.scalar(query, {"id": number}))
            except sa.exc.DBAPIError:
                time.sleep(0.05)


def copied(others: dict[str, dict[int, dict[str, Any]]]) -> dict[str, dict[int, dict[str, Any]]]:
    """Tables that can be changed without changing these. Rows are never changed, but replaced."""
    return {table: dict(rows) for table, rows in others.items()}


class Failure(Exception):
    """The application changes its mind in the middle."""


class Attempt:
    """One transaction of a worker."""

    def __init__(self, worker: Worker, app: Application) -> None:
        self.worker = worker
        self.random = worker.random
        self.app = app
        self.models = app.models
        self.expected = Expected(number=next(_numbers))
        self.rows = dict(worker.rows)
        self.other_rows = copied(worker.others)
        self.level = "READ COMMITTED"
        self.was_committing = False
        self.is_committed = False
        self.actor: int | None = None
        self.is_request = False
        #: Whether the actor of this write is said by ``context()``.
        self.is_said = False
        self._tokens = itertools.count(1)

    @contextmanager
    def surroundings(self) -> Iterator[None]:
        """A request of somebody, a job in somebody's name, or nobody."""
        logger = self.app.audit_logger
        self.actor = self.random.choice([None, *USERS])
        self.is_request = self.random.random() < 0.4
        if self.is_request:
            headers = logged_in_as(self.actor) if self.actor else {}
            with self.app.app.test_request_context("/", headers=headers):
                yield
        else:
            with self.app.app.app_context(), logger.context(actor=self.actor, job="torture"):
                yield

    def run(self) -> None:
        if self.random.random() < 0.1:
            self._autocommit()
            return
        self.session = self.app.db.session
        if self.random.random() < 0.2 and not self.session().in_transaction():
            self.level = self.random.choice(["SERIALIZABLE", "REPEATABLE READ"])
            self.session.connection(execution_options={"isolation_level": self.level})
        before = self.random.randrange(3)
        if before == 0:
            self._mark()
        for _ in range(self.random.randint(1, 6)):
            self._step()
        if before != 0:
            self._mark()
        if self.random.random() < 0.1:
            self.session.rollback()
            return
        if self.random.random() < 0.05:
            raise Failure
        self.was_committing = True
        self.session.commit()
        self.is_committed = True

    def _step(self) -> None:
        draw = self.random.random()
        if draw < 0.12:
            self._savepoint()
        elif draw < 0.16:
            self._failed_statement()
        elif draw < 0.2 and self.is_request:
            self.actor = self.random.choice(USERS)
            login_user(self.session.get(self.models.User, self.actor))
        elif draw < 0.23:
            with self.app.audit_logger.disable(self.session):
                self.session.execute(sa.insert(self.models.Dark).values())
        elif draw < 0.25:
            for _ in range(self.random.randint(8, 20)):
                self._savepoint()
        elif draw < 0.29:
            self.session.scalars(sa.select(self.models.Shared).limit(3)).all()
        else:
            self._write()

    def _savepoint(self) -> None:
        statements, rows, actor = len(self.expected.statements), dict(self.rows), self.actor
        others = copied(self.other_rows)
        nested = self.session.begin_nested()
        for _ in range(self.random.randint(1, 3)):
            if self.random.random() < 0.2:
                self._savepoint()
            else:
                self._write()
        if self.random.random() < 0.5:
            nested.rollback()
            del self.expected.statements[statements:]
            self.rows, self.other_rows, self.actor = rows, others, actor
        else:
            nested.commit()

    def _failed_statement(self) -> None:
        with contextlib.suppress(sa.exc.IntegrityError), self.session.begin_nested():
            self.session.execute(sa.text("INSERT INTO shared (id) VALUES (1)"))

    @contextmanager
    def _acting(self) -> Iterator[int | None]:
        """Sometimes in the name of somebody else."""
        if self.random.random() < 0.3:
            other = self.random.choice([None, *USERS])
            with self.app.audit_logger.context(actor=other, reason="on behalf"):
                self.is_said = True
                yield other
        else:
            self.is_said = not self.is_request
            yield self.actor

    def _write(self) -> None:
        self.session.expire_all()
        wilder = [merge_parts, write_picky, write_picky, fill_scratch, truncate_scratch]
        kinds: list[Callable[[int | None], list[Entry]]] = [self._insert, self._insert_many, self._update_shared]
        kinds.append(partial(self.random.choice(wilder), self))
        if self.rows:
            kinds += [self._update, self._update, self._update_all, self._delete, self._change_key]
        if len(self.rows) > MAX_OWN_ROWS:
            kinds = [self._delete_many]
        with self._acting() as actor:
            entries = self._seen(actor, self.random.choice(kinds)(actor))
        if entries:
            self.expected.statements.append(entries)

    def others(self, table: str) -> dict[int, dict[str, Any]]:
        """The rows of a table as this transaction has left them."""
        return self.other_rows.setdefault(table, {})

    def _mark(self) -> None:
        with self._acting() as actor:
            self.session.execute(sa.insert(self.models.marks).values(id=self.expected.number))
            number = self.expected.number
            mark = Entry("insert", "marks", str(number), {}, {"id": number}, actor)
            self.expected.statements.append(self._seen(actor, [mark]))

    def _seen(self, actor: int | None, entries: list[Entry]) -> list[Entry]:
        """What the log has of a write: nobody, if no session asked who acts by then."""
        is_known = self.is_said or actor is None or "_login_user" in g
        return entries if is_known else [replace(entry, actor=None) for entry in entries]

    def _token(self) -> str:
        return f"{self.expected.number}.{next(self._tokens)}"

    def _row(self, id_: int) -> dict[str, Any]:
        return {"id": id_, "owner": self.worker.number, "token": self.rows[id_]}

    # Each of the following writes by one of many paths, and says what the log must have of it.

    def _insert(self, actor: int | None) -> list[Entry]:
        id_, token = next(self.worker.ids), self._token()
        values = {"id": id_, "owner": self.worker.number, "token": token}
        items = self.models.Item.__table__
        session = self.session
        columns = "INSERT INTO items (id, owner, token) VALUES"

        def orm() -> None:
            session.add(self.models.Item(**values))
            session.flush()

        def by_merge() -> None:
            session.execute(
                sa.text(
                    "MERGE INTO items USING (VALUES (1)) AS v ON items.id = :id "
                    "WHEN NOT MATCHED THEN INSERT (id, owner, token) VALUES (:id, :owner, :token)"
                ),
                values,
            )

        self._any(
            orm,
            lambda: session.execute(sa.insert(items).values(values)),
            lambda: session.scalar(sa.insert(items).values(values).returning(items.c.id)),
            lambda: session.execute(sa.text(f"{columns} (:id, :owner, :token)"), values),
            lambda: session.connection().exec_driver_sql(f"{columns} (%s, %s, %s)", tuple(values.values())),
            lambda: session.scalar(
                sa.text(f"WITH x AS ({columns} (:id, :owner, :token) RETURNING id) SELECT id FROM x"), values
            ),
            lambda: session.scalar(sa.select(sa.func.put_item(id_, self.worker.number, token))),
            lambda: session.execute(upsert(items).values(values).on_conflict_do_nothing()),
            lambda: self._cursor(f"{columns} (%s, %s, %s)", tuple(values.values())),
            by_merge,
        )
        self.rows[id_] = token
        return [Entry("insert", "items", str(id_), {}, values, actor)]

    def _insert_many(self, actor: int | None) -> list[Entry]:
        rows = [
            {"id": next(self.worker.ids), "owner": self.worker.number, "token": self._token()}
            for _ in range(self.random.randint(2, 6))
        ]
        items = self.models.Item.__table__
        self._any(
            lambda: self.session.execute(sa.insert(items), rows),
            lambda: self.session.execute(sa.insert(self.models.Item).returning(self.models.Item.id), rows).all(),
            lambda: self.session.bulk_insert_mappings(self.models.Item, rows),
            lambda: self._copy(rows),
            lambda: self.session.execute(sa.insert(items).values(rows)),
        )
        self.rows |= {row["id"]: row["token"] for row in rows}
        return [Entry("insert", "items", str(row["id"]), {}, row, actor) for row in rows]

    def _update(self, actor: int | None) -> list[Entry]:
        id_, token = self.random.choice(list(self.rows)), self._token()
        item, session = self.models.Item, self.session
        items = item.__table__
        set_token = "UPDATE items SET token ="

        def orm() -> None:
            session.get(item, id_).token = token
            session.flush()

        self._any(
            orm,
            lambda: session.execute(sa.update(items).where(items.c.id == id_).values(token=token)),
            lambda: session.execute(sa.update(item).where(item.id == id_).values(token=token)),
            lambda: session.execute(sa.update(item), [{"id": id_, "token": token}]),
            lambda: session.execute(sa.text(f"{set_token} :token WHERE id = :id"), {"id": id_, "token": token}),
            lambda: session.execute(sa.select(sa.func.set_item(id_, token))),
            lambda: self._cursor(f"{set_token} %s WHERE id = %s", (token, id_)),
            lambda: session.execute(
                upsert(items)
                .values(id=id_, owner=0, token=token)
                .on_conflict_do_update(index_elements=["id"], set_={"token": token})
            ),
        )
        old = self._row(id_)
        self.rows[id_] = token
        return [Entry("update", "items", str(id_), old, {"token": token}, actor)]

    def _update_all(self, actor: int | None) -> list[Entry]:
        token = self._token()
        self.session.execute(
            sa.text("UPDATE items SET token = :token || '/' || id WHERE owner = :owner"),
            {"token": token, "owner": self.worker.number},
        )
        old = {id_: self._row(id_) for id_ in self.rows}
        self.rows = {id_: f"{token}/{id_}" for id_ in self.rows}
        return [Entry("update", "items", str(id_), old[id_], {"token": new}, actor) for id_, new in self.rows.items()]

    def _change_key(self, actor: int | None) -> list[Entry]:
        id_, new = self.random.choice(list(self.rows)), next(self.worker.ids)
        self.session.execute(sa.text("UPDATE items SET id = :new WHERE id = :id"), {"new": new, "id": id_})
        old = self._row(id_)
        self.rows[new] = self.rows.pop(id_)
        return [Entry("update", "items", str(id_), old, {"id": new}, actor)]

    def _delete(self, actor: int | None) -> list[Entry]:
        id_ = self.random.choice(list(self.rows))
        item, session = self.models.Item, self.session

        def orm() -> None:
            session.delete(session.get(item, id_))
            session.flush()

        self._any(
            orm,
            lambda: session.execute(sa.delete(item).where(item.id == id_)),
            lambda: session.execute(sa.text("DELETE FROM items WHERE id = :id"), {"id": id_}),
        )
        old = self._row(id_)
        del self.rows[id_]
        return [Entry("delete", "items", str(id_), old, {}, actor)]

    def _delete_many(self, actor: int | None) -> list[Entry]:
        ids = self.random.sample(list(self.rows), len(self.rows) // 2)
        self.session.execute(sa.delete(self.models.Item).where(self.models.Item.id.in_(ids)))
        entries = [Entry("delete", "items", str(id_), self._row(id_), {}, actor) for id_ in ids]
        for id_ in ids:
            del self.rows[id_]
        return entries

    def _update_shared(self, actor: int | None) -> list[Entry]:
        id_, token = self.random.choice(SHARED_ROWS), self._token()
        shared = self.models.Shared
        self.session.execute(sa.update(shared).where(shared.id == id_).values(token=token))
        return [Entry("update", "shared", str(id_), None, {"token": token}, actor)]

    def _autocommit(self) -> None:
        """A single statement that is its own transaction."""
        id_, token, number = next(self.worker.ids), self._token(), self.expected.number
        values = {"id": id_, "owner": self.worker.number, "token": token}
        self.rows[id_] = token
        with self._acting() as actor:
            entries = [
                Entry("insert", "marks", str(number), {}, {"id": number}, actor),
                Entry("insert", "items", str(id_), {}, values, actor),
            ]
            self.expected.statements.append(self._seen(actor, entries))
            engine = self.app.db.engine.execution_options(isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                self.was_committing = True
                connection.execute(
                    sa.text(
                        "WITH m AS (INSERT INTO marks VALUES (:number)) "
                        "INSERT INTO items (id, owner, token) VALUES (:id, :owner, :token)"
                    ),
                    values | {"number": number},
                )
                self.is_committed = True

    def _any(self, *paths: Callable[[], Any]) -> None:
        self.random.choice(paths)()

    def _cursor(self, sql: str, parameters: tuple[Any, ...]) -> None:
        self.app.audit_logger.stamp(self.session)
        with self.session.connection().connection.cursor() as cursor:
            cursor.execute(sql, parameters)

    def _copy(self, rows: list[dict[str, Any]]) -> None:
        self.app.audit_logger.stamp(self.session)
        sql = "COPY items (id, owner, token) FROM STDIN"
        content = "".join("\t".join(map(str, row.values())) + "\n" for row in rows)
        with self.session.connection().connection.cursor() as cursor:
            if hasattr(cursor, "copy_expert"):
                cursor.copy_expert(sql, io.StringIO(content))
            else:
                with cursor.copy(sql) as target:
                    target.write(content)
