"""Promise: what is held for a case stays until the hold is over, whatever the rules say, and the log says by whom."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from tests.capture.tables import run
from tests.growth.test_maintain import AGE, entries
from tests.growth.test_months import cli
from tests.support.apps import make_app
from tests.support.server import Server, plain_engine


def test_a_hold_keeps_what_is_due(server: Server) -> None:
    """Of a record, with the emptying of its table; released, it goes with the next run. Both are entries of the log."""
    with server.database() as url:
        application = make_app(url, keep={"*": "1y"})
        engine = plain_engine(url)
        run(engine, "INSERT INTO tags (name) VALUES ('x'), ('y')", "INSERT INTO notes (text) VALUES ('not logged')")
        run(engine, "TRUNCATE tags CASCADE", AGE.format("2 years"))
        code, output = cli(application, "hold", "add", "--table", "tags", "--key", "2", "--reason", "case 12/26")
        address = output.split()[1]
        assert (code, output) == (0, f"hold {address} in schema public\n")
        code, output = cli(application, "hold", "ls")
        assert output == f"{address}  the record 2 of tags: case 12/26 (until it is released)\n"
        assert cli(application, "maintain")[0] == 0
        kept = [("insert", "tags", "2"), ("truncate", "tags", None), ("hold", "tags", None), ("pruned", "tags", None)]
        assert [row for row in entries(engine, "verb, table_name, record_key") if row[1] == "tags"] == kept
        assert cli(application, "hold", "release", address, "--reason", "closed") == (0, f"hold {address} released\n")
        assert "There is no hold." in cli(application, "hold", "ls")[1]
        assert cli(application, "maintain")[0] == 0
        assert [row[0] for row in entries(engine) if row[2] == "tags"] == ["hold", "pruned", "release", "pruned"]
        with engine.connect() as connection:
            query = "SELECT DISTINCT context ->> 'command' FROM transaction ORDER BY 1"
            commands = connection.exec_driver_sql(query).scalars().all()
        assert commands == ["audit hold add", "audit hold release", "audit maintain"]
        application.dispose()


def test_what_a_hold_is_of(server: Server) -> None:
    """A table, an actor or a month; what there is not is refused."""
    yesterday = str(dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1))
    with server.database() as url:
        application = make_app(url, partition="month")
        for arguments, said in [
            (["--table", "tgas"], "'tgas' is no audited table; there are article_tags, articles"),
            (["--month", "1999_01"], "no month '1999_01'; there are 20"),
            ([], "none was given"),
            (["--key", "1"], "The key '1' is of which table?"),
            (["--table", "tags", "--until", yesterday], "that day is over"),
            (["--table", "tags", "--reason", " "], "A hold needs a reason"),
        ]:
            code, output = cli(application, "hold", "add", "--reason", "case", *arguments)
            assert (code != 0, said in output) == (True, True), output
        for arguments in (
            ["--table", "article_tags", "--key", "1", "--key", "2"],
            ["--actor", "7", "--until", "2999-01-01"],
        ):
            assert cli(application, "hold", "add", "--reason", "case", *arguments)[0] == 0
        found = json.loads(cli(application, "hold", "ls", "--json")[1])["holds"]
        assert [(hold["key"], hold["actor"], hold["until"], hold["in_force"]) for hold in found] == [
            ('["1", "2"]', None, None, True),
            (None, "7", "2999-01-01", True),
        ]
        assert "no hold '1.0'" in cli(application, "hold", "release", "1.0", "--reason", "x")[1]
        application.dispose()


@pytest.mark.parametrize("age", ["1 year 4 days", "400 days", "9 years"])
def test_status_names_what_is_overdue_however_long(server: Server, age: str) -> None:
    """Also of a job that never ran."""
    with server.database() as url:
        application = make_app(url, keep={"*": "1y"})
        engine = plain_engine(url)
        run(engine, "INSERT INTO users (name) VALUES ('x')", AGE.format(age))
        run(engine, "INSERT INTO tags (name) VALUES ('x')")
        code, output = cli(application, "status")
        assert (code, "entries of users are due for more than 3 days" in output) == (1, True)
        cli(application, "maintain")
        assert cli(application, "status")[0] == 0
        application.dispose()


def test_status_names_what_is_overdue(server: Server) -> None:
    """A hold that is over, and entries that are due for days, as the job does not run."""
    with server.database() as url:
        application = make_app(url, keep={"users": "1y"})
        engine = plain_engine(url)
        cli(application, "hold", "add", "--reason", "case 1", "--table", "tags", "--until", "2999-01-01")
        run(engine, "INSERT INTO users (name) VALUES ('x')", "INSERT INTO tags (name) VALUES ('x')")
        run(engine, AGE.format("1 year 2 days"))
        assert cli(application, "status")[0] == 0
        run(engine, AGE.format("2 days"))
        code, output = cli(application, "status")
        assert (code, "entries of users are due for more than 3 days" in output) == (1, True)
        cli(application, "maintain")
        assert cli(application, "status")[0] == 0
        run(
            engine,
            """UPDATE activity SET changed_data = changed_data || '{"until": "2001-01-01"}' WHERE verb = 'hold'""",
        )
        code, output = cli(application, "status")
        assert (code, "of the table tags is over since 2001-01-01 (case 1)" in output) == (1, True), output
        application.dispose()
