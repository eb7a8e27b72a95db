"""The commands that read the log and take back: ``flask audit log``, ``show``, ``history``, ``as-of``, ``revert``."""

from __future__ import annotations

import datetime as dt
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click
from flask import current_app
from flask.cli import with_appcontext
from sqlalchemy import inspect
from sqlalchemy.orm.attributes import instance_dict

from ..diff.show import printable
from ..diff.values import dump, load
from ..exceptions import AuditLoggerError, ConfigurationError
from ..query.criteria import VERBS, actor_value
from ..query.feed import get_activity
from ..query.paging import Cursor
from ..query.refs import key_text
from ..query.rows import ActivityRow
from .changes import BATCH, History, history_in, in_transaction, taken_back_by, transaction_row
from .files import FileView, csv_lines, json_line, json_lines
from .named import log_named, record_named, table_named
from .past import unknown
from .printing import change_lines, moment, preview_lines, record_text, say, value_text, whole_change, whole_transaction
from .reverts import Preview, Problem, Revert
from .source import Source
from .targets import revert_of

F = TypeVar("F", bound=Callable[..., Any])

_NUMBERS = re.compile(r"\d+(\.\d+)?", re.ASCII)


def time(text: str) -> dt.datetime:
    """Read a time in ISO form; without a zone it is one on the clock of this machine."""
    try:
        found = dt.datetime.fromisoformat(text)
        return found.astimezone() if found.tzinfo is None else found
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            f"{text!r} is no time; write it as 2026-11-27, 2026-11-27T09:30 or 2026-11-27T09:30+01:00."
        ) from error


