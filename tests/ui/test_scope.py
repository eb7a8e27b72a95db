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

from flask_audit_logger.exceptions import ConfigurationError
from flask_audit_logger.ui import Label, RevertPolicy
from tests.support.models import AUDITED, Models
from tests.support.server import both_drivers
from tests.ui.everywhere import addresses, answer, statements
from tests.ui.previews import Browser, path_of, product
from tests.ui.shop import ANN, BOB, CLEO, listed, make_history, make_shop, text_of, undated
from tests.ui.test_export import objects_of

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
    whole = f"/audit/transaction/{change(shop).transaction_id}/take-back"
    assert "Secret" not in browser.preview(whole)
    assert browser.send(whole).status_code == 303
    assert (row(shop), row(shop, 8)) == ((2, "Secret tower", 20), (1, "Road", 10))


def test_a_transaction_is_taken_back_only_where_its_records_still_are(shop):
    """Also of a row that is again as the transaction left it."""
    path = f"/audit/transaction/{change(shop).transaction_id}/take-back"
    assert "2 changes of transaction" in text_of(Browser(shop).preview(path))
    move(shop)
    shop.sql("UPDATE projects SET budget = 20 WHERE id = 7")
    assert "2 changes of transaction" in text_of(Browser(shop, CLEO).preview(path))
    browser = Browser(shop)
    html = browser.preview(path)
    assert "not visible to you" in html and "91827364" not in html
    assert browser.send(path).status_code == 303
    assert (row(shop), row(shop, 8)) == ((2, "Secret tower", 20), (1, "Road", 10))


def test_where_a_reference_leads_is_not_told_by_taking_back(shop):
    shop.sql("INSERT INTO owners (id, tenant, name) VALUES (5, 1, 'Olga')")
    shop.sql("UPDATE projects SET owner_id = 5 WHERE id = 7")
    shop.sql("UPDATE projects SET owner_id = NULL WHERE id = 7")
    path = f"/transaction/{change(shop, number=-1).transaction_id}/take-back"
    shop.sql("UPDATE owners SET tenant = 2, name = 'Secret' WHERE id = 5")
    there = Browser(shop).preview(f"/audit{path}")
    assert "Secret" not in there
    shop.sql("DELETE FROM owners WHERE id = 5")
    again = Browser(shop).preview(f"/audit{path}")
    assert text_of(undated(again)) == text_of(undated(there))


def test_a_record_that_moved_away_is_not_taken_back(shop):
    path = f"/audit/transaction/{change(shop).transaction_id}/take-back"
    move(shop)
    shop.sql("UPDATE projects SET budget = 91827364 WHERE id = 7")
    browser = Browser(shop)
    html = browser.preview(path)
    assert "91827364" not in html and "not visible to you" in html
    assert browser.send(path).status_code in (303, 422)
    assert shop.sql("SELECT budget FROM projects WHERE id = 7") == [(91827364,)]


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
    browser, path = Browser(shop), f"/audit/transaction/{transaction}/take-back"
    assert "not visible to you" not in browser.preview(path)
    assert browser.send(path).status_code == 303
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


HIDDEN = ("Xylophone", "777.77", "Cleo", "198.51.100.77")


@pytest.mark.slow
def test_s03_what_belongs_to_another_looks_like_nothing(tenants):
    """Each address of Bob's, as Bob and as Ann; hidden and missing are one answer."""
    change = tenants.activity(record_key="77")
    other = {"activity_id": change.id, "transaction_id": change.transaction_id, "key": "77", "actor": str(CLEO)}
    nowhere = {"activity_id": 999999, "transaction_id": 999999, "key": "4711", "actor": "4711"}
    answers = zip(addresses(tenants, **other), addresses(tenants, **nowhere), strict=True)
    seen = 0
    for hidden, missing in answers:
        as_bob, as_ann = answer(tenants, hidden, user=BOB), answer(tenants, hidden)
        of_nothing = answer(tenants, missing)
        assert as_bob.status_code == 200, (hidden, as_bob.status_code)
        seen += "Xylophone" in as_bob.text
        assert not any(word in as_ann.text for word in HIDDEN), hidden
        assert as_ann.status_code == of_nothing.status_code, hidden
        if hidden != missing:
            assert as_ann.status_code == 404 and as_ann.text == of_nothing.text, hidden
            assert set(as_ann.headers) == set(of_nothing.headers)
    assert seen >= 8


