"""Each recipe of docs/cookbook.md does what it says: the code that is printed there runs here.

The recipes whose code is complete run in tests/test_readme.py, as a reader would run them.
"""

from __future__ import annotations

import configparser
import csv
import io
import re
import sys
from html import unescape
from pathlib import Path
from types import ModuleType, SimpleNamespace

import jinja2
import pytest
import sqlalchemy as sa
from flask_login import UserMixin

from tests.support.apps import logged_in_as
from tests.support.documents import named
from tests.support.models import AUDITED
from tests.support.pooler import pooler
from tests.support.server import plain_engine

DOCS = Path(__file__).parent.parent / "docs"
RECIPES = named(DOCS / "cookbook.md")


def declare(db):
    class User(UserMixin, db.Model):
        __tablename__ = "users"
        id = sa.Column(sa.BigInteger, primary_key=True)
        name = sa.Column(sa.Text)
        tenant_id = sa.Column(sa.Integer)

    class Product(db.Model):
        __tablename__ = "products"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.BigInteger, primary_key=True)
        name = sa.Column(sa.Text, unique=True)
        price = sa.Column(sa.Numeric)
        tenant_id = sa.Column(sa.Integer)

        def __str__(self):
            return self.name

    return SimpleNamespace(User=User, Product=Product)


@pytest.fixture
def shop(create_app):
    """The application that recipes take for granted."""
    return with_rows(create_app(declare=declare))


@pytest.fixture
def plain(create_app):
    """An application whose ``AuditLogger`` the recipe makes."""
    return create_app(declare=declare, audited=False, create_all=False)


def with_rows(application):
    with application.app.app_context():
        application.db.create_all()
        User, Product = application.models.User, application.models.Product
        session = application.db.session
        session.add_all([User(id=1, name="Grace", tenant_id=1), User(id=2, name="Ada", tenant_id=2)])
        with application.audit_logger.disable(session):
            session.add(Product(name="Mug", price=100, tenant_id=1))
            session.commit()
    return application


@pytest.fixture
def run(monkeypatch):
    """Run a recipe as a module, since RQ wants functions that can be imported."""

    def run(name, application, **names):
        module = ModuleType(f"recipe_{name}")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        given = {"app": application.app, "db": application.db, "audit_logger": application.audit_logger}
        vars(module).update(given | vars(application.models) | names)
        exec(compile(RECIPES[name], f"docs/cookbook.md:{name}", "exec"), vars(module))  # noqa: S102
        if application.audit_logger is None and "audit_logger" in RECIPES[name]:
            application.audit_logger = module.audit_logger
        return module

    return run


def recorded(application):
    return [(t.actor_id, t.actor_label, t.context) for t in application.transactions()]


def jobs(application):
    return [(t.actor_id, t.context.get("job")) for t in application.transactions() if "job" in t.context]


def change(application, **values):
    product = application.db.session.get(application.models.Product, 1)
    for name, value in values.items():
        setattr(product, name, value)
    application.db.session.commit()


def test_celery(shop, run):
    """A worker acts in the name of whoever sent the task, also again; a task that nobody sent has only its name."""
    celery = pytest.importorskip("celery")
    from celery.contrib.testing.worker import start_worker

    app = celery.Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
    task = run("celery", shop, celery=app).raise_prices
    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="ERROR", shutdown_timeout=30):
        with shop.app.test_request_context("/", headers=logged_in_as(2)):
            sent = task.delay(5)
        sent.get(timeout=30)
        task.delay(percent=5).get(timeout=30)
    assert jobs(shop) == [(2, task.name), (None, task.name)]


def test_celery_retries(shop, run):
    celery = pytest.importorskip("celery")
    app = celery.Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.task_always_eager = True
    recipe = run("celery", shop, celery=app)

    @app.task(base=recipe.AuditedTask, typing=False, bind=True, max_retries=2)
    def stubborn(self):
        change(shop, price=self.request.retries)
        if self.request.retries < 1:
            raise self.retry(countdown=0)

    with shop.app.test_request_context("/", headers=logged_in_as(2)):
        signature = stubborn.s()
        stubborn.apply_async(signature.args, signature.kwargs)
    assert jobs(shop) == [(2, stubborn.name), (2, stubborn.name)]


