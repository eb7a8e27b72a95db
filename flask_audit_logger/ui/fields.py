"""Fields of forms that read a query string: texts and choices that can be given several times."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from wtforms import Form, StringField, ValidationError
from wtforms.i18n import DummyTranslations, get_translations
from wtforms.meta import DefaultMeta

from .texts import gettext, language

#: Values of one filter.
MAX_VALUES = 20
#: Characters of one value.
MAX_LENGTH = 200


class TranslatedMeta(DefaultMeta):
    """Labels are marked where a form is written and translated when one is made, as are the messages of WTForms."""

    def bind_field(self, form: Any, unbound_field: Any, options: Any) -> Any:
        field = super().bind_field(form, unbound_field, options)
        field.label.text = gettext(field.label.text)
        return field

    def get_translations(self, form: Any) -> Any:
        found = language()
        try:
            return DummyTranslations() if found.is_source else get_translations([found.locale])
        except OSError:  # WTForms has no texts in this language
            return DummyTranslations()


def clean(_form: Form, field: Any) -> None:
    """Refuse what can't be part of any name or value that is searched for."""
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
        """Offer an option as the default: it is sent as an empty value."""
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
