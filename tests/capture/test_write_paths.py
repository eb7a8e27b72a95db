"""Promises P1 and P3: whatever way the application writes, the log has exactly what changed, by whom, in order."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.capture.paths import PATHS
from tests.capture.shop import lines
from tests.support.apps import logged_in_as
from tests.support.server import default_driver

DOCUMENT = Path(__file__).parents[2] / "docs" / "recording.md"

#: Paths whose first write no session sees before it: of the engine or its connection, of a bulk method, of a query.
WITHOUT_A_SESSION = frozenset(
    """
    autocommit autocommit_begin autocommit_error bulk_insert_mappings bulk_save_objects bulk_update_mappings
    cascade_delete cascade_update core_delete core_executemany core_insert core_insert_many core_insert_returning
    core_insert_select core_of_session core_update core_update_returning cte cte_several driver_sql engine_options
    explain function key_change_many key_swap merge nested_triggers no_key on_conflict_nothing on_conflict_update
    orm_own_session prepared raw_commit raw_cursor savepoint_text server_side text_core text_several truncate two_phase
    view
    """.split()
)


def check(shop, name, *, actors=({(1, "Grace")}, set())):
    activities = shop.activities()
    assert lines(activities) == list(PATHS[name].expected)
    assert {(a.transaction.actor_id, a.transaction.actor_label) for a in activities} in actors
    # nothing is written for changes that aren't there
    assert {t.id for t in shop.transactions()} == {a.transaction_id for a in activities}


@pytest.mark.parametrize("name", PATHS)
def test_by_somebody_who_is_named_by_the_code(shop, name):
    """Each path logs exactly its changes, in order, by the actor that context() names."""
    with shop.app.app_context():
        grace = shop.db.session.get(shop.models.User, 1)
        with shop.audit_logger.context(actor=grace):
            PATHS[name].act(shop)
    check(shop, name)


#: Who acts is found in one way for both drivers; how that travels with each path is tested for both above.
one_driver = pytest.mark.parametrize("shop_app", [default_driver()], indirect=True)


@one_driver
@pytest.mark.parametrize("name", PATHS)
def test_by_somebody_who_is_logged_in(shop, name):
    """Each path logs exactly its changes, in order, by the user of the request."""
    response = shop.app.test_client().post(f"/run/{name}?load=1", headers=logged_in_as(1))
    assert response.text == "done"
    check(shop, name)


@one_driver
@pytest.mark.parametrize("name", PATHS)
def test_by_somebody_whom_nobody_asked_for(shop, name):
    """If no code of the request asked for the user, sessions ask before they write; else nobody is named.

    What the engine or a bulk method sees first is recorded with whom the signed session names.
    """
    client = shop.app.test_client()
    with client.session_transaction() as cookie:
        cookie["_user_id"] = "1"
    assert client.post(f"/run/{name}").text == "done"
    is_known = name not in WITHOUT_A_SESSION
    check(shop, name, actors=({(1, "Grace")}, set()) if is_known else ({(None, None)}, {(1, "Grace"), (None, None)}))
    for transaction in shop.transactions():
        assert transaction.context.get("session_user") == (None if transaction.actor_id else "1")


@one_driver
@pytest.mark.parametrize("name", PATHS)
def test_by_nobody(shop, name):
    """Outside a request, without context(), nobody is named: the database role and application stand for them."""
    with shop.app.app_context():
        PATHS[name].act(shop)
    activities = shop.activities()
    assert lines(activities) == list(PATHS[name].expected)
    assert {(a.transaction.actor_id, a.transaction.actor_label, a.transaction.db_user) for a in activities} <= {
        (None, None, shop.app.config["SQLALCHEMY_DATABASE_URI"].username)
    }


def test_the_document_has_every_path():
    """docs/recording.md lists the paths that are tested, under the same names."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [path.name for path in PATHS.values() if f"| {path.name} |" not in text] == []


def autocommit_call(w):
    with w.db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("CALL add_thing('c')")


def raw_cursor(w):
    connection = w.db.engine.raw_connection()
    connection.cursor().execute("INSERT INTO things (name) VALUES ('c')")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("act", [autocommit_call, raw_cursor])
def test_what_is_not_seen_has_no_actor_rather_than_a_wrong_one(shop, act):
    """The two ways that can't be attributed are logged without an actor, also right after somebody's write."""
    with shop.app.app_context(), shop.audit_logger.context(actor=1):
        PATHS["core_update"].act(shop)
        act(shop)
    first, second = shop.activities()
    assert (first.transaction.actor_id, second.transaction.actor_id) == (1, None)
    assert lines([second]) == ["insert things 3: id=3 name=c"]


def test_stamp_is_remembered(shop):
    """After stamp() in another's name, the next statement of SQLAlchemy is its own actor's again."""
    with shop.app.app_context():
        with shop.audit_logger.context(actor=2):
            shop.audit_logger.stamp(shop.db.session)
            shop.db.session.connection().connection.cursor().execute("UPDATE things SET name = 'x' WHERE id = 1")
        with shop.audit_logger.context(actor=1):
            shop.db.session.execute(sa.text("UPDATE things SET name = 'y' WHERE id = 2"))
        shop.db.session.commit()
    assert [a.transaction.actor_id for a in shop.activities()] == [2, 1]


def test_a_savepoint_that_the_driver_rolls_back_brings_no_actor_back(shop):
    """A savepoint rolled back behind SQLAlchemy's back restores the setting of another actor; that one isn't used."""
    with shop.app.app_context():
        session = shop.db.session
        with shop.audit_logger.context(actor=2):
            session.execute(sa.text("UPDATE things SET name = 'x' WHERE id = 1"))
        cursor = session.connection().connection.cursor()
        with shop.audit_logger.context(actor=1):
            cursor.execute("SAVEPOINT one")
            session.execute(sa.text("UPDATE things SET name = 'gone' WHERE id = 2"))
            cursor.execute("ROLLBACK TO one")
            session.execute(sa.text("UPDATE things SET name = 'y' WHERE id = 2"))
        session.commit()
    assert [a.transaction.actor_id for a in shop.activities()] == [2, 1]
