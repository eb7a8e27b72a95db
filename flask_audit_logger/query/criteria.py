"""Filters on activities as a value, and their SQL."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    FromClause,
    Integer,
    SmallInteger,
    Text,
    Uuid,
    and_,
    bindparam,
    cast,
    false,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import INET, JSONB

from ..diff.values import JSON_NULL_MARK, dump
from ..models import AuditModels
from ..schema.names import TableName
from ..sql import EVENT, NOTICES
from .reader import Log

#: How an actor that was not recorded is written in :attr:`Criteria.actors`.
NO_ACTOR = None
VERBS = ("insert", "update", "delete", "truncate", "snapshot", *NOTICES)
#: The kinds of change that have an index of their own: records are gone after them.
ENDS = ("delete", "truncate")
#: Who made a change: somebody known, a background job, a command, nobody the application knew, or of these only what it
#: said nothing about, not even a request.
KINDS = ("user", "service", "system", "none", "outside")


@dataclass(frozen=True)
class ColumnValue:
    """A column that had (``was``) or got (``became``) a value.

    :param values: any of these matches; a number that was typed is tried as number and as text.
    """

    column: str
    side: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Criteria:
    """What an activity must be to be listed. Several values of one field mean any of them; fields are combined by AND.

    :param until: the first instant that is no longer included.
    :param hidden: (table, column) pairs the reader may not see: column filters never match them.
    :param searchable: if given, column filters match in these tables only: what may be seen of others is not known.
    """

    tables: tuple[TableName, ...] = ()
    record_key: str | None = None
    verbs: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    column_values: tuple[ColumnValue, ...] = ()
    actors: tuple[str | None, ...] = ()
    kinds: tuple[str, ...] = ()
    impersonated: bool | None = None
    impersonators: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    transactions: tuple[int, ...] = ()
    requests: tuple[str, ...] = ()
    hidden: frozenset[tuple[TableName, str]] = frozenset()
    searchable: tuple[TableName, ...] = ()

    @property
    def is_timed(self) -> bool:
        """Whether a period is asked for."""
        return self.since is not None or self.until is not None

    @property
    def is_plain(self) -> bool:
        """Whether all that is in the period and the transactions matches, so that reading never looks for long."""
        return not (self.picks_changes or self.drives)

    @property
    def picks_changes(self) -> bool:
        """Whether a filter is about the change, so that some of a transaction match and others don't."""
        named = self.tables or self.record_key is not None
        return bool(named or self.verbs or self.columns or self.column_values)

    @property
    def is_empty(self) -> bool:
        """Whether everything matches."""
        return self.is_plain and not self.is_timed and not self.transactions

    @property
    def needs_transaction(self) -> bool:
        """Whether a filter is about the transaction, not the change."""
        return self.is_timed or self.drives

    @property
    def drives(self) -> bool:
        """Whether a filter picks few transactions, so that reading should start there."""
        whose = self.actors or self.kinds or self.impersonators or self.impersonated is not None
        return bool(whose or self.addresses or self.requests)


@dataclass(frozen=True)
class IdRange:
    """First and last transaction id of a period: numbers, or the scalar selects that find them; ``None``: open."""

    low: Any
    high: Any

    def spans(self, column: ColumnElement[int]) -> list[ColumnElement[bool]]:
        """That an id is in the period. An open end is not named: the planner takes two that it can't see for near."""
        found: list[ColumnElement[bool]] = [] if self.low is None else [column >= self.low]
        return found if self.high is None else [*found, column <= self.high]

    def has(self, number: int) -> bool:
        """Whether an id is in the period, if its ends are numbers."""
        return (self.low is None or self.low <= number) and (self.high is None or number <= self.high)

    @property
    def columns(self) -> list[Any]:
        """The ends as columns of a select."""
        named = (("low", self.low), ("high", self.high))
        return [end.label(name) for name, end in named if end is not None]

    def read(self, row: Any) -> IdRange | None:
        """The ends as numbers, of a row with these columns; ``None`` if there is no transaction between them."""
        low, high = (
            None if end is None else getattr(row, name) for name, end in (("low", self.low), ("high", self.high))
        )
        is_empty = (self.low is not None and low is None) or (self.high is not None and high is None)
        return None if is_empty else IdRange(low, high)


#: So many transactions at each end of a period are looked at for the first and the last id: ids are given in the order
#: of time, but for those that were written at once. Only who is further from the place of their time is not found.
OUT_OF_ORDER = 1000


def id_range(log: Log, criteria: Criteria) -> IdRange | None:
    """Find the transaction ids a period spans; ``None`` if there is no transaction in it."""
    ends = id_range_lookup(log.models, criteria)
    return ends.read(log.first(select(*ends.columns)))


