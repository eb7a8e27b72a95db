"""Promise: what is out of a viewer's scope looks like what does not exist, the rows of today included.

Two tenants share the tables. A record that moved to the other tenant keeps its old changes in the log of the first one,
whose people must neither see what it is now nor change it.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from flask_login import UserMixin

from flask_audit_logger.ui import Label, RevertPolicy
from tests.support.models import AUDITED, Models
from tests.support.server import both_drivers
from tests.ui.previews import Browser, path_of
from tests.ui.shop import ANN, BOB, CLEO, make_shop, text_of, undated

#: Ann reads the log of tenant 1, Bob that of tenant 2, Cleo everything.
TENANTS = {str(ANN): "1", str(BOB): "2"}


def declare_tenants(db, **options):
    class User(UserMixin, db.Model):
        __tablename__ = "users"
        id = sa.Column(sa.Integer, primary_key=True)
        name = sa.Column(sa.Text)

    class Owner(db.Model):
        __tablename__ = "owners"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.Integer, primary_key=True)
        tenant = sa.Column(sa.Integer)
        name = sa.Column(sa.Text)

    class Project(db.Model):
        __tablename__ = "projects"
        __table_args__ = ({"info": {"audit_logged": options or True}},)
        id = sa.Column(sa.Integer, primary_key=True)
        tenant = sa.Column(sa.Integer)
        name = sa.Column(sa.Text)
        budget = sa.Column(sa.Integer)
        owner_id = sa.Column(sa.ForeignKey("owners.id"))

    return Models(User=User, Owner=Owner, Project=Project)


@pytest.fixture
def shop(create_app):
    """Project 7 was made by tenant 1, moved to tenant 2 and changed there. Project 8 is tenant 1's for good."""
    return make_tenants(create_app)


def make_tenants(create_app, *, has_hooks=True, **options):
    """The two tenants.

    :param has_hooks: whether the application names the rows of today and what is related to them.
    :param options: of the table of projects.
    """
    asked: list = []

    def scope(select, viewer):
        tenant = TENANTS.get(viewer.id)
        activity = made.application.audit_logger.activity_cls
        after = sa.func.coalesce(activity.changed_data["tenant"].astext, activity.old_data["tenant"].astext)
        # and nobody but Cleo reads the changes of names
        seen = sa.and_(
            after == tenant, sa.not_(sa.and_(activity.verb == "update", activity.changed_data.has_key("name")))
        )
        return select if tenant is None else select.where(seen)

    def record_labels(refs):
        asked.extend(refs)
        rows = made.db.session.execute(sa.select(made.models.Project.id, made.models.Project.name))
        names = {str(key): name for key, name in rows}
        return {ref: Label(names[ref.key]) for ref in refs if ref.table.name == "projects" and ref.key in names}

    def related_records(ref):
        budget = made.db.session.scalar(
            sa.select(made.models.Project.budget).where(made.models.Project.id == int(ref.key))
        )
        return [Label(f"Invoice over {budget}", "/invoices/1")]

    made = make_shop(
        create_app,
        declare=lambda db: declare_tenants(db, **options),
        scope=scope,
        permission=lambda action, target: True,
        revert=RevertPolicy(reason_required=False),
        **({"record_labels": record_labels, "related_records": related_records} if has_hooks else {}),
    )
    made.sql("INSERT INTO projects (id, tenant, name, budget) VALUES (7, 1, 'Bridge', 10), (8, 1, 'Road', 10)")
    made.sql("UPDATE projects SET budget = 20")
    made.asked = asked
    return made


def move(shop):
    shop.sql("UPDATE projects SET tenant = 2 WHERE id = 7")
    shop.sql("UPDATE projects SET name = 'Secret tower', budget = 91827364 WHERE id = 7")


def change(shop, key="7", number=0):
    """An update of a project's budget in tenant 1."""
    return shop.application.activities(table_name="projects", record_key=key, verb="update")[number]


def row(shop, key=7):
    rows = shop.sql(f"SELECT tenant, name, budget FROM projects WHERE id = {key}")
    return tuple(rows[0]) if rows else None


