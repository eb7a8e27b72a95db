"""Promise: no page looks a change up by its id alone: no index leads there at once, and partitions have none across."""

from __future__ import annotations

import re
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from flask_audit_logger.query import reader
from flask_audit_logger.ui import AuditUI, RevertPolicy
from tests.support.apps import make_app
from tests.support.documents import named
from tests.ui.everywhere import DOCS, addresses
from tests.ui.shop import declare_shop, make_history, may_read

#: Then a step by id alone shows: PostgreSQL has no other way than the BRIN index, or the whole of another one.
ONLY_INDEXES = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin")

PATHS = (
    "/",
    "/?period=30d",
    "/?table=products&verb=update",
    "/?actor=1&period=90d&sort=time",
    "/?before={change}",
    "/activity/{change}",
    "/record/products/42",
    "/record/products/42?col=stock&period=30d",
    "/record/products/42?before={change}",
    "/record/products/42/at",
    "/record/products/42/at?time=2001-01-01",
    "/record/products/42/at?change={change}",
    "/record/products/42/compare",
    "/record/products/42/compare?to=now",
    "/record/products/42/compare?from={earlier}&to={change}",
    "/record/products/42/revert?to={earlier}&side=before",
    "/transaction/{transaction}",
    "/transaction/{transaction}/take-back",
    "/transactions",
    "/transactions?min_rows=2",
    "/transactions?sort=size",
    "/actor/1",
    "/export.csv",
    "/breakdown/facets?period=30d",
    "/breakdown/histogram?period=30d",
)


@contextmanager
def explained(engine):
    """The plans of what is read of the log, each with its statement."""
    plans: list[tuple[str, list[dict]]] = []

    def note(connection, cursor, statement, parameters, context, executemany):
        if "activity" not in statement or statement.startswith("EXPLAIN"):
            return
        with connection.connection.cursor() as other:
            for setting in ONLY_INDEXES:
                other.execute(f"SET LOCAL {setting} = off")
            other.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
            plans.append((statement, list(nodes(other.fetchone()[0][0]["Plan"]))))
            for setting in ONLY_INDEXES:
                other.execute(f"SET LOCAL {setting} = on")

    sa.event.listen(engine, "before_cursor_execute", note)
    yield plans
    sa.event.remove(engine, "before_cursor_execute", note)


def nodes(plan):
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def is_by_id_alone(node):
    """Whether a node of a plan leads to changes by their id and nothing else."""
    if node.get("Index Name") == "activity_id_idx":
        return True
    tested = " ".join(str(node.get(name, "")) for name in ("Index Cond", "Recheck Cond", "Filter", "Join Filter"))
    is_activity = node.get("Relation Name") == "activity" or str(node.get("Index Name")).startswith("activity_")
    is_led = "transaction_id" in tested or "record_key" in tested
    return is_activity and not is_led and re.search(r"\bid = ", tested) is not None


@pytest.mark.slow
def test_no_page_looks_a_change_up_by_its_id_alone(new_shop):
    shop = make_history(new_shop(revert=RevertPolicy()))
    with shop.acting(1) as session:
        session.execute(sa.text("INSERT INTO products (id, name) SELECT n, 'x' FROM generate_series(1000, 3000) n"))
    with shop.acting(1) as session:
        session.execute(sa.text("UPDATE products SET stock = 7 WHERE id >= 1000"))
    bulk = shop.activity().transaction_id
    shop.sql("UPDATE products SET stock = 3 WHERE id = 42")
    shop.sql("ANALYZE")
    changes = [shop.address(a.id) for a in shop.application.activities(table_name="products", record_key="42")]
    named = {"change": changes[-1], "earlier": changes[-2], "transaction": bulk}
    with shop.application.app.app_context():
        engine = shop.db.engine
    read = 0
    for path in PATHS:
        with explained(engine) as plans:
            response = shop.get(path.format(**named))
        assert response.status_code == 200, (path, response.status_code)
        for statement, found in plans:
            read += 1
            assert not any(is_by_id_alone(node) for node in found), (path, statement, found)
    assert read >= len(PATHS)


@pytest.mark.parametrize("condition", ["id = 7", "id IN (SELECT max(id) FROM activity WHERE table_name = 'products')"])
def test_such_a_plan_is_seen(shop, condition):
    """The test above is one that can fail."""
    with shop.application.app.app_context(), explained(shop.db.engine) as plans:
        shop.db.session.execute(sa.text(f"SELECT * FROM activity WHERE {condition}"))
    assert any(is_by_id_alone(node) for node in plans[0][1])


@pytest.mark.slow
def test_s30_a_role_that_can_only_select_is_enough(server, database_url, create_app, driver):
    """With the statements that the documentation gives."""
    from tests.ui.shop import Shop, make_shop

    shop = make_history(make_shop(create_app))
    grants = re.findall(r"(?m)^(GRANT .*|ALTER .*);$", named(DOCS / "security.md")["reader_role"])
    assert grants
    with server.role("LOGIN PASSWORD 'reader'") as role:
        for statement in grants:
            shop.sql(statement.replace("audit_reader", f'"{role}"'))
        # the application of this test keeps its users in the same database
        shop.sql(f'GRANT SELECT ON users TO "{role}"')
        url = database_url.set(username=role, password="reader")
        ui = AuditUI(permission=may_read, revert=RevertPolicy())
        reading = Shop(make_app(url, declare=declare_shop, create_all=False, ui=ui))
        try:
            change = shop.activity(record_key="42")
            values = {"activity_id": change.id, "transaction_id": change.transaction_id, "column": "description"}
            for path in (*addresses(reading, **values), "/?breakdown=1"):
                if "/revert" not in path:  # which reads the row and is for another role
                    assert reading.get(path).status_code in (200, 404), path
            assert reading.ids("/?period=all") == shop.ids("/?period=all") != []
            for statement in ("DELETE FROM activity", "UPDATE activity SET verb = 'insert'", "TRUNCATE transaction"):
                with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
                    reading.sql(statement)
        finally:
            reading.application.dispose()
            shop.sql(f'DROP OWNED BY "{role}"')


def test_s30_the_connection_of_a_page_can_not_write(shop):
    with shop.application.app.app_context():
        of_shop = reader.AuditReader(shop.db.engine, shop.application.audit_logger.models)
        with pytest.raises(sa.exc.InternalError, match="read-only"), of_shop.reading() as log:
            log.connection.execute(sa.text("DELETE FROM activity"))
        with shop.db.engine.connect() as connection:
            assert connection.scalar(sa.text("SHOW transaction_read_only")) == "off"
            assert connection.scalar(sa.text("SHOW statement_timeout")) == "0"
