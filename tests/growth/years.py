"""Three years of a log, as an operator lives through them: ``python -m tests.growth.years`` prints what was found.

Real writes through the triggers, month after month, their times moved into the past; then all that a growing log can be
asked for, with writers beside it and with jobs that are killed, and each row compared with a copy made before.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import URL, text

from flask_audit_logger import AuditLogger
from flask_audit_logger.growth.keep import before
from flask_audit_logger.growth.months import rotate, this_month
from flask_audit_logger.schema.objects import LOG_TABLES
from tests.support.cluster import Cluster
from tests.support.server import plain_engine

KEEP = {"*": "24mo", "orders": "30mo"}
#: Whose data are forgotten, and whose are held.
FORGOTTEN, HELD = 42, 17
EMAIL, PHONE = "person42@example.org", "+49 170 4242424"
SECRET = f"(a::text LIKE '%{EMAIL}%' OR a::text LIKE '%{PHONE}%')"
ERASE = ("--record", "customers", str(FORGOTTEN), "--reason", "Art. 17, 2026-113", "--yes")
#: Entries about that person.
ABOUT = (
    f"(b.table_name = 'customers' AND b.record_key = '{FORGOTTEN}' OR b.table_name = 'orders'"
    f" AND '{FORGOTTEN}' IN (b.old_data ->> 'customer_id', b.changed_data ->> 'customer_id'))"
)
#: A write that took longer was slowed by what went on beside it, in seconds.
SLOW = 1.0


def make_app(url: URL | str, archive: str) -> tuple[Flask, SQLAlchemy]:
    """A shop whose log is kept in months; also what ``flask --app tests.growth.years`` is given."""
    app = Flask("tests.years")
    app.config.update(SQLALCHEMY_DATABASE_URI=url, SECRET_KEY="tests")
    db = SQLAlchemy(app)

    def table(name: str, personal: dict[str, Any], *columns: sa.Column[Any]) -> None:
        info = {"audit_logged": personal or True}
        sa.Table(name, db.metadata, sa.Column("id", sa.Integer, primary_key=True), *columns, info=info)

    customer = sa.Column("customer_id", sa.ForeignKey("customers.id"))
    table("customers", {"personal": ["email", "phone"]}, sa.Column("email", sa.Text), sa.Column("phone", sa.Text))
    about = {"personal": ["address"], "subject": "customer_id"}
    table("orders", about, customer, sa.Column("address", sa.Text), sa.Column("total", sa.Numeric))
    table("stock", {}, sa.Column("quantity", sa.Integer), sa.Column("price", sa.Numeric))
    AuditLogger(db, partition="month", keep=KEEP, archive=archive).init_app(app)
    return app, db


def create_app() -> Flask:
    """The shop of the run whose job this process does."""
    return make_app(os.environ["YEARS_URL"], os.environ["YEARS_ARCHIVE"])[0]


@dataclass
class Finding:
    """One line of the report.

    :param is_right: whether it is as it should be.
    """

    said: str
    is_right: bool = True


@dataclass
class Years:
    """The run, and what it found.

    :param changes: how many changes are made at least.
    :param count: how many months.
    :param kills: how many jobs are killed.
    """

    url: URL
    folder: Path
    changes: int
    count: int
    kills: int
    findings: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.archive = self.folder / "archive"
        self.archive.mkdir()
        self.app, self.db = make_app(self.url, str(self.archive))
        self.logger: AuditLogger = self.app.extensions["audit_logger"]
        self.last = 0
        with self.app.app_context():
            self.db.create_all()
        self.engine = plain_engine(self.url)
        year, month = map(int, this_month().split("_"))
        first = year * 12 + month - 1 - self.count
        self.names = [f"{each // 12}_{each % 12 + 1:02d}" for each in range(first, first + self.count)]

    # What is asked of the application

    def command(self, *words: str) -> subprocess.Popen[str]:
        """Begin ``flask audit …``, in a process of its own as operators do."""
        environment = {**os.environ, "YEARS_URL": self.url.render_as_string(False), "YEARS_ARCHIVE": str(self.archive)}
        line = [sys.executable, "-m", "flask", "--app", "tests.growth.years", "audit", *words]
        return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def flask(self, *words: str) -> None:
        """Do what ``flask audit …`` does."""
        begun = time.monotonic()
        job = self.command(*words)
        output, _ = job.communicate()
        self.note(f"flask audit {' '.join(words)}: {time.monotonic() - begun:.0f} s", job.returncode == 0)
        if job.returncode:
            self.note(output, False)

    def note(self, said: str, is_right: bool = True) -> None:
        """Add a line to the report, and print it."""
        self.findings.append(Finding(said, is_right))
        print(f"{datetime.now():%H:%M:%S} {'ok  ' if is_right else 'FAIL'} {said}", flush=True)

    def equal(self, said: str, found: object, expected: object) -> None:
        """Note whether two values are the same."""
        is_right = found == expected
        self.note(f"{said}: {found}" if is_right else f"{said}: {found}, not {expected}", is_right)

    def scalar(self, statement: str) -> Any:
        """Ask for one value."""
        with self.engine.connect() as connection:
            return connection.exec_driver_sql(statement.replace("%", "%%")).scalar()

    def run(self, *statements: str) -> None:
        """Execute each in a transaction of its own."""
        for statement in statements:
            with self.engine.begin() as connection:
                connection.exec_driver_sql(statement)

    # The years

    def make_history(self) -> None:
        """Changes of each month, made through the triggers; then their times are moved into that month."""
        now = this_month()
        for log in LOG_TABLES:
            self.run(f"ALTER TABLE {log}_{now} RENAME TO {log}_{self.names[0]}")
        people = max(self.changes // 200, 100)
        rows = self.changes // self.count // 20 + 1
        for number, name in enumerate(self.names):
            if number == 0:
                self.write(1, f"INSERT INTO customers SELECT i, 'person' || i || '@example.org', '+49 ' || i "
                              f"FROM generate_series(1, {people}) AS i",
                           f"UPDATE customers SET phone = '{PHONE}' WHERE id = {FORGOTTEN}")  # fmt: skip
                self.write(1, f"INSERT INTO stock SELECT i, 0, 1 FROM generate_series(1, {people}) AS i")
            else:
                rotate(self.engine, None, name)
            for turn in range(10):
                low = (number * 10 + turn) * rows
                self.write(turn % 5 + 1,
                    f"INSERT INTO orders SELECT {low} + i, 1 + i % {people}, 'Street ' || i, i % 900"
                    f" FROM generate_series(1, {rows}) AS i",
                    f"UPDATE stock SET quantity = quantity + 1, price = price + 0.1 WHERE id <= {rows}",
                )  # fmt: skip
            self.write(2, f"UPDATE orders SET total = total + 1 WHERE id > {low}")
            self.write(3, f"DELETE FROM orders WHERE id > {low} AND id % 7 = 0")
            for person in (HELD if number % 2 == 0 else 1, FORGOTTEN):
                self.write(person, f"UPDATE customers SET email = email || '.{number}' WHERE id = {person}")
            self.write(1, f"INSERT INTO orders VALUES ({-number - 1}, {FORGOTTEN}, '{EMAIL}', 1)")
            self.run(
                f"UPDATE transaction_{name} AS t SET issued_at = to_timestamp('{name}', 'YYYY_MM') + interval '27 days'"
                " * n.part FROM (SELECT id, percent_rank() OVER (ORDER BY id) AS part"
                f" FROM transaction_{name}) AS n WHERE n.id = t.id",
                f"UPDATE activity_{name} AS a SET issued_at = t.issued_at FROM transaction_{name} AS t"
                " WHERE t.id = a.transaction_id",
            )
        rotate(self.engine, None, now)
        self.run(
            *(f"CREATE TABLE true_{log} AS SELECT * FROM {log}" for log in LOG_TABLES),
            "ALTER TABLE true_activity ADD PRIMARY KEY (transaction_id, id)",
            "ALTER TABLE true_transaction ADD PRIMARY KEY (id)",
            "ANALYZE",
        )
        self.last = int(self.scalar("SELECT max(id) FROM true_transaction"))
        made = int(self.scalar("SELECT count(*) FROM true_activity"))
        self.note(f"{made:,} changes in {self.count} months", made >= self.changes)

    def write(self, actor: int, *statements: str) -> None:
        """Execute statements in one transaction, as somebody."""
        with self.app.app_context(), self.logger.context(actor=str(actor)), self.db.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    # What an operator does

    def operate(self) -> None:
        """Hold, archive, let go, forget, read, restore, with writers beside it."""
        self.flask("hold", "add", "--table", "customers", "--key", str(HELD), "--until", "2099-12-31",
                   "--reason", "case 12/26")  # fmt: skip
        with self.writers():
            self.kill("maintain")
            self.flask("maintain")
            self.check_survivors()
            self.kill("erase", *ERASE)
            self.flask("erase", *ERASE)
            self.check_forgotten()
            self.flask("archive", "verify")
            self.check_files()
            self.check_restored()
            self.flask("maintain")
            self.flask("status", "--json")

    def kill(self, *words: str) -> None:
        """Begin a command as often as is wanted, and kill it somewhere."""
        ended = 0
        for number in range(self.kills):
            job = self.command(*words)
            try:
                # Twice as long each time, so that it is killed in different steps.
                job.communicate(timeout=1.5 * 2**number)
                ended += 1
            except subprocess.TimeoutExpired:
                job.kill()
                job.communicate()
        self.note(f"flask audit {words[0]} killed {self.kills - ended} times, {ended} times it was done before")

    @contextmanager
    def writers(self) -> Iterator[None]:
        """Eight threads that write as long as the block runs; what they wrote is compared with the log."""
        writers = [Writer(self.url, number) for number in range(8)]
        for writer in writers:
            writer.start()
        try:
            yield
        finally:
            for writer in writers:
                writer.stops.set()
            for writer in writers:
                writer.join()
        failures = [failure for writer in writers for failure in writer.failures]
        written = sum(writer.written for writer in writers)
        slowest, at = max(writer.slowest for writer in writers)
        self.equal(f"failed of {written:,} writes beside it", failures[:3], [])
        self.note(f"the slowest of them took {slowest * 1000:,.0f} ms, at {at}", slowest < SLOW)
        made = self.scalar(f"SELECT count(*) FROM activity WHERE transaction_id > {self.last} AND verb = 'update'")
        self.equal("changes of theirs in the log", made, written)

    # What must be true

    def check_survivors(self) -> None:
        """The log has the rows that a rule keeps or a hold covers, and their transactions, and no others."""
        now = datetime.now(UTC)
        kept = " OR ".join(
            f"({name}) AND a.issued_at >= '{before(period, now)}'"
            for name, period in (("table_name = 'orders'", KEEP["orders"]), ("table_name <> 'orders'", KEEP["*"]))
        )
        kept = f"({kept} OR table_name = 'customers' AND record_key = '{HELD}')"
        self.compare("activity", kept)
        self.compare(
            "transaction",
            "EXISTS (SELECT FROM true_activity AS x WHERE x.transaction_id = a.id AND "
            f"{kept.replace('a.issued', 'x.issued').replace('table_name', 'x.table_name')})",
        )
        gone = self.scalar(f"SELECT count(*) FROM true_activity AS a WHERE NOT {kept}")
        told = "SELECT coalesce(sum((changed_data ->> 'changes')::int), 0) FROM activity WHERE verb = 'pruned'"
        self.equal("changes that are let go, as the log says", int(self.scalar(told)), gone)
        self.equal("months in the log", self.months(), [name for name in self.names if self.scalar(
            f"SELECT EXISTS (SELECT FROM true_activity AS a WHERE {kept} AND {self.within(name)})")])  # fmt: skip

    def within(self, name: str) -> str:
        """What entries of a month meet."""
        return f"date_trunc('month', a.issued_at, 'UTC') = to_timestamp('{name}', 'YYYY_MM')"

    def months(self) -> list[str]:
        """The months that are over and in the log."""
        there = "SELECT to_regclass('activity_{0}') IS NOT NULL"
        return [name for name in self.names if self.scalar(there.format(name))]

    def compare(self, log: str, kept: str) -> None:
        """Each row, in all columns."""
        key = "id" if log == "transaction" else "transaction_id"
        here = f"SELECT a::text FROM {log} AS a WHERE {key} <= {self.last}"
        true = f"SELECT a::text FROM true_{log} AS a WHERE {kept}"
        for said, one, other in (("missing", true, here), ("too much", here, true)):
            self.equal(f"{log}: {said}", self.scalar(f"SELECT count(*) FROM ({one} EXCEPT ALL {other}) AS x"), 0)

    def check_forgotten(self) -> None:
        """Nothing of the person is left, in the log and in the files; and nothing else is changed."""
        self.equal("secrets in the log", self.scalar(f"SELECT count(*) FROM activity AS a WHERE {SECRET}"), 0)
        there = f"SELECT transaction_id, id FROM activity AS a WHERE transaction_id <= {self.last}"
        same = ("SELECT count(*) FROM activity AS a JOIN true_activity AS b USING (transaction_id, id) "
                f"WHERE a::text <> b::text AND NOT {ABOUT}")  # fmt: skip
        self.equal("changes of others that the erasure touched", self.scalar(same), 0)
        differing = same.replace(f" AND NOT {ABOUT}", "")
        self.note(f"{self.scalar(differing)} changes of {self.scalar(there.replace('transaction_id, id', 'count(*)'))} "
                  "have erased values")  # fmt: skip

    def check_files(self) -> None:
        """DuckDB reads as many rows as there were in each month, and no secret."""
        with duckdb.connect() as lake:
            files = f"read_parquet('{self.archive}/*/activity.parquet', hive_partitioning = true)"
            found = dict(lake.execute(f"SELECT month, count(*) FROM {files} GROUP BY month").fetchall())
            secret = SECRET.replace("a::text", "concat(old_data, changed_data)")
            secrets = lake.execute(f"SELECT count(*) FROM {files} WHERE {secret}").fetchone()
        true = {
            name: self.scalar(f"SELECT count(*) FROM true_activity AS a WHERE {self.within(name)}")
            for name in self.names
        }
        self.equal("months whose files have another number of changes", {
            name: (found.get(name), count) for name, count in true.items() if found.get(name) != count
        }, {})  # fmt: skip
        self.equal("secrets in the files", secrets and secrets[0], 0)
        size = sum(path.stat().st_size for path in self.archive.rglob("*.parquet"))
        self.note(f"{size / max(sum(true.values()), 1):.0f} bytes of files for each change")

    def check_restored(self) -> None:
        """A month that was let go comes back: row by row what it was, apart from what was forgotten."""
        there = self.months()
        gone = [name for name in self.names if name not in there]
        self.note(f"months that were let go: {', '.join(gone)}", bool(gone))
        for name in gone[:2]:
            self.flask("archive", "restore", name)
            for log, key in (("transaction", ("id",)), ("activity", ("transaction_id", "id"))):
                about = ABOUT if log == "activity" else "false"
                differing = (
                    f"SELECT count(*) FROM {log}_{name} AS a FULL JOIN (SELECT * FROM true_{log} AS a "
                    f"WHERE {self.within(name)}) AS b USING ({', '.join(key)}) "
                    f"WHERE a::text IS DISTINCT FROM b::text AND NOT ({about})"
                )
                self.equal(f"{log}_{name}: rows that differ", self.scalar(differing), 0)
        self.equal("secrets in what came back", self.scalar(f"SELECT count(*) FROM activity AS a WHERE {SECRET}"), 0)


class Writer(threading.Thread):
    """Somebody who writes all the time, and looks at the clock."""

    def __init__(self, url: URL, number: int) -> None:
        super().__init__(daemon=True)
        self.engine = plain_engine(url)
        self.number = number
        self.stops = threading.Event()
        self.failures: list[str] = []
        self.written = 0
        self.slowest = (0.0, "")

    def run(self) -> None:
        while not self.stops.wait(0.02):
            begun = time.monotonic()
            try:
                with self.engine.begin() as connection:
                    connection.exec_driver_sql(f"UPDATE stock SET quantity = quantity + 1 WHERE id = {self.number + 1}")
            except sa.exc.SQLAlchemyError as error:
                self.failures.append(str(error))
            else:
                self.written += 1
            self.slowest = max(self.slowest, (time.monotonic() - begun, f"{datetime.now():%H:%M:%S}"))
        self.engine.dispose()


def run(folder: Path, url: URL, changes: int, months: int, kills: int) -> list[Finding]:
    """Live through the years in an empty database; gives what was found."""
    years = Years(url, folder, changes, months, kills)
    try:
        years.make_history()
        years.operate()
    finally:
        years.engine.dispose()
        with years.app.app_context():
            years.db.engine.dispose()
    return years.findings


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.growth.years", description=__doc__)
    parser.add_argument("--changes", type=int, default=2_000_000)
    parser.add_argument("--months", type=int, default=36)
    parser.add_argument("--kills", type=int, default=5, help="how often each job is killed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Cluster(in_memory=False) as cluster:
        findings = run(Path(folder), cluster.url(), options.changes, options.months, options.kills)
    wrong = [finding for finding in findings if not finding.is_right]
    print(f"{len(findings)} findings, {len(wrong)} of them wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
