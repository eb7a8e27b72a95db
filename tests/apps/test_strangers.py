"""Promise: an application of a stranger answers and stores the same with auditing as without, and its log is right.

Each is driven on PostgreSQL and, as its author's test suite would, on SQLite, where nothing is recorded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any

import pytest

from tests.apps import admin, api, bootstrap3, email_only, security, sqlite, uuid_jwt
from tests.apps.stranger import Stranger

ALL = (admin, api, bootstrap3, email_only, security, uuid_jwt)
# Flask-Admin 2.2 does, with WTForms 3.3.
pytestmark = pytest.mark.filterwarnings("ignore:Yielding raw tuples:DeprecationWarning")

#: Most links of one application that are followed.
MOST = 60

in_all = pytest.mark.parametrize("stranger", ALL, ids=lambda module: module.__name__.rpartition(".")[2])


@pytest.fixture
def make() -> Iterator[Callable[..., Stranger]]:
    made: list[Stranger] = []

    def new(module: Any, url: Any, *, audited: bool) -> Stranger:
        made.append(module.make(url, audited))
        made[-1].drive()
        return made[-1]

    yield new
    for stranger in made:
        stranger.dispose()


@in_all
def test_the_same_with_and_without_and_a_right_log(make, server, stranger):
    """Also: every page of the log that a link leads to is there, and shows who did it by name."""
    with server.database() as plain_url, server.database() as audited_url:
        plain = make(stranger, plain_url, audited=False)
        audited = make(stranger, audited_url, audited=True)
        assert audited.answers == plain.answers
        assert {status for _, _, status, *_ in plain.answers} & {200, 201, 204, 302}
        assert audited.data() == plain.data()
        assert audited.log() == stranger.LOG
        assert {actor for *_, actor in stranger.LOG if actor} <= set(_crawl(audited))
        audited.dispose()
        plain.dispose()


@pytest.mark.parametrize("stranger", [*ALL, sqlite], ids=lambda module: module.__name__.rpartition(".")[2])
def test_on_sqlite(make, tmp_path, stranger):
    """Nothing is recorded, and nothing else is different; the pages say so."""
    plain = make(stranger, f"sqlite:///{tmp_path}/plain.db", audited=False)
    audited = make(stranger, f"sqlite:///{tmp_path}/audited.db", audited=True)
    assert audited.answers == plain.answers
    assert audited.data() == plain.data()
    response = audited.reader().get("/audit/")
    assert response.status_code == 503
    assert "Changes are recorded in PostgreSQL only" in response.text


def _crawl(stranger: Stranger) -> Iterator[str]:
    """Open what the list of changes leads to, page by page; gives the names of people that are shown."""
    client = stranger.reader()
    seen, waiting = set(), ["/audit/"]
    while waiting and len(seen) < MOST:
        path = waiting.pop(0)
        seen.add(path)
        response = client.get(path)
        assert response.status_code == 200, (path, response.status_code, response.text[:500])
        if response.mimetype == "text/html":
            yield from re.findall(r">([\w@.][\w@. ]*)<", response.text)
            found = {
                unescape(href).partition("#")[0] for href in re.findall(r'<a\b[^>]*\bhref="([^"]*)"', response.text)
            }
            waiting += sorted(link for link in found - {*seen, *waiting} if link.startswith("/audit/"))
    assert len(seen) > 10, seen


def test_a_user_without_a_name_is_called_by_the_address(make, database_url):
    """As a record, too: in lists and on its own page; and as the reader who prints that."""
    client = make(email_only, database_url, audited=True).reader()
    assert re.search(r'href="/audit/record/guests/2"[^>]*><bdi>ann@y.example<', client.get("/audit/?table=guests").text)
    assert re.search(r"<h1>\s*ann@y.example", client.get("/audit/record/guests/2").text)
    assert re.search(r"<bdi>keeper@x.example</bdi> · <time", client.get("/audit/record/guests/2").text)