def id_range_lookup(models: AuditModels, criteria: Criteria) -> IdRange:
    """The same ids as selects within another statement, which has no rows if there is no transaction in the period.

    A page read this way keeps its plan, which follows the index until the page is full. Sums do not: the planner takes
    a range it can't see for a short one.
    """
    t = models.transaction.c
    inside = select(t.id)
    if criteria.since is not None:
        inside = inside.where(t.issued_at >= criteria.since)
    if criteria.until is not None:
        inside = inside.where(t.issued_at < criteria.until)
    columns = []
    if criteria.since is not None:
        first = inside.order_by(t.issued_at, t.id).limit(OUT_OF_ORDER).subquery()
        columns.append(select(func.min(first.c.id)).scalar_subquery().label("low"))
    if criteria.until is not None:
        last = inside.order_by(t.issued_at.desc(), t.id.desc()).limit(OUT_OF_ORDER).subquery()
        columns.append(select(func.max(last.c.id)).scalar_subquery().label("high"))
    span = select(*columns).cte("span")
    ends = (select(span.c[name]).scalar_subquery() if name in span.c else None for name in ("low", "high"))
    return IdRange(*ends)


def joined(models: AuditModels, criteria: Criteria) -> FromClause:
    """Activities with their transactions.

    The join is outer unless a filter needs the transaction: an activity whose transaction row is missing is listed.
    """
    link = models.activity.c.transaction_id == models.transaction.c.id
    return models.activity.join(models.transaction, link, isouter=not criteria.needs_transaction)


def conditions(models: AuditModels, criteria: Criteria, bounds: IdRange | None) -> list[ColumnElement[bool]]:
    """The conditions of all criteria on an activity and its transaction."""
    return [*of_activity(models, criteria, bounds), *of_transaction(models, criteria, bounds)]


def actor_value(models: AuditModels, text: str) -> Any:
    """The Python value of an actor id written as text.

    :raises ValueError: if the application's actors can't have such an id.
    """
    kind = models.transaction.c.actor_id.type
    if isinstance(kind, Integer):
        bits = 16 if isinstance(kind, SmallInteger) else 64 if isinstance(kind, BigInteger) else 32
        value = int(text) if text.isascii() and text.lstrip("-").isdigit() else None
        if value is None or not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
            raise ValueError(f"{text!r} can't be the id of an actor; these are whole numbers")
        return value
    if isinstance(kind, Uuid):
        found = uuid.UUID(text)
        return found if kind.as_uuid else str(found)
    return text


def of_activity(models: AuditModels, criteria: Criteria, bounds: IdRange | None) -> list[ColumnElement[bool]]:
    """The conditions of the criteria on an activity."""
    a = models.activity.c
    found: list[ColumnElement[bool]] = []
    if bounds is not None:
        found += bounds.spans(a.transaction_id)
    if criteria.transactions:
        found.append(a.transaction_id.in_(criteria.transactions))
    if criteria.tables:
        found.append(tables_of(models, criteria.tables))
    if criteria.record_key is not None:
        found.append(a.record_key == criteria.record_key)
    if criteria.verbs:
        found.append(is_verb(a.verb, *criteria.verbs))
    if criteria.columns:
        found.append(_any_column(models, criteria))
    found.extend(_column_value(models, wanted, criteria) for wanted in criteria.column_values)
    return found


def is_verb(column: ColumnElement[str], *verbs: str) -> ColumnElement[bool]:
    """That a change is of some kinds; those with an index are written as the index has them, not as parameters."""
    known: dict[str, Any] = {verb: literal_column(f"'{verb}'") for verb in (*ENDS, *NOTICES)}
    return column.in_([known.get(verb, verb) for verb in verbs])


def is_change(column: ColumnElement[str]) -> ColumnElement[bool]:
    """That an entry of a record is a change of it: an event is none, so it says nothing of how the record was."""
    return column != literal_column(f"'{EVENT}'")


def tables_of(models: AuditModels, tables: Sequence[TableName]) -> ColumnElement[bool]:
    """That an activity is of one of some tables."""
    a = models.activity.c
    if len({table.schema for table in tables}) == 1:
        return and_(a.table_name.in_([table.name for table in tables]), a.schema == tables[0].schema)
    return or_(*(and_(a.table_name == table.name, a.schema == table.schema) for table in tables))


def _any_column(models: AuditModels, criteria: Criteria) -> ColumnElement[bool]:
    a = models.activity.c
    choices = []
    for column in criteria.columns:
        touched = a.changed_data.has_key(column) | ((a.verb == "delete") & a.old_data.has_key(column))
        choices.append(touched & _visible(models, criteria, column))
    return or_(*choices)