PAGES = (
    "/", "/record/projects/7", "/record/projects/7/at", "/record/projects/7/compare",
    "/record/projects/7/compare?from=first&to=now", "/record/projects/7/compare?from=now&to=last",
    "/transactions", "/export.csv", "/export.jsonl", "/breakdown/facets",
)  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_no_page_shows_what_the_record_is_elsewhere(shop, path):
    move(shop)
    shown = text_of(shop.page(path))
    assert "Secret" not in shown and "91827364" not in shown
    assert "while auditing was off" not in shown


def test_the_pages_of_a_change_and_its_transaction_do_not_either(shop):
    move(shop)
    found = change(shop)
    for path in (f"/activity/{found.id}", f"/transaction/{found.transaction_id}"):
        shown = text_of(shop.page(path))
        assert "Secret" not in shown and "91827364" not in shown and "Put back" not in shown, path


def without_times(html):
    """What a page says, but not when it was made."""
    return re.sub(r"\d+ \w+ ago|just now|\d\d:\d\d:\d\d", "", text_of(html))


def test_the_row_of_today_looks_like_one_that_is_gone(shop):
    """A row that was removed unseen and one that moved away give the same page."""
    path = "/record/projects/7/compare?from=last&to=now"
    move(shop)
    moved = without_times(shop.page(path))
    with shop.acting(CLEO) as session, shop.application.audit_logger.disable(session):
        session.execute(sa.text("DELETE FROM projects WHERE id = 7"))
    assert without_times(shop.page(path)) == moved
    assert "budget 20" in moved


def test_the_pages_of_the_application_say_nothing_either(shop):
    move(shop)
    app = shop.application.app
    with app.test_request_context("/", headers={"X-Test-User": str(ANN)}):
        html = app.jinja_env.from_string("{{ audit_recent_changes('projects', 7) }}").render()
    assert "10 → 20" in text_of(html) and "Secret" not in html and "91827364" not in html


def test_the_application_is_asked_only_for_names_in_the_scope(shop):
    move(shop)
    shop.page("/")
    assert {ref.key for ref in shop.asked} == {"8"}
    shop.asked.clear()
    shop.page("/", user=CLEO)
    assert {ref.key for ref in shop.asked} == {"7", "8"}


def test_nothing_is_put_back_into_a_record_that_moved(shop):
    path = path_of(change(shop), "before", "budget")
    browser = Browser(shop)
    assert "20 10" in text_of(browser.preview(path)), "it is theirs before it moves"
    move(shop)
    before = row(shop)
    assert browser.client.get(path, headers=browser.headers).status_code == 404
    assert browser.send(path).status_code == 404
    assert row(shop) == before == (2, "Secret tower", 91827364)
    assert "/revert" not in shop.page("/record/projects/7")
    assert "/revert" in shop.page("/record/projects/8")


@both_drivers
def test_nothing_is_put_back_into_a_record_that_moves_meanwhile(shop):
    """The move is committed between the look at the row and the write: the write waits for it and sees it."""
    path, browser = path_of(change(shop), "before", "budget"), Browser(shop)
    browser.preview(path)
    engine = sa.create_engine(shop.application.app.config["SQLALCHEMY_DATABASE_URI"], poolclass=sa.pool.NullPool)
    with ThreadPoolExecutor(1) as pool, engine.connect() as other:
        for name in ("Left", "Bridge"):  # the row is in the end as it was shown, so its values tell nothing
            other.execute(sa.text(f"UPDATE projects SET name = '{name}' WHERE id = 7"))
        sending = pool.submit(browser.send, path)
        wait_for_lock(engine)
        other.commit()
        assert sending.result(timeout=60).status_code == 409
    assert row(shop) == (1, "Bridge", 20)


def wait_for_lock(engine):
    statement = sa.text("SELECT 1 FROM pg_locks WHERE NOT granted")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while connection.scalar(statement) is None:
            connection.execute(sa.text("SELECT pg_sleep(0.02)"))


def test_a_deleted_record_whose_key_is_used_elsewhere_is_not_restored(shop):
    shop.sql("DELETE FROM projects WHERE id = 7")
    deletion = shop.application.activities(record_key="7", verb="delete")[0]
    path, browser = path_of(deletion), Browser(shop)
    assert "Restore" in browser.preview(path)
    shop.sql("INSERT INTO projects (id, tenant, name, budget) VALUES (7, 2, 'Secret tower', 91827364)")
    assert browser.client.get(path, headers=browser.headers).status_code == 404
    assert browser.send(path).status_code == 404
    shop.sql("DELETE FROM projects WHERE id = 7")
    assert browser.send(path).status_code == 404, "what happened to the key last is not theirs"
    assert row(shop) is None


