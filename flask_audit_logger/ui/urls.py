"""Addresses of the pages, and the encoding of tables, records and actors in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import url_for
from werkzeug.routing import BaseConverter, ValidationError

from ..query.paging import Cursor
from ..query.refs import RecordRef, TableName
from ..query.tables import TableCatalog
from .times import ABSOLUTE, has_offset

_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")

_PLAIN = re.compile("[A-Za-z0-9_-]+", re.ASCII)

_PART = re.compile(r"(?:[A-Za-z0-9_+-]|~[0-9A-F]{2})+", re.ASCII)

EMPTY = "~_"

#: The actor of changes whose actor was not recorded.
NOBODY = "~none"


class BadKey(ValueError):
    """A part of an address that no link of ours could have."""


def encode(text: str) -> str:
    """Encode one part; the empty text is ``~_``."""
    if not text:
        return EMPTY
    if _PLAIN.fullmatch(text):  # nearly every name and key
        return text
    return "".join(
        chr(byte) if byte in _SAFE else "+" if byte == 0x20 else f"~{byte:02X}" for byte in text.encode("utf-8")
    )


def decode(part: str) -> str:
    """Decode one part.

    :raises BadKey: unless it is exactly what :func:`encode` makes of some text.
    """
    if part == EMPTY:
        return ""
    if not _PART.fullmatch(part):
        raise BadKey(part)
    raw = re.sub("~(..)", lambda match: chr(int(match[1], 16)), part.replace("+", " "))
    try:
        text = raw.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadKey(part) from error
    if "\x00" in text or encode(text) != part:
        raise BadKey(part)
    return text


def encode_key(components: Sequence[str]) -> str:
    """Encode the values of a key."""
    return ",".join(encode(component) for component in components)


def decode_key(text: str) -> tuple[str, ...]:
    """Decode the values of a key.

    :raises BadKey: if it is not what :func:`encode_key` makes.
    """
    return tuple(decode(part) for part in text.split(","))


def encode_table(schema: str | None, name: str) -> str:
    """Encode a table; ``schema`` is ``None`` for the default one."""
    return encode(name) if schema is None else f"{encode(schema)}.{encode(name)}"


def decode_table(text: str) -> tuple[str | None, str]:
    """Decode a table into schema (``None``: the default one) and name.

    :raises BadKey: if it is not what :func:`encode_table` makes.
    """
    parts = [decode(part) for part in text.split(".")]
    if len(parts) > 2:
        raise BadKey(text)
    return (None, parts[0]) if len(parts) == 1 else (parts[0], parts[1])


def change_of(text: str) -> Cursor | None:
    """The change whose address this is, or ``None`` if it can't be one."""
    try:
        change = Cursor.parse(text)
    except ValueError:
        return None
    return change if str(change) == text else None


class _Converter(BaseConverter):
    """A part of an address; what no link of ours could have matches no rule."""

    read: Callable[[str], Any]

    def to_python(self, value: str) -> Any:
        try:
            return type(self).read(value)
        except BadKey as error:
            raise ValidationError from error


class TextConverter(_Converter):
    """Any text, such as the name of a column."""

    read = staticmethod(decode)

    def to_url(self, value: str) -> str:
        return encode(value)


class TableConverter(_Converter):
    """A table as a pair of its schema (``None``: the default one) and its name; a name alone is in the default one."""

    read = staticmethod(decode_table)

    def to_url(self, value: str | tuple[str | None, str]) -> str:
        return encode(value) if isinstance(value, str) else encode_table(*value)


class KeyConverter(_Converter):
    """The values of a key; a text is the one value of a key."""

    read = staticmethod(decode_key)

    def to_url(self, value: str | Sequence[str]) -> str:
        return encode(value) if isinstance(value, str) else encode_key(value)


class ChangeConverter(_Converter):
    """A change by the numbers of its transaction and of its own."""

    @staticmethod
    def read(value: str) -> Cursor:
        change = change_of(value)
        if change is None:
            raise BadKey(value)
        return change

    def to_url(self, value: object) -> str:
        return str(value)


class ActorConverter(_Converter):
    """An actor, or ``None`` for changes whose actor was not recorded.

    Links of ours have the actor in a tuple, as Werkzeug leaves out what is ``None``.
    """

    @staticmethod
    def read(value: str) -> str | None:
        return None if value == NOBODY else decode(value)

    def to_url(self, value: str | tuple[str | None]) -> str:
        actor = value if isinstance(value, str) else value[0]
        return NOBODY if actor is None else encode(actor)


#: The names under which rules use them; other names are the application's.
CONVERTERS: dict[str, type[BaseConverter]] = {
    "audit_text": TextConverter,
    "audit_table": TableConverter,
    "audit_key": KeyConverter,
    "audit_actor": ActorConverter,
    "audit_change": ChangeConverter,
}

RESULTS = "audit-results"

#: What stands for a part in a pattern of addresses.
_MARKS: dict[str, Any] = {
    "change": "918273645546372819.918273645546372819",
    "transaction_id": 918273645546372819,
    "table": "audit-table-mark",
    "key": "audit-key-mark",
    "actor": "audit-actor-mark",
    "addr": "audit-address-mark",
}


