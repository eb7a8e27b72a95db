"""Promise: the undo script takes back what it may, changes nothing until told to, and can't be made to do more."""

from __future__ import annotations

import random

import pytest
import sqlalchemy as sa

from tests.support.server import both_drivers
from tests.ui.shop import ANN, CLEO, make_history, may_read

TABLES = ("users", "categories", "products", "order_items")
TEXTS = (
    None, "", "plain", "it's", "back\\slash", "'; DROP TABLE users; --", "line\nbreak\ttab", "“quoted”",
    "\u202eevil\u2028", "%s %(x)s :y $1", "--", "/* */", "😀", "E'\\047",
)  # fmt: skip


def content(shop):
    return {
        table: shop.sql(f"SELECT to_jsonb(t) - 'secret' FROM {table} t ORDER BY to_jsonb(t)::text") for table in TABLES
    }


def script_of(shop, transaction_id, **options):
    return shop.page(f"/transaction/{transaction_id}/undo.sql", **options)


def run(shop, script):
    """As psql would; the number of rows that each statement changed."""
    engine = sa.create_engine(shop.application.app.config["SQLALCHEMY_DATABASE_URI"], poolclass=sa.pool.NullPool)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        cursor = connection.connection.cursor()
        counts = []
        for line in script.splitlines():
            if line and not line.startswith("--"):
                cursor.execute(line)
                counts.append(cursor.rowcount)
        return counts


@pytest.fixture
def open_shop(new_shop):
    """A shop whose products have no masked column that anything here touches."""
    return make_history(new_shop(permission=lambda action, target: True))


def random_changes(shop, session, choices):
    """A transaction of everything, on records that may be changed several times."""
    models = shop.models
    for step in range(choices.randint(5, 25)):
        text = choices.choice(TEXTS)
        kind = choices.randrange(6)
        if kind == 0:
            session.add(models.Category(id=100 + step, name=text))
        elif kind == 1:
            session.add(models.Item(order_id=step, code=text or "none", quantity=choices.choice([None, 7])))
        elif kind == 2:
            session.execute(
                sa.update(models.Product).where(models.Product.id == choices.choice([42, 50, 51])).values(
                    name=text,
                    price=choices.choice([None, "10.00", "NaN", "99999999.99"]),
                    tags=choices.choice([None, [], ["a,b", '"', "{}", text or "x"]]),
                    attributes=choices.choice([None, {}, {"a": [1, None, {"b": text}]}, ["x"]]),
                    launched=choices.choice([None, "2026-02-28"]),
                    checked_at=choices.choice([None, "2026-10-25T02:30:00.123456+02:00"]),
                    picture=choices.choice([None, b"", b"\x00\\'\xff"]),
                    active=choices.choice([None, True, False]),
                    category_id=choices.choice([None, 1, 2]),
                )
            )  # fmt: skip
        elif kind == 3:
            session.execute(sa.delete(models.Item).where(models.Item.order_id == choices.randrange(25)))
        elif kind == 4:
            session.execute(sa.update(models.Item).values(order_id=models.Item.order_id + 1000, quantity=step))
        else:
            session.execute(sa.delete(models.Category).where(models.Category.id >= 100 + choices.randrange(25)))
        session.flush()


@pytest.mark.parametrize("seed", range(8))
def test_run_with_commit_the_rows_are_back(open_shop, seed):
    """Property: whatever a transaction did to rows that the log has whole, they are what they were."""
    shop = open_shop
    shop.sql("INSERT INTO products (id, name, price) VALUES (50, 'Fifty', 1.50), (51, NULL, NULL)")
    shop.sql("INSERT INTO order_items SELECT i, 'c' || i, i FROM generate_series(1, 20) i")
    before = content(shop)
    with shop.acting(ANN) as session:
        random_changes(shop, session, random.Random(seed))
    assert content(shop) != before
    transaction_id = shop.application.transactions()[-1].id
    script = script_of(shop, transaction_id)
    assert "NOT UNDONE" not in script
    after = content(shop)
    run(shop, script)
    assert content(shop) == after, "as it is, the script changes nothing"
    counts = run(shop, script.replace("ROLLBACK;", "COMMIT;"))
    assert content(shop) == before
    assert 0 not in counts