def test_a_key_that_was_given_to_a_record_elsewhere_is_not_theirs(shop):
    """Project 7 is deleted; a project of tenant 2 gets its key, which the log has under the old key."""
    shop.sql("DELETE FROM projects WHERE id = 7")
    deletion = shop.application.activities(record_key="7", verb="delete")[0]
    shop.sql("INSERT INTO projects (id, tenant, name, budget) VALUES (9, 2, 'Secret tower', 20)")
    shop.sql("UPDATE projects SET id = 7 WHERE id = 9")
    for path in ("/record/projects/7", "/record/projects/7/compare?from=first&to=now"):
        assert "Secret" not in shop.page(path)
    browser, path = Browser(shop), path_of(change(shop))
    assert "Secret" not in browser.preview(path)
    assert browser.send(path).status_code == 422
    assert "Secret" not in browser.preview(path_of(deletion))
    assert row(shop) == (2, "Secret tower", 20)
    script = shop.page(f"/transaction/{change(shop).transaction_id}/undo.sql")
    assert "UPDATE" not in only_statements(script, 7)


def test_a_transaction_is_taken_back_only_where_its_records_still_are(shop):
    transaction = change(shop).transaction_id
    path = f"/transaction/{transaction}/undo.sql"
    assert only_statements(shop.page(path), 7).count("UPDATE") == 1
    move(shop)
    shop.sql("UPDATE projects SET budget = 20 WHERE id = 7")
    script = shop.page(path)
    assert "UPDATE" not in only_statements(script, 7) and "UPDATE" in only_statements(script, 8)
    assert "NOT UNDONE" in script and "91827364" not in script
    assert only_statements(shop.page(path, user=CLEO), 7).count("UPDATE") == 1


def only_statements(script, key):
    """The statements of a script that are about a project."""
    return "\n".join(line for line in script.splitlines() if f"'{key}'" in line and not line.startswith("--"))


def test_a_whole_transaction_of_a_tenant_is_still_taken_back(shop):
    """What is made, changed, renamed and deleted within one transaction is not taken for something of others."""
    with shop.acting(ANN) as session:
        for statement in (
            "INSERT INTO projects (id, tenant, name, budget) VALUES (20, 1, 'New', 1)",
            "UPDATE projects SET budget = 2 WHERE id = 20",
            "UPDATE projects SET id = 21 WHERE id = 20",
            "UPDATE projects SET budget = 3 WHERE id = 21",
            "DELETE FROM projects WHERE id = 8",
            "UPDATE projects SET budget = 99 WHERE id = 7",
        ):
            session.execute(sa.text(statement))
    transaction = shop.application.activities(record_key="21")[0].transaction_id
    script = shop.page(f"/transaction/{transaction}/undo.sql")
    assert "NOT UNDONE" not in script
    shop.sql(script.replace("ROLLBACK;", "").replace("BEGIN;", "").replace(":", "\\:"))
    assert [row(shop, key) for key in (7, 8, 20, 21)] == [(1, "Bridge", 20), (1, "Road", 20), None, None]


def test_where_a_reference_leads_is_not_told(shop):
    """Whether a record of the other tenant exists can't be learned from the preview."""
    shop.sql("INSERT INTO owners (id, tenant, name) VALUES (5, 1, 'Olga'), (6, 1, 'Otto')")
    shop.sql("UPDATE projects SET owner_id = 5 WHERE id = 7")
    shop.sql("UPDATE projects SET owner_id = NULL WHERE id = 7")
    shop.sql("UPDATE owners SET tenant = 2, name = 'Secret' WHERE id = 5")
    path = path_of(change(shop, number=-1), "before", "owner_id")
    there = text_of(undated(Browser(shop).preview(path)))
    assert "Secret" not in there
    shop.sql("DELETE FROM owners WHERE id = 5")
    assert text_of(undated(Browser(shop).preview(path))) == there


