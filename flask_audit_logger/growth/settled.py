"""The settled cursor: it reads each transaction of the log once, after it has ended, however late it commits.

Ids are drawn before a transaction commits, so whoever remembers "the last id" skips what commits late. A transaction is
settled when every one that PostgreSQL began before it has ended; the order of reading is that of PostgreSQL's
transaction ids, and the ids of the log only bound what has to be looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, text

from ..exceptions import ConfigurationError
from ..sql import quote_ident, quote_literal

# The order is what makes it right, so each is a statement of its own. The sequence first: who gets a transaction id
# after ours draws from it later. Our own id before the oldest running one: that can't be above it.
_CLUSTER = text("SELECT system_identifier FROM pg_catalog.pg_control_system()")
_DRAWN = "SELECT coalesce(pg_catalog.pg_sequence_last_value({sequence}::pg_catalog.regclass), 0)"
_OWN = text("SELECT pg_catalog.pg_current_xact_id()::text::bigint")
_OLDEST = text("SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::bigint")


@dataclass(frozen=True)
class Look:
    """One look at the server: who gets a transaction id above ``xid`` has ids of the log above ``drawn``.

    :param drawn: the newest id of a transaction of the log that had been drawn.
    :param xid: PostgreSQL's id of the looking transaction, which began after that.
    """

    drawn: int
    xid: int


@dataclass(frozen=True)
class Settled:
    """How far a log has been read for good.

    Keep it together with what was read, in one database transaction or one renamed file: a reader that was killed
    in between then begins where it did before.

    :param below: PostgreSQL's transaction id below which everything has been read.
    :param looks: the looks that may still bound what is to be read, oldest first.
    :param cluster: the server's identifier; 0 before the first look. Transaction ids mean nothing in another one.
    """

    below: int = 0
    looks: tuple[Look, ...] = ()
    cluster: int = 0

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Settled:
        """What :meth:`to_json` gave."""
        return cls(kept["below"], tuple(Look(*look) for look in kept["looks"]), kept["cluster"])

    def to_json(self) -> dict[str, Any]:
        """Itself as what JSON has."""
        return {
            "below": self.below,
            "looks": [[look.drawn, look.xid] for look in self.looks],
            "cluster": self.cluster,
        }


@dataclass(frozen=True)
class Step:
    """What can be read now: the transactions that have settled since the last step.

    :param after_id: all of them have a greater ``transaction.id``.
    :param from_xid: the first ``native_transaction_id``.
    :param below_xid: the first one that is not among them.
    """

    after_id: int
    from_xid: int
    below_xid: int

    def condition(self, transaction: Table) -> ColumnElement[bool]:
        """What rows of ``transaction`` meet that are to be read; their activities are as final as they are."""
        return and_(
            transaction.c.id > self.after_id,
            transaction.c.native_transaction_id >= self.from_xid,
            transaction.c.native_transaction_id < self.below_xid,
        )


def next_step(connection: Connection, transaction: Table, settled: Settled) -> tuple[Step, Settled]:
    """Look at the server and say what can be read, and what to remember once it has been read.

    Read with the same connection, or later. It draws a transaction id, so it needs the primary; ask as the owner of the
    log, since others may not see its sequence.

    :param transaction: the table ``transaction`` of the log.
    :param settled: how far has been read; ``Settled()`` at first.
    :raises ConfigurationError: if that was another server: a restored dump keeps the transaction ids of the old one, so
        what has been read can't be told from what has not.
    """
    schema = transaction.schema or str(connection.scalar(text("SELECT pg_catalog.current_schema()")))
    cluster = int(connection.scalar(_CLUSTER) or 0)
    if settled.cluster not in (0, cluster):
        raise ConfigurationError(
            f"The log in schema {schema!r} was read from another PostgreSQL server before (its identifier was "
            f"{settled.cluster}, this one's is {cluster}), whose transaction ids mean nothing here. Begin anew, "
            "without the remembered position."
        )
    sequence = quote_literal(quote_ident(schema, "transaction_id_seq"))
    drawn = connection.scalar(text(_DRAWN.format(sequence=sequence).replace(":", "\\:")))
    look = Look(int(drawn or 0), int(connection.scalar(_OWN) or 0))
    oldest = max(int(connection.scalar(_OLDEST) or 0), settled.below)
    bounding = [earlier for earlier in settled.looks if earlier.xid < settled.below]
    step = Step(max((earlier.drawn for earlier in bounding), default=0), settled.below, oldest)
    known = sorted((*settled.looks, look), key=lambda each: each.xid)
    # Of those that bound the next step already, only the newest is ever asked again.
    first = max(sum(each.xid < oldest for each in known) - 1, 0)
    return step, Settled(oldest, tuple(known[first:]), cluster)
