"""Promise: who is to be forgotten is nowhere in the log any more; what was done stays, and others are untouched."""

from __future__ import annotations

import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from flask_login import UserMixin
from flask_sqlalchemy import SQLAlchemy

from flask_audit_logger.exceptions import ConfigurationError, HeldError, UnknownOptionError
from flask_audit_logger.growth.months import rotate, this_month
from flask_audit_logger.ui import AuditUI
from tests.capture.tables import run
from tests.growth.test_months import cli
from tests.support.apps import Application, logged_in_as, make_app
from tests.support.server import Server, plain_engine

#: What is Ann's; everything of Bob has "bob" in it.
SECRETS = ("ann@x.example", "Ann Grey", "ann-2@x.example", "+49 111", "Ann at the door", "203.0.113.7", "AnnAgent")


def declare(db: SQLAlchemy) -> Any:
    class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "users"
        __table_args__ = ({"info": {"audit_logged": {"personal": ["mail", "name"], "mask": ["password"]}}},)
        id = sa.Column(sa.Uuid(as_uuid=False), primary_key=True)
        name = sa.Column(sa.Text)
        email = sa.Column("mail", sa.Text)
        password = sa.Column(sa.Text)
        plan = sa.Column(sa.Text)

        def __str__(self) -> str:
            return str(self.name)

    class Order(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "orders"
        __table_args__ = (
            {
                "info": {
                    "audit_logged": {"personal": {"phone": True, "note": True, "item": False}, "subject": "user_id"}
                }
            },
        )
        id = sa.Column(sa.BigInteger, primary_key=True)
        user_id = sa.Column(sa.ForeignKey("users.id"))
        phone = sa.Column(sa.Text)
        note = sa.Column(sa.JSON)
        item = sa.Column(sa.Text)

    class Short(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "short"
        __table_args__ = (
            {"info": {"audit_logged": {"personal": ["phone"], "subject": "user_id", "old_data": "changed"}}},
        )
        id = sa.Column(sa.BigInteger, primary_key=True)
        user_id = sa.Column(sa.ForeignKey("users.id"))
        phone = sa.Column(sa.Text)

    return SimpleNamespace(User=User, Order=Order, Short=Short)


ANN, BOB = (str(uuid.UUID(int=number)) for number in (1, 2))


def fill(application: Application) -> None:
    """Ann and Bob change their records; an order and a short row go from Ann to Bob."""
    db, models = application.db, application.models
    environ = {"environ_base": {"REMOTE_ADDR": "203.0.113.7"}, "headers": {"User-Agent": "AnnAgent"}}
    with application.app.test_request_context("/edit", **environ):
        logger = application.audit_logger
        ann = models.User(id=ANN, name="Ann Grey", email="ann@x.example", password="p", plan="free")
        bob = models.User(id=BOB, name="bob", email="bob@x.example", plan="free")
        with logger.context(actor=ann):
            db.session.add_all([ann, bob])
            db.session.flush()
            db.session.add(models.Order(id=1, user_id=ANN, phone="+49 111", note={"a": "Ann at the door"}, item="book"))
            db.session.add(models.Short(id=1, user_id=ANN, phone="+49 111"))
            db.session.commit()
            ann.email = "ann-2@x.example"
            ann.plan = "paid"
            db.session.get(models.Order, 1).item = "pen"
            db.session.get(models.Short, 1).phone = "+49 1112"
            db.session.commit()
    elsewhere = application.app.test_request_context("/edit", environ_base={"REMOTE_ADDR": "203.0.113.99"})
    with elsewhere, logger.context(actor=bob):
        order, short = db.session.get(models.Order, 1), db.session.get(models.Short, 1)
        order.user_id, order.phone, order.note = BOB, "bob 222", {"a": "bob's door"}
        short.user_id = BOB
        short.phone = "bob 222"
        db.session.commit()
        order.item = "bobbin"
        short.phone = "bob 333"
        db.session.commit()


def whole_text(application: Application, schema: str) -> str:
    """All that the log has, as text."""
    with application.outside.connect() as connection:
        query = f"SELECT (SELECT string_agg(a::text, E'\\n' ORDER BY id) FROM \"{schema}\".activity AS a)"
        query += f" || (SELECT string_agg(t::text, E'\\n' ORDER BY id) FROM \"{schema}\".transaction AS t)"
        return str(connection.exec_driver_sql(query).scalar())


@pytest.mark.parametrize(("schema", "partition"), [(None, "month"), ("audit logs", None)])
def test_nothing_of_a_person_remains(server: Server, schema: str | None, partition: Any) -> None:
    """Not in their record, in rows that were about them, nor in what they did; what others have is as it was."""
    with server.database() as url:
        application = make_app(url, declare=declare, schema=schema, partition=partition, config={"TESTING": True})
        fill(application)
        if partition:
            assert rotate(plain_engine(url), None, "2099_01")
        before = whole_text(application, schema or "public")
        assert all(secret in before for secret in SECRETS)
        with application.app.app_context():
            ann = application.db.session.get(application.models.User, ANN)
            preview = application.audit_logger.erase(ann, reason="Art. 17, 2026-113", dry_run=True)
            assert whole_text(application, schema or "public") == before
            with application.audit_logger.context(actor=ann):
                done = application.audit_logger.erase(ann, reason="Art. 17, 2026-113")
        assert (done.changes, done.transactions) == (preview.changes, preview.transactions)
        assert done.changes == {"users": 2, "orders": 3, "short": 3}
        after = whole_text(application, schema or "public")
        assert [secret for secret in SECRETS if secret in after] == []
        assert after.count("bob") == before.count("bob")
        assert after.count("203.0.113.99") == before.count("203.0.113.99")
        for kept in ("free", "paid", "book", "pen", ANN, '"audit_logger": "masked"'):
            assert after.count(kept) >= before.count(kept), kept
        (entry,) = application.activities(verb="erased")
        assert (entry.table_name, entry.changed_data["key"], entry.changed_data["reason"]) == (
            "users",
            ANN,
            "Art. 17, 2026-113",
        )
        assert entry.record_key is None
        with application.app.app_context():
            again = application.audit_logger.erase(actor=ANN, reason="again", dry_run=True)
        assert (again.changes, again.transactions) == ({}, 0)
        application.dispose()


def test_a_hold_refuses(server: Server) -> None:
    """Of the record, of a row that is about the person, or of what they did; with its reason and end."""
    with server.database() as url:
        application = make_app(url, declare=declare)
        fill(application)
        before = whole_text(application, "public")
        for hold in (["--table", "users", "--key", ANN], ["--table", "orders"], ["--actor", ANN]):
            output = cli(application, "hold", "add", *hold, "--until", "2999-01-01", "--reason", "case 12")[1]
            address = output.split()[1]
            with application.app.app_context(), pytest.raises(HeldError, match=r"case 12 \(until 2999-01-01\)"):
                ann = application.db.session.get(application.models.User, ANN)
                application.audit_logger.erase(ann, reason="x")
            assert cli(application, "hold", "release", address, "--reason", "over")[0] == 0
        assert whole_text(application, "public").startswith(before[:100])
        assert all(secret in whole_text(application, "public") for secret in SECRETS)
        application.dispose()


def test_the_command_asks_before(server: Server) -> None:
    with server.database() as url:
        application = make_app(url, declare=declare)
        fill(application)
        record = ["erase", "--record", "users", ANN, "--reason", "Art. 17"]
        code, output = cli(application, *record)  # nobody answers
        assert (code, "users: 2 entries" in output, "Erase this for good" in output) == (1, True, True)
        assert "ann@x.example" in whole_text(application, "public")
        assert "Error: id is of the key of public.users" in cli(application, *record, "--columns", "id", "--yes")[1]
        assert "has no column nmae" in cli(application, *record, "--columns", "nmae", "--yes")[1]
        code, output = cli(application, *record, "--columns", "mail", "--yes")
        assert (code, "erased: " in output) == (0, True)
        after = whole_text(application, "public")
        assert ("ann@x.example" in after, "Ann Grey" in after) == (False, True)
        assert cli(application, "erase", "--actor", ANN, "--reason", "Art. 17", "--yes")[0] == 0
        assert "AnnAgent" not in whole_text(application, "public")
        assert "Whom?" in cli(application, "erase", "--reason", "x")[1]
        application.dispose()


def test_pages_treat_it_like_a_masked_value(server: Server) -> None:
    """No difference to the row of today is invented, and nothing is put back."""
    with server.database() as url:
        application = make_app(url, declare=declare, ui=AuditUI(permission=lambda action, target: True))
        fill(application)
        run(plain_engine(url), f"UPDATE users SET name = 'gone', mail = NULL WHERE id = '{ANN}'")
        with application.app.app_context():
            ann = application.db.session.get(application.models.User, ANN)
            application.audit_logger.erase(ann, reason="Art. 17")
        client, viewer = application.app.test_client(), logged_in_as(BOB)
        pages = [f"/audit/record/users/{ANN}", f"/audit/record/users/{ANN}/at", f"/audit/record/users/{ANN}/compare"]
        pages += ["/audit/?period=all"]
        for page in pages:
            response = client.get(page, headers=viewer)
            assert response.status_code == 200
            assert not [secret for secret in SECRETS if secret in response.text], page
            assert "differs from the log" not in response.text
        assert "value hidden" in client.get("/audit/?period=all", headers=viewer).text
        assert "Personal values of record" in client.get("/audit/?period=all", headers=viewer).text
        first = application.activities(table_name="users", verb="update")[0].transaction_id
        with application.app.app_context():
            script = "".join(application.audit_logger.revert(first).sql())
        assert script.startswith("-- NOT TAKEN BACK") and "audit_logger" not in script
        application.dispose()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"personal": ["id"]}, "'personal' names 'id', which is part of the key"),
        ({"personal": ["nmae"]}, "unknown column 'nmae'. Did you mean 'name'"),
        ({"subject": "name"}, "no foreign key to the key of a table"),
    ],
)
def test_what_can_not_be_personal(server: Server, options: dict[str, Any], said: str) -> None:
    def declare_one(db: SQLAlchemy) -> Any:
        class Person(db.Model):  # type: ignore[name-defined,misc]
            __tablename__ = "persons"
            __table_args__ = ({"info": {"audit_logged": options}},)
            id = sa.Column(sa.BigInteger, primary_key=True)
            name = sa.Column(sa.Text)

        return SimpleNamespace(User=Person)

    with server.database() as url, pytest.raises(UnknownOptionError, match=said):
        make_app(url, declare=declare_one)