def test_rq(shop, run):
    """A worker acts in the name of whoever enqueued the job, and names it."""
    rq = pytest.importorskip("rq")
    fakeredis = pytest.importorskip("fakeredis")
    queue = rq.Queue(connection=fakeredis.FakeStrictRedis())
    recipe = run("rq", shop, queue=queue)
    recipe.raise_prices = raise_prices = lambda percent: change(shop, price=100 + percent)
    raise_prices.__name__ = raise_prices.__qualname__ = "raise_prices"
    raise_prices.__module__ = recipe.__name__
    with shop.app.test_request_context("/", headers=logged_in_as(2)):
        recipe.enqueue(raise_prices, percent=5)
    queue.enqueue(recipe.run_job, raise_prices, None, {"percent": 6})
    rq.SimpleWorker([queue], connection=queue.connection).work(burst=True, logging_level="ERROR")
    assert jobs(shop) == [(2, "raise_prices"), (None, "raise_prices")]


def test_threads(shop, run):
    """A thread acts for whoever was logged in where it was started, with their name; started elsewhere for nobody."""
    recipe = run("threads", shop)

    def raise_prices(percent):
        change(shop, price=100 + percent)

    with recipe.pool:
        with shop.app.test_request_context("/", headers=logged_in_as(2)):
            recipe.in_background(raise_prices, 5).result(timeout=30)
            recipe.pool.submit(recipe.run_as, 2, raise_prices, 6).result(timeout=30)
        recipe.in_background(raise_prices, 7).result(timeout=30)
    said = [(actor, label) for actor, label, context in recorded(shop) if context.get("job") == "raise_prices"]
    assert said == [(2, "Ada"), (2, None), (None, None)]


def test_flask_admin(plain, run):
    """Row, form and details lead to the history, which shows who edited and leads on; the log leads back."""
    pytest.importorskip("flask_admin")
    pytest.importorskip("flask_babel").Babel(plain.app)  # which Flask-Admin takes where it is installed
    plain.app.jinja_env.undefined = jinja2.Undefined
    plain.app.jinja_env.loader = jinja2.ChoiceLoader(
        [
            jinja2.DictLoader({f"admin/{name}.html": RECIPES[name] for name in ("with_history_tab", "history")}),
            plain.app.jinja_env.loader,
        ]
    )
    run("flask_admin", plain)
    with_rows(plain)
    client = plain.app.test_client()
    headers = logged_in_as(2)
    form = {"name": "Blue mug", "price": "90", "tenant_id": "1"}
    assert client.post("/admin/products/edit/?id=1", data=form, headers=headers).status_code == 302
    for page in ("/", "/edit/?id=1", "/details/?id=1"):
        shown = client.get(f"/admin/products{page}", headers=headers).text
        (link,) = {unescape(href) for href in re.findall(r'href="([^"]*/history/[^"]*)"', shown)}
        assert link.startswith("/admin/products/history/?id=1"), page
    history = client.get(link, headers=headers).text
    assert "Ada" in history and "Blue mug" in history and 'href="/audit/record/products/1"' in history
    assert 'href="/admin/products/edit/?id=1"' in client.get("/audit/record/products/1", headers=headers).text
    assert client.get("/admin/products/history/?id=7", headers=headers).status_code == 404
    assert client.get(link).status_code == 403


def test_apiflask(plain, run):
    """A view that wants a token is recorded with its bearer; the pages are open to auditors alone."""
    apiflask = pytest.importorskip("apiflask")
    jwt = pytest.importorskip("jwt")
    app = apiflask.APIFlask("tests.pets")
    url = plain.app.config["SQLALCHEMY_DATABASE_URI"]
    app.config.update(SECRET_KEY="a secret of thirty-two characters", SQLALCHEMY_DATABASE_URI=url)
    plain.app = app
    plain.db.init_app(app)
    recipe = run("apiflask", plain)

    @app.post("/mine")
    @app.auth_required(recipe.auth)
    def mine():
        change(plain, price=1)
        return {}

    @app.post("/open")
    def open_to_all():
        change(plain, price=2)
        return {}

    with_rows(plain)

    def bearer(**claims):
        return {"Authorization": "Bearer " + jwt.encode(claims, app.config["SECRET_KEY"], algorithm="HS256")}

    ada, eve = bearer(sub="2", name="Ada L."), {"Authorization": "Bearer x.y.z"}
    iris = bearer(sub="1", name="Iris", role="auditor")
    client = app.test_client()
    assert [client.post("/mine", headers=headers).status_code for headers in (ada, eve, {})] == [200, 401, 401]
    assert client.post("/open", headers=ada).status_code == 200
    assert [(a, label) for a, label, c in recorded(plain) if "path" in c] == [(2, "Ada L."), (None, None)]
    assert [client.get("/audit/", headers=headers).status_code for headers in (iris, ada, eve, {})] == [
        200,
        401,
        401,
        401,
    ]
    assert "Ada L." in client.get("/audit/", headers=iris).text


