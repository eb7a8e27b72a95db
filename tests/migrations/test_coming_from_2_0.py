"""Replace release 2.0.0 by this package, migrate, upgrade: every entry stays, and nothing is missed.

Release 2.0.0 itself, in its own environment, makes the database and writes its log.
"""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from functools import cache

import pytest

from tests.migrations.catalog import catalog
from tests.migrations.old import LIFE, READ, OldShop, needs_old_packages
from tests.migrations.project import upgrade_part
from tests.support.server import plain_engine

pytestmark = [needs_old_packages, pytest.mark.slow]


@pytest.fixture
def schema(request):
    """Schema of the log; ``in_a_schema`` runs a test with one, too."""
    return getattr(request, "param", None)


in_a_schema = pytest.mark.parametrize("schema", [None, "audit_logs"], indirect=True)


@pytest.fixture(scope="module")
def lived(server, tmp_path_factory):
    """Folder and database of an application that lived with release 2.0.0, by the schema of its log."""
    with ExitStack() as stack:

        @cache
        def made(schema):
            url = stack.enter_context(server.database())
            shop = OldShop(tmp_path_factory.mktemp("lived"), **_env(url, schema))
            for words in (["init"], ["migrate"], ["upgrade"]):
                shop.old("-m", "flask", "db", *words)
            shop.old("-c", LIFE)
            return shop.folder, url.database

        yield made


@pytest.fixture
def shop(server, lived, tmp_path, database_url, schema):
    """A copy of that application."""
    folder, database = lived(schema)
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    server.copy(database, database_url.database)
    return OldShop(tmp_path, **_env(database_url, schema))


def _env(url, schema):
    return {"URL": _url(url)} | ({"AUDIT_SCHEMA": schema} if schema else {})


def _url(url):
    return url.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)


def entries(output):
    return [json.loads(line) for line in output.splitlines()]


@pytest.fixture
def activity(schema):
    return f"{schema or 'public'}.activity"


@in_a_schema
def test_every_entry_stays_readable_and_gets_its_record_key(shop, query, activity):
    before = entries(shop.old("-c", READ))
    assert len(before) == 14
    assert sum(entry["started_at"] is None for entry in before) == 7
    shop.new("-m", "flask", "db", "migrate")
    written = shop.versions()[-1].read_text()
    operations = [line.partition("(")[0] for line in upgrade_part(written.partition("def upgrade():")[2])]
    assert operations == [
        "op.convert_audit_logger_log",
        "op.init_audit_logger_functions",
        "op.init_audit_logger_triggers",
        "op.init_audit_logger_triggers",
    ]
    shop.new("-m", "flask", "db", "upgrade")
    assert entries(shop.new("-c", READ)) == before
    keys = query(f"SELECT table_name, record_key FROM {activity} ORDER BY id")
    assert keys[:3] == [("users", "1"), ("users", "2"), ("order lines", '["2", "0"]')]
    assert None not in dict(keys).values()
    log = activity.replace("activity", "transaction")
    assert query(
        f"SELECT count(*) FROM {activity} a LEFT JOIN {log} t ON t.id = a.transaction_id WHERE t.id IS NULL"
    ) == [(0,)]
    assert query(
        f"SELECT count(*) FROM (SELECT issued_at < lag(issued_at) OVER (ORDER BY id) AS back FROM {log}) s WHERE back"
    ) == [(0,)]
    shop.new("-m", "flask", "db", "check")


@in_a_schema
def test_a_converted_log_is_like_a_new_one(shop, dump, server):
    shop.new("-m", "flask", "db", "migrate")
    shop.new("-m", "flask", "db", "upgrade")
    converted = dump()
    with server.database() as url:
        shop.env["URL"] = _url(url)
        shop.new("-c", "from shop import *\nwith create_app().app_context():\n    db.create_all()")
        made = catalog(plain_engine(url))
    assert any("activity_id_idx" in line for line in made)
    assert [line for line in converted if line not in made] == ["extension btree_gist"]
    assert [line for line in made if line not in converted] == []


def test_columns_that_the_application_gave_the_log_go_and_come_back(shop, dump, execute):
    execute(
        """ALTER TABLE activity ADD COLUMN "My note" varchar(9) COLLATE "C" NOT NULL DEFAULT 'none'""",
        "ALTER TABLE transaction ADD COLUMN seen boolean",
        """CREATE INDEX notes ON activity ("My note")""",
    )
    before = dump()
    shop.new("-m", "flask", "db", "migrate")
    shop.new("-m", "flask", "db", "upgrade")
    assert not [line for line in dump() if "My note" in line or "transaction.seen" in line]
    shop.new("-m", "flask", "db", "check")
    shop.new("-m", "flask", "db", "downgrade")
    assert dump() == before


