"""Promise: a row of today is read as the log is written, whatever types its columns have."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, DOMAIN, ENUM, HSTORE

from flask_audit_logger.ui import AuditUI, RevertPolicy
from tests.support.models import AUDITED
from tests.support.server import both_drivers
from tests.ui.previews import Browser, path_of
from tests.ui.shop import ANN, Shop, declare_shop, may_read, text_of


class Spot(sa.types.UserDefinedType):
    """A composite type of the application."""

    cache_ok = True

    def get_col_spec(self, **kw):
        return "spot"


class Tags(sa.types.TypeDecorator):
    """A type of the application around that of an extension."""

    impl = HSTORE
    cache_ok = True


def declare(db):
    models = declare_shop(db)
    colour = ENUM("red", 'it\'s, "blue"', name="colour", create_type=False)
    sa.Table(
        "things", db.metadata,
        sa.Column("id", sa.Integer, primary_key=True), sa.Column("note", sa.Text), sa.Column("at", Spot()),
        sa.Column("spots", ARRAY(Spot())), sa.Column("colour", colour), sa.Column("colours", ARRAY(colour)),
        sa.Column("grade", DOMAIN("grade", sa.Integer(), create_type=False)), sa.Column("tags", Tags()),
        **AUDITED,
    )  # fmt: skip
    before = (
        "CREATE EXTENSION hstore", "CREATE TYPE spot AS (x int, name text)", "CREATE DOMAIN grade AS int",
        "CREATE TYPE colour AS ENUM ('red', 'it''s, \"blue\"')",
    )  # fmt: skip
    for statement in before:
        sa.event.listen(db.metadata, "before_create", sa.DDL(statement))
    return models


ROW = """
    INSERT INTO things VALUES (
        1, 'first', ROW(1, 'a "b", c'), ARRAY[ROW(1, 'x'), ROW(2, NULL)]::spot[], 'it''s, "blue"',
        ARRAY['red', 'it''s, "blue"']::colour[], 7, 'a=>1, "b c"=>NULL'
    )
"""


@pytest.fixture
def things(create_app, outside):
    with outside.connect() as connection:
        if not connection.scalar(sa.text("SELECT true FROM pg_available_extensions WHERE name = 'hstore'")):
            pytest.skip("hstore is not installed")
    shop = Shop(create_app(declare=declare, ui=AuditUI(permission=may_read, revert=RevertPolicy())))
    with shop.application.app.app_context():
        shop.application.db.session.add(shop.application.models.User(id=ANN, name="Ann Price"))
        shop.application.db.session.commit()
    shop.sql(ROW)
    shop.sql("UPDATE things SET note = 'second'")
    return shop


@both_drivers
def test_an_unchanged_row_does_not_look_changed_while_auditing_was_off(things):
    page = text_of(things.page("/record/things/1"))
    assert "while auditing was off" not in page
    things.sql("SET flask_audit_logger.enable_versioning = 'false'; UPDATE things SET at = ROW(2, 'z'), tags = 'a=>2'")
    page = text_of(things.page("/record/things/1"))
    assert "while auditing was off" in page


@both_drivers
def test_the_preview_of_a_put_back_names_the_changed_columns_only(things):
    browser = Browser(things)
    browser.preview(path_of(things.activity(table_name="things", verb="update")))
    assert browser.fields["column"] == ["note"]


@both_drivers
def test_values_are_put_back(things):
    before = things.sql("SELECT things::text FROM things")
    things.sql("UPDATE things SET colour = 'red', colours = NULL, grade = 8, tags = 'b=>1'")
    newest = things.application.activities(table_name="things", verb="update")[-1]
    browser, path = Browser(things), path_of(newest)
    browser.preview(path)
    assert set(browser.fields["column"]) == {"colour", "colours", "grade", "tags"}
    response = browser.send(path)
    assert response.status_code == 303, text_of(response.text)
    assert things.sql("SELECT things::text FROM things") == before
