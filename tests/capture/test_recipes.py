"""The recipes of docs/recording.md and docs/security.md work as they are printed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import flask
import pytest
import sqlalchemy as sa
from flask_login import UserMixin, current_user

from tests.support.apps import logged_in_as
from tests.support.documents import named
from tests.support.models import AUDITED

DOCS = Path(__file__).parents[2] / "docs"
BLOCKS = named(DOCS / "recording.md") | named(DOCS / "security.md")


def declare(db):
    class User(UserMixin, db.Model):
        __tablename__ = "users"
        id = sa.Column(sa.BigInteger, primary_key=True)
        name = sa.Column(sa.Text)

    class Product(db.Model):
        __tablename__ = "products"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.BigInteger, primary_key=True)
        price = sa.Column(sa.Numeric)

    return SimpleNamespace(User=User, Product=Product)


@pytest.fixture
def shop(create_app):
    application = create_app(declare=declare)
    with application.app.app_context():
        application.db.session.add_all([application.models.User(name="Grace"), application.models.User(name="Ada")])
        application.db.session.execute(sa.text("ALTER TABLE products DISABLE TRIGGER USER"))
        application.db.session.add(application.models.Product(price=100))
        application.db.session.flush()
        application.db.session.execute(sa.text("ALTER TABLE products ENABLE TRIGGER USER"))
        application.db.session.commit()
    return application


def run(name, application, **names):
    namespace = {
        "app": application.app,
        "db": application.db,
        "audit_logger": application.audit_logger,
        "text": sa.text,
        "current_user": current_user,
        "g": flask.g,
        "session": flask.session,
        **names,
    }
    exec(compile(BLOCKS[name], f"{name} of the documentation", "exec"), namespace)  # noqa: S102
    return namespace


def raise_prices(application):
    application.db.session.execute(sa.text("UPDATE products SET price = price + 1"))
    application.db.session.commit()


def recorded(application):
    return [(t.actor_id, t.actor_label, t.context) for t in application.transactions()]


def test_copy(shop):
    """A cursor of the driver is attributed by one line."""
    with shop.app.app_context(), shop.audit_logger.context(actor=2):
        run("copy", shop)
    assert recorded(shop) == [(2, None, {})]


def test_another_program(shop, outside):
    """Its next write in the transaction is by whom it says, and for what."""
    with outside.begin() as connection:
        connection.exec_driver_sql(BLOCKS["set_context"])
        connection.exec_driver_sql("UPDATE products SET price = 1")
    with outside.begin() as connection:
        connection.exec_driver_sql("UPDATE products SET price = 2")
    assert recorded(shop) == [(7, "Ann", {"job": "billing"}), (None, None, {})]


def test_impersonation(shop):
    """Around a request, whoever really acts is recorded beside the one in whose name it is."""
    run("impersonation", shop)
    shop.app.config["AUDIT_LOGGER_REQUEST_FACTS"] = []

    @shop.app.post("/raise")
    def view():
        raise_prices(shop)
        return "done"

    client = shop.app.test_client()
    assert client.post("/raise", headers=logged_in_as(2)).text == "done"
    with client.session_transaction() as cookie:
        cookie["impersonator_id"] = 1
    assert client.post("/raise", headers=logged_in_as(2)).text == "done"
    assert [(a, c) for a, _, c in recorded(shop)] == [(2, {}), (2, {"impersonator": {"id": "1", "label": None}})]


def test_redact_request(create_app):
    """The hook takes the path of one endpoint out of what is recorded."""
    names = {"AuditLogger": lambda db, **options: options, "db": None}
    exec(compile(BLOCKS["redact"], "docs/security.md", "exec"), names)  # noqa: S102 - our own document
    application = create_app(declare=declare, **names["audit_logger"])

    @application.app.post("/go/<name>", endpoint="short_links.follow")
    @application.app.post("/buy/<name>", endpoint="buy")
    def write(name):
        application.db.session.add(application.models.Product(price=1))
        application.db.session.commit()
        return "done"

    for url in ("/go/X7B2", "/buy/X7B2"):
        assert application.app.test_client().post(url).text == "done"
    followed, bought = (transaction.context for transaction in application.transactions())
    assert (followed.get("path"), followed["url_rule"], bought["path"]) == (None, "/go/<name>", "/buy/X7B2")
