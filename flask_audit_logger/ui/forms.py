"""The filter form. It reads the query string and nothing else, so it needs no CSRF token."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Any

from wtforms import Form, StringField, ValidationError

from ..query.criteria import KINDS, VERBS, scalars
from ..query.paging import MAX_ID, Cursor
from .clock import is_zone, known_zone
from .fields import ChoiceField, ChoicesField, TablesField, TextsField, TranslatedMeta, clean
from .keys import NOBODY
from .names import KIND_NAMES, VERB_NAMES
from .periods import PERIODS, typed_time
from .texts import Texts, gettext, marked

PAGE_SIZES = (25, 50, 100, 200)
_IMPERSONATED = Texts({"": marked("Any"), "1": marked("On behalf of somebody"), "0": marked("Directly")})
_ORDERS = Texts({"-time": marked("Newest first"), "time": marked("Oldest first")})


class FilterForm(Form):
    """The filters of a list of activities."""

    class Meta(TranslatedMeta):
        csrf = False

    table = TablesField(marked("Table"), [clean], id="audit-table")
    key = StringField(marked("Record key"), [clean], id="audit-key")
    verb = ChoicesField(marked("What happened"), lambda: [(verb, VERB_NAMES[verb]) for verb in VERBS], id="audit-verb")
    col = TextsField(marked("Changed column"), [clean], id="audit-col")
    actor = TextsField(marked("Who"), [clean], id="audit-actor")
    period = ChoiceField(
        marked("When"), lambda: [("", gettext("Choose…")), *PERIODS.items()], default="", id="audit-period"
    )
    since = StringField(marked("From"), [clean], id="audit-since")
    until = StringField(marked("Until"), [clean], id="audit-until")
    kind = ChoicesField(marked("Made by"), lambda: [(kind, KIND_NAMES[kind]) for kind in KINDS], id="audit-kind")
    impersonator = TextsField(marked("Impersonated by"), [clean], id="audit-impersonator")
    impersonated = ChoiceField(marked("Impersonation"), _IMPERSONATED.items, default="", id="audit-impersonated")
    addr = TextsField(marked("Address or network"), [clean], id="audit-addr")
    field = StringField(marked("Column"), [clean], id="audit-field")
    was = StringField(marked("Was"), [clean], id="audit-was")
    became = StringField(marked("Became"), [clean], id="audit-became")
    tx = TextsField(marked("Transaction"), [clean], id="audit-tx")
    req = TextsField(marked("Request id"), [clean], id="audit-req")
    sort = ChoiceField(marked("Order"), _ORDERS.items, default="-time")
    before = StringField(marked("Position"), [clean], id="audit-before")
    after = StringField(marked("Position"), [clean], id="audit-after")
    limit = ChoiceField(marked("Rows"), lambda: [(str(n), str(n)) for n in PAGE_SIZES], id="audit-limit")
    tz = StringField(marked("Time zone"), [clean])

    #: Checks a column name; set by the view, which knows the tables and what the viewer may see.
    check_column: Callable[[FilterForm, str], None]
    #: Whether the viewer may see addresses; a search would tell them.
    can_see_address: bool = True

    #: Parameters that narrow the list, in the order of their chips.
    NARROWING: Sequence[str] = (
        "table", "key", "verb", "col", "field", "was", "became", "actor", "kind", "impersonated", "impersonator",
        "addr", "period", "since", "until", "tx", "req",
    )  # fmt: skip
    #: Those that are behind "More filters".
    MORE: Sequence[str] = ("col", "field", "was", "became", "kind", "impersonated", "impersonator", "addr", "tx", "req")

    @property
    def zone(self) -> dt.tzinfo:
        """The zone in which typed times are read; one that does not exist is told at its own field."""
        return known_zone(self.tz.data or "UTC")

    def validate_tz(self, field: Any) -> None:
        name = field.data
        if name and not is_zone(name):
            self.tz.data = None
            raise ValidationError(gettext("There is no time zone %(value)s.", value=repr(name)))

    def validate_key(self, field: Any) -> None:
        if field.data and len(self.table.data or []) != 1:
            raise ValidationError(gettext("Choose one table to search by key."))

    def validate_col(self, field: Any) -> None:
        for name in field.data or []:
            self.check_column(self, name)

    def validate_field(self, field: Any) -> None:
        if field.data:
            self.check_column(self, field.data)
            if not (self.was.data or self.became.data):
                raise ValidationError(gettext("Say what the column was or became."))

    def validate_was(self, field: Any) -> None:
        self._check_value(field)

    def validate_became(self, field: Any) -> None:
        self._check_value(field)

    def validate_addr(self, field: Any) -> None:
        if field.data and not self.can_see_address:
            raise ValidationError(gettext("Addresses can't be searched for here."))
        for value in field.data or []:
            network(value)

    def validate_since(self, field: Any) -> None:
        self._check_time(field, end_of_day=False)
        if field.data and self.period.data:
            raise ValidationError(gettext("Choose either a period or exact times."))

    def validate_until(self, field: Any) -> None:
        until = self._check_time(field, end_of_day=True)
        since = None if self.since.errors or not self.since.data else self._read(self.since.data, False)
        if until and since and since >= until:
            raise ValidationError(gettext("The end must be later than the start."))
        if field.data and self.period.data:
            raise ValidationError(gettext("Choose either a period or exact times."))

    def validate_tx(self, field: Any) -> None:
        for value in field.data or []:
            if not re.fullmatch(r"[0-9]{1,19}", value, re.ASCII) or int(value) > MAX_ID:
                raise ValidationError(gettext("%(value)s is not the number of a transaction.", value=repr(value)))

    def validate_before(self, field: Any) -> None:
        self._check_cursor(field)
        if field.data and self.after.data:
            raise ValidationError(gettext("A page starts either before or after a position."))

    def validate_after(self, field: Any) -> None:
        self._check_cursor(field)

    def _check_value(self, field: Any) -> None:
        if field.data and not self.field.data:
            raise ValidationError(gettext("Say which column."))
        try:
            scalars(field.data or "")
        except ValueError as error:
            raise ValidationError(
                gettext("This can't be searched for: search for a number, a text, true, false or null.")
            ) from error

    def _check_cursor(self, field: Any) -> None:
        try:
            if field.data:
                Cursor.parse(field.data)
        except ValueError as error:
            raise ValidationError(
                gettext("%(value)s is not a position in the log; one looks like 120.4711.", value=repr(field.data))
            ) from error

    def _check_time(self, field: Any, end_of_day: bool) -> dt.datetime | None:
        if not field.data:
            return None
        try:
            return self._read(field.data, end_of_day)
        except ValueError as error:
            raise ValidationError(str(error)) from error

    def _read(self, text: str, end_of_day: bool) -> dt.datetime | None:
        return typed_time(text, self.zone, end_of_day=end_of_day)


def network(text: str) -> str:
    """An address or network, host bits removed.

    :raises ValidationError: if it is neither.
    """
    try:
        return str(ipaddress.ip_network(text.strip(), strict=False))
    except ValueError as error:
        raise ValidationError(
            gettext("%(value)s is no address or network, such as 192.0.2.7 or 192.0.2.0/24.", value=repr(text))
        ) from error


def actor_of(text: str) -> str | None:
    """The actor that a parameter names; ``None`` for actors that were not recorded."""
    return None if text == NOBODY else text


class TransactionForm(FilterForm):
    """The filters of a list of transactions."""

    path = StringField(marked("Request path begins with"), [clean], id="audit-path")
    min_rows = StringField(marked("At least so many rows"), [clean], id="audit-min-rows")

    NARROWING: Sequence[str] = (
        "table", "verb", "actor", "kind", "impersonated", "impersonator", "addr", "period", "since", "until", "req",
        "path", "min_rows",
    )  # fmt: skip
    MORE: Sequence[str] = ("kind", "impersonated", "impersonator", "addr", "req", "path", "min_rows")

    def validate_min_rows(self, field: Any) -> None:
        if field.data and not re.fullmatch(r"[1-9][0-9]{0,5}", field.data, re.ASCII):
            raise ValidationError(gettext("Enter a whole number from 1 to 999999."))