@both_drivers
def test_what_was_changed_since_is_left_alone(open_shop):
    open_shop.change(ANN, "Product", 42, stock=100, price=1)
    transaction_id = open_shop.activity(record_key="42").transaction_id
    open_shop.change(ANN, "Product", 42, stock=101)
    script = script_of(open_shop, transaction_id).replace("ROLLBACK;", "COMMIT;")
    assert 0 in run(open_shop, script)
    assert open_shop.sql("SELECT stock, price FROM products WHERE id = 42") == [(101, 1)]


def test_rows_that_the_log_has_not_whole_are_refused(new_shop):
    shop = make_history(new_shop(permission=lambda action, target: True, mask=["categories.name"]))
    with shop.acting(ANN) as session:
        session.add(shop.models.Product(id=77, name="New", secret="s3cret-1"))
        session.add(shop.models.Category(id=77, name="hidden-name"))
        session.add(shop.models.Item(order_id=77, code="x"))
        session.flush()
        session.get(shop.models.Product, 42).secret = "s3cret-2"
        session.flush()
        session.execute(sa.text("TRUNCATE order_items"))
        session.execute(sa.text("CREATE TABLE IF NOT EXISTS other (id int)"))
    script = script_of(shop, shop.activity().transaction_id)
    refused = [line for line in script.splitlines() if line.startswith("-- NOT UNDONE")]
    assert len(refused) == 4 and script.count("DELETE FROM") == 1 and 'DELETE FROM "public"."order_items"' in script
    assert sum("masked or hidden from you" in line for line in refused) == 3
    assert "the rows that TRUNCATE removed are not in the log" in script
    assert "s3cret" not in script and "hidden-name" not in script


def test_a_comment_cannot_be_left_by_a_key(new_shop):
    shop = make_history(new_shop(permission=lambda action, target: True, mask=["order_items.quantity"]))
    shop.add(ANN, "Item", order_id=1, code="x\nDROP TABLE users; --\u2028")
    lines = script_of(shop, shop.activity().transaction_id).splitlines()  # also at U+2028
    assert not any(line.lstrip().startswith("DROP") for line in lines)
    assert sum(line.startswith("-- NOT UNDONE") for line in lines) == 1


def test_the_script_is_cut_and_says_so(open_shop, monkeypatch):
    monkeypatch.setattr("flask_audit_logger.query.undo.MOST_ROWS", 5)
    open_shop.sql("INSERT INTO categories (id) SELECT i FROM generate_series(100, 119) i")
    script = script_of(open_shop, open_shop.activity().transaction_id)
    assert script.count("DELETE FROM") == 5 and "INCOMPLETE: this script reverts only the newest 5 changes" in script
    assert "'119'" in script and "'100'" not in script


def test_the_scope_applies(new_shop):
    def scope(select, viewer):
        return select.where(shop.application.audit_logger.activity_cls.table_name == "categories")

    shop = make_history(new_shop(permission=lambda action, target: True, scope=scope))
    with shop.acting(ANN) as session:
        session.add(shop.models.Category(id=77, name="Mine"))
        session.add(shop.models.Item(order_id=77, code="not-mine"))
    script = script_of(shop, shop.activity().transaction_id)
    assert "categories" in script and "order_items" not in script
    shop.add(ANN, "Item", order_id=78, code="not-mine")
    shop.page(f"/transaction/{shop.activity().transaction_id}/undo.sql", 404)


def test_it_needs_a_permission_of_its_own(new_shop):
    shop = make_history(new_shop(permission=lambda action, target: may_read(action, target) and action != "undo_sql"))
    path = f"/transaction/{shop.activity().transaction_id}"
    assert "undo.sql" not in shop.page(path)
    shop.page(f"{path}/undo.sql", 403)


def test_it_is_a_download_for_this_site_only(open_shop):
    transaction_id = open_shop.activity(table_name="categories").transaction_id
    path = f"/transaction/{transaction_id}/undo.sql"
    assert f'{path}" download' in open_shop.page(f"/transaction/{transaction_id}")
    # read to the end, as a server does: a script that nobody reads keeps its request open
    response = open_shop.get(path, buffered=True)
    assert response.headers["Content-Disposition"] == f'attachment; filename="undo-transaction-{transaction_id}.sql"'
    assert (
        response.content_type == "text/plain; charset=utf-8" and response.headers["X-Content-Type-Options"] == "nosniff"
    )
    assert open_shop.get(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    open_shop.page("/transaction/999999/undo.sql", 404)
    open_shop.page("/transaction/99999999999999999999/undo.sql", 404)
    assert open_shop.get(path, user=CLEO, buffered=True).status_code == 200
