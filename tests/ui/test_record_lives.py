"""Promise: who set a value is said only of what is known, and a key that is used again keeps its lives apart."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from flask_audit_logger.query.paging import Cursor
from flask_audit_logger.query.reader import AuditReader
from flask_audit_logger.query.records import names_of
from flask_audit_logger.query.refs import RecordRef
from flask_audit_logger.schema.names import TableName
from flask_audit_logger.ui import AuditUI, Label
from tests.support.server import both_drivers
from tests.ui.shop import ANN, BOB, CLEO, Shop, declare_shop, links, make_shop, may_read, text_of

SHORT = {"audit_logged": {"old_data": "changed"}}


def declare_more(db):
    """Tables with other options."""
    models = declare_shop(db)
    key = {"primary_key": True}
    sa.Table("counters", db.metadata, sa.Column("id", sa.Integer, **key), sa.Column("name", sa.Text),
             sa.Column("hits", sa.Integer), info={"audit_logged": {"ignore": ["hits"]}})  # fmt: skip
    sa.Table("pairs", db.metadata, sa.Column("a", sa.Integer, **key), sa.Column("b", sa.Integer, **key),
             sa.Column("v", sa.Text), info=SHORT)  # fmt: skip
    sa.Table("short", db.metadata, sa.Column("id", sa.Integer, **key), sa.Column("v", sa.Text),
             sa.Column("w", sa.Text), sa.Column("x", sa.Text), info=SHORT)  # fmt: skip
    return models


@pytest.fixture
def more(create_app):
    """A shop with those tables, without history."""
    shop = Shop(create_app(declare=declare_more, ui=AuditUI(permission=may_read)))
    with shop.application.app.app_context():
        for number, name in ((ANN, "Ann Price"), (BOB, "Bob Stone"), (CLEO, "Cleo D’Angelo")):
            shop.db.session.add(shop.models.User(id=number, name=name))
        shop.db.session.commit()
    return shop


def by(shop, user, *statements, **context):
    """Run each statement in a request of its own."""
    for statement in statements:
        with shop.acting(user, **context) as session:
            session.execute(sa.text(statement))


def unseen(shop, table, statement):
    """Run a statement while auditing of a table is off."""
    shop.sql(f"ALTER TABLE {table} DISABLE TRIGGER USER; {statement}; ALTER TABLE {table} ENABLE TRIGGER USER")


def values(shop, path):
    """What a page says of each column: value, what it was before, since when, by whom; times are ``T``."""
    html = shop.page(path)
    rows = re.findall(r'scope="row">((?:(?!</th>).)*)</th>\s*(<td role="cell" class="audit-now">.*?)</tr>', html, re.S)
    time = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
    return {text_of(name): time.sub("T", text_of(cells)) for name, cells in rows}


def ids_of(shop, table):
    return [change.id for change in shop.application.activities(table_name=table)]


@both_drivers
def test_nobody_set_a_value_that_was_changed_unseen(more):
    by(more, ANN, "INSERT INTO products (id, name, price) VALUES (1, 'A', 10)")
    unseen(more, "products", "UPDATE products SET price = 99")
    by(more, BOB, "UPDATE products SET stock = 1")
    for path in ("/record/products/1", "/record/products/1/at"):
        shown = values(more, path)
        assert shown["price"].startswith("99.00") and shown["price"].endswith("not recorded"), path
        assert shown["name"].endswith("T Ann Price") and shown["stock"].endswith("T Bob Stone")
    changed = text_of(more.page("/record/products/1").partition("Current values")[2].partition("</table>")[0])
    assert "price 99" in changed  # it is no column that never changed


def test_nobody_set_a_value_whose_changes_are_ignored(more):
    by(more, ANN, "INSERT INTO counters VALUES (1, 'n', 1)")
    by(more, BOB, "UPDATE counters SET hits = 50")
    by(more, CLEO, "UPDATE counters SET name = 'm'")
    for path in ("/record/counters/1", "/record/counters/1/at"):
        shown = values(more, path)
        assert "50" in shown["hits"] and shown["hits"].endswith("not recorded")
        assert shown["name"].endswith("Cleo D’Angelo") and shown["id"].endswith("Ann Price")


def test_nobody_set_a_value_whose_change_is_out_of_scope(create_app):
    def own(statement, viewer):
        if viewer.id != str(ANN):
            return statement
        transaction = shop.application.audit_logger.models.transaction
        activity = shop.application.audit_logger.models.activity.c
        return statement.where(
            activity.transaction_id.in_(sa.select(transaction.c.id).where(transaction.c.actor_id == ANN))
        )

    shop = make_shop(create_app, scope=own)
    by(shop, ANN, "INSERT INTO products (id, name, price) VALUES (1, 'a', 10)")
    by(shop, BOB, "UPDATE products SET price = 20")
    by(shop, ANN, "UPDATE products SET name = 'b'")
    assert values(shop, "/record/products/1")["price"].endswith("not recorded")
    by(shop, BOB, "TRUNCATE products")
    assert "Exists. Last change" in shop.page("/record/products/1")
    assert "Emptied" in text_of(shop.page("/record/products/1", user=BOB))


@pytest.fixture
def reused(more):
    """Key 42 had a life, then another record got it."""
    by(more, ANN, "INSERT INTO products (id, name, price) VALUES (42, 'Old', 9)", "DELETE FROM products")
    by(more, BOB, "INSERT INTO products (id, name, price) VALUES (41, 'New', 9)")
    by(more, CLEO, "UPDATE products SET id = 42")
    return more


def test_who_deleted_a_record_set_nothing_of_the_next_one_with_its_key(reused):
    by(reused, CLEO, "UPDATE products SET stock = 3")
    for path in ("/record/products/42", "/record/products/42/at"):
        shown = values(reused, path)
        assert shown["name"].startswith("New") and shown["name"].endswith("not recorded")
        assert shown["price"].endswith("not recorded"), "the old record had the same price"
        assert shown["stock"].endswith("Cleo D’Angelo")
    html = reused.page("/record/products/42")
    assert "this record had key 41" in html and "/audit/record/products/41" in links(html)


def test_a_key_that_was_left_and_used_again_tells_both(more):
    by(more, BOB, "INSERT INTO products (id, name) VALUES (41, 'New')")
    by(more, CLEO, "UPDATE products SET id = 42")
    by(more, ANN, "INSERT INTO products (id, name) VALUES (41, 'Other')")
    html = more.page("/record/products/41")
    assert re.search(r"Until \S+ \S+ this key belonged to a record whose key changed to 42", text_of(html))
    assert "/audit/record/products/42" in links(html)
    assert values(more, "/record/products/41")["name"] == "Other – T Ann Price"


def test_the_history_under_another_key_is_one_link_away(more):
    by(more, BOB, "INSERT INTO products (id, name) VALUES (41, 'New')")
    by(more, CLEO, "UPDATE products SET id = 42")
    for page in ("", "/at", "/at?time=2030-01-01", "/compare"):
        html = more.page(f"/record/products/42{page}")
        assert "this record had key 41" in html and "/audit/record/products/41" in links(html)
    assert "this record has key 42" in more.page("/record/products/41/at")
    for page in ("/at", "/compare"):
        more.page(f"/record/products/43{page}", 404)
    more.page(f"/record/products/42/compare?from={ids_of(more, 'products')[0]}", 404)


def test_a_part_of_a_key_changes(more):
    by(more, ANN, "INSERT INTO pairs VALUES (1, 2, 'x')", "UPDATE pairs SET b = 3")
    html = more.page("/record/pairs/1,2")
    assert "this record has key 1, 3" in html and "/audit/record/pairs/1,3" in links(html)
    assert "this record had key 1, 2" in more.page("/record/pairs/1,3")
    by(
        more,
        ANN,
        "UPDATE pairs SET v = 'y'",
        "INSERT INTO pairs VALUES (7, 2, 'z')",
        "UPDATE pairs SET b = 4 WHERE a = 7",
    )
    assert "/audit/record/pairs/1,2" in links(more.page("/record/pairs/1,3"))
    assert "/audit/record/pairs/7,2" in links(more.page("/record/pairs/7,4"))
    more.page("/record/pairs/1,4", 404)


def test_a_table_that_was_emptied_took_the_record_with_it(more):
    by(more, ANN, "INSERT INTO products (id, name, price) VALUES (1, 'Mug', 5)", "UPDATE products SET price = 6")
    by(more, BOB, "TRUNCATE products")
    html = more.page("/record/products/1")
    assert re.search(r"Emptied \S+ \S+ by Bob Stone", text_of(html)) and "auditing was off" not in html
    assert "Current values" not in html
    updated, emptied = ids_of(more, "products")[1:]
    assert f"/audit/activity/{more.address(emptied)}" in links(html)
    now = more.page("/record/products/1/at")
    assert "The row at that time" not in now and "The whole table was emptied" in now
    at = "/audit/record/products/1/at?change="
    assert f"{at}{more.address(emptied)}" in links(more.page(f"{at}{updated}"))
    assert f"{at}{more.address(updated)}" in links(more.page(f"{at}{emptied}"))
    assert "price 6.00 –" in text_of(more.page(f"/record/products/1/compare?from={updated}&to=last"))
    more.page("/record/products/2", 404)
    by(more, CLEO, "INSERT INTO products (id, price) VALUES (1, 7)")
    html = more.page("/record/products/1")
    assert "Exists. Last change" in html and values(more, "/record/products/1")["price"] == "7.00 – T Cleo D’Angelo"


def test_who_deleted_a_record_is_said_though_its_table_was_emptied_then(more):
    by(more, ANN, "INSERT INTO products (id, name) VALUES (1, 'Mug')", "DELETE FROM products")
    by(more, BOB, "TRUNCATE products")
    assert re.search(r"Deleted \S+ \S+ by Ann Price", text_of(more.page("/record/products/1")))
    by(more, ANN, "INSERT INTO products (id, name) VALUES (5, 'Mug')", "UPDATE products SET id = 6")
    by(more, BOB, "TRUNCATE products")
    assert re.search(r"Key changed \S+ \S+ by Ann Price", text_of(more.page("/record/products/5")))
    more.page(f"/record/products/1/at?change={ids_of(more, 'products')[-1]}", 404)


def test_columns_that_were_dropped_or_renamed_are_no_current_values(more):
    by(more, ANN, "INSERT INTO products (id, name, stock) VALUES (1, 'a', 5)")
    more.sql("ALTER TABLE products RENAME stock TO amount")
    by(more, ANN, "UPDATE products SET amount = 14")
    more.sql("ALTER TABLE products DROP COLUMN price")
    by(more, ANN, "UPDATE products SET name = 'z'")
    for path in ("/record/products/1", "/record/products/1/at"):
        shown = values(more, path)
        assert "amount (not in the application today)" in shown and "stock" not in shown and "price" not in shown
    assert "price" in values(more, f"/record/products/1/at?change={ids_of(more, 'products')[1]}")


def test_a_snapshot_found_values_and_set_none(more):
    unseen(more, "products", "INSERT INTO products (id, name, price) VALUES (1, 'A', 10)")
    result = more.application.app.test_cli_runner().invoke(args=["audit", "baseline", "products"])
    assert result.exit_code == 0, result.output
    html = more.page("/record/products/1")
    assert "Exists. Recorded by a table snapshot just now" in html
    assert values(more, "/record/products/1")["price"] == "10.00 – before T not recorded"
    at = more.page("/record/products/1/at")
    assert "Recorded by a table snapshot at" in at and "Last change before" not in at
    assert values(more, "/record/products/1/at")["price"] == "10.00 before T not recorded"
    by(more, BOB, "UPDATE products SET price = 11")
    shown = values(more, "/record/products/1")
    assert "Recorded by snapshot" in more.page("/record/products/1/compare")
    assert shown["price"] == "11.00 was 10.00 T Bob Stone" and shown["name"] == "A – before T not recorded"


def test_what_an_incomplete_log_does_not_know_is_said(more):
    unseen(more, "short", "INSERT INTO short VALUES (1, 'a', 'c', 'e')")
    by(more, ANN, "UPDATE short SET v = 'b'")
    by(more, BOB, "UPDATE short SET w = 'd'")
    first, last = ids_of(more, "short")
    note = "The log has only the changed columns"
    html = more.page(f"/record/short/1/at?change={first}")
    assert note in html
    assert values(more, f"/record/short/1/at?change={first}") == {"v": "b T Ann Price", "w": "c – not recorded"}
    assert note in more.page("/record/short/1")
    html = more.page(f"/record/short/1/compare?from={first}&to={last}")
    assert "w c d" in text_of(html) and note in html and " v " not in text_of(html.partition("What differs")[2])
    assert "v" not in more.page("/record/short/1/compare?to=now").partition("What differs")[2].partition("</table>")[0]


def test_a_whole_log_of_changed_columns_has_no_such_note(more):
    by(more, ANN, "INSERT INTO short VALUES (1, 'a', 'c', 'e')", "UPDATE short SET v = 'b'", "UPDATE short SET w = 'd'")
    assert "The log has only the changed columns" not in more.page("/record/short/1")
    assert values(more, "/record/short/1/at") == {
        "id": "1 T Ann Price", "v": "b T Ann Price", "w": "d T Ann Price", "x": "e T Ann Price"
    }  # fmt: skip


def test_a_later_life_tells_nothing_of_an_earlier_one(more):
    unseen(more, "short", "INSERT INTO short VALUES (1, 'a', 'c', 'e')")
    by(more, ANN, "UPDATE short SET v = 'b'", "TRUNCATE short", "INSERT INTO short VALUES (1, 'k', 'l', 'm')")
    by(more, ANN, "UPDATE short SET w = 'n'", "DELETE FROM short")
    first = ids_of(more, "short")[0]
    assert values(more, f"/record/short/1/at?change={first}") == {"v": "b T Ann Price"}


def test_whoever_acted_as_somebody_else_is_named(more):
    cleo = more.models.User(id=CLEO, name="Cleo D’Angelo")
    by(more, BOB, "INSERT INTO categories VALUES (1, 'x')", "UPDATE categories SET name = 'y'", impersonator=cleo)
    assert "by Cleo D’Angelo as Bob Stone" in text_of(more.page("/record/categories/1"))
    assert "Cleo D’Angelo as Bob Stone" in text_of(more.page("/actor/2").partition('id="audit-results"')[2])
    by(more, BOB, "DELETE FROM categories", impersonator=cleo)
    assert re.search(r"Deleted \S+ \S+ by Cleo D’Angelo as Bob Stone", text_of(more.page("/record/categories/1")))
    by(more, ANN, "INSERT INTO categories VALUES (2, 'x')")
    assert ">Who<" not in more.page("/actor/1").partition('id="audit-results"')[2]


def names_in(html):
    """What the records of a list are called, newest first."""
    return [text_of(cell) for cell in re.findall(r'class="audit-c-record">(.*?)</th>', html, re.S)]


def test_an_entry_has_the_name_of_what_had_the_key_then(more):
    by(more, ANN, "INSERT INTO users VALUES (50, 'Mallory')", "UPDATE users SET name = 'Mallory M' WHERE id = 50")
    by(more, BOB, "DELETE FROM users WHERE id = 50", "INSERT INTO users VALUES (50, 'Alice')")
    by(more, CLEO, "UPDATE users SET name = 'Alice A' WHERE id = 50")
    old, since = ["Mallory M Users #50"], ["Mallory M deleted since Users #50"]
    assert names_in(more.page("/?table=users&key=50")) == ["Alice A Users #50"] * 2 + old + since * 2
    deleted = more.activity(table_name="users", verb="delete").id
    assert "<h1>Mallory M: deleted</h1>" in more.page(f"/activity/{deleted}")
    assert "<h1>Alice A</h1>" in more.page("/record/users/50")
    export = more.get("/export.jsonl?table=users&key=50").text
    assert export.count('"label": "Alice A"') == 2 and export.count('"label": "Mallory M"') == 3
    by(more, BOB, "DELETE FROM users WHERE id = 50")
    names = names_in(more.page("/?table=users&key=50"))
    assert names == ["Alice A Users #50"] + ["Alice A deleted since Users #50"] * 2 + old + since * 2


def test_the_application_names_what_has_the_key_now(create_app):
    def labels(refs):
        return {ref: Label("Alice, 3rd floor") for ref in refs if ref.key == "50"}

    shop = make_shop(create_app, record_labels=labels)
    by(shop, ANN, "INSERT INTO users VALUES (50, 'Mallory')", "DELETE FROM users WHERE id = 50")
    by(shop, BOB, "INSERT INTO users VALUES (50, 'Alice')")
    names = names_in(shop.page("/?table=users&key=50"))
    assert names == ["Alice, 3rd floor Users #50", "Mallory Users #50", "Mallory deleted since Users #50"]


def test_names_of_what_was_emptied_or_left(more):
    by(more, ANN, "INSERT INTO categories VALUES (1, 'Mugs')", "INSERT INTO categories VALUES (2, 'Maps')")
    by(more, BOB, "TRUNCATE categories CASCADE")
    names = names_in(more.page("/?table=categories&verb=insert"))
    assert names == ["Maps deleted since Categories #2", "Mugs deleted since Categories #1"]
    by(more, CLEO, "INSERT INTO categories VALUES (2, 'Hats')", "UPDATE categories SET id = 3")
    by(more, CLEO, "INSERT INTO categories VALUES (2, 'Pins')")
    pins, hats = "Pins Categories #2", "Hats Categories #2"
    names = names_in(more.page("/?table=categories&key=2"))
    assert names == [pins, hats, hats, "Maps deleted since Categories #2"]
    unseen(more, "categories", "DELETE FROM categories WHERE id = 2")
    by(more, CLEO, "INSERT INTO categories VALUES (2, NULL)")
    assert names_in(more.page("/?table=categories&key=2"))[:2] == ["#2 Categories", pins]


def test_what_a_value_pointed_to_then_keeps_its_name(more):
    by(more, ANN, "INSERT INTO categories VALUES (1, 'Mugs')", "INSERT INTO products (id, category_id) VALUES (1, 1)")
    by(more, ANN, "UPDATE products SET category_id = NULL", "DELETE FROM categories")
    by(more, BOB, "INSERT INTO categories VALUES (1, 'Hats')", "UPDATE products SET category_id = 1")
    html = more.page("/record/products/1")
    rows = [text_of(row) for row in html.partition('id="audit-results"')[2].split('<tr role="row">')[2:]]
    assert "Hats #1" in rows[0] and "Mugs #1, deleted" in rows[1] and "Mugs #1, deleted" in rows[2]
    assert "Hats" in values(more, "/record/products/1")["category_id"]


def test_the_line_of_a_number_ends_where_the_table_was_emptied(more):
    by(more, ANN, "INSERT INTO products (id, price) VALUES (1, 5)", "UPDATE products SET price = 6")
    by(more, BOB, "TRUNCATE products")
    more.sql("UPDATE activity SET issued_at = '2001-01-01 00:00+00'::timestamptz + id * interval '1 hour'")
    points = re.search(r'<polyline points="([^"]*)"', more.page("/record/products/1?col=price"))[1].split()
    across = [float(point.split(",")[0]) for point in points]
    assert across == [0, 300, 300, 600]  # an hour each, and no longer


def notes(html):
    """What a page of a record says above its values."""
    return [text_of(note) for note in re.findall(r'<p class="audit-note">.*?</p>', html, re.S)]


def test_a_record_that_got_its_key_back_is_one_record(more):
    by(more, ANN, "INSERT INTO products (id, name) VALUES (42, 'A')", "UPDATE products SET id = 43 WHERE id = 42",
       "UPDATE products SET id = 42 WHERE id = 43", "UPDATE products SET name = 'B' WHERE id = 42")  # fmt: skip
    said = " ".join(notes(more.page("/record/products/42")))
    assert "this key belonged to a record whose key changed to 43" in said and "another record" not in said


def test_a_record_that_was_renamed_to_the_key_of_a_deleted_one_was_not_made_unseen(more):
    by(more, ANN, "INSERT INTO products (id, name) VALUES (42, 'A')", "DELETE FROM products",
       "INSERT INTO products (id, name) VALUES (43, 'B')", "UPDATE products SET id = 42 WHERE id = 43")  # fmt: skip
    html = more.page("/record/products/42")
    assert "auditing was off" not in html
    assert "this record had key 43" in html and "/audit/record/products/43" in links(html)


def test_the_origin_of_an_earlier_life_is_none_of_a_later_one(more):
    by(more, ANN, "INSERT INTO products (id, name) VALUES (41, 'A')", "UPDATE products SET id = 42 WHERE id = 41",
       "DELETE FROM products", "INSERT INTO products (id, name) VALUES (42, 'B')",
       "UPDATE products SET name = 'C'")  # fmt: skip
    for query in ("", "?verb=update"):
        assert "had key 41" not in more.page(f"/record/products/42{query}")


def test_entries_before_a_renaming_keep_their_name(more):
    by(more, ANN, "INSERT INTO products (id, name) VALUES (1, 'Old one')",
       "UPDATE products SET price = 3 WHERE id = 1", "UPDATE products SET id = 2 WHERE id = 1",
       "INSERT INTO products (id, name) VALUES (3, 'New one')", "UPDATE products SET id = 1 WHERE id = 3",
       "UPDATE products SET price = 5 WHERE id = 1")  # fmt: skip
    rows = text_of(more.page("/?table=products").partition('id="audit-results"')[2])
    assert re.findall(r"(\w+ one) Products #", rows) == ["New one"] * 3 + ["Old one"] * 3


def test_the_state_of_an_earlier_life_has_its_names(more):
    by(more, ANN, "INSERT INTO categories VALUES (1, 'Mugs')",
       "INSERT INTO products (id, name, category_id) VALUES (1, 'Old one', 1)")  # fmt: skip
    (first,) = ids_of(more, "products")
    by(more, ANN, "DELETE FROM products", "DELETE FROM categories")
    by(more, BOB, "INSERT INTO categories VALUES (1, 'Hats')", "INSERT INTO products (id, name) VALUES (1, 'New one')")
    html = more.page(f"/record/products/1/at?change={first}")
    assert "Old one" in html and "New one" not in html
    assert "Mugs" in html and "Hats" not in html
    html = more.page(f"/record/products/1/compare?from={first}&to=last")
    assert "Mugs" in html and "Hats" not in html


def test_a_live_row_that_can_not_be_read_takes_nothing_with_it(more):
    """Between a migration and the release that goes with it the models have a column too many."""
    unseen(more, "products", "INSERT INTO products (id, name) VALUES (1, 'A')")
    more.sql("ALTER TABLE products DROP COLUMN price")
    by(more, ANN, "UPDATE products SET name = 'B'")
    assert "Ann Price" in more.page("/record/products/1")


def test_a_table_that_is_emptied_all_the_time_costs_no_more(more):
    """However often, between two changes of a record it means the same."""
    by(more, ANN, "INSERT INTO categories SELECT i, 'c' || i FROM generate_series(1, 50) i")
    columns = "schema, table_name, relid, issued_at, native_transaction_id, transaction_id"
    more.sql(
        f"INSERT INTO activity ({columns}, verb, old_data, changed_data) SELECT {columns}, 'truncate', '{{}}', '{{}}'"
        " FROM activity, generate_series(1, 2000) WHERE table_name = 'categories' AND record_key = '1'"
    )
    more.sql("ANALYZE activity")
    first, table = ids_of(more, "categories")[0], TableName("public", "categories")
    records = {RecordRef(table, str(number)): Cursor(0, first) for number in range(1, 51)}
    with more.application.app.app_context():
        reader = AuditReader(more.db.engine, more.application.audit_logger.models)
        with reader.reading() as log:
            names = names_of(log, records, lambda _: ["name"], lambda _: ["id"])
            read = "SELECT pg_stat_get_xact_tuples_returned('activity'::regclass)"
            assert log.connection.exec_driver_sql(read).scalar_one() < 20_000
    assert len(names) == 50


def test_an_export_has_every_name(more):
    by(more, ANN, "INSERT INTO categories SELECT i, 'c' || i FROM generate_series(1, 700) i",
       "INSERT INTO products (id, name, category_id) SELECT i, 'p' || i, i FROM generate_series(1, 700) i")  # fmt: skip
    lines = more.page("/export.jsonl?table=products").splitlines()
    assert sum('"label": "p' in line for line in lines) == 700
