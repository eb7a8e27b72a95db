"""The filter form: its fields, their limits and checks."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from wtforms import Form, StringField, ValidationError
from wtforms.i18n import DummyTranslations, get_translations
from wtforms.meta import DefaultMeta

from ..i18n import KIND_NAMES, VERB_NAMES, gettext, language, lazy_gettext
from ..query.criteria import KINDS, VERBS, scalars
from ..query.paging import MAX_ID, Cursor
from ..settings import is_zone
from .times import PERIODS, known_zone, typed_time
from .urls import NOBODY

#: Values of one filter.
MAX_VALUES = 20

#: Characters of one value.
MAX_LENGTH = 200


class TranslatedMeta(DefaultMeta):
    """The messages of WTForms in the viewer's language, as far as it has them."""

    def get_translations(self, form: Any) -> Any:
        found = language()
        try:
            return DummyTranslations() if found.is_source else get_translations([found.locale])
        except OSError:  # WTForms has no texts in this language
            return DummyTranslations()


def clean(_form: Form, field: Any) -> None:
    """Refuse characters that no searched name or value can have."""
    values = field.data if isinstance(field.data, list) else [field.data or ""]
    if len(values) > MAX_VALUES:
        raise ValidationError(gettext("Give at most %(most)s values.", most=MAX_VALUES))
    for value in values:
        if len(value) > MAX_LENGTH:
            raise ValidationError(gettext("A value can have at most %(most)s characters.", most=MAX_LENGTH))
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
            raise ValidationError(gettext("A value can't contain control characters."))


class TextsField(StringField):
    """A text that may be given several times; ``data`` is the list of those that are not empty."""

    data: list[str] | None  # type: ignore[assignment]  # a list where WTForms has a text

    def process_data(self, value: Any) -> None:
        self.data = list(value or [])

    def process_formdata(self, valuelist: list[Any]) -> None:
        self.data = list(dict.fromkeys(value.strip(" ") for value in valuelist if value.strip(" ")))

    def _value(self) -> str:
        return (self.data or [""])[0]


class ChoiceField(StringField):
    """One of several values; an empty one stands for the default.

    :param options: gives value and name of each.
    """

    def __init__(self, label: str | None, options: Callable[[], Iterable[tuple[str, str]]], **kwargs: Any) -> None:
        super().__init__(label, **kwargs)
        self.options = list(options())

    def process_formdata(self, valuelist: list[Any]) -> None:
        if valuelist and valuelist[0]:
            self.data = valuelist[0]

    def assume(self, value: str) -> None:
        """Make an option the default, which is sent as an empty value."""
        names = dict(self.options)
        self.options = [("", names[value]), *(option for option in self.options if option[0] not in ("", value))]

    def pre_validate(self, form: Any) -> None:
        if self.data not in dict(self.options):
            raise ValidationError(
                gettext("%(value)s is not one of the choices.", value=repr(str(self.data)[:MAX_LENGTH]))
            )


class ChoicesField(TextsField):
    """Any number of several values.

    :param options: gives value and name of each.
    """

    def __init__(self, label: str | None, options: Callable[[], Iterable[tuple[str, str]]], **kwargs: Any) -> None:
        super().__init__(label, **kwargs)
        self.options = list(options())

    def pre_validate(self, form: Any) -> None:
        wrong = [value for value in self.data or [] if value not in dict(self.options)]
        if wrong:
            raise ValidationError(gettext("%(value)s is not one of the choices.", value=repr(wrong[0][:MAX_LENGTH])))


class TablesField(TextsField):
    """The audited tables; a table that only the log knows can still be named in the URL."""

    #: Name and label of the tables to offer; set by the view.
    options: Sequence[tuple[str, str]] = ()


PAGE_SIZES = (25, 50, 100, 200)

_IMPERSONATED = {"": lazy_gettext("Any"), "1": lazy_gettext("On behalf of someone"), "0": lazy_gettext("Directly")}

_ORDERS = {"-time": lazy_gettext("Newest first"), "time": lazy_gettext("Oldest first")}


