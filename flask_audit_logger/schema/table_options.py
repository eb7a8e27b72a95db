"""Options of an audited table: read from the model, checked, and as its triggers carry them."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import MetaData, Table

from ..exceptions import UnknownOptionError
from ..sql import VERBS

TRUNCATE_CHOICES = ("marker", "rows", "refuse")
OLD_DATA_CHOICES = ("row", "changed")

_LOOKS_PERSONAL = re.compile("mail|phone|mobile|address|street|birth|iban|passport|(first|last|full)_?name")

_COLUMN_OPTIONS = ("exclude", "ignore", "mask", "only")
_CHOICES = {"truncate": TRUNCATE_CHOICES, "old_data": OLD_DATA_CHOICES}
REQUIRED_CHOICES = ("actor", "reason")
_ALL = (*_COLUMN_OPTIONS, "verbs", "require", *_CHOICES, "personal", "subject")


@dataclass(frozen=True)
class TableOptions:
    """How one table is logged. All names are names of database columns.

    :param key: columns of the record key in order; ``None`` leaves it to the primary key of the database.
    :param exclude: columns that are neither stored nor a cause of an activity.
    :param only: the only columns that are stored; ``None`` is all.
    :param ignore: columns that are stored, but whose change alone is no cause of an activity.
    :param mask: columns whose change is logged, but never a value.
    :param verbs: the verbs that are captured.
    :param truncate: ``marker`` logs that the table was emptied, ``rows`` each row, ``refuse`` forbids it.
    :param old_data: ``row`` logs the whole old row of an update, ``changed`` only the changed columns.
    :param require: what a change is refused without: ``actor``, ``reason``.
    :param partitioned: whether the table has partitions that need the triggers, too.
    """

    key: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    verbs: tuple[str, ...] = VERBS
    truncate: str = "marker"
    old_data: str = "row"
    require: tuple[str, ...] = ()
    partitioned: bool = False

    def argument(self, *, partition: bool = False) -> str:
        """The argument of the trigger function: JSON with the options that are not the default.

        :param partition: whether the trigger is on a partition.
        """
        given = {name: value for name, value in self.changed_from_default().items() if name not in _NOT_ARGUMENTS}
        return json.dumps({**given, **({"partition": True} if partition else {})}, ensure_ascii=False)

    def changed_from_default(self) -> dict[str, Any]:
        """The options that are not the default, by name; tuples as lists."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}

    @classmethod
    def from_trigger(cls, argument: str, *, verbs: tuple[str, ...], partitioned: bool) -> TableOptions:
        """Read back what :meth:`argument` wrote."""
        given: dict[str, Any] = json.loads(argument or "{}")
        given.pop("partition", None)
        return cls.make(**given, verbs=verbs, partitioned=partitioned)

    @classmethod
    def make(cls, **given: Any) -> TableOptions:
        """Make options from lists as well as tuples."""
        values: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in given.items()}
        return cls(**values)


_NOT_ARGUMENTS = frozenset({"verbs", "partitioned"})


_EXCEPTED_KEY = "audit_logger_excepted"

#: Tables of other tools that a reflected metadata may have.
_NEVER = frozenset({"alembic_version"})


def audit_all(metadata: MetaData, excepted: frozenset[str] | None) -> None:
    """Let all tables of ``metadata`` be audited but some; for ``None`` only those that are marked."""
    if excepted is None:
        metadata.info.pop(_EXCEPTED_KEY, None)
    else:
        metadata.info[_EXCEPTED_KEY] = excepted


def audits_all(metadata: MetaData) -> bool:
    """Whether tables that are not marked are audited, too."""
    return _EXCEPTED_KEY in metadata.info


def is_audited(table: Table) -> bool:
    """Whether a table is audited: it is marked, or all are and it is no exception."""
    marked = table.info.get("audit_logged")
    if not audits_all(table.metadata):
        return marked not in (None, False)
    excepted = table.metadata.info[_EXCEPTED_KEY] | _NEVER
    return marked is not False and table.name not in excepted and table.fullname not in excepted


def audited_tables(metadata: MetaData) -> Iterator[Table]:
    """The tables of ``metadata`` that are audited, in order of schema and name."""
    for table in sorted(metadata.tables.values(), key=lambda t: (t.schema or "", t.name)):
        if is_audited(table):
            yield table


def check_excepted(metadatas: Iterable[MetaData], excepted: Iterable[str]) -> None:
    """Check the names of tables that are not audited.

    :raises UnknownOptionError: if no table has one of them.
    """
    tables = [table for metadata in metadatas for table in metadata.tables.values()]
    known = {table.name for table in tables} | {table.fullname for table in tables} | _NEVER
    for name in excepted:
        if name not in known:
            raise UnknownOptionError(f"except_tables names the unknown table {name!r}{_nearest(name, known)}")