def test_only_the_owner_erases(server: Server) -> None:
    with server.database() as url, server.role() as role:
        application = make_app(url, declare=declare)
        run(plain_engine(url), f'GRANT SELECT, UPDATE ON activity, transaction TO "{role}"')
        other = make_app(url.set(username=role), declare=declare, create_all=False)
        with other.app.app_context(), pytest.raises(ConfigurationError, match="Only the owner"):
            other.audit_logger.erase(actor="1", reason="x")
        other.dispose()
        run(plain_engine(url), f'DROP OWNED BY "{role}"')
        application.dispose()


def test_archived_months_are_written_anew(server: Server, tmp_path: Path) -> None:
    """A month that can't be is named, and the command fails."""
    pytest.importorskip("pyarrow")
    with server.database() as url:
        application = make_app(url, declare=declare, partition="month", archive=str(tmp_path))
        fill(application)
        assert rotate(plain_engine(url), None, "2099_01")
        assert "archived" in cli(application, "maintain")[1]
        (month,) = [folder for folder in tmp_path.iterdir() if folder.is_dir()]
        saved = {path.name: path.read_bytes() for path in month.iterdir()}
        record = ["erase", "--record", "users", ANN, "--actor", ANN, "--reason", "Art. 17", "--yes"]
        (month / "activity.parquet").write_bytes(b"broken")
        code, output = cli(application, *record)
        assert (code, "NOT REACHED  " in output) == (1, True)
        assert application.activities(verb="erased")[0].changed_data["unreached"]
        for name, data in saved.items():
            (month / name).write_bytes(data)
        code, output = cli(application, *record)
        assert (code, "written anew" in output) == (0, True), output
        assert cli(application, "archive", "verify")[0] == 0
        for log in ("activity", "transaction"):
            run(plain_engine(url), f"DROP TABLE {log}_{this_month()}")
        assert cli(application, "archive", "restore", this_month())[0] == 0
        after = whole_text(application, "public")
        assert [secret for secret in SECRETS if secret in after] == []
        assert "bob 222" in after
        application.dispose()


def test_status_hints_at_columns_nobody_classified(server: Server) -> None:
    """Only where something is declared personal, so that nobody is bothered who does not ask."""
    with server.database() as url:
        application = make_app(url, declare=declare)
        assert "may be personal" not in cli(application, "status")[1]
        users = application.db.metadata.tables["users"]
        users.info["audit_logged"] = {"personal": ["name"], "mask": ["password"]}
        code, output = cli(application, "status")
        assert (code, "its columns mail may be personal" in output) == (0, True), output
        application.dispose()
