"""How many files of the package a reader of one journey visits: ``python -m tests.ui.journeys``.

Counts the files in which a function runs between request and response, and how often the next call is in another file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import flask_audit_logger
from flask_audit_logger.ui import RevertPolicy
from tests.support.apps import logged_in_as, make_app
from tests.support.cluster import Cluster
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
    cluster = Cluster()
    cluster.start()
    made: list[Any] = []
    try:
        shop = make_history(make_shop(lambda **options: _made(made, cluster.url(), **options), revert=RevertPolicy()))
        client = shop.application.app.test_client()
        headers = logged_in_as(ANN)

        def get(path: str) -> str:
            response = client.get(path, headers=headers)
            assert response.status_code == 200, (path, response.status_code)
            return response.text

        browser, preview = Browser(shop), path_of(change_of(shop, "stock"), "before", "stock")

        def put_back() -> None:
            assert browser.send(preview).status_code == 303

        for path in (THREE_FILTERS, RECORD):
            get(path)
        browser.preview(preview)
        journeys = {
            "a list page with three filters": lambda: get(THREE_FILTERS),
            "a record page": lambda: get(RECORD),
            "a put-back": put_back,
        }
        for name, run in journeys.items():
            calls = visited(run)
            moves = sum(a != b for a, b in pairwise(calls))
            print(f"{name}: {len(set(calls))} files, {moves} changes of file in {len(calls)} calls")
            if "-v" in sys.argv:
                print("   " + " ".join(sorted(set(calls))))
    finally:
        for application in made:
            application.dispose()
        cluster.remove()


def _made(made: list[Any], url: Any, **options: Any) -> Any:
    made.append(make_app(url, **options))
    return made[-1]


if __name__ == "__main__":
    main()