def test_tenants(plain, run):
    """A tenant sees the changes of its own rows, on every page, and a row that moved once it is there."""
    run("tenants", plain)
    with_rows(plain)
    with plain.app.app_context():
        plain.db.session.add(plain.models.Product(id=2, name="Pen", price=1, tenant_id=2))
        plain.db.session.commit()
        change(plain, price=5555)
        session = plain.db.session
        session.execute(sa.text("UPDATE products SET tenant_id = 2 WHERE id = 1"))
        session.commit()
        session.execute(sa.text("UPDATE products SET price = 7777 WHERE id = 1"))
        session.execute(sa.text("DELETE FROM products WHERE id = 2"))
        session.commit()
    client = plain.app.test_client()

    def exported(user):
        text = client.get("/audit/export.csv", headers=logged_in_as(user)).text
        return sorted((row["verb"], row["key"]) for row in csv.DictReader(io.StringIO(text.lstrip("\ufeff"))))

    assert exported(1) == [("update", "1")]
    assert exported(2) == [("delete", "2"), ("insert", "2"), ("update", "1"), ("update", "1")]
    seen = {user: client.get("/audit/record/products/1", headers=logged_in_as(user)).text for user in (1, 2)}
    assert "5555" in seen[1] and "7777" not in seen[1]
    assert "7777" in seen[2]
    assert client.get("/audit/record/products/2", headers=logged_in_as(1)).status_code == 404
    assert client.get("/audit/").status_code in (302, 401)


#: The recipe of each driver.
COPIES = {"psycopg2": "copy_psycopg2", "psycopg": "copy_psycopg"}
COPY = pytest.mark.parametrize("driver", COPIES, indirect=True)


@COPY
def test_copy(shop, run, driver, tmp_path, monkeypatch):
    """Each row is logged, for the job."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prices.csv").write_text("name,price\nPen,1\nCap,20\n")
    run(COPIES[driver], shop)
    changes = shop.activities()
    assert [(a.verb, a.changed_data["name"], a.changed_data["price"]) for a in changes] == [
        ("insert", "Pen", 1),
        ("insert", "Cap", 20),
    ]
    assert {a.transaction.context["job"] for a in changes} == {"price list"}
    with pytest.raises(Exception, match="duplicate key"):  # the driver's own
        run(COPIES[driver], shop)
    assert len(shop.activities()) == 2


@COPY
def test_copy_and_update(shop, run, driver):
    """What is new is logged as an insert, what differs as an update, what is the same not at all."""
    given = "name,price\nMug,100\nPen,1\n"

    def load(statement):
        cursor = shop.db.session.connection().connection.cursor()
        if driver == "psycopg2":
            cursor.copy_expert(statement, io.StringIO(given))
        else:
            with cursor.copy(statement) as copy:
                copy.write(given)

    run("copy_and_update", shop, load=load)
    given = given.replace("100", "90")
    run("copy_and_update", shop, load=load)
    changes = shop.activities()
    assert [(a.verb, a.changed_data.get("price")) for a in changes] == [("insert", 1), ("update", 90)]
    assert {a.transaction.context["reason"] for a in changes} == {"supplier 7"}


def take_turns(ann, ben):
    """Two clients write, some of them in nobody's name, and one unseen; gives who they were."""
    turns = [(ann, 1), (ben, None), (ann, 1), (ben, 2), (ann, None), (ann, 1)]
    for application, actor in turns:
        with application.app.app_context(), application.audit_logger.context(actor=actor):
            change(application, price=application.db.session.scalar(sa.text("SELECT price + 1 FROM products")))
            application.db.session.remove()
    with ben.app.app_context():
        cursor = ben.db.session.connection().connection.cursor()
        cursor.execute("UPDATE products SET price = price + 1")
        ben.db.session.commit()
    return [*(actor for _, actor in turns), None]


@pytest.fixture
def pooled(run):
    """The options of engines that the recipe for PgBouncer gives."""
    config = {}
    run(
        "pgbouncer",
        SimpleNamespace(app=SimpleNamespace(config=config), db=None, audit_logger=None, models=SimpleNamespace()),
    )
    return config["SQLALCHEMY_ENGINE_OPTIONS"]


