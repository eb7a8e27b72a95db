"""Promise: a page says what is wrong if the log can not be read: no database, no tables, old ones, no right."""

from __future__ import annotations

import re

import jinja2

from flask_audit_logger.ui import AuditUI, RevertPolicy, Viewer
from tests.ui.everywhere import answer, browser_at_the_price
from tests.ui.shop import Shop, declare_shop, make_history, make_shop, with_own_shop


def test_a_database_that_is_down(new_shop, server, caplog):
    """Whoever needs it: the permission callback, the log, or the layout with the user's name."""
    shop = make_history(new_shop(layout="mine.html"))
    app, url = shop.application.app, shop.application.app.config["SQLALCHEMY_DATABASE_URI"]
    mine = "{{ current_user.name }} reads {% block audit_content %}{% endblock %}"
    app.jinja_env.loader = jinja2.ChoiceLoader([jinja2.DictLoader({"mine.html": mine}), app.jinja_env.loader])
    assert shop.page("/").startswith("Ann Price reads")
    server.execute(f'ALTER DATABASE "{url.database}" ALLOW_CONNECTIONS false')
    server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{url.database}'")
    for path in ("/", "/record/products/42", "/transactions"):
        response = shop.get(path)
        assert response.status_code == 503 and response.headers["Retry-After"] == "30"
        assert "database can’t be reached" in response.text.replace("&#39;", "’")
        assert "<main" in response.text  # our own layout
    assert "the layout 'mine.html' failed, too" in caplog.text


def test_a_log_that_is_not_there_yet(new_shop):
    shop = new_shop()
    shop.sql("DROP TABLE activity, transaction CASCADE")
    assert "There is no audit log in this database yet." in shop.page("/", 503)
    assert "flask db upgrade" not in shop.page("/record/products/1", 503)
    shop.application.app.debug = True
    assert "flask db upgrade" in shop.page("/", 503)


@with_own_shop
def test_a_log_with_the_tables_of_an_older_version(shop):
    shop.sql("ALTER TABLE activity DROP COLUMN record_key CASCADE")
    for path in ("/", "/record/products/42", "/record/products/42/at", "/activity/4"):
        assert "need a migration first" in shop.page(path, 503), path
    assert "flask db" not in shop.page("/", 503)
    shop.application.app.debug = True
    assert "flask db upgrade" in shop.page("/", 503)


def test_a_log_that_may_not_be_read(server, database_url, create_app):
    """The page says so, and to developers what to grant."""
    make_history(make_shop(create_app))
    with server.role("LOGIN PASSWORD 'nobody'") as role:
        ui = AuditUI(permission=lambda *_: True, viewer=lambda: Viewer("1"))
        url = database_url.set(username=role, password="nobody")
        shop = Shop(create_app(url=url, declare=declare_shop, create_all=False, ui=ui))
        for path in ("/", "/record/products/42", "/transactions", "/breakdown/facets", "/export.csv"):
            html = shop.page(path, 503, user=None)
            assert "database user may not read the audit log" in html and "GRANT" not in html, path
        shop.application.app.debug = True
        assert "GRANT SELECT ON activity, transaction TO" in shop.page("/", 503, user=None)
        shop.application.dispose()


def test_s27_errors_say_nothing_about_statements_or_values(new_shop, caplog):
    shop = make_history(new_shop(revert=RevertPolicy()))
    app = shop.application.app
    app.testing = False
    app.config["PROPAGATE_EXCEPTIONS"] = False
    shop.sql("ALTER TABLE products ADD CONSTRAINT not_that_cheap CHECK (price > 11)")
    browser, path = browser_at_the_price(shop)
    refused = browser.send(path)
    assert refused.status_code == 422 and "not_that_cheap" in refused.text
    assert not re.search(r"SELECT|UPDATE|psycopg|Traceback|s3cret|Failing row", refused.text)
    shop.sql("ALTER TABLE activity RENAME COLUMN changed_data TO gone")
    for page in ("/?period=all&table=products", "/record/products/42", "/activity/4"):
        response = answer(shop, page)
        assert response.status_code == 503
        assert not re.search(r"SELECT|psycopg|Traceback|Blue mug|changed_data", response.text), page
    shop.sql("ALTER TABLE activity RENAME COLUMN gone TO changed_data")
    assert "s3cret" not in caplog.text and "Blue mug" not in caplog.text
    assert shop.get("/").status_code == 200