@pytest.mark.slow
def test_s03_no_filter_or_version_leads_to_it(tenants):
    change, own = tenants.activity(record_key="77"), tenants.activity(record_key="42")
    for query in (
        "table=products&key=77", f"tx={change.transaction_id}", f"actor={CLEO}", "addr=198.51.100.77",
        "field=name&became=Xylophone", "field=price&became=777.77",
    ):  # fmt: skip
        for path in ("/", "/export.csv", "/export.jsonl", "/breakdown/facets", "/breakdown/histogram"):
            html = tenants.page(f"{path}?period=all&{query}")
            told = [word for word in HIDDEN if word in html and word not in query]
            assert not told, (path, query, told)
        assert tenants.ids(f"/?period=all&{query}") == [], query
    for path in (f"compare?from={change.id}", f"compare?to={change.id}", f"revert?to={change.id}&side=before"):
        tenants.page(f"/record/products/42/{path}", 404)
    for path in (f"/activity/{own.id}", "/record/products/42", "/record/products/42/at?time=2100-01-01", "/actor/1"):
        html = tenants.page(path)
        assert "Xylophone" not in html and f'.{change.id}"' not in html, path
    browser = Browser(tenants)
    response = browser.client.post(
        tenants.addressed(f"/audit/record/products/77/revert?to={change.id}"), headers=browser.headers
    )
    assert response.status_code == 404 and product(tenants, "stock", 77) == 8


def test_s03_hidden_and_missing_take_the_same_statements(tenants):
    """So the time of an answer says nothing either."""
    change = tenants.activity(record_key="77")
    for hidden, missing in (
        (f"/activity/{change.id}", "/activity/999999"),
        (f"/transaction/{change.transaction_id}", "/transaction/999999"),
        ("/record/products/77", "/record/products/4711"),
        (f"/actor/{CLEO}", "/actor/4711"),
    ):
        assert statements(tenants, hidden) == statements(tenants, missing), hidden


def test_s04_every_number_is_of_what_is_visible(tenants):
    visible = tenants.ids("/?period=all")
    assert len(visible) == 3 and "3 changes" in tenants.page("/?period=all")
    everything = len(tenants.application.activities())
    assert len(tenants.ids("/?period=all", user=BOB)) == everything - 3
    html = tenants.page("/breakdown/facets?period=all")
    assert {int(n) for n in re.findall(r"<small>(\d+)</small>", html)} <= {1, 2, 3} and "Categories" not in html
    bars = re.findall(r'aria-label="[^"]*: (\d+) changes?"', tenants.page("/breakdown/histogram?period=all"))
    assert sum(map(int, bars)) == 3
    both = tenants.activity(record_key="43")
    html = text_of(tenants.page(f"/transaction/{both.transaction_id}"))
    assert "2 rows changed by" in html and "3 rows" not in html
    assert "Products 2 2 rows" in text_of(tenants.page("/transactions?period=all").partition("<tbody")[2])
    actor = text_of(tenants.page(f"/actor/{ANN}?period=all"))
    assert "Products 1 2" in actor.partition("By table")[2] or "Products 2 1" in actor.partition("By table")[2]
    assert objects_of(tenants.get("/export.jsonl?period=all"))[-1]["_meta"]["rows"] == 3
    assert "3 changes" in text_of(tenants.page("/export?period=all"))
    deletion = tenants.activity(record_key="78")
    tenants.page(f"/transaction/{deletion.transaction_id}", 404)


