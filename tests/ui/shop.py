"""A small shop whose pages the tests read: models, a history, and a client that follows links."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
import sqlalchemy as sa
from flask_login import UserMixin
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from werkzeug.test import TestResponse

from flask_audit_logger.ui import AuditUI
from tests.support.apps import Application, logged_in_as
from tests.support.models import AUDITED, Models

ANN, BOB, CLEO = 1, 2, 3
READERS = (ANN, BOB)
#: Marks a test that writes into its shop or changes the application: it has one of its own.
with_own_shop = pytest.mark.usefixtures("own_shop")
BARE_CHANGE = re.compile(r"(/activity/|[?&](?:from|to|change)=)(\d{1,18})(?=[/?&]|$)")


def declare_shop(db: SQLAlchemy) -> Models:
    """Tables with every kind of key and the usual kinds of columns."""

    class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "users"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.Integer, primary_key=True)
        name = sa.Column(sa.Text)

        def __str__(self) -> str:
            return str(self.name)

    class Category(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "categories"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.Integer, primary_key=True)
        name = sa.Column(sa.Text)

    class Product(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "products"
        __table_args__ = ({"info": {"audit_logged": {"mask": ["secret"]}}},)
        id = sa.Column(sa.Integer, primary_key=True)
        name = sa.Column(sa.Text)
        price = sa.Column(sa.Numeric(10, 2))
        stock = sa.Column(sa.Integer)
        active = sa.Column(sa.Boolean)
        description = sa.Column(sa.Text)
        attributes = sa.Column(JSONB(none_as_null=True))
        tags = sa.Column(ARRAY(sa.Text))
        launched = sa.Column(sa.Date)
        checked_at = sa.Column(sa.DateTime(timezone=True))
        picture = sa.Column(sa.LargeBinary)
        secret = sa.Column(sa.Text)
        category_id = sa.Column(sa.ForeignKey("categories.id"))

    class Item(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "order_items"
        __table_args__ = (AUDITED,)
        order_id = sa.Column(sa.Integer, primary_key=True)
        code = sa.Column(sa.Text, primary_key=True)
        quantity = sa.Column(sa.Integer)

    return Models(User=User, Category=Category, Product=Product, Item=Item)


@dataclass
class Shop:
    """The application and what tests do with it."""

    application: Application
    #: The address every page starts with.
    prefix: str = "/audit"
    reader: int = ANN
    #: Whether its database is a copy of one with a history that was saved by :func:`save_history`.
    has_saved_history: bool = False
    _times: Iterator[dt.datetime] = field(default_factory=lambda: iter(()))

    @property
    def db(self) -> SQLAlchemy:
        return self.application.db

    @property
    def models(self) -> Models:
        return self.application.models

    @contextmanager
    def acting(self, user: int | None, addr: str = "192.0.2.1", path: str = "/edit", **context: Any) -> Iterator[Any]:
        """Make changes in a request of a user; they are committed at the end."""
        headers = logged_in_as(user) if user else {}
        request = self.application.app.test_request_context(
            path, method="POST", headers=headers, environ_base={"REMOTE_ADDR": addr, "HTTP_USER_AGENT": "Tests/1"}
        )
        with request, self.application.audit_logger.context(**context):
            yield self.db.session
            self.db.session.commit()

    def add(self, user: int | None, model: str, **values: Any) -> None:
        """Make a record."""
        with self.acting(user) as session:
            session.add(getattr(self.models, model)(**values))

    def change(self, user: int | None, model: str, key: Any, addr: str = "192.0.2.1", **values: Any) -> None:
        """Change a record."""
        with self.acting(user, addr=addr) as session:
            record = session.get(getattr(self.models, model), key)
            for name, value in values.items():
                setattr(record, name, value)

    def remove(self, user: int | None, model: str, key: Any) -> None:
        """Delete a record."""
        with self.acting(user) as session:
            session.delete(session.get(getattr(self.models, model), key))

    def sql(self, statement: str) -> Any:
        """Run a statement outside the application."""
        engine = sa.create_engine(self.application.app.config["SQLALCHEMY_DATABASE_URI"], poolclass=sa.pool.NullPool)
        with engine.begin() as connection:
            result = connection.execute(sa.text(statement))
            return result.all() if result.returns_rows else None

    def address(self, activity: int) -> str:
        """The address of a change, which has the number of its transaction, too."""
        table = self.application.audit_logger.activity_cls.__table__
        rows = self.sql(f"SELECT transaction_id FROM {table} WHERE id = {activity}")
        return f"{rows[0][0] if rows else activity}.{activity}"

    def addressed(self, path: str) -> str:
        """A path whose changes are named by their own numbers only, as tests do."""
        return BARE_CHANGE.sub(lambda match: match[1] + self.address(int(match[2])), path)

    def get(self, path: str, user: int | None = ANN, **options: Any) -> TestResponse:
        """Read a page."""
        headers = {**(logged_in_as(user) if user else {}), **options.pop("headers", {})}
        url = self.addressed(path if path.startswith(self.prefix) else f"{self.prefix}{path}")
        return self.application.app.test_client().get(url, headers=headers, **options)

    def page(self, path: str, status: int = 200, **options: Any) -> str:
        """The text of a page that must answer with this status."""
        response = self.get(path, **options)
        assert response.status_code == status, (path, response.status_code, response.text[:500])
        return response.text

    def ids(self, path: str, **options: Any) -> list[int]:
        """Ids of the activities a page lists, in its order."""
        return listed(self.page(path, **options))

    def state(self) -> list[object]:
        """What of its application a test might change for others."""
        app, ui = self.application.app, self.application.audit_logger.ui
        functions = [
            {name: repr(found) for name, found in registered.items() if found}  # to look one up makes an empty one
            for registered in (
                app.view_functions, app.before_request_funcs, app.after_request_funcs, app.teardown_request_funcs,
                app.template_context_processors,
            )
        ]  # fmt: skip
        return [dict(app.config), app.debug, len(app.url_map._rules), sorted(app.extensions), functions, vars(ui)]

    def activity(self, **columns: Any) -> Any:
        """The newest activity with these values."""
        return self.application.activities(**columns)[-1]


def listed(html: str) -> list[int]:
    """Ids of the activities in the rows of a page."""
    rows = html.partition('id="audit-results"')[2]
    return list(dict.fromkeys(int(number) for number in re.findall(r'href="[^"]*/activity/\d+\.(\d+)"', rows)))


def row_of(html: str, activity: int) -> str:
    """What the list says about an activity."""
    rows = html.partition("<tbody")[2].split("<tr ")
    return text_of(next(row for row in rows if re.search(rf'/activity/\d+\.{activity}"', row)).partition(">")[2])


def links(html: str) -> list[str]:
    """Addresses of the links of a page."""
    return [unescape(href) for href in re.findall(r'<a\b[^>]*\bhref="([^"]*)"', html)]


def undated(html: str) -> str:
    """A page without the time at which it was made, which is printed with it: two of one second may look the same."""
    return re.sub(r'(<p class="audit-print">.*?)<time.*?</time>', r"\1", html)


def text_of(html: str) -> str:
    """What a page says, without tags, on one line."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def may_read(action: str, target: Any) -> bool:
    """Only Ann and Bob read the log."""
    from flask_login import current_user

    return current_user.is_authenticated and current_user.id in READERS


