"""Promise: a saved month has every row as it was, and gives it back; what is not that is refused by name."""

from __future__ import annotations

import importlib.util
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, Engine

from flask_audit_logger import AuditLogger
from flask_audit_logger.exceptions import ArchiveError, ConfigurationError
from flask_audit_logger.growth import manifest as manifests
from flask_audit_logger.growth import parquet
from flask_audit_logger.growth.archive import Archive
from flask_audit_logger.growth.maintain import alone
from flask_audit_logger.growth.months import months, rotate, this_month
from flask_audit_logger.growth.notices import Log
from flask_audit_logger.schema.catalog import is_append_only
from flask_audit_logger.schema.declared import declaration_of
from flask_audit_logger.schema.objects import LOG_TABLES, Tables
from tests.capture.tables import run
from tests.support.apps import Application, make_app
from tests.support.documents import blocks
from tests.support.server import DRIVERS, Server, plain_engine

ROOT = Path(__file__).parent.parent.parent

INSERT = "INSERT INTO item (name) VALUES ('x')"

#: What CSV, JSON and a column without a value could be taken for.
ODD = (
    "",
    "NULL",
    "\\N",
    "a\nb",
    "a\r\nb",
    'say "x", y',
    "\\.",
    "a\n\\.\nb",
    "naïve ☃ \U0001f600",
    "1e5",
    "x" * 100_000,
)


def rows(engine: Engine, month: str) -> dict[str, list[str]]:
    """Each row of a month as PostgreSQL writes it."""
    with engine.connect() as connection:
        return {
            log: list(connection.exec_driver_sql(f"SELECT t::text FROM {log}_{month} AS t ORDER BY id").scalars())
            for log in LOG_TABLES
        }


@pytest.fixture
def odd(engine: Engine) -> Engine:
    """A log in months: the month of now is over and has odd values."""
    run(engine, *Tables(None, 1, "text").split())
    with engine.begin() as connection:
        for value in ODD:
            connection.exec_driver_sql("INSERT INTO item (name) VALUES (%s)", (value,))
        connection.exec_driver_sql("UPDATE item SET name = NULL WHERE id < 4")
        # What nobody of the tests' application writes.
        for number, value in enumerate(ODD[:-1], 10):
            connection.exec_driver_sql(
                "INSERT INTO transaction"
                " (native_transaction_id, issued_at, actor_id, actor_label, client_addr, context)"
                " VALUES (7, '1987-03-15 12:00:00.000001Z'::timestamptz + make_interval(days => %s), %s, %s, %s, %s)",
                (number, value, value, f"10.0.0.{number}/{number}", json.dumps({"reason": value, "n": 1.10})),
            )
        connection.exec_driver_sql('UPDATE transaction SET context = context || \'{"number": 1.100e3, "none": null}\'')
    assert rotate(engine, None, "2099_01")
    return engine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "audit"


@pytest.fixture
def archive(folder: Path) -> Archive:
    folder.mkdir()
    return Archive(folder, "public")


def save(engine: Engine, archive: Archive) -> None:
    with engine.begin() as connection:
        archive.save(connection, this_month())


def is_safe(archive: Archive, connection: Connection) -> bool:
    return archive.fault(connection, this_month()) is None


def drop(engine: Engine) -> None:
    run(engine, *(f"DROP TABLE {log}_{this_month()}" for log in LOG_TABLES))