def test_s04_the_chart_does_not_tell_when_others_were_active(tenants):
    """A time at which only others did something looks like one at which nobody did, and the first bar is one's own."""
    hidden = tenants.activity(record_key="77").transaction_id
    tenants.sql(f"UPDATE transaction SET issued_at = '2026-03-03 12:34:56+00' WHERE id <= {hidden}")
    busy, quiet = (f"since=2026-03-03T12:34:{n}&until=2026-03-03T12:34:{n + 1}" for n in (56, 57))

    def said(path):
        # all but the time that is asked for
        return re.sub(r"12(:|%3A)34(:|%3A)5\d", "", text_of(undated(tenants.page(path))))

    for path in ("/breakdown/histogram", "/breakdown/facets", "/", "/transactions", "/export"):
        answers = [said(f"{path}?{query}") for query in (busy, quiet)]
        assert answers[0] == answers[1], path
    assert "<svg" in tenants.page(f"/breakdown/histogram?{busy}", user=BOB)
    chart = tenants.page("/breakdown/histogram?period=all")
    assert "2026-03" not in chart and "Mar 2026" not in chart and "Changes by minute" in chart
    assert "Mar 2026" in tenants.page("/breakdown/histogram?period=all", user=BOB)


def test_s05_a_hidden_value_is_on_no_page(blinded):
    change = blinded.activity(record_key="42")
    secrets = ("987654", "Blue mug", "Red mug", "s3cret", "192.0.2.1")
    values = {"activity_id": change.id, "transaction_id": change.transaction_id, "column": "stock"}
    more = ("/record/products/42?col=price", "/?breakdown=1&period=all", "/export.csv?shape=field&period=all",
            "/record/products/42/compare?from=first&to=now&all=1", "/record/products/43")  # fmt: skip
    for path in (*addresses(blinded, **values), *more):
        html = blinded.get(path).text
        assert not any(secret in html for secret in secrets), path
    assert blinded.get(f"/activity/{change.id}/value/stock?side=new").status_code == 404
    assert "987654" in blinded.page(f"/activity/{change.id}", user=BOB)
    unchanged = blinded.page(f"/activity/{change.id}").partition("unchanged")[2].partition("</details>")[0]
    assert "tags" in unchanged and "stock" not in unchanged and ">name" not in unchanged


def test_s05_a_hidden_column_can_not_be_searched(blinded):
    """Right guess, wrong guess and no such column are one answer."""
    for name in ("stock", "name", "secret", "nothing"):
        for query in (f"col={name}", f"field={name}&was=4", f"field={name}&became=987654"):
            for path in ("/", "/export", "/export.csv", "/export.jsonl"):
                html = blinded.page(f"{path}?table=products&{query}", 400)
                assert f"There is no searchable column &#39;{name}&#39;." in html, (path, query)
            assert blinded.get(f"/breakdown/facets?table=products&{query}").status_code == 404
        assert listed(answer(blinded, f"/record/products/42?col={name}").text) == []
    assert blinded.ids("/?table=products&field=stock&became=987654", user=BOB)
    with_others = blinded.page("/?col=name&period=all")  # other tables have a column of that name
    assert listed(with_others) and "Products" not in text_of(with_others.partition("<tbody")[2])


def test_s05_what_was_logged_before_the_table_masked_the_column_is_hidden(new_shop):
    shop = make_history(new_shop(revert=RevertPolicy()))
    for side in ("old_data", "changed_data"):
        logged = f"{side} || jsonb_build_object('secret', 's3cret')"
        shop.sql(f"UPDATE activity SET {side} = {logged} WHERE table_name = 'products' AND {side} <> '{{}}'")
    change = shop.activity(record_key="42", verb="update")
    values = {"activity_id": change.id, "transaction_id": change.transaction_id, "column": "secret"}
    more = ("/export.csv?shape=field&period=all", "/record/products/42/compare?from=first&to=now&all=1")
    for path in (*addresses(shop, **values), *more):
        assert "s3cret" not in answer(shop, path).text, path
    assert shop.get(f"/activity/{change.id}/value/secret?side=new").status_code == 404


def test_s05_a_key_can_not_be_masked(new_shop):
    """Records are found and linked by it, so it would be shown all the same."""
    with pytest.raises(ConfigurationError, match=r"names 'order_items\.code', but 'code' is part of the key"):
        new_shop(mask=["products.name", "order_items.code"])