def test_changes_while_auditing_was_off_are_told_to_who_sees_everything(shop):
    unlogged(shop, "UPDATE projects SET budget = 5 WHERE id = 8")
    assert "while auditing was off" in shop.page("/record/projects/8", user=CLEO)
    assert "while auditing was off" not in shop.page("/record/projects/8"), "it could be a change of another tenant"
    path = "/record/projects/8/compare?from=last&to=now"
    assert "20 5" in text_of(shop.page(path, user=CLEO))
    assert "20 5" not in text_of(shop.page(path)), "nor can the log prove that the row is still theirs"
    shop.sql("UPDATE projects SET budget = 6 WHERE id = 8")
    assert "budget 6" in text_of(shop.page(f"{path}&all=1")), "the next change tells all of it"


SECRET = "tenant = 2, name = 'Secret tower', budget = 91827364"


def unlogged(shop, statement):
    """Run a statement while auditing is off."""
    with shop.acting(CLEO) as session, shop.application.audit_logger.disable(session):
        session.execute(sa.text(statement))


def without_triggers(shop):
    shop.sql("ALTER TABLE projects DISABLE TRIGGER USER")
    shop.sql(f"UPDATE projects SET {SECRET} WHERE id = 7")
    shop.sql("ALTER TABLE projects ENABLE TRIGGER USER")


def back_and_forth(shop):
    """With only what changed in the log, the newest change alone does not tell the name."""
    shop.sql("UPDATE projects SET tenant = 2 WHERE id = 7")
    shop.sql("UPDATE projects SET tenant = 1, budget = 30 WHERE id = 7")


#: Options of the table, what happens before, and how the row gets to the other tenant so that the log does not know.
UNSEEN = {
    "auditing off": ({}, None, lambda shop: unlogged(shop, f"UPDATE projects SET {SECRET} WHERE id = 7")),
    "only the tenant": ({}, None, lambda shop: unlogged(shop, "UPDATE projects SET tenant = 2 WHERE id = 7")),
    "no triggers": ({}, None, without_triggers),
    "ignored column": (
        {"ignore": ["tenant"]}, None, lambda shop: shop.sql("UPDATE projects SET tenant = 2 WHERE id = 7"),
    ),
    "only what changed": (
        {"old_data": "changed"}, back_and_forth,
        lambda shop: unlogged(shop, "UPDATE projects SET name = 'Secret tower' WHERE id = 7"),
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", UNSEEN)
def test_a_row_that_differs_from_the_log_is_not_theirs(create_app, case):
    """It moved unseen: it looks as if there were none, and nothing is put back into it."""
    options, prepare, move_unseen = UNSEEN[case]
    shop = make_tenants(create_app, has_hooks=False, **options)
    if prepare is not None:
        prepare(shop)
    number = len(shop.application.activities(table_name="projects", record_key="7", verb="update")) - 1
    compare, path = (
        "/record/projects/7/compare?from=last&to=now",
        path_of(change(shop, number=number), "before", "budget"),
    )
    browser = Browser(shop)
    assert "Put back" in browser.preview(path), "it is theirs before it moves"
    own = without_times(shop.page(compare))
    move_unseen(shop)
    before, moved = row(shop), without_times(shop.page(compare))
    assert moved != own and "Secret" not in moved and "91827364" not in moved
    assert browser.client.get(path, headers=browser.headers).status_code == 404
    assert browser.send(path).status_code == 404
    assert row(shop) == before
    assert shop.get(path, user=CLEO).status_code == 200, "who sees everything may"
    unlogged(shop, "DELETE FROM projects WHERE id = 7")
    assert without_times(shop.page(compare)) == moved


def test_columns_that_the_log_does_not_have_prove_nothing(create_app):
    """A masked or excluded column says nothing against a row; neither does one that was added since."""
    shop = make_tenants(create_app, mask=["name"], exclude=["owner_id"])
    unlogged(shop, "UPDATE projects SET name = 'Tunnel', owner_id = NULL WHERE id = 7")
    shop.sql("ALTER TABLE projects ADD COLUMN place text DEFAULT 'here'")
    path = path_of(change(shop), "before", "budget")
    assert "budget 20" in text_of(shop.page("/record/projects/7/compare?from=last&to=now&all=1"))
    browser = Browser(shop)
    assert "20 10" in text_of(browser.preview(path))
    assert browser.send(path).status_code == 303
    assert row(shop) == (1, "Tunnel", 10)