class FilterForm(Form):
    """The filters of a list of activities."""

    class Meta(TranslatedMeta):
        csrf = False

    table = TablesField(lazy_gettext("Table"), [clean], id="audit-table")
    key = StringField(lazy_gettext("Record key"), [clean], id="audit-key")
    verb = ChoicesField(lazy_gettext("What happened"), lambda: [(v, VERB_NAMES[v]) for v in VERBS], id="audit-verb")
    col = TextsField(lazy_gettext("Changed column"), [clean], id="audit-col")
    actor = TextsField(lazy_gettext("Who"), [clean], id="audit-actor")
    period = ChoiceField(
        lazy_gettext("When"), lambda: [("", gettext("Choose…")), *PERIODS.items()], default="", id="audit-period"
    )
    since = StringField(lazy_gettext("Or from"), [clean], id="audit-since")
    until = StringField(lazy_gettext("Until"), [clean], id="audit-until")
    kind = ChoicesField(lazy_gettext("Made by"), lambda: [(kind, KIND_NAMES[kind]) for kind in KINDS], id="audit-kind")
    impersonator = TextsField(lazy_gettext("Impersonated by"), [clean], id="audit-impersonator")
    impersonated = ChoiceField(lazy_gettext("Impersonation"), _IMPERSONATED.items, default="", id="audit-impersonated")
    addr = TextsField(lazy_gettext("Address or network"), [clean], id="audit-addr")
    field = StringField(lazy_gettext("Column"), [clean], id="audit-field")
    was = StringField(lazy_gettext("Was"), [clean], id="audit-was")
    became = StringField(lazy_gettext("Became"), [clean], id="audit-became")
    tx = TextsField(lazy_gettext("Transaction"), [clean], id="audit-tx")
    req = TextsField(lazy_gettext("Request id"), [clean], id="audit-req")
    sort = ChoiceField(lazy_gettext("Order"), _ORDERS.items, default="-time")
    before = StringField(lazy_gettext("Position"), [clean], id="audit-before")
    after = StringField(lazy_gettext("Position"), [clean], id="audit-after")
    at = StringField()
    limit = ChoiceField(lazy_gettext("Rows"), lambda: [(str(n), str(n)) for n in PAGE_SIZES], id="audit-limit")
    fold = ChoiceField(lazy_gettext("Large transactions"), lambda: [("", ""), ("0", "")], default="")
    tz = StringField(lazy_gettext("Time zone"), [clean])

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
    MORE: Sequence[str] = (
        "since", "until", "key", "verb", "kind", "col", "field", "was", "became", "impersonated", "impersonator",
        "addr", "tx", "req",
    )  # fmt: skip

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
                raise ValidationError(gettext("Enter the old or the new value of the column."))

    def validate_was(self, field: Any) -> None:
        self._check_value(field)

    def validate_became(self, field: Any) -> None:
        self._check_value(field)

    def validate_addr(self, field: Any) -> None:
        if field.data and not self.can_see_address:
            raise ValidationError(gettext("You can't search by address."))
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
                raise ValidationError(gettext("%(value)s is not a transaction id.", value=repr(value)))

    def validate_before(self, field: Any) -> None:
        self._check_cursor(field)
        if field.data and self.after.data:
            raise ValidationError(gettext("Give a position before or after, not both."))

    def validate_after(self, field: Any) -> None:
        self._check_cursor(field)

    def _check_value(self, field: Any) -> None:
        if field.data and not self.field.data:
            raise ValidationError(gettext("Enter a column."))
        try:
            scalars(field.data or "")
        except ValueError as error:
            raise ValidationError(gettext("Search for a number, text, true, false or null.")) from error

    def _check_cursor(self, field: Any) -> None:
        try:
            if field.data:
                Cursor.parse(field.data)
        except ValueError as error:
            raise ValidationError(
                gettext(
                    "%(value)s is not a position in the log; a position looks like 120.4711.", value=repr(field.data)
                )
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
            gettext("%(value)s is not an address or a network, such as 192.0.2.7 or 192.0.2.0/24.", value=repr(text))
        ) from error


def actor_of(text: str) -> str | None:
    """The actor that a parameter names; ``None`` for actors that were not recorded."""
    return None if text == NOBODY else text


class TransactionForm(FilterForm):
    """The filters of a list of transactions."""

    sort = ChoiceField(lazy_gettext("Order"), {**_ORDERS, "size": lazy_gettext("Largest first")}.items, default="-time")
    path = StringField(lazy_gettext("Request path begins with"), [clean], id="audit-path")
    min_rows = StringField(lazy_gettext("Minimum number of rows"), [clean], id="audit-min-rows")

    NARROWING: Sequence[str] = (
        "table", "verb", "actor", "kind", "impersonated", "impersonator", "addr", "period", "since", "until", "req",
        "path", "min_rows",
    )  # fmt: skip
    MORE: Sequence[str] = (
        "since", "until", "verb", "kind", "impersonated", "impersonator", "addr", "req", "path", "min_rows",
    )  # fmt: skip

    def validate_min_rows(self, field: Any) -> None:
        if field.data and not re.fullmatch(r"[1-9][0-9]{0,5}", field.data, re.ASCII):
            raise ValidationError(gettext("Enter a whole number from 1 to 999999."))