def table_options(
    table: Table,
    *,
    attributes: Mapping[str, str] | None = None,
    exclude: Iterable[str] = (),
    mask: Iterable[str] = (),
) -> TableOptions:
    """Read and check the options of one table.

    :param attributes: names of mapped attributes and the columns they stand for.
    :param exclude: patterns (``*password*``) of columns that are excluded in every table.
    :param mask: patterns of columns that are masked in every table.
    :raises UnknownOptionError: for an option, column or choice that doesn't exist.
    """
    given = table.info.get("audit_logged")
    if given is True or (given is None and audits_all(table.metadata)):
        given = {}
    elif not isinstance(given, Mapping):
        raise UnknownOptionError(
            f"Table {table.fullname!r}: info['audit_logged'] is {given!r}; give True or a dictionary of options."
        )
    for option in given:
        if option not in _ALL:
            raise UnknownOptionError(f"Table {table.fullname!r}: unknown option {option!r}{_nearest(option, _ALL)}")
    known = attributes or {}
    personal_of(table, known)
    columns = {o: _columns(table, o, given[o], known) for o in _COLUMN_OPTIONS if o in given}
    excluded = _merge(columns.get("exclude", ()), _matching(table, exclude))
    masked = _merge(columns.get("mask", ()), _matching(table, mask))
    only = columns.get("only")
    stored = [c.name for c in table.columns if c.name not in excluded and (only is None or c.name in only)]
    key = tuple(column.name for column in table.primary_key.columns)
    return TableOptions(
        # The key is stored, so a column that must not be stored can't be part of it.
        key=key if all(name in stored and name not in masked for name in key) else (),
        exclude=excluded,
        only=only,
        ignore=columns.get("ignore", ()),
        mask=tuple(name for name in masked if name in stored),
        verbs=_several(table, "verbs", given.get("verbs", VERBS), VERBS),
        require=_several(table, "require", given.get("require", ()), REQUIRED_CHOICES),
        partitioned=bool(table.dialect_options["postgresql"].get("partition_by")),
        **{option: _choice(table, option, given[option]) for option in _CHOICES if option in given},
    )


@dataclass(frozen=True)
class Personal:
    """What of a table is about a person; nothing of it is known to the triggers.

    :param columns: the columns whose values are erased.
    :param others: those that were declared not to be personal.
    :param subject: the column that says whom a row is about, if it is not the row itself.
    :param of: the table that ``subject`` refers to.
    """

    columns: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    subject: str | None = None
    of: Table | None = None


def personal_of(table: Table, attributes: Mapping[str, str]) -> Personal:
    """Read and check what a table declares of persons.

    :param attributes: names of mapped attributes and the columns they stand for.
    :raises UnknownOptionError: for a column that doesn't exist, is part of the key, or refers to no record.
    """
    marked = table.info.get("audit_logged")
    given = marked if isinstance(marked, Mapping) else {}
    said = given.get("personal", ())
    declared = said if isinstance(said, Mapping) else dict.fromkeys([said] if isinstance(said, str) else said, True)
    columns, others = (
        _columns(table, "personal", [name for name, is_it in declared.items() if bool(is_it) is wanted], attributes)
        for wanted in (True, False)
    )
    for name in columns:
        if name in table.primary_key.columns:
            raise UnknownOptionError(
                f"Table {table.fullname!r}: option 'personal' names {name!r}, which is part of the key, and keys stay."
            )
    if "subject" not in given:
        return Personal(columns, others)
    (subject,) = _columns(table, "subject", [given["subject"]], attributes)
    for key in table.columns[subject].foreign_keys:
        if list(key.column.table.primary_key.columns) == [key.column]:
            return Personal(columns, others, subject, key.column.table)
    raise UnknownOptionError(
        f"Table {table.fullname!r}: option 'subject' is {subject!r}, which is no foreign key to the key of a table."
    )


def unclassified(metadata: MetaData, table: Table, options: TableOptions, attributes: Mapping[str, str]) -> list[str]:
    """The columns of a table that are named like personal ones, and nobody said whether they are.

    Nothing is said where no table declares anything personal.
    """
    declares = [isinstance(t.info.get("audit_logged"), Mapping) and "personal" in t.info["audit_logged"]
                for t in audited_tables(metadata)]  # fmt: skip
    if not any(declares):
        return []
    said = personal_of(table, attributes)
    known = {*said.columns, *said.others, *options.exclude, *options.mask, *(options.key or ()), said.subject}
    names = (column.name for column in table.columns if options.only is None or column.name in options.only)
    return [name for name in names if name not in known and _LOOKS_PERSONAL.search(name.lower())]


def _columns(table: Table, option: str, names: Any, attributes: Mapping[str, str]) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise UnknownOptionError(
            f"Table {table.fullname!r}: option {option!r} is {names!r}; give a list of column names, like [{names!r}]."
        )
    known = {column.name for column in table.columns}
    found = []
    for name in names:
        column = name if name in known else attributes.get(name)
        if column is None:
            raise UnknownOptionError(
                f"Table {table.fullname!r}: option {option!r} names the unknown column {name!r}"
                f"{_nearest(name, {*known, *attributes})}"
            )
        found.append(column)
    return tuple(sorted(set(found)))


def _matching(table: Table, patterns: Iterable[str]) -> tuple[str, ...]:
    return tuple(c.name for c in table.columns if any(fnmatchcase(c.name, pattern) for pattern in patterns))


def _merge(first: Iterable[str], second: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({*first, *second}))


def _several(table: Table, option: str, given: Any, choices: tuple[str, ...]) -> tuple[str, ...]:
    wanted = [given] if isinstance(given, str) else list(given)
    for value in wanted:
        _choice(table, option, value, choices)
    return tuple(value for value in choices if value in wanted)


def _choice(table: Table, option: str, value: Any, choices: Iterable[str] | None = None) -> str:
    choices = tuple(choices or _CHOICES[option])
    if value not in choices:
        raise UnknownOptionError(
            f"Table {table.fullname!r}: option {option!r} can't be {value!r}; choose from {', '.join(choices)}."
        )
    return str(value)


def _nearest(name: Any, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f". Did you mean {close[0]!r}?" if close else f"; there are {', '.join(sorted(known))}."