def make_shop(create_app: Callable[..., Application], *, is_copy: bool = False, **ui: Any) -> Shop:
    """A shop without history but its users.

    :param is_copy: its database is a copy of one that has it all.
    """
    config = ui.pop("config", {})
    options = {"permission": may_read, **ui}
    declare = options.pop("declare", declare_shop)
    application = create_app(declare=declare, ui=AuditUI(**options), config=config, create_all=not is_copy)
    shop = Shop(application, has_saved_history=is_copy)
    # What changes records here: the path of a request without a rule is not recorded.
    application.app.add_url_rule("/edit", "edit", methods=["POST"])
    application.app.add_url_rule("/import/<int:number>", "import_products", methods=["POST"])
    if not is_copy:
        with application.app.app_context():
            for number, name in ((ANN, "Ann Price"), (BOB, "Bob Stone"), (CLEO, "Cleo D’Angelo")):
                shop.db.session.add(shop.models.User(id=number, name=name))
            shop.db.session.commit()
    return shop


#: What a history consists of.
TABLES = ("categories", "products", "order_items", "transaction", "activity")
#: Undo what is said of the present log, as if nothing but the users had ever been there, and keep it aside.
SAVE = [
    "CREATE SCHEMA saved",
    *(f"CREATE TABLE saved.{table} AS TABLE {table}" for table in TABLES),
    *(f"DELETE FROM saved.{table} WHERE id <= {{{table}}}" for table in TABLES[3:]),
    *(f"DELETE FROM {table}" for table in TABLES[:3]),
    *(f"DELETE FROM {table} WHERE id > {{{table}}}" for table in TABLES[3:]),
    *(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {{{table}}})" for table in TABLES[3:]),
]
#: The same log again, as if it had been written just now.
RESTORE = [
    *(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM saved.{table}" for table in TABLES),
    *(
        f"UPDATE {table} SET issued_at = issued_at + (SELECT now() - max(issued_at) FROM saved.transaction)"
        for table in TABLES[3:]
    ),
    *(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}" for table in TABLES[3:]),
]


def save_history(shop: Shop) -> None:
    """Make the history of a shop and keep it aside: a copy of the database gets it back by a few statements."""
    users = {table: shop.sql(f"SELECT max(id) FROM {table}")[0][0] for table in TABLES[3:]}
    make_history(shop)
    _run_unseen(shop, [statement.format(**users) for statement in SAVE])


def _run_unseen(shop: Shop, statements: list[str]) -> None:
    # as a replica applies changes: no trigger fires
    shop.sql("; ".join(["SET LOCAL session_replication_role = replica", *statements]))


def make_history(shop: Shop) -> Shop:
    """Some weeks in a shop, in a few lines."""
    if (
        shop.has_saved_history
        and shop.sql("SELECT max(id) < (SELECT min(id) FROM saved.transaction) FROM transaction")[0][0]
    ):
        _run_unseen(shop, RESTORE)
        return shop
    shop.add(ANN, "Category", id=1, name="Mugs")
    shop.add(ANN, "Category", id=2, name="Maps")
    shop.add(
        ANN, "Product", id=42, name="Blue mug", price=Decimal("10.00"), stock=5, active=True, secret="s3cret",
        description="A sturdy mug for every day.\n\nHolds 330 ml.\n" + "More of it.\n" * 20, tags=["kitchen", "blue"],
        attributes={"color": "blue", "size": {"height": 10}}, launched=dt.date(2026, 8, 1), category_id=1,
        picture=b"\x89PNG" * 10,
    )  # fmt: skip
    shop.change(BOB, "Product", 42, price=Decimal("12.50"))
    shop.change(BOB, "Product", 42, addr="198.51.100.7", stock=4, active=False)
    shop.change(CLEO, "Product", 42, addr="2001:db8::9", category_id=2, secret="other", name="Blue mug, large")
    shop.add(CLEO, "Item", order_id=7, code="a/b, ~.", quantity=1)
    shop.change(CLEO, "Item", (7, "a/b, ~."), quantity=2)
    shop.add(ANN, "Product", id=43, name="Red mug", price=Decimal("9.00"))
    shop.remove(ANN, "Product", 43)
    shop.sql("UPDATE products SET stock = 17 WHERE id = 42")
    shop.sql("TRUNCATE order_items")
    return shop