def _column_value(models: AuditModels, wanted: ColumnValue, criteria: Criteria) -> ColumnElement[bool]:
    a = models.activity.c
    side = a.old_data if wanted.side == "was" else a.changed_data
    values = [*wanted.values, *([JSON_NULL_MARK] if None in wanted.values else [])]
    matches = [
        side.contains(cast(bindparam(None, dump({wanted.column: value}), type_=Text), JSONB)) for value in values
    ]
    # "was" means before a change of this column, not whatever else changed while it had that value
    if wanted.side == "was":
        changed = (a.verb != "update") | a.changed_data.has_key(wanted.column)
        return and_(or_(*matches), changed, _visible(models, criteria, wanted.column))
    return and_(or_(*matches), _visible(models, criteria, wanted.column))


def _visible(models: AuditModels, criteria: Criteria, column: str) -> ColumnElement[bool]:
    tables = [table for table, name in criteria.hidden if name == column]
    found = [is_change(models.activity.c.verb)]  # what an event has are no columns
    found += [~tables_of(models, tables)] if tables else []
    if criteria.searchable:
        found.append(tables_of(models, criteria.searchable))
    return and_(True, *found)


def of_transaction(models: AuditModels, criteria: Criteria, bounds: IdRange | None) -> list[ColumnElement[bool]]:
    """The conditions of the criteria on a transaction."""
    t = models.transaction.c
    found: list[ColumnElement[bool]] = []
    if bounds is not None:
        # without them a period is read in 70 ms instead of 0.1: the planner does not carry them over the join
        found += bounds.spans(t.id)
    # The ids are only nearly in the order of time, so the time is checked too. On a function of the column, or the
    # planner would rather read the index on it than the feed's.
    moment = func.timezone("UTC", t.issued_at)
    if criteria.since is not None:
        found.append(moment >= _utc(criteria.since))
    if criteria.until is not None:
        found.append(moment < _utc(criteria.until))
    if criteria.actors:
        found.append(_actors(models, criteria.actors))
    if criteria.kinds:
        found.append(or_(*(_kind(models, kind) for kind in criteria.kinds)))
    if criteria.impersonated is not None:
        found.append(is_impersonated(models) if criteria.impersonated else ~is_impersonated(models))
    if criteria.impersonators:
        found.append(is_impersonated(models))
        found.append(t.context["impersonator"]["id"].astext.in_(criteria.impersonators))
    if criteria.addresses:
        found.append(or_(*(t.client_addr.op("<<=")(cast(network, INET)) for network in criteria.addresses)))
    if criteria.requests:
        found.append(t.context["request_id"].astext.in_(criteria.requests))
    return found


def is_nobodys(criteria: Criteria) -> bool:
    """Whether only transactions without an actor are of the kinds asked for."""
    return bool(criteria.kinds) and "user" not in criteria.kinds


def leading(models: AuditModels, criteria: Criteria) -> list[ColumnElement[bool]]:
    """Those conditions on a transaction that an index leads to in the order of ids."""
    t = models.transaction.c
    found: list[ColumnElement[bool]] = []
    if len(criteria.actors) == 1:
        found.append(_actors(models, criteria.actors))
    elif is_nobodys(criteria):
        found.append(t.actor_id.is_(None))
    if criteria.impersonated or criteria.impersonators:
        found.append(is_impersonated(models))
    return found


def is_impersonated(models: AuditModels) -> ColumnElement[bool]:
    """Whether somebody acted as another; written as the index has it."""
    return models.transaction.c.context.op("?", return_type=Boolean)(literal_column("'impersonator'"))


def _actors(models: AuditModels, actors: Sequence[str | None]) -> ColumnElement[bool]:
    t = models.transaction.c
    known = [actor_value(models, actor) for actor in actors if actor is not None]
    choices: list[ColumnElement[bool]] = []
    if known:
        choices.append(t.actor_id == known[0] if len(known) == 1 else t.actor_id.in_(known))
    if NO_ACTOR in actors:
        choices.append(t.actor_id.is_(None))
    return or_(*choices)


def _kind(models: AuditModels, kind: str) -> ColumnElement[bool]:
    t = models.transaction.c
    # somebody of another class than the actors has no actor_id, but is somebody
    unknown = and_(t.actor_id.is_(None), ~t.context.has_key("actor"))
    job, command = t.context.has_key("job"), t.context.has_key("command")
    kinds: dict[str, ColumnElement[bool]] = {
        "user": ~unknown,
        "service": unknown & job,
        "system": unknown & ~job & command,
        "none": unknown & ~job & ~command,
        "outside": unknown & ~job & ~command & ~t.context.has_key("method"),
    }
    return kinds.get(kind, false())


def _utc(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(dt.UTC).replace(tzinfo=None)


def scalars(text: str) -> tuple[Any, ...]:
    """What a typed value may stand for: JSON, or else the text itself; a number also stands for its text.

    :raises ValueError: if it is a JSON object or array, which can't be searched for.
    """
    try:
        value = json.loads(text, parse_float=Decimal, parse_constant=lambda name: name)
    except (ValueError, RecursionError):
        return (text,)
    if isinstance(value, (dict, list)):
        raise ValueError("search for a number, a text, true, false or null")
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return (value, text)
    return (value,)
