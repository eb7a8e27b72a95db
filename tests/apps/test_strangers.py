"""Promise: an application of a stranger answers and stores the same with auditing as without, and its log is right.

Each is driven on PostgreSQL and, as its author's test suite would, on SQLite, where nothing is recorded.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from tests.apps import admin, api, bootstrap3, email_only, lite, plain_asyncpg, security, sqlite, uuid_jwt
from tests.apps.stranger import Stranger

ALL = (admin, api, bootstrap3, email_only, lite, security, uuid_jwt)
# Flask-Admin 2.2 does, with WTForms 3.3.
pytestmark = pytest.mark.filterwarnings("ignore:Yielding raw tuples:DeprecationWarning")

#: Most links of one application that are followed.
MOST = 30


def name_of(module: Any) -> str:
    return module.__name__.rpartition(".")[2]


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


@pytest.mark.parametrize("stranger", [*ALL, plain_asyncpg], ids=name_of)
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


@pytest.mark.parametrize("stranger", [*ALL, sqlite], ids=name_of)
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
        response = client.get(path, follow_redirects="zone=" in path)  # a chosen zone leads to the same page
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


def test_requests_that_share_an_event_loop(make, database_url):
    """As an ASGI server would have them: each of eight requests is answered a piece at a time, between the others."""
    stranger = make(plain_asyncpg, database_url, audited=True)
    app = stranger.app

    async def answer(name: str, price: int) -> None:
        with app.test_request_context("/sales", method="POST", json=[price, -1, price], headers={"X-Cashier": name}):
            await app.before_request_funcs[None][0]()
            await app.view_functions["sell"]()

    async def serve() -> None:
        await asyncio.gather(*(answer(*request) for request in [("ann", 7), ("ben", 8)] * 4))

    asyncio.run(serve())
    activity = stranger.audit_logger.activity_cls
    with Session(stranger.db.engine) as session:
        logged = session.scalars(sa.select(activity).filter_by(table_name="lines", verb="insert"))
        found = [(a.changed_data["price"], a.transaction.actor_label, a.transaction.context["path"]) for a in logged]
    assert sorted(found)[-16:] == [(7, "ann", "/sales")] * 8 + [(8, "ben", "/sales")] * 8


@pytest.mark.parametrize("stranger", [lite, plain_asyncpg], ids=name_of)
def test_values_are_put_back(make, database_url, stranger):
    """In a session of the application, or in one of its engine; by whoever reads the page."""
    made = make(stranger, database_url, audited=True)
    deletion = made.log().index(next(entry for entry in made.log() if entry[0] == "delete"))
    client = made.reader()
    href = re.search(r'href="(/audit/record/[^"]*/revert\?[^"]*)"', _page_of_change(client, made.log()[deletion]))
    path = unescape(href[1])
    fields = dict(re.findall(r'<input[^>]* name="(audit_token|row)"[^>]* value="([^"]*)"', client.get(path).text))
    ticked = re.findall(r'name="column" value="([^"]*)" checked', client.get(path).text)
    response = client.post(path, data={**fields, "column": ticked, "reason": "A slip"})
    assert response.status_code == 303
    verb, table, actor = made.log()[-1]
    assert (verb, table, actor) == ("insert", made.log()[deletion][1], "ann")


def _page_of_change(client: Any, entry: tuple[str, str, str | None]) -> str:
    listed = client.get(f"/audit/?table={entry[1]}&verb={entry[0]}").text
    return client.get(unescape(re.search(r'href="(/audit/activity/[^"]*)"', listed)[1])).text