class Links:
    """Makes links to the pages of one blueprint.

    :param blueprint: its name.
    :param catalog: tells which schema needs no mention.
    :param zone: name of the viewer's time zone.
    """

    def __init__(self, blueprint: str, catalog: TableCatalog, zone: Callable[[], str]) -> None:
        self._blueprint = blueprint
        self._catalog = catalog
        self._zone = zone
        #: Addresses and patterns of addresses that this page had already: a list has the same ones again and again.
        self._known: dict[Any, str] = {}

    def activities(self, filters: Mapping[str, Any] | None = None, *, anchor: bool = False) -> str:
        """The list of activities."""
        return self._url("activities", _anchor=RESULTS if anchor else None, **(filters or {}))

    def table(self, table: TableName) -> str:
        """The activities of a table."""
        return self._once("activities", table=self._catalog.text(table))

    def address(self, address: str) -> str:
        """The activities from an address."""
        # as PostgreSQL writes it, nothing of it needs to be quoted
        return self._filled("activities", addr=address)

    def activity(self, change: Cursor) -> str:
        """One activity."""
        return self._filled("activity", change=str(change))

    def record(self, record: RecordRef, filters: Mapping[str, Any] | None = None, *, anchor: bool = False) -> str:
        """The history of a record."""
        if not filters and not anchor:
            table = encode_table(*self._parts(record.table))
            return self._filled("record", table=table, key=encode_key(record.components))
        return self._record("record", record, _anchor=RESULTS if anchor else None, **(filters or {}))

    def as_of(self, record: RecordRef, **filters: Any) -> str:
        """A record as of a time, or right after a change."""
        return self._record("as_of", record, **filters)

    def compare(self, record: RecordRef, **filters: Any) -> str:
        """Two versions of a record."""
        return self._record("compare", record, **filters)

    def revert(self, record: RecordRef, change: Cursor, side: str, *columns: str) -> str:
        """The preview of putting values back."""
        return self._record("revert", record, to=change, side=side, col=list(columns) or None)

    def value(self, change: Cursor, column: str, side: str) -> str:
        """One value as a download."""
        return self._url("value", change=change, column=column, side=side)

    def transactions(self, filters: Mapping[str, Any] | None = None, *, anchor: bool = False) -> str:
        """The list of transactions."""
        return self._url("transactions", _anchor=RESULTS if anchor else None, **(filters or {}))

    def transaction(
        self, transaction_id: int, filters: Mapping[str, Any] | None = None, *, anchor: bool = False
    ) -> str:
        """One transaction."""
        if not filters and not anchor:
            return self._filled("transaction", transaction_id=str(transaction_id))
        extra = filters or {}
        return self._url("transaction", transaction_id=transaction_id, _anchor=RESULTS if anchor else None, **extra)

    def take_back(self, transaction_id: int) -> str:
        """The preview of taking a transaction back."""
        return self._url("take_back", transaction_id=transaction_id)

    def actor(self, actor: str | None, filters: Mapping[str, Any] | None = None, *, anchor: bool = False) -> str:
        """One actor."""
        if not filters and not anchor:
            return self._filled("actor", actor=NOBODY if actor is None else encode(actor))
        return self._url("actor", actor=(actor,), _anchor=RESULTS if anchor else None, **(filters or {}))

    def export(self, kind: str | None = None, filters: Mapping[str, Any] | None = None) -> str:
        """The export page, or an export as ``csv`` or ``jsonl``."""
        return self._url("export" if kind is None else f"export_{kind}", **(filters or {}))

    def help(self) -> str:
        """The help page."""
        return self._url("help")

    def breakdown(self, name: str, filters: Mapping[str, Any] | None = None) -> str:
        """A part of the breakdown of a list."""
        return self._url("breakdown", name=name, **(filters or {}))

    def static(self, filename: str, version: str) -> str:
        """A file of the package."""
        return self._url("static", filename=filename, v=version)

    def _record(self, endpoint: str, record: RecordRef, **filters: Any) -> str:
        return self._url(endpoint, table=self._parts(record.table), key=record.components, **filters)

    def _parts(self, table: TableName) -> tuple[str | None, str]:
        return (None if table.schema == self._catalog.default_schema else table.schema), table.name

    def _once(self, endpoint: str, **values: Any) -> str:
        """An address that is made once for a page."""
        key = (endpoint, *values.items())
        if key not in self._known:
            self._known[key] = self._url(endpoint, **values)
        return self._known[key]

    def _filled(self, endpoint: str, **parts: str) -> str:
        """An address of a pattern that is made once for a page.

        :param parts: as they are in it.
        """
        if endpoint not in self._known:
            self._known[endpoint] = self._url(endpoint, **{name: _MARKS[name] for name in parts})
        found = self._known[endpoint]
        for name, part in parts.items():
            found = found.replace(str(_MARKS[name]), part)
        return found

    def _url(self, endpoint: str, **values: Any) -> str:
        # so that the address means the same to somebody in another zone
        if not values.get("tz") and any(_is_local(values.get(name)) for name in ("period", "since", "until")):
            values["tz"] = self._zone()
        return url_for(f"{self._blueprint}.{endpoint}", **values)


def _is_local(value: Any) -> bool:
    """Whether a period or a typed time depends on the time zone."""
    text = str(value[0] if isinstance(value, list) and value else value or "")
    return bool(text) and text not in ABSOLUTE and not has_offset(text)