def restore(engine: Engine, archive: Archive) -> None:
    with engine.begin() as connection:
        archive.restore(connection, this_month())


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("group", [1, parquet.GROUP_BYTES])
def test_a_month_comes_back_as_it_was(
    server: Server, odd: Engine, archive: Archive, driver: str, group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row in all columns, and again if that is saved; its parts are as those of any month."""
    monkeypatch.setattr(parquet, "GROUP_BYTES", group)
    engine = plain_engine(odd.url.set(drivername=f"postgresql+{driver}"))
    before = rows(engine, this_month())
    save(engine, archive)
    assert archive.months() == [this_month()]
    with engine.begin() as connection:
        assert archive.missing(connection) == []
        assert archive.verify(connection, this_month()).tables["activity"].rows == len(before["activity"])
    with engine.connect() as connection:
        query = "SELECT count(*) FROM pg_index WHERE indrelid = %s::regclass AND indisvalid"
        indexes = [connection.exec_driver_sql(query, (f"{log}_{this_month()}",)).scalar() for log in LOG_TABLES]
    drop(engine)
    restore(engine, archive)
    assert rows(engine, this_month()) == before
    with engine.connect() as connection:
        assert [month.name for month in months(connection, "public")] == [this_month(), "2099_01"]
        assert is_append_only(connection, "public")
        assert indexes == [connection.exec_driver_sql(query, (f"{log}_{this_month()}",)).scalar() for log in LOG_TABLES]
        assert connection.exec_driver_sql("SELECT count(*) FROM activity").scalar() == len(before["activity"])
    run(engine, INSERT)


def test_nobody_waits_while_a_month_is_saved_and_restored(odd: Engine, archive: Archive) -> None:
    """Also where a transaction that has written stays open."""
    with odd.connect() as writer:
        writer.exec_driver_sql(INSERT)
        save(odd, archive)
        writer.rollback()
        drop(odd)
        writer.exec_driver_sql(INSERT)
        with odd.begin() as connection:
            archive.restore(connection, this_month())
            run(odd, "SET LOCAL lock_timeout = '100ms'", INSERT, "SELECT count(*) FROM activity")
        writer.commit()
    assert len(rows(odd, "2099_01")["activity"]) == 2


def test_a_month_that_is_not_over_is_refused(odd: Engine, archive: Archive) -> None:
    for month in ("2099_01", "2020_01", "spare"):
        with odd.begin() as connection, pytest.raises(ConfigurationError, match=f"no month {month} that is over"):
            archive.save(connection, month)
    assert archive.months() == []


def test_a_log_without_months_is_refused(engine: Engine, archive: Archive) -> None:
    with engine.begin() as connection, pytest.raises(ConfigurationError, match="kept in months can be archived"):
        archive.save(connection, this_month())


def test_a_month_that_is_there_is_not_restored(odd: Engine, archive: Archive) -> None:
    save(odd, archive)
    with pytest.raises(ConfigurationError, match=f"has the month {this_month()}"):
        restore(odd, archive)


def edited(folder: Path, name: str, change: Any) -> None:
    path = folder / name
    said = json.loads(path.read_text())
    change(said)
    path.write_text(json.dumps(said))


def refit(folder: Path, **changes: Any) -> None:
    """Write a manifest that fits itself: what somebody makes who wants to deceive, or another program."""
    manifests.dataclasses.replace(manifests.read(folder), **changes).write(folder)


def swapped(folder: Path) -> None:
    data = (folder / "activity.parquet").read_bytes()
    (folder / "activity.parquet").write_bytes(data[:200] + bytes([data[200] ^ 1]) + data[201:])


def not_parquet(folder: Path) -> None:
    path = folder / "activity.parquet"
    path.write_bytes(b"not a Parquet file")
    table = manifests.SavedTable(path.name, 1, path.stat().st_size, manifests.sha256(path), 1, 1)
    refit(folder, tables=manifests.read(folder).tables | {"activity": table})


def other_rows(folder: Path) -> None:
    table = manifests.read(folder).tables["activity"]
    refit(folder, tables=manifests.read(folder).tables | {"activity": manifests.dataclasses.replace(table, rows=1)})


DAMAGES: tuple[tuple[Callable[[Path], Any], str], ...] = (
    (lambda f: (f / "activity.parquet").unlink(), r"activity.parquet is missing"),
    (lambda f: (f / "activity.parquet").write_bytes(b"PAR1"), r"activity.parquet has 4 bytes"),
    (swapped, r"activity.parquet is not what was written"),
    (not_parquet, r"activity.parquet is no Parquet file"),
    (other_rows, r"activity.parquet has \d+ rows; 1 were written"),
    (lambda f: (f / "manifest.json").unlink(), r"manifest.json is missing"),
    (lambda f: (f / "manifest.json").write_text("{"), r"manifest.json can't be read"),
    (lambda f: (f / "manifest.json").write_text("[]"), r"manifest.json can't be read"),
    (lambda f: edited(f, "manifest.json", lambda said: said.update(to_id=5)), r"manifest.json was changed"),
    (lambda f: edited(f, "manifest.json", lambda said: said.update(format=2)), r"the format 2; this release reads 1"),
    (lambda f: refit(f, log="f00"), r"is of another log: f00, in a schema public"),
    (lambda f: refit(f, month="2020_01"), r"has the month 2020_01"),
    (lambda f: f.rename(f.with_name("month=2020_01")), r"is missing; the archive has 2020_01"),
)


def test_a_disturbed_month_is_refused(odd: Engine, archive: Archive, tmp_path: Path) -> None:
    """By the name of what is wrong; nothing of it gets into the log, and the log's part may not be dropped."""
    save(odd, archive)
    disturbed = {}
    for number, (damage, said) in enumerate(DAMAGES):
        disturbed[said] = Archive(tmp_path / str(number), "public")
        shutil.copytree(archive.folder, disturbed[said].folder)
        damage(disturbed[said].month_folder(this_month()))
        with odd.begin() as connection:
            assert not is_safe(disturbed[said], connection), said
    drop(odd)
    for said, broken in disturbed.items():
        with pytest.raises(ArchiveError, match=said):
            restore(odd, broken)
        with odd.connect() as connection:
            assert [month.name for month in months(connection, "public")] == ["2099_01"]
    restore(odd, archive)


def test_a_month_is_safe_while_the_files_have_each_row_of_it(odd: Engine, archive: Archive) -> None:
    """The log may have fewer by now; none that is another one, and none that is new."""
    with odd.begin() as connection:
        assert not is_safe(archive, connection)
    save(odd, archive)
    part = f"activity_{this_month()}"
    for statement, expected in (
        ("SELECT 1", True),
        (f"DELETE FROM {part} WHERE id IN (1, 5)", True),
        (f"UPDATE {part} SET old_data = '{{}}' WHERE id = 4", True),
        (f"UPDATE {part} SET changed_data = '{{\"id\": 4}}' WHERE id = 4", False),
        (f"DELETE FROM {part} WHERE id = 4", True),
        (f"UPDATE {part} SET record_key = NULL WHERE id = 6", False),
        (f"DELETE FROM {part}", True),
        (f"INSERT INTO {part} SELECT * FROM activity WHERE id = 99", True),
        (f"UPDATE transaction_{this_month()} SET actor_label = '' WHERE actor_label IS NULL", False),
    ):
        run(odd, statement)
        with odd.begin() as connection:
            assert is_safe(archive, connection) is expected, statement


def test_a_row_that_the_files_lack_is_noticed(odd: Engine, archive: Archive) -> None:
    save(odd, archive)
    run(odd, "INSERT INTO activity SELECT (jsonb_populate_record(a, '{\"id\": 99}')).* FROM activity AS a WHERE id = 1")
    with odd.begin() as connection:
        assert not is_safe(archive, connection)


class Killed(BaseException):
    """What no code of ours catches."""


#: After each of these a killed job leaves something else behind.
STEPS: tuple[tuple[Any, str], ...] = (
    (pq.ParquetWriter, "write_table"),
    (manifests.Manifest, "write"),
    (manifests, "sync"),
    (manifests.shutil, "rmtree"),
    (Path, "mkdir"),
    (Path, "rename"),
)


def killed_at_each_step(monkeypatch: pytest.MonkeyPatch, work: Callable[[], Any]) -> Iterator[None]:
    """Do some work again and again, killed before its first step, its second one, and so on; ends with the whole."""
    for last in itertools.count():
        left = itertools.count(last, -1)

        with monkeypatch.context() as patch:
            for owner, name in STEPS:
                patch.setattr(owner, name, stepping(getattr(owner, name), left))
            try:
                work()
            except Killed:
                pass
            else:
                return
        yield


def stepping(function: Any, left: Iterator[int]) -> Any:
    def stepped(*arguments: Any, **options: Any) -> Any:
        if next(left) == 0:
            raise Killed
        return function(*arguments, **options)

    return stepped


def test_a_killed_save_leaves_nothing_half_done(odd: Engine, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a whole month or none, and the next run finishes it."""
    steps = 0
    for _ in killed_at_each_step(monkeypatch, lambda: save(odd, archive)):
        steps += 1
        with odd.begin() as connection:
            assert is_safe(archive, connection) is bool(archive.months())
            assert bool(archive.missing(connection)) is not bool(archive.months())
        save(odd, archive)
        with odd.begin() as connection:
            archive.verify(connection, this_month())
        assert [path.name for path in archive.folder.iterdir()] == [f"month={this_month()}"]
        shutil.rmtree(archive.month_folder(this_month()))
    assert steps >= 8


def forget(connection: Connection, schema: str) -> int:
    changed = connection.exec_driver_sql(
        f"UPDATE {schema}.transaction SET actor_label = 'erased' WHERE actor_label = 'NULL'"
    )
    return changed.rowcount


def labels(engine: Engine, archive: Archive) -> list[str]:
    """Of the file, as any program reads it."""
    return pq.read_table(archive.month_folder(this_month()) / "transaction.parquet")["actor_label"].to_pylist()


def test_a_killed_change_of_a_month_leaves_nothing_half_done(
    odd: Engine, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are the old or the new ones, and the next run finishes it; then nobody finds the old ones."""

    def rewrite(change: Callable[[Connection, str], int] = forget) -> bool:
        with odd.begin() as connection:
            return archive.rewrite(connection, this_month(), change)

    save(odd, archive)
    was = labels(odd, archive)
    becomes = ["erased" if label == "NULL" else label for label in was]
    assert was != becomes
    steps = 0
    for _ in killed_at_each_step(monkeypatch, rewrite):
        steps += 1
        with odd.begin() as connection:
            archive.check(connection, this_month())
        assert labels(odd, archive) in (was, becomes)
        rewrite()
        assert labels(odd, archive) == becomes
        assert [path.name for path in archive.folder.iterdir()] == [f"month={this_month()}"]
        save(odd, archive)
    assert steps >= 8
    assert labels(odd, archive) == becomes
    with odd.begin() as connection:
        assert not is_safe(archive, connection)
        forget(connection, "public")
        assert is_safe(archive, connection)
    with odd.begin() as connection, monkeypatch.context() as patch:
        patch.setattr(manifests, "swap", lambda folder: raises(OSError("No space left on device")))
        with pytest.raises(ArchiveError, match=r"can't be written: No space left on device"):
            archive.rewrite(connection, this_month(), lambda *_: 1)
        assert not archive.rewrite(connection, this_month(), forget)
    before = archive.month_folder(this_month()).stat()
    assert not rewrite()
    assert archive.month_folder(this_month()).stat() == before


def test_a_killed_restore_leaves_nothing(odd: Engine, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rows(odd, this_month())
    save(odd, archive)
    drop(odd)
    for name in ("load", "compare"):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(f"flask_audit_logger.growth.archive.{name}", lambda *_: raises(Killed()))
            restore(odd, archive)
    with odd.connect() as connection:
        assert [month.name for month in months(connection, "public")] == ["2099_01"]
    restore(odd, archive)
    assert rows(odd, this_month()) == before


def raises(error: BaseException) -> Any:
    raise error


def cli(application: Application, *arguments: str) -> tuple[int, str]:
    result = application.app.test_cli_runner().invoke(args=["audit", *arguments])
    return result.exit_code, result.output


@pytest.fixture
def application(server: Server, folder: Path) -> Iterator[Application]:
    """One whose log has a month that is over, with one change."""
    with server.database() as url:
        application = make_app(url, partition="month", archive=folder)
        engine = plain_engine(url)
        run(engine, "INSERT INTO users (name) VALUES ('x')")
        run(engine, *(f"ALTER TABLE {log}_{this_month()} RENAME TO {log}_2020_01" for log in LOG_TABLES))
        yield application
        application.dispose()


def test_the_job_archives_and_commands_verify_and_restore(application: Application, folder: Path) -> None:
    """From a missing folder to a month that is back; each says what is wrong by its exit code, too."""
    engine = application.outside
    assert cli(application, "archive", "ls")[1].startswith("The archive has no month yet")
    assert f"the folder {folder} of its archive is missing" in cli(application, "status")[1]
    code, output = cli(application, "maintain")
    assert (code, f"The folder {folder} of the archive is missing. Create it, or mount it." in output) == (1, True)
    folder.mkdir()
    assert "its month 2020_01 is not archived: run `flask audit maintain`" in cli(application, "status")[1]
    assert "month 2020_01: would be archived" in cli(application, "maintain", "--dry-run")[1]
    code, output = cli(application, "maintain", "--json")
    assert (code, json.loads(output)["databases"][0]["archived"]) == (0, ["2020_01"])
    assert cli(application, "maintain") == (0, f"month {this_month()}: has begun before\n")
    assert cli(application, "status")[0] == 0
    assert cli(application, "archive", "verify") == (0, "ok    2020_01\n")
    (listed,) = json.loads(cli(application, "archive", "ls", "--json")[1])["months"]
    assert (listed["month"], listed["in_log"], listed["changes"], listed["fault"]) == ("2020_01", True, 1, None)
    assert cli(application, "archive", "restore", "2020_01") == (
        1,
        "Error: The log in schema public has the month 2020_01.\n",
    )
    run(engine, *(f"DROP TABLE {log}_2020_01" for log in LOG_TABLES))
    assert cli(application, "archive", "ls")[1].endswith("only here\n")
    code, output = cli(application, "archive", "verify", "2020_01", "2020_02")
    assert (code, output.splitlines()[0]) == (1, "ok    2020_01")
    assert "month=2020_02 is missing; the archive has 2020_01" in output
    code, output = cli(application, "archive", "restore", "2020_02")
    assert (code, "month=2020_02 is missing" in output) == (1, True)
    code, output = cli(application, "archive", "restore", "2020_01", "--json")
    assert (code, json.loads(output)["months"][0]["rows"]) == (0, {"transaction": 1, "activity": 1})
    assert cli(application, "status")[0] == 0
    assert [entry.verb for entry in application.activities()] == ["insert", "hold"]
    assert "the month 2020_01: restored from the archive (until" in cli(application, "hold", "ls")[1]
    with application.app.app_context(), alone(application.db.engine, Log("public", "public")):
        assert "is at this log. Run it again later." in cli(application, "archive", "verify")[1]
    (folder / "month=2020_01" / "activity.parquet").write_bytes(b"")
    for arguments in (("status",), ("archive", "ls"), ("archive", "verify")):
        code, output = cli(application, *arguments)
        assert (code, "activity.parquet has 0 bytes" in output) == (1, True), arguments


def test_a_month_is_removed_only_if_its_archive_is_whole(server: Server, folder: Path) -> None:
    """Else the job says why it stays; one that was restored stays until its hold is over, although it is due."""
    folder.mkdir()
    with server.database() as url:
        application = make_app(url, partition="month", archive=folder, keep={"*": "1y"})
        engine = application.outside
        run(engine, "INSERT INTO users (name) VALUES ('x')")
        for log in LOG_TABLES:
            run(engine, f"UPDATE {log} SET issued_at = '2020-01-01'")
            run(engine, f"ALTER TABLE {log}_{this_month()} RENAME TO {log}_2020_01")
        assert rotate(engine, None, this_month())
        file = folder / "month=2020_01" / "activity.parquet"
        with application.app.app_context(), application.db.engine.begin() as connection:
            Archive(folder, "public").save(connection, "2020_01")
        written = file.read_bytes()
        file.write_bytes(b"")
        code, output = cli(application, "maintain")
        assert (code, "FAIL  month 2020_01: nothing of it is removed." in output) == (1, True)
        assert "activity.parquet has 0 bytes" in output
        assert [entry.verb for entry in application.activities()] == ["insert"]
        file.write_bytes(written)
        code, output = cli(application, "maintain")
        assert (code, "month 2020_01: dropped" in output) == (0, True)
        assert [entry.verb for entry in application.activities()] == ["pruned"]
        assert cli(application, "archive", "restore", "2020_01", "--for", "1 month")[0] == 1
        assert cli(application, "archive", "restore", "2020_01", "--for", "2w")[0] == 0
        assert cli(application, "maintain")[0] == 0
        assert [entry.verb for entry in application.activities()] == ["insert", "pruned", "hold"]
        (address,) = (h["address"] for h in json.loads(cli(application, "hold", "ls", "--json")[1])["holds"])
        assert cli(application, "hold", "release", address, "--reason", "read")[0] == 0
        assert "month 2020_01: dropped" in cli(application, "maintain")[1]
        application.dispose()


def test_a_log_without_an_archive_has_no_such_commands(server: Server) -> None:
    with server.database() as url:
        application = make_app(url, partition="month")
        assert "There is no archive: AuditLogger(db, partition=" in cli(application, "archive", "ls")[1]
        application.dispose()


def test_who_lacks_the_extra_is_told_its_name(
    application: Application, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "pyarrow" else find(name, *a))
    for arguments in (("maintain",), ("archive", "ls"), ("archive", "restore", "2020_01"), ("status",)):
        code, output = cli(application, *arguments)
        assert (code, "pip install 'flask-audit-logger[archive]'" in output) == (1, True), arguments


def test_an_archive_is_of_months() -> None:
    with pytest.raises(ConfigurationError, match=r'archive= goes with partition="month"'):
        AuditLogger(SQLAlchemy(), archive="/var/lib/shop/audit")


def test_the_log_of_a_bind_has_a_folder_in_the_folder(tmp_path: Path) -> None:
    db = SQLAlchemy()
    for bind in (None, "reports"):
        table = db.Table("item", db.Column("id", db.Integer, primary_key=True), bind_key=bind)
        table.info["audit_logged"] = True
    AuditLogger(db, partition="month", archive=tmp_path).detach()
    folders = {bind: declaration_of(metadata).archive for bind, metadata in db.metadatas.items()}
    assert folders == {None: str(tmp_path), "reports": str(tmp_path / "reports")}


def test_the_recipe_for_duckdb_reads_an_archive(application: Application, folder: Path) -> None:
    """As docs/operating.md has it."""
    pytest.importorskip("duckdb")
    folder.mkdir()
    assert cli(application, "maintain")[0] == 0
    (recipe,) = (b.source for b in blocks(ROOT / "docs" / "operating.md") if "import duckdb" in b.source)
    names: dict[str, Any] = {}
    exec(recipe.replace("/var/lib/shop/audit", str(folder)), names)  # noqa: S102 - our own
    assert names["history"] == [("2020_01", "insert", "x", None)]