def test_transactions_of_two_clients_on_one_connection(pooled, create_app, server):
    """What transaction pooling comes down to: nothing that one transaction was told is there in the next one's."""
    psycopg = pytest.importorskip("psycopg")

    class Shared(psycopg.Connection):
        def close(self):
            """As a pooler does: whoever is next goes on with it."""
            self.rollback()

    with server.database("psycopg") as url:
        plain_url = url.set(drivername="postgresql").render_as_string(hide_password=False)
        connection = Shared.connect(plain_url, **pooled["connect_args"])
        options = {"creator": lambda: connection, "poolclass": pooled["poolclass"]}
        config = {"SQLALCHEMY_ENGINE_OPTIONS": options}
        with_rows(create_app(url, declare=declare)).dispose()
        ann, ben = (create_app(url, declare=declare, create_all=False, config=config) for _ in range(2))
        assert take_turns(ann, ben) == [actor for actor, *_ in recorded(ann)][-7:]
        ann.dispose()
        ben.dispose()
        psycopg.Connection.close(connection)


def test_pgbouncer_and_two_roles(pooled, create_app, server):
    """With both on one connection, of a role that can't change the log. Skipped where there is no PgBouncer."""
    owner, role = server.unique_name("owner"), server.unique_name("app")
    statements = named(DOCS / "security.md")["two_roles"]
    recipe = configparser.ConfigParser()
    recipe.read_string(RECIPES["pgbouncer_ini"])
    recipe["pgbouncer"].update({"auth_type": "trust", "default_pool_size": "1"})
    for ours in ("listen_addr", "listen_port", "auth_file"):
        del recipe["pgbouncer"][ours]
    place, settings = server.admin_url, io.StringIO()
    with server.database("psycopg") as url:
        recipe["databases"]["shop"] = (
            f"host={place.query.get('host') or place.host} port={place.port or 5432} dbname={url.database}"
        )
        recipe.write(settings)
        with pooler(settings.getvalue(), {role: "change me, too"}) as socket:
            outside = plain_engine(url)
            with outside.begin() as connection:
                for name, ours in (("shop_owner", owner), ("shop_app", role)):
                    statements = statements.replace(name, f'"{ours}"')
                connection.exec_driver_sql(statements)
            with_rows(create_app(url.set(username=owner, password="change me"), declare=declare)).dispose()
            behind = url.set(
                username=role, password="change me, too", host=None, port=None, database="shop", query=socket
            )
            config = {"SQLALCHEMY_ENGINE_OPTIONS": pooled}
            ann, ben = (create_app(behind, declare=declare, create_all=False, config=config) for _ in range(2))
            actors = take_turns(ann, ben)
            with outside.connect() as connection:
                found = connection.exec_driver_sql("SELECT actor_id, db_user FROM transaction ORDER BY id").all()
            assert found[-7:] == [(actor, role) for actor in actors]
            with ann.app.app_context(), pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
                ann.db.session.execute(sa.text("DELETE FROM activity"))
            ann.dispose()
            ben.dispose()
    for name in (role, owner):
        server.execute(f'DROP ROLE "{name}"')


def test_engines(run, create_app, server, driver):
    """Each database logs what happens in it, also what a coroutine does, by whoever is logged in."""
    pytest.importorskip("asyncpg")
    pytest.importorskip("asgiref")
    with server.database(driver) as shop_url, server.database(driver) as stock_url:
        made = create_app(
            shop_url,
            declare=declare,
            audited=False,
            create_all=False,
            config={"SQLALCHEMY_BINDS": {"stock": stock_url}},
        )
        recipe = run("engines", made, shop_url=shop_url, stock_url=stock_url)
        with_rows(made)

        @made.app.post("/both")
        def both():
            made.db.session.add(recipe.Pallet(product_id=1))
            change(made, price=7)
            return ""

        client = made.app.test_client()
        assert client.post("/both", headers=logged_in_as(1)).status_code == 200
        assert client.post("/prices/100", headers=logged_in_as(2)).status_code == 200
        assert client.post("/prices/100").status_code == 401
        found = [(a.verb, a.transaction.actor_id, a.changed_data.get("price")) for a in made.activities()]
        assert found == [("update", 1, 7), ("update", 2, 14)]
        with made.app.app_context():
            assert [(a.table_name, a.transaction.actor_id) for a in recipe.changes_of_stock()] == [("pallets", "1")]
        made.dispose()
