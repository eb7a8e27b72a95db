"""Promise: keys that foreign keys follow go back as they came, and whatever goes back leaves all as it was before."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_audit_logger.exceptions import Refused
from tests.history.test_revert import EXAMPLES
from tests.support.models import AUDITED, Models

FILL = """
INSERT INTO nodes VALUES ('a', NULL, 1), ('b', 'a', 2), ('c', 'b', 3);
INSERT INTO links VALUES ('a', 1, 'a', 0), ('a', 2, 'b', 0), ('b', 1, NULL, 0);
INSERT INTO notes VALUES (1, 'a', 1), (2, 'b', 1);
"""

#: Keys and values, filled with two names and a number.
STEPS = (
    "INSERT INTO nodes VALUES ('{k}', NULL, {n})",
    "INSERT INTO nodes VALUES ('{k}', '{o}', {n})",
    "UPDATE nodes SET id = '{o}' WHERE id = '{k}'",
    "UPDATE nodes SET id = '{o}', n = {n} WHERE id = '{k}'",
    "UPDATE nodes SET parent = '{o}' WHERE id = '{k}'",
    "UPDATE nodes SET n = n + 1",
    "DELETE FROM nodes WHERE id = '{k}'",
    "INSERT INTO links VALUES ('{k}', {n}, '{o}', 0)",
    "UPDATE links SET target = '{k}' WHERE n = {n}",
    "UPDATE links SET n = 4 - n WHERE source = '{k}'",
    "UPDATE links SET weight = weight + 1",
    "DELETE FROM links WHERE n = {n}",
    "UPDATE notes SET source = NULL, n = NULL WHERE id = {n}",
)


def declare(db):
    follow = dict(onupdate="CASCADE", ondelete="CASCADE")
    sa.Table(
        "nodes",
        db.metadata,
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("parent", sa.ForeignKey("nodes.id", **follow)),
        sa.Column("n", sa.Integer),
        info=AUDITED["info"],
    )
    sa.Table(
        "links",
        db.metadata,
        sa.Column("source", sa.ForeignKey("nodes.id", **follow), primary_key=True),
        sa.Column("n", sa.Integer, primary_key=True),
        sa.Column("target", sa.ForeignKey("nodes.id", onupdate="CASCADE", ondelete="SET NULL")),
        sa.Column("weight", sa.Integer),
        info=AUDITED["info"],
    )
    sa.Table(
        "notes",
        db.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("source", sa.Text),
        sa.Column("n", sa.Integer),
        sa.ForeignKeyConstraint(["source", "n"], ["links.source", "links.n"], **follow),
        info=AUDITED["info"],
    )
    return Models()


@pytest.fixture(scope="module")
def graph(server, copied):
    with server.database() as url:
        application = copied.make_app(url, declare=declare)
        yield application
        application.dispose()


@pytest.fixture(autouse=True)
def in_context(graph):
    with graph.app.app_context():
        yield


def content(graph):
    with graph.db.engine.connect() as connection:
        return {
            table: sorted(map(tuple, connection.execute(sa.text(f"SELECT * FROM {table}"))), key=repr)
            for table in ("nodes", "links", "notes")
        }


def replayed(graph, statements, *, strict):
    """The content before, and the id of the transaction that ran the statements; those that fail do nothing."""
    with graph.db.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM nodes; DELETE FROM notes;" + FILL)
    before, started = content(graph), newest(graph)
    with graph.db.engine.begin() as connection:
        for statement in statements:
            try:
                with connection.begin_nested():
                    connection.exec_driver_sql(statement)
            except sa.exc.IntegrityError:
                assert not strict
    found = newest(graph)
    return before, None if found == started else found


def newest(graph):
    with graph.db.engine.connect() as connection:
        return connection.scalar(sa.text("SELECT max(id) FROM transaction"))


#: Each as it is sent: several statements of one text have one time.
CASES = {
    "two columns follow": ["UPDATE nodes SET id = 'x' WHERE id = 'a'"],
    "there and back": ["UPDATE nodes SET id = 'x' WHERE id = 'a'", "UPDATE nodes SET id = 'a' WHERE id = 'x'"],
    "a new one that moves": [
        "INSERT INTO nodes VALUES ('d', 'd', 0)",
        "UPDATE nodes SET id = 'e' WHERE id = 'd'",
        "UPDATE nodes SET id = 'f' WHERE id = 'e'",
    ],
    "another column as one text": ["UPDATE nodes SET id = 'x' WHERE id = 'a'; UPDATE links SET weight = 7"],
    "there and back as one text": [
        "UPDATE nodes SET id = 'x' WHERE id = 'c'; UPDATE nodes SET id = 'c', n = 7 WHERE id = 'x'"
    ],
}


@pytest.mark.parametrize("statements", CASES.values(), ids=CASES)
def test_keys_that_are_followed_go_back(graph, statements):
    before, number = replayed(graph, statements, strict=True)
    wanted = graph.audit_logger.revert(number)
    preview = wanted.preview()
    assert (preview.conflicts, preview.impossible) == ((), ())
    wanted.apply(expected=preview.digest)
    assert content(graph) == before


NAMES = st.sampled_from(["a", "b", "c", "x"])
HISTORIES = st.lists(
    st.builds(str.format, st.sampled_from(STEPS), k=NAMES, o=NAMES, n=st.integers(1, 3)), min_size=1, max_size=6
)


@settings(
    derandomize=EXAMPLES is None,
    max_examples=int(EXAMPLES or 25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(statements=HISTORIES, is_one_text=st.booleans())
def test_what_goes_back_is_as_it_was(graph, statements, is_one_text):
    """Statements that are sent one by one always go back; several of one text go back, or are refused."""
    before, number = replayed(graph, ["; ".join(statements)] if is_one_text else statements, strict=False)
    if number is None:
        return
    wanted, after = graph.audit_logger.revert(number), content(graph)
    try:
        preview = wanted.preview()
        is_whole = not (preview.conflicts or preview.impossible)
        if is_whole:
            wanted.apply(expected=preview.digest)
    except Refused:
        is_whole = False
    assert is_whole or is_one_text
    assert content(graph) == (before if is_whole else after)
