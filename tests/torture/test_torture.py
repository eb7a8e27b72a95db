"""Promises P1 and P2 under load: nothing missed, nothing extra, never the wrong person, never the wrong order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.support.cluster import Cluster
from tests.support.pooler import pooler
from tests.torture.model import Entry, Expected, Verdict, compare, replay
from tests.torture.run import torture

SECONDS = 4

# Killing connections makes SQLAlchemy and the drivers drop objects whose sockets are still open. One that is killed at
# the end of a savepoint makes SQLAlchemy warn while it gives up the savepoint.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::ResourceWarning",
    "ignore:nested transaction already deassociated from connection",
)


def check(report, transactions):
    assert report.verdict.is_clean, str(report)
    assert report.verdict.unknown <= 2, str(report)
    assert report.verdict.transactions > transactions, str(report)
    assert report.kills > 0, str(report)


@pytest.mark.slow
def test_killed_connections(server):
    """With connections killed at random, the log is exactly what was committed, by whom, and in order."""
    with server.database() as url:
        check(torture(url, seconds=SECONDS, threads=8, seed=1), 5)


@pytest.mark.slow
def test_killed_server():
    """With the server killed by SIGKILL again and again, committed changes and log agree exactly."""
    bindir = os.environ.get("AUDIT_TEST_PG_BINDIR")
    with Cluster(Path(bindir) if bindir else None) as cluster:
        check(torture(cluster.url(), seconds=SECONDS, threads=8, seed=2, cluster=cluster), 5)


@pytest.fixture
def pooled_url(server):
    """A database behind PgBouncer in transaction mode."""
    direct = server.admin_url
    place = f"host={direct.query.get('host') or direct.host} port={direct.port or 5432} user={direct.username}"
    settings = (
        f"[databases]\n* = {place}\n[pgbouncer]\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 30\n"
        "max_client_conn = 500\nignore_startup_parameters = extra_float_digits,options"
    )
    with pooler(settings) as socket, server.database() as url:
        yield url, make_url(str(url.set(host=None, port=None, query=socket)))


def test_pooler_in_transaction_mode(pooled_url):
    """Behind a pooler that gives each transaction another connection, nobody is taken for somebody else."""
    url, app_url = pooled_url
    check(torture(url, seconds=SECONDS, threads=8, seed=3, app_url=app_url), 5)


def entry(verb="update", key="1", old=None, changed=None, actor=1):
    return Entry(verb, "items", key, old or {"id": 1, "token": "a"}, changed or {"token": "b"}, actor)


@pytest.mark.parametrize(
    ("logged", "expected"),
    [
        ([entry()], (0, 0, 0, 0)),
        ([], (1, 0, 0, 0)),
        ([entry(), entry()], (0, 1, 0, 0)),
        ([entry(changed={"token": "c"})], (1, 1, 0, 0)),
        ([entry(actor=2)], (0, 0, 1, 0)),
        ([entry(actor=None)], (0, 0, 0, 0)),
        ([entry(old={"id": 1, "token": "x"})], (0, 0, 0, 1)),
    ],
)
def test_the_model_notices(logged, expected):
    """Each kind of mistake in the log is counted."""
    verdict = compare([Expected(1, [[entry()]])], {1: logged})
    assert (verdict.missed, verdict.extra, verdict.wrong_actor, verdict.wrong_order) == expected
    assert verdict.unknown == (logged == [entry(actor=None)])


def test_the_model_notices_order():
    """Statements that are swapped, and changes that don't follow each other, are counted."""
    first, second = entry(), entry(old={"id": 1, "token": "b"}, changed={"token": "c"})
    verdict = compare([Expected(1, [[first], [second]])], {1: [second, first]})
    assert verdict.wrong_order == 2
    verdict = Verdict()
    made = Entry("insert", "items", "1", {}, {"id": 1, "token": "a"}, 1)
    assert replay([made, first, second], verdict) == {("items", "1"): {"id": 1, "token": "c"}}
    assert verdict.is_clean
    replay([made, second, first], verdict)
    assert verdict.wrong_order == 2