def test_what_is_written_afterwards_is_logged_once(shop, execute, query, activity):
    shop.new("-m", "flask", "db", "migrate")
    shop.new("-m", "flask", "db", "upgrade")
    execute("UPDATE users SET name = 'Anna', hair_color = 'green' WHERE name = 'Ann'", 'TRUNCATE "order lines"')
    assert query(f"SELECT id, verb, record_key, changed_data FROM {activity} WHERE id > 14 ORDER BY id") == [
        (15, "update", "1", {"name": "Anna"}),
        (16, "truncate", None, {}),
    ]
    shop.new("-c", LIFE)
    assert query(f"SELECT count(*) FROM {activity} WHERE id > 16") == [(14,)]


def test_a_downgrade_gives_back_what_was_there_and_release_2_0_0_goes_on(shop, dump, execute, query, activity):
    before, log = dump(), entries(shop.old("-c", READ))
    shop.new("-m", "flask", "db", "migrate")
    shop.new("-m", "flask", "db", "upgrade")
    after = dump()
    shop.new("-m", "flask", "db", "downgrade")
    assert dump() == before
    assert entries(shop.old("-c", READ)) == log
    shop.old("-c", LIFE)
    assert query(f"SELECT count(*) FROM {activity}") == [(28,)]
    shop.new("-m", "flask", "db", "upgrade")
    assert dump() == after
    shop.new("-c", LIFE)
    shop.new("-m", "flask", "db", "downgrade")
    assert dump() == before
    assert query(f"SELECT count(*) FROM {activity}") == [(42,)]


def test_a_rolling_deploy_starts_with_the_code(shop, query, activity):
    """This package writes before its migration has run, without naming anybody; release 2.0.0 can't write after it."""
    shop.new("-m", "flask", "db", "migrate")
    shop.new("-c", LIFE)
    assert query(f"SELECT count(*), count(transaction_id) FROM {activity} WHERE id > 14") == [(14, 0)]
    shop.new("-m", "flask", "db", "upgrade")
    with pytest.raises(AssertionError, match="transaction_unique_native_tx_id"):
        shop.old("-c", LIFE)
    shop.new("-c", LIFE)
    assert query(f"SELECT count(*), count(transaction_id) FROM {activity} WHERE id > 28") == [(14, 14)]


@in_a_schema
def test_old_migrations_replay_from_nothing(shop, dump, server, schema):
    shop.new("-m", "flask", "db", "migrate")
    shop.new("-m", "flask", "db", "upgrade")
    full = dump()
    with server.database() as url:
        shop.env["URL"] = _url(url)
        shop.new("-m", "flask", "db", "upgrade")
        assert catalog(plain_engine(url)) == full
        shop.new("-c", LIFE)
        assert len(entries(shop.new("-c", READ))) == 14
        shop.new("-m", "flask", "db", "downgrade", "base")
        assert [line for line in catalog(plain_engine(url)) if "extension" not in line] == ["schema public"]


def test_the_conversion_can_be_written_as_a_script(shop, dump, psql, query, activity):
    shop.new("-m", "flask", "db", "migrate")
    old, new = (path.stem.partition("_")[0] for path in shop.versions())
    psql(shop.new("-m", "flask", "db", "upgrade", f"{old}:{new}", "--sql"))
    keys = query(f"SELECT count(*), count(record_key), count(transaction_id) FROM {activity}")
    assert keys == [(14, 14, 14)]
    converted = dump()
    shop.new("-m", "flask", "db", "downgrade")
    shop.new("-m", "flask", "db", "upgrade")
    assert dump() == converted


def test_no_writer_gets_between_the_old_triggers_and_the_new_ones(shop, outside, execute, query, activity):
    """Somebody writes all the time while the migration runs; each change is logged exactly once."""
    import threading

    shop.new("-m", "flask", "db", "migrate")
    done, written, errors = threading.Event(), [], []

    def write():
        while not done.is_set():
            try:
                execute(f"INSERT INTO users (name) VALUES ('writer {len(written)}')")
                written.append(1)
            except Exception as error:  # shown by the test
                errors.append(error)
                return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        shop.new("-m", "flask", "db", "upgrade")
    finally:
        done.set()
        writer.join()
    assert not errors
    name = "changed_data ->> 'name'"
    counts = query(f"SELECT count(*), count(DISTINCT {name}) FROM {activity} WHERE {name} LIKE 'writer%'")
    assert counts == [(len(written), len(written))]
