"""What can be taken back: a transaction, a change, or what happened to a record since a time."""

from __future__ import annotations

import datetime as dt
import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from sqlalchemy import Connection, MetaData

from ..exceptions import ConfigurationError, Refused
from ..models import AuditLogActivity, AuditLogTransaction, AuditModels
from ..query.criteria import Criteria
from ..query.feed import Search, batches, get_activity
from ..query.paging import Cursor, Paging
from ..query.reader import AuditReader, Log
from ..query.records import is_emptied, is_record, last_version, renamed_from, renamed_to
from ..query.refs import RecordRef
from ..query.rows import ActivityRow, TransactionRow, activity_columns, read_activity, transaction_columns
from ..query.tables import TableCatalog, TableInfo
from ..schema.declared import declaration_of
from ..schema.names import TableName
from .changes import Transaction, column_named
from .past import refuse_too_early
from .reverts import MOST_CHANGES, Changes, Revert
from .runs import StepRules
from .source import TIMEOUT_MS, Source, source_of, target_of


def of_transaction(transaction_id: int) -> Changes:
    """The changes of a transaction."""

    def changes(log: Log) -> Iterator[ActivityRow]:
        search = Search(Criteria(transactions=(transaction_id,)))
        for batch in batches(log, search, Paging(), most=MOST_CHANGES + 1):
            yield from batch

    return changes


def of_change(change: Cursor) -> Changes:
    """One change."""

    def changes(log: Log) -> Iterable[ActivityRow]:
        found = get_activity(log, change)
        return () if found is None else (found,)

    return changes


def of_records(records: Collection[tuple[TableInfo, RecordRef]], since: dt.datetime) -> Changes:
    """What happened to a record since a time, in each of its tables."""

    def changes(log: Log) -> Iterable[ActivityRow]:
        for info, _ in records:
            refuse_too_early(log, info, since)
        parts = (_of_record(log, info, record, since) for info, record in records)
        return heapq.merge(*parts, key=lambda row: -row.id)

    return changes


def _of_record(log: Log, info: TableInfo, record: RecordRef, since: dt.datetime) -> Iterator[ActivityRow]:
    """Its changes, newest first, those from before it got its key as well."""
    newest = last_version(log, record)
    if newest is not None and renamed_to(newest, info.key):
        raise Refused(f"{record.table} {record.key} has another key now")
    a, t = log.models.activity, log.models.transaction
    columns = (*activity_columns(log.models, whole=True), *transaction_columns(log.models))
    source = a.outerjoin(t, a.c.transaction_id == t.c.id)
    until: int | None = None
    while True:
        came = renamed_from(log, record, info.key)
        if came is not None and (came.issued_at <= since or (until is not None and came.id >= until)):
            came = None
        of_table = is_emptied(log, record.table.schema, record.table.name)
        own = [*is_record(log, record)]
        for which in (own, of_table):
            which += [a.c.issued_at > since, a.c.id > (0 if came is None else came.id)]
            which += [] if until is None else [a.c.id < until]
        found = [
            log.all(log.activities(*columns, source=source).where(*which).order_by(a.c.id.desc()).limit(MOST_CHANGES))
            for which in (own, of_table)
        ]
        yield from sorted(map(read_activity, [*found[0], *found[1]]), key=lambda row: -row.id)
        if came is None or came.record is None:
            return
        yield came
        record, until = came.record, came.id


