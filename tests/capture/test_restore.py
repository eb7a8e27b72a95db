"""Promise P2 across clusters: native transaction ids start again after a restore, and nothing is joined by them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import sqlalchemy as sa

from tests.capture.tables import audited, logged, run
from tests.support.cluster import Cluster
from tests.support.server import pooled_engine


def test_dump_and_restore():
    """A log restored into a new cluster whose transaction ids are the old ones again goes on with new transactions."""
    bindir = Path(os.environ["AUDIT_TEST_PG_BINDIR"]) if os.environ.get("AUDIT_TEST_PG_BINDIR") else None
    with Cluster(bindir) as old, Cluster(bindir) as new:
        source, target = pooled_engine(old.url()), pooled_engine(new.url())
        run(source, "CREATE TABLE t (id int PRIMARY KEY, who text)")
        audited(source, "t")
        for number in range(200):
            write(source, number, f"old {number}")
        dump = subprocess.run(
            [old.bindir / "pg_dump", "-h", old.folder, "-U", "postgres", "postgres"], capture_output=True, check=True
        )
        subprocess.run(
            [new.bindir / "psql", "-q1", "-v", "ON_ERROR_STOP=1", "-h", new.folder, "-U", "postgres", "postgres"],
            input=dump.stdout, capture_output=True, check=True,
        )  # fmt: skip
        before = logged(target)
        assert len(before) == 200
        oldest = min(a.native_transaction_id for a in before)
        with target.connect() as connection:
            assert connection.scalar(sa.text("SELECT pg_current_xact_id()::text::bigint")) < oldest + 100
        for number in range(200, 400):
            write(target, number, f"new {number}")
        after = logged(target)
        shared = {a.native_transaction_id for a in after[:200]} & {a.native_transaction_id for a in after[200:]}
        assert len(shared) > 50
        assert [a.actor_label for a in after] == [a.changed_data["who"] for a in after]
        assert len({a.transaction_id for a in after}) == 400
        # also for a session that goes on with what it was told in the old cluster
        with target.begin() as connection:
            first = after[0]
            table = connection.scalar(sa.text("SELECT 'transaction'::regclass::oid"))
            # the running transaction has the very number that the first one had, and the row is where it is said to be
            own = "UPDATE transaction SET native_transaction_id = pg_current_xact_id()::text::bigint WHERE id = :id"
            place = connection.scalar(sa.text(f"{own} RETURNING ctid::text"), {"id": first.transaction_id})
            forged = f"{place} {first.transaction_id} {table} "
            connection.execute(sa.text("SELECT set_config('flask_audit_logger.transaction', :v, false)"), {"v": forged})
            connection.exec_driver_sql("INSERT INTO t VALUES (-1, 'x')")
        assert logged(target)[-1].transaction_id != first.transaction_id


def write(engine, number, who):
    with engine.begin() as connection:
        context = f'{{"actor_label": "{who}"}}'
        connection.execute(sa.text("SELECT set_config('flask_audit_logger.context', :v, true)"), {"v": context})
        connection.execute(sa.text("INSERT INTO t VALUES (:number, :who)"), {"number": number, "who": who})


def test_the_same_native_id_with_another_time(outside):
    """A row with the running transaction's own id but of another time is not taken for its own."""
    run(outside, "CREATE TABLE t (id int PRIMARY KEY)")
    audited(outside, "t")
    with outside.begin() as connection:
        place = connection.execute(
            sa.text(
                "INSERT INTO transaction (native_transaction_id, issued_at, actor_label) "
                "VALUES (pg_current_xact_id()::text::bigint, now() - interval '1 day', 'somebody of long ago') "
                "RETURNING ctid::text, id, tableoid"
            )
        ).one()
        remembered = f"{place[0]} {place[1]} {place[2]} "
        connection.execute(sa.text("SELECT set_config('flask_audit_logger.transaction', :v, true)"), {"v": remembered})
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
    (activity,) = logged(outside)
    assert (activity.transaction_id != place[1], activity.actor_label) == (True, None)
