"""Changes as text for a terminal: on lines of their own, in colours, and with nothing in them that it would obey."""

from __future__ import annotations

import datetime as dt
import os
import shlex
from collections.abc import Iterable, Iterator
from typing import Any

import click

from ..diff import as_text
from ..diff.show import printable
from ..diff.values import Presence, as_value, mark_of
from ..query.refs import RecordRef
from ..query.rows import ActivityRow, TransactionRow
from ..query.tables import TableCatalog
from .reverts import Preview, Problem

_COLORS = {"insert": "green", "update": "yellow", "delete": "red", "truncate": "red"}

#: Characters of a value in a list, and values of a change.
SHORT, FEW = 40, 4

_NOTHING = {
    Presence.NULL: "NULL",
    Presence.JSON_NULL: "null",
    Presence.EMPTY: '""',
    Presence.ABSENT: "-",
    Presence.MASKED: "(masked)",
}

#: What happens to the rows of a group.
_GOES = {"delete": "removed", "insert": "made again", "update": "set back"}


def say(text: str, *, nl: bool = True, err: bool = False) -> None:
    """Print, without colours where there is no terminal or nobody wants any (https://no-color.org)."""
    click.echo(text, nl=nl, err=err, color=False if os.environ.get("NO_COLOR") else None)


def moment(when: dt.datetime) -> str:
    """A time on the clock of this machine, with its offset, exactly."""
    return when.astimezone().isoformat(" ")


def value_text(data: Any, most: int | None = None) -> str:
    """A logged value on one line.

    :param most: characters after which to stop.
    """
    value = as_value(data)
    if mark_of(data) in ("erased", "too large"):
        return f"({mark_of(data)})"
    return _NOTHING.get(value.presence) or _short(as_text(value.data, most), most)


def record_text(catalog: TableCatalog, record: RecordRef) -> str:
    """A record as commands take it."""
    return f"{printable(catalog.text(record.table))} {_key(record)}"


def actor_text(transaction: TransactionRow | None) -> str:
    """Who acted, in which job or command."""
    if transaction is None:
        return "nobody known"
    who, label = transaction.actor_id or transaction.other_actor, transaction.actor_label
    job = next((f"{kind} {transaction.said(kind)}" for kind in ("job", "command") if transaction.said(kind)), None)
    actor = f"{label} ({who})" if who and label else label or who
    name = actor or job or "nobody"
    other = transaction.impersonator
    if other is not None:
        name = f"{name}, by {other.get('label') or other.get('id') or 'someone'}"
    return printable(f"{name}, {job}" if actor and job else name)


def change_lines(catalog: TableCatalog, row: ActivityRow) -> Iterator[str]:
    """A change in a list: who did what and when, and the values in short."""
    reason = None if row.transaction is None else row.transaction.said("reason")
    yield " ".join(
        [
            click.style(row.issued_at.astimezone().isoformat(" ", "seconds"), dim=True),
            click.style(str(row.cursor), fg="cyan"),
            _verb(row.verb),
            _what(catalog, row) + ",",
            actor_text(row.transaction) + (f": {_short(reason, SHORT * 2)}" if reason else ""),
        ]
    )
    said = ", ".join(_briefly(catalog, row))
    if said:
        yield f"    {said}"


def whole_change(catalog: TableCatalog, row: ActivityRow) -> Iterator[str]:
    """A change with all that it did."""
    yield f"{_verb(row.verb)} {_what(catalog, row)}"
    for name, text in (("change", str(row.cursor)), ("time", moment(row.issued_at)), *_facts(row.transaction)):
        yield f"  {name:<12} {text}"
    if row.is_notice:
        yield from (f"  {printable(name)}: {value_text(value)}" for name, value in row.changed_data.items())
        return
    for name in catalog.ordered(row.table, row.changed_columns):
        yield printable(name)
        for sign, side, color in (("-", row.state_before, "red"), ("+", row.state_after, "green")):
            if side is not None:
                data = side.get(name)
                is_long = name in side and not _is_one_line(data)
                lines = map(printable, as_text(as_value(data).data).split("\n")) if is_long else [value_text(data)]
                yield from (click.style(f"{sign} {line}", fg=color) for line in lines)


def whole_transaction(transaction: TransactionRow) -> Iterator[str]:
    """A transaction without its changes."""
    yield click.style(f"transaction {transaction.id}", fg="cyan")
    for name, text in (("time", moment(transaction.issued_at)), *_facts(transaction)):
        yield f"  {name:<12} {text}"


def preview_lines(catalog: TableCatalog, preview: Preview) -> Iterator[str]:
    """What would go back, and what would not."""
    for group in preview.groups:
        columns = f" ({', '.join(map(printable, group.columns))})" if group.columns else ""
        lacking = f", without {', '.join(map(printable, group.lacking))}" if group.lacking else ""
        table, samples = printable(catalog.text(group.table)), ", ".join(str(row.cursor) for row in group.samples)
        yield f"  {click.style(table, bold=True)}: {group.number:,} {_GOES[group.verb]}{columns}{lacking}: {samples}"
    yield from _problems(catalog, "Stays as it is, as somebody changed it since:", preview.conflicts, "yellow")
    yield from _problems(catalog, "Can't be taken back:", preview.impossible, "red")


def _problems(catalog: TableCatalog, title: str, found: Iterable[Problem], color: str) -> Iterator[str]:
    for number, problem in enumerate(found):
        if number == 0:
            yield click.style(title, fg=color)
        yield f"  {problem.text(catalog.text(problem.table))}"


def _verb(verb: str) -> str:
    return click.style(verb, fg=_COLORS.get(verb, "blue"))


def _what(catalog: TableCatalog, row: ActivityRow) -> str:
    if row.record is not None:
        return record_text(catalog, row.record)
    return printable(row.own_name or catalog.text(row.table))


def _key(record: RecordRef) -> str:
    return printable(shlex.join(record.components))


def _short(text: str, most: int | None) -> str:
    return printable(text if most is None or len(text) <= most else text[: most - 1] + "…")


def _is_one_line(data: Any) -> bool:
    value = as_value(data)
    return not value.known or mark_of(data) in ("erased", "too large") or "\n" not in as_text(value.data)


def _facts(transaction: TransactionRow | None) -> Iterator[tuple[str, str]]:
    yield "actor", actor_text(transaction)
    if transaction is None:
        return
    if transaction.client_addr:
        yield "address", transaction.client_addr
    for name, value in transaction.context.items():
        yield printable(name), value_text(value)


def _briefly(catalog: TableCatalog, row: ActivityRow) -> Iterator[str]:
    """The values of a change in a list."""
    if row.is_notice:
        said = {name: value for name, value in row.changed_data.items() if (name, row.own_name) != ("name", value)}
        yield from (f"{printable(name)} {value_text(value, SHORT)}" for name, value in said.items())
        return
    names = catalog.ordered(row.table, row.changed_columns)
    for name in names[:FEW]:
        before, after = (row.old_data, row.changed_data)
        data = before if row.verb == "delete" else after
        was = f"{value_text(before.get(name), SHORT)} -> " if row.verb == "update" and name in before else ""
        yield f"{printable(name)} {was}{value_text(data.get(name), SHORT)}"
    if len(names) > FEW:
        yield f"{len(names) - FEW} more"