_bind = click.option("--bind", metavar="KEY", help="A key of SQLALCHEMY_BINDS, if it is not the default database.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
_limit = click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Most changes.")


def _filters(command: F) -> F:
    """The options by which changes are chosen."""
    for option in (
        click.option("--until", type=time, help="Only changes before this time."),
        click.option("--since", type=time, help="Only changes from this time on."),
        click.option(
            "--verb", metavar="VERB", multiple=True, type=click.Choice(VERBS), help="Only changes of this kind."
        ),
        click.option("--nobody", is_flag=True, help="Only changes by nobody whom the application knew."),
        click.option("--actor", metavar="KEY", help="Only changes by the actor with this key."),
        click.option("--table", metavar="NAME", multiple=True, help="Only changes of this table."),
    ):
        command = option(command)
    return command


@click.command("log")
@_filters
@_bind
@_limit
@_json
@with_appcontext
def log_command(bind: str | None, limit: int, as_json: bool, **filters: Any) -> None:
    """List changes of all tables, the newest first. JSON is an object a line, as `flask audit export` writes it."""
    with _plainly():
        _list(_chosen(bind, **filters), limit, as_json)


@click.command("history")
@click.argument("table")
@click.argument("key", nargs=-1, required=True)
@click.option("--touching", metavar="COLUMN", multiple=True, help="Only changes of this column, new and deleted rows.")
@_bind
@_limit
@_json
@with_appcontext
def history_command(
    table: str, key: tuple[str, ...], touching: tuple[str, ...], bind: str | None, limit: int, as_json: bool
) -> None:
    """List the changes of the record of TABLE with a KEY, the newest first; of a composite key give each value.

    Exits with 1 if there are none.
    """
    with _plainly():
        record = record_named(_logger(), table, key, bind)
        if not _list(history_in(record.source, (record.info,), record.key).touching(*touching), limit, as_json):
            raise click.exceptions.Exit(1)


@click.command("show")
@click.argument("number")
@_bind
@_limit
@_json
@with_appcontext
def show_command(number: str, bind: str | None, limit: int, as_json: bool) -> None:
    """Show the transaction with a NUMBER and its changes, or one change: 120.4711, as `flask audit log` prints it."""
    target = _number(number)
    with _plainly():
        source = log_named(_logger(), bind)
        if isinstance(target, Cursor):
            change = _change(source, target)
            _print(whole_change(source.catalog, change), json_line(FileView(source.catalog), change), as_json)
            return
        transaction = transaction_row(source, target)
        if transaction is None:
            raise click.ClickException(f"The log has no transaction {target}. `flask audit log` lists what it has.")
        rows = list(in_transaction(source, target).logged(limit + 1))
        is_whole, rows = len(rows) <= limit, rows[:limit]
        lines = [line for row in rows for line in change_lines(source.catalog, row)]
        more = () if is_whole else (f"There are more changes; --limit {limit * 10} shows more of them.",)
        document = {
            "transaction": transaction.id,
            "time": transaction.issued_at.isoformat(),
            "actor_id": transaction.actor_id,
            "actor": transaction.actor_label,
            "address": transaction.client_addr,
            "context": transaction.context,
            "changes": [load(json_line(FileView(source.catalog), row)) for row in rows],
            "complete": is_whole,
        }
        _print((*whole_transaction(transaction), *lines, *more), dump(document) + "\n", as_json)


@click.command("as-of")
@click.argument("table")
@click.argument("key", nargs=-1, required=True)
@click.argument("when", type=time)
@_bind
@_json
@with_appcontext
def as_of_command(table: str, key: tuple[str, ...], when: dt.datetime, bind: str | None, as_json: bool) -> None:
    """Show the record of TABLE with a KEY as it was at a time, and which columns are not known, and why.

    Exits with 1 if there was none, or the log can't tell.
    """
    with _plainly():
        record = record_named(_logger(), table, key, bind)
        found = _logger().as_of(*record.mapped, when)
        values, lost = ({}, {}) if found is None else _values(found)
    name = record_text(record.source.catalog, record.ref)
    document = {
        "table": record.source.catalog.text(record.info.name),
        "key": record.ref.components,
        "time": when.isoformat(),
        "record": None if found is None else values,
        "unknown": lost,
    }
    lines = [f"{name}, {moment(when)}"]
    lines += [f"  {printable(column)}: {value_text(value)}" for column, value in values.items()]
    lines += [f"  {printable(column)}: ({why})" for column, why in lost.items()]
    _print(lines if found is not None else [f"There was no {name} at {moment(when)}."], dump(document) + "\n", as_json)
    if found is None:
        raise click.exceptions.Exit(1)


@click.command("revert")
@click.argument("target", nargs=-1, required=True)
@click.option("--to", "when", type=time, help="For a record: the time to whose state it goes back.")
@click.option("--only", metavar="COLUMN", multiple=True, help="Only this column goes back; no rows come or go.")
@click.option("--reason", help="Why, for the log.")
@click.option("--apply", "is_applied", is_flag=True, help="Take it back. Without it only the preview is shown.")
@click.option("--skip-conflicts", is_flag=True, help="Leave what was changed since as it is, and take back the rest.")
@click.option("--sql", "is_printed", is_flag=True, help="Print the SQL, which ends with ROLLBACK, and run nothing.")
@_bind
@_json
@with_appcontext
def revert_command(
    target: tuple[str, ...],
    when: dt.datetime | None,
    only: tuple[str, ...],
    reason: str | None,
    is_applied: bool,
    skip_conflicts: bool,
    is_printed: bool,
    bind: str | None,
    as_json: bool,
) -> None:
    """Take back a transaction (120), a change (120.4711), or what happened to a record: TABLE KEY --to TIME.

    Exits with 0 if all of it goes back, with 1 if something was changed since or can't be taken back.
    """
    if is_printed and (is_applied or as_json):
        raise click.UsageError("--sql runs nothing and is no JSON: give it without --apply and --json.")
    if skip_conflicts and not is_applied:
        raise click.UsageError("--skip-conflicts goes with --apply; the preview names all conflicts.")
    with _plainly():
        source, what, revert, undone = _revert(target, when, only, reason, bind)
        if is_printed:
            _print_sql(revert)
            return
        preview = revert.preview()
        is_whole = not (preview.conflicts or preview.impossible)
        is_refused = bool(preview.conflicts) and not skip_conflicts
        done = None
        if is_applied and preview.number and not is_refused:
            done = revert.apply(conflicts="skip" if skip_conflicts else "refuse", expected=preview.digest)
    document = _document(source, preview) | {
        "applied": done is not None,
        "transaction": None if done is None else done.transaction_id,
        "undone_by": undone,
    }
    if done is not None:
        said = f"Taken back in transaction {done.transaction_id}."
    elif is_applied and is_refused and preview.number:
        said = "Nothing was written. With --skip-conflicts the rest is taken back."
    elif preview.number:
        said = "Nothing was written. With --apply it is taken back."
    else:
        said = "There is nothing that can be taken back." if not is_whole else "There is nothing to take back."
    head = f"{preview.number:,} {'change' if preview.number == 1 else 'changes'} of {what}:"
    before = (f"Already taken back by transaction {number}." for number in undone)
    _print((*before, head, *preview_lines(source.catalog, preview), said), dump(document) + "\n", as_json)
    if not is_whole:
        raise click.exceptions.Exit(1)


@click.command("export")
@_filters
@_bind
@click.option("-o", "--output", metavar="FILE", default="-", help="Where to; by default the standard output.")
@click.option("--format", "kind", type=click.Choice(("csv", "jsonl")), help="By default as FILE ends, else jsonl.")
@click.option("--by-field", is_flag=True, help="CSV with a line for each changed column instead of each change.")
@click.option("--bom", is_flag=True, help="CSV that begins with the mark by which Excel knows UTF-8.")
@with_appcontext
def export_command(bind: str | None, output: str, kind: str | None, by_field: bool, bom: bool, **filters: Any) -> None:
    """Write changes as CSV or JSON Lines, the newest first, as the pages export them.

    A FILE is there only when it is complete. The last line of JSON Lines, `_meta`, says so, too.
    """
    kind = kind or ("csv" if output.endswith(".csv") else "jsonl")
    if kind != "csv" and (by_field or bom):
        raise click.UsageError("--by-field and --bom are for CSV: give --format csv.")
    with _plainly():
        history = _chosen(bind, **filters)
        view = FileView(history.source.catalog)
        batches = _counted(history.logged(), is_shown=output != "-" or not sys.stdout.isatty())
        said = {name: value if isinstance(value, tuple) else (str(value),) for name, value in filters.items() if value}
        meta = {"filter": said, "generated_at": dt.datetime.now(dt.UTC).isoformat()}
        lines = (
            csv_lines(view, batches, by_field=by_field, bom=bom) if kind == "csv" else json_lines(view, batches, meta)
        )
        # as bytes: on no machine are line ends to become others
        with _opened(output) as file:
            for line in lines:
                file.write(line.encode("utf-8", "surrogatepass"))


@contextmanager
def _opened(output: str) -> Iterator[BinaryIO]:
    """The file to write, under another name until it is whole."""
    if output == "-":
        yield sys.stdout.buffer
        return
    part = Path(f"{output}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(output)
    except OSError as error:
        raise click.FileError(output, error.strerror or str(error)) from error
    finally:
        part.unlink(missing_ok=True)


def _counted(rows: Iterator[ActivityRow], *, is_shown: bool) -> Iterator[tuple[ActivityRow, ...]]:
    """The rows in batches; says how many there were so far to whoever watches."""
    number, is_shown = 0, is_shown and sys.stderr.isatty()
    while batch := tuple(islice(rows, BATCH)):
        yield batch
        number += len(batch)
        if is_shown:
            say(f"\r{number:,} changes", nl=False, err=True)
    if is_shown:
        say("", err=True)


@contextmanager
def _plainly() -> Iterator[None]:
    """What can't be done is said without a traceback."""
    try:
        yield
    except AuditLoggerError as error:
        kind = click.UsageError if isinstance(error, ConfigurationError) else click.ClickException
        raise kind(str(error)) from error


def _logger() -> Any:
    return current_app.extensions["audit_logger"]


def _print(lines: Iterable[str], document: str, as_json: bool) -> None:
    if as_json:
        click.echo(document, nl=False)
        return
    for line in lines:
        say(line)


def _list(history: History, limit: int, as_json: bool) -> bool:
    """Print changes as they are read; gives whether there are any."""
    catalog, is_empty = history.source.catalog, True
    view = FileView(catalog)
    for row in history.logged(limit):
        _print(change_lines(catalog, row), json_line(view, row), as_json)
        is_empty = False
    if is_empty and not as_json:
        say("The log has no such change.", err=True)
    return not is_empty


def _chosen(
    bind: str | None,
    table: tuple[str, ...],
    actor: str | None,
    nobody: bool,
    verb: tuple[str, ...],
    since: dt.datetime | None,
    until: dt.datetime | None,
) -> History:
    """The changes that the options choose."""
    found = [table_named(_logger(), name, bind) for name in table]
    source = found[0][0] if found else log_named(_logger(), bind)
    if any(other.metadata is not source.metadata for other, _ in found):
        raise click.UsageError("These tables are in several databases: list the changes of each for itself.")
    history = history_in(source, tuple(info for _, info in found)).between(since, until).verb(*verb)
    if actor is not None and nobody:
        raise click.UsageError("--actor and --nobody exclude each other.")
    if actor is not None:
        try:
            actor_value(source.reader.models, actor)
        except ValueError as error:
            raise click.BadParameter(f"{error}.", param_hint="--actor") from error
    return history if actor is None and not nobody else history.by(actor)


def _number(text: str) -> int | Cursor:
    """The number of a transaction, or of one and its change."""
    if _NUMBERS.fullmatch(text):
        try:
            return Cursor.parse(text) if "." in text else int(text)
        except ValueError:
            pass
    raise click.BadParameter(
        f"{text!r} is neither a transaction, as 120, nor a change, as 120.4711; `flask audit log` lists both."
    )


def _change(source: Source, change: Cursor) -> ActivityRow:
    with source.reader.reading() as log:
        found = get_activity(log, change)
    if found is None:
        raise click.ClickException(f"The log has no change {change}. `flask audit log` lists what it has.")
    return found


def _values(instance: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """The columns of an object of the past, and the reasons for those that are not known."""
    loaded, why = instance_dict(instance), unknown(instance)
    values, lost = {}, {}
    for attribute in inspect(type(instance)).column_attrs:
        column = attribute.columns[0]
        if attribute.key in why:
            lost[column.name] = why[attribute.key]
        elif attribute.key in loaded:
            values[column.name] = _as_json(loaded[attribute.key], column)
    return values, lost


def _as_json(value: Any, column: Any) -> Any:
    """A value of a column as the log would have it."""
    if isinstance(value, list | tuple):
        return [_as_json(part, None) for part in value]
    is_plain = value is None or isinstance(value, bool | int | float | Decimal | str | dict)
    return value if is_plain else key_text(value, column)


def _revert(
    target: tuple[str, ...], when: dt.datetime | None, only: tuple[str, ...], reason: str | None, bind: str | None
) -> tuple[Source, str, Revert, tuple[int, ...]]:
    """The log, what is taken back in words, taking it back, and the transactions that took it back already."""
    undone: tuple[int, ...] = ()
    if when is not None and len(target) < 2:
        raise click.UsageError("--to goes with a record: TABLE KEY --to TIME.")
    if when is None and len(target) != 1:
        raise click.UsageError("Give a transaction, as 120, a change, as 120.4711, or TABLE KEY --to TIME.")
    if when is not None:
        record = record_named(_logger(), target[0], target[1:], bind)
        source = record.source
        given: Any = record.mapped
        what = f"{record_text(source.catalog, record.ref)} since {moment(when)}"
    else:
        number = _number(target[0])
        source = log_named(_logger(), bind)
        given = number
        if isinstance(number, Cursor):
            _change(source, number)
        elif transaction_row(source, number) is None:
            raise click.ClickException(f"The log has no transaction {number}. `flask audit log` lists what it has.")
        else:
            undone = taken_back_by(source, number)
        what = f"{'change' if isinstance(number, Cursor) else 'transaction'} {number}"
    revert = revert_of(_logger(), given, to=when, only=only, reason=reason, bind_key=source.bind_key)
    return source, what, revert, undone


def _print_sql(revert: Revert) -> None:
    is_whole = True
    for part in revert.sql():
        is_whole = is_whole and not part.startswith("-- NOT TAKEN BACK")
        click.echo(part, nl=False)
    if not is_whole:
        raise click.exceptions.Exit(1)


def _document(source: Source, preview: Preview) -> dict[str, Any]:
    """A preview as JSON."""

    def of(problem: Problem) -> dict[str, Any]:
        keys = [record.components for record in problem.samples]
        table = source.catalog.text(problem.table)
        return {"table": table, "reason": problem.reason, "number": problem.number, "samples": keys}

    groups = [
        {
            "table": source.catalog.text(group.table),
            "verb": group.verb,
            "columns": group.columns,
            "lacking": group.lacking,
            "number": group.number,
            "samples": [str(row.cursor) for row in group.samples],
        }
        for group in preview.groups
    ]
    return {
        "number": preview.number,
        "groups": groups,
        "conflicts": [of(problem) for problem in preview.conflicts],
        "impossible": [of(problem) for problem in preview.impossible],
        "digest": preview.digest,
    }
