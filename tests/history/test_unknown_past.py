"""Promise: as_of tells what the log knows, and says so where it doesn't; it never guesses."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from flask_audit_logger.exceptions import UnknownPast


@pytest.fixture
def kept(blog):
    """The blog with two tags; the second was made while nothing was logged. ``now()`` and ``run(sql)``."""
    db, blog.Tag = blog.db, blog.models.Tag
    with blog.app.app_context():
        blog.run = lambda sql: db.session.execute(sa.text(sql)) and db.session.commit()
        blog.now = lambda: db.session.scalar(sa.text("SELECT clock_timestamp()"))
        blog.as_of = blog.audit_logger.as_of
        blog.run("INSERT INTO tags VALUES (1, 'one')")
        with blog.audit_logger.disable():
            blog.run("INSERT INTO tags VALUES (2, 'two'), (3, 'three')")
        yield blog


def names(found):
    return sorted(tag.name for tag in found)


def test_what_was_before_a_change_is_what_it_found(kept):
    start = kept.now()
    assert names(kept.as_of(sa.select(kept.Tag), start)) == ["one", "three", "two"]
    kept.run("UPDATE tags SET name = 'zwei' WHERE id = 2")
    kept.run("DELETE FROM tags WHERE id = 3")
    assert names(kept.as_of(sa.select(kept.Tag), start)) == ["one", "three", "two"]
    assert [kept.as_of(kept.Tag, key, start).name for key in (1, 2, 3)] == ["one", "two", "three"]
    assert kept.as_of(kept.Tag, 3, kept.now()) is None


def test_a_key_that_was_another_rows_is_looked_for(kept):
    kept.run("UPDATE tags SET id = 9 WHERE id = 2")
    moved = kept.now()
    kept.run("UPDATE tags SET id = 2 WHERE id = 9")
    kept.run("UPDATE tags SET name = 'zwei' WHERE id = 2")
    assert (kept.as_of(kept.Tag, 9, moved).name, kept.as_of(kept.Tag, 2, moved)) == ("two", None)
    assert kept.as_of(kept.Tag, 2, kept.now()).name == "zwei"


def test_an_erased_value_is_unknown(kept):
    start = kept.now()
    kept.audit_logger.erase(kept.db.session.get(kept.Tag, 1), columns=["name"], reason="asked for")
    found = kept.as_of(kept.Tag, 1, start)
    assert kept.audit_logger.unknown(found) == {"name": "erased"}
    assert kept.as_of(sa.select(kept.Tag).where(kept.Tag.id == 1), start)[0].id == 1
    with pytest.raises(UnknownPast, match=r"name \(erased\)"):
        kept.as_of(sa.select(kept.Tag).where(kept.Tag.name == "two"), start)


def test_rows_from_before_auditing_are_not_guessed(kept):
    start = kept.now()
    kept.run(
        "INSERT INTO activity (schema, table_name, relid, issued_at, native_transaction_id, verb, changed_data, "
        "record_key, transaction_id) SELECT schema, table_name, relid, clock_timestamp(), 1, 'snapshot', "
        """'{"id": 2, "name": "two"}', '2', transaction_id FROM activity WHERE record_key = '1'"""
    )
    with pytest.raises(UnknownPast, match="before it was audited"):
        kept.as_of(sa.select(kept.Tag), start)
    assert kept.as_of(kept.Tag, 1, start).name == "one"
    assert kept.as_of(kept.Tag, 2, kept.now()).name == "two"


def test_times_of_which_entries_were_removed_are_refused(kept):
    start = kept.now()
    kept.run(
        "INSERT INTO activity (schema, table_name, relid, issued_at, native_transaction_id, verb, changed_data, "
        "transaction_id) SELECT schema, table_name, relid, clock_timestamp(), 1, 'pruned', "
        "jsonb_build_object('until', clock_timestamp()), transaction_id FROM activity WHERE record_key = '1'"
    )
    with pytest.raises(UnknownPast, match=r"the log of public\.tags begins at"):
        kept.as_of(kept.Tag, 1, start)
    assert kept.as_of(kept.Tag, 1, kept.now()).name == "one"
