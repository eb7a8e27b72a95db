"""How many files of the package a reader of one journey visits: ``python -m tests.support.journeys``.

Counts the files in which a function runs between call and result, and how often the next call is in another file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import URL

import flask_audit_logger
from flask_audit_logger.ui import RevertPolicy
from tests.migrations.project import Project
from tests.support.apps import Application, logged_in_as, make_app
from tests.support.cluster import Cluster
from tests.support.server import Server
from tests.ui.previews import Browser, change_of, path_of
from tests.ui.shop import ANN, make_history, make_shop

PACKAGE = str(Path(flask_audit_logger.__file__).parent)
THREE_FILTERS = "/audit/?table=products&verb=update&actor=2&period=all"
RECORD = "/audit/record/products/42"


def visited(run: Callable[[], Any]) -> list[str]:
    """The files of the functions of ours that run, in the order of their calls."""
    calls: list[str] = []

    def note(frame: Any, event: str, _arg: Any) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(PACKAGE) and file.endswith(".py"):
            calls.append(file[len(PACKAGE) + 1 :])

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return calls


def main() -> None:
    with Cluster() as cluster:
        server = Server(cluster.url(), prefix="journeys")
        with server.database() as of_pages, server.database() as of_migrations:
            report(pages(of_pages))
            report(autogenerate(of_migrations))


def report(journeys: Iterator[tuple[str, Callable[[], Any]]]) -> None:
    for name, run in journeys:
        calls = visited(run)
        moves = sum(a != b for a, b in pairwise(calls))
        print(f"{name}: {len(set(calls))} files, {moves} changes of file in {len(calls)} calls")
        if "-v" in sys.argv:
            print("   " + " ".join(sorted(set(calls))))


def pages(url: URL) -> Iterator[tuple[str, Callable[[], Any]]]:
    """A list, a record and a put-back, each after it was opened once."""
    made: list[Application] = []

    def create_app(**options: Any) -> Application:
        made.append(make_app(url, **options))
        return made[-1]

    shop = make_history(make_shop(create_app, revert=RevertPolicy()))
    client = shop.application.app.test_client()

    def get(path: str) -> None:
        response = client.get(path, headers=logged_in_as(ANN))
        assert response.status_code == 200, (path, response.status_code)

    browser, preview = Browser(shop), path_of(change_of(shop, "stock"), "before", "stock")

    def put_back() -> None:
        assert browser.send(preview).status_code == 303

    for path in (THREE_FILTERS, RECORD):
        get(path)
    browser.preview(preview)
    yield "a list page with three filters", lambda: get(THREE_FILTERS)
    yield "a record page", lambda: get(RECORD)
    yield "a put-back", put_back
    made[0].dispose()


def autogenerate(url: URL) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The migration that makes a log, and one that finds that a table's options have changed."""
    application = make_app(url, create_all=False)
    with TemporaryDirectory() as folder:
        project = Project(Path(folder), url)

        def migrate() -> None:
            assert "op." in project.migrate(application)

        yield "an autogenerate run, of a first migration", migrate
        project.upgrade()
        application.models.Article.__table__.info = {"audit_logged": {"exclude": ["body"]}}
        yield "an autogenerate run, of a changed option", migrate
    application.dispose()


if __name__ == "__main__":
    main()