def revert_of(
    logger: Any,
    target: Any,
    *,
    to: dt.datetime | None = None,
    only: Collection[str] = (),
    reason: str | None,
    bind_key: str | None = None,
) -> Revert:
    """Taking back in code: everything can be seen.

    :param logger: the extension.
    :param bind_key: of the database, for what is no record.
    :raises ConfigurationError: if the target is none of these, or ``to`` or ``only`` doesn't fit it.
    """
    change, undoes = _change(target), None
    if change is not None:
        changes, undoes = of_change(change), change.transaction_id
    elif isinstance(target, int) and not isinstance(target, bool):
        changes, undoes = of_transaction(target), target
    elif isinstance(target, Transaction | TransactionRow | AuditLogTransaction):
        changes, undoes = of_transaction(target.id), target.id
    elif target is None or isinstance(target, bool | str | float):
        raise ConfigurationError(
            f"{target!r} is no transaction, its id, a change or a record, so nothing of it goes back."
        )
    elif not isinstance(to, dt.datetime) or to.utcoffset() is None:
        raise ConfigurationError("A record goes back to a time: to= with a time zone.")
    else:
        found = target_of(logger, *target) if isinstance(target, tuple) else target_of(logger, target)
        records = list(zip(found.tables, found.records, strict=True))
        if not records:
            raise ConfigurationError("A record is taken back, not all of a class: revert((Model, key), to=…).")
        changes, source = of_records(records, to), found.source
    if undoes is not None:
        if to is not None:
            raise ConfigurationError("to= goes with a record.")
        source = _source_of(logger, target, bind_key)
    tables = source.catalog.audited if undoes is not None else found.tables
    return make_revert(
        logger, changes, source.reader, source.catalog, source.metadata,
        reason=reason, undoes=undoes, only=_columns_of(source, tables, only),
    )  # fmt: skip


def _source_of(logger: Any, target: Any, bind_key: str | None) -> Source:
    """The log that a transaction or a change is in: ids are those of one log, and mean something else in another."""
    transaction = target if isinstance(target, Transaction) else getattr(target, "transaction", None)
    if bind_key is None and isinstance(transaction, Transaction):
        return transaction.changes.source
    if bind_key is None and isinstance(target, AuditLogActivity | AuditLogTransaction):
        binds = (bind for bind, metadata in logger.database.metadatas.items() if declaration_of(metadata) is not None)
        bind_key = next((bind for bind in binds if _is_row_of(logger.models_of(bind), target)), None)
    return source_of(logger, bind_key)


def _is_row_of(models: AuditModels, row: Any) -> bool:
    return isinstance(row, models.activity_cls | models.transaction_cls)


def _columns_of(
    source: Source, tables: Iterable[TableInfo], only: Collection[str]
) -> dict[TableName, frozenset[str]] | None:
    """The columns of each table that somebody named, by their attributes or as the database calls them.

    :raises ConfigurationError: if no table has one of them: nothing would go back, and nobody would know why.
    """
    if isinstance(only, str):
        raise ConfigurationError(f"only={only!r} is one name; give a list, only=[{only!r}].")
    if not only:
        return None
    found = {info.name: {name: column_named(source, info, name) for name in only} for info in tables}
    lost = next((name for name in only if not any(columns[name] for columns in found.values())), None)
    if lost is not None:
        raise ConfigurationError(f"only= names {lost!r}, and there is no column {lost!r}.")
    return {table: frozenset(filter(None, columns.values())) for table, columns in found.items()}


def make_revert(
    logger: Any,
    changes: Changes,
    reader: AuditReader,
    catalog: TableCatalog,
    metadata: MetaData,
    *,
    reason: str | None,
    undoes: int | None,
    hidden: Callable[[TableName, str], bool] = lambda table, column: False,
    only: Mapping[TableName, Collection[str]] | None = None,
) -> Revert:
    """Put together what taking back needs.

    :param reader: of whoever takes back: their scope holds for the rows as well.
    :param metadata: of the tables.
    :param undoes: id of the transaction that is taken back.
    :param hidden: whether a column may not be seen.
    """

    def log_of(connection: Connection) -> Log:
        return Log(connection=connection, models=reader.models, scope=reader.scope)

    @contextmanager
    def context() -> Iterator[None]:
        said = {} if undoes is None else {"undoes": undoes}
        with logger.context(reason=reason, **said):
            yield

    return Revert(
        changes,
        StepRules(catalog.get, logger.database.mappers(), hidden, only),
        catalog,
        partial(reader.reading, timeout_ms=TIMEOUT_MS),
        log_of,
        logger.database.writing,
        context,
        next(iter(metadata.tables.values()), None),
    )


def _change(target: Any) -> Cursor | None:
    """The place of a change, as reading it gives one, or of a row of the activity table."""
    if isinstance(target, AuditLogActivity):
        return Cursor(target.transaction_id, target.id)
    found = getattr(target, "cursor", target)
    return found if isinstance(found, Cursor) else None
