"""The texts of the pages in the viewer's language.

English is written in the code. Where the application uses Flask-Babel, translations come from catalogues of the domain
``audit``: the application's own ones first, then those of the package. Without Flask-Babel everything is English.
"""

from __future__ import annotations

import datetime as dt
import gettext as catalogues
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import current_app, g, has_app_context
from jinja2 import Environment
from markupsafe import Markup, escape

from ..query.texts import marked, marked_plural

__all__ = [
    "Noun",
    "Texts",
    "calendar",
    "decimal",
    "gettext",
    "language",
    "marked",
    "marked_plural",
    "ngettext",
    "number",
    "pgettext",
]

#: Name of the catalogues: ``<folder>/<language>/LC_MESSAGES/audit.mo``.
DOMAIN = "audit"
FOLDER = Path(__file__).parent.parent / "translations"

logger = logging.getLogger("flask_audit_logger.ui")


@dataclass(frozen=True)
class Language:
    """A language that there are texts in.

    :param locale: what numbers are written by, such as ``de_AT``.
    """

    locale: str
    texts: catalogues.NullTranslations

    @property
    def tag(self) -> str:
        """For the attribute ``lang``."""
        return self.locale.replace("_", "-")

    @property
    def is_source(self) -> bool:
        """Whether texts stay as they are written in the code."""
        return type(self.texts) is catalogues.NullTranslations


_ENGLISH = Language("en", catalogues.NullTranslations())


def language() -> Language:
    """The language of this request: the viewer's, or the one that Flask-Babel selects, if there are texts in it."""
    if not has_app_context():
        return _ENGLISH
    context = g._get_current_object()
    viewer, known = context.get("audit_viewer"), context.get("audit_language")
    # each text asks, so the answer is kept until it is known who looks
    if known is None or known[0] is not viewer:
        known = context.audit_language = viewer, _find(viewer)
    found: Language = known[1]
    return found


def gettext(text: str, **values: Any) -> str:
    """A text in the viewer's language.

    :param text: in English, with named placeholders: ``Changes by %(actor)s``.
    """
    return str(_filled(language().texts.gettext(text) if text else text, text, values))


def ngettext(one: str, many: str, count: int, **values: Any) -> str:
    """A text with a number in it: ``%(number)s``, written as the language writes numbers."""
    values.setdefault("number", number(count))
    return str(_filled(language().texts.ngettext(one, many, count), one if count == 1 else many, values))


def pgettext(context: str, text: str, **values: Any) -> str:
    """A text that needs another translation here than elsewhere.

    :param context: says where here is.
    """
    return str(_filled(language().texts.pgettext(context, text), text, values))


def number(value: int) -> str:
    """A whole number with thousands apart."""
    return f"{value:,}" if language().is_source else _formatted(value, "#,##0")


def decimal(value: float) -> str:
    """A number with one place after the point."""
    return f"{value:,.1f}" if language().is_source else _formatted(value, "#,##0.0")


def calendar(moment: dt.datetime, english: str, pattern: str) -> str:
    """A day or a time with names of days and months.

    :param english: format for ``strftime``.
    :param pattern: the same as a pattern of the CLDR.
    """
    if language().is_source:
        return moment.strftime(english)
    from babel.dates import format_datetime

    return str(format_datetime(moment, pattern, tzinfo=moment.tzinfo, locale=language().locale))


class Texts(Mapping[str, str]):
    """Names of things by key, each in the viewer's language when it is looked up.

    :param texts: marked for translation.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = dict(texts)

    def __getitem__(self, key: str) -> str:
        return gettext(self._texts[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def __repr__(self) -> str:
        return f"Texts({self._texts!r})"


@dataclass(frozen=True)
class Noun:
    """What is counted: one, many, more than are counted, and an unknown number of it; marked, not yet translated."""

    counted: tuple[str, str]
    more: str
    any: str


def install(environment: Environment) -> None:
    """Give templates ``_``, ``ngettext`` and ``pgettext``.

    A translation is text, not HTML: whatever is in a catalogue is escaped, and so are values. A part with markup of its
    own is a placeholder, given as the result of a macro or of ``{% set part %}…{% endset %}``.
    """
    environment.globals.update(_=_html_gettext, gettext=_html_gettext, ngettext=_html_ngettext, pgettext=_html_pgettext)


def _html_gettext(text: str, **values: Any) -> Markup:
    return _html(language().texts.gettext(text) if text else text, text, values)


def _html_ngettext(one: str, many: str, count: int, **values: Any) -> Markup:
    values.setdefault("number", number(count))
    return _html(language().texts.ngettext(one, many, count), one if count == 1 else many, values)


def _html_pgettext(context: str, text: str, **values: Any) -> Markup:
    return _html(language().texts.pgettext(context, text), text, values)


def _html(translated: str, source: str, values: Mapping[str, Any]) -> Markup:
    # escape() of plain text, then % of Markup, which escapes each value
    filled: Markup = _filled(escape(str(translated)), escape(source), values)
    return filled


def _filled(translated: Any, source: Any, values: Mapping[str, Any]) -> Any:
    """A text with its values; in English if the placeholders of a translation are wrong."""
    if not values:
        return translated
    try:
        return translated % values
    except (KeyError, TypeError, ValueError):
        logger.error("the translation %r has other placeholders than %r", translated, source)
        return source % values


def _locale_of(viewer: Any) -> str | None:
    given = getattr(viewer, "locale", None)
    text = str(given).replace("-", "_") if given else ""
    # it becomes part of a file's name
    return text if re.fullmatch(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*", text) else None


def _find(viewer: Any) -> Language:
    babel = current_app.extensions.get("babel")
    if babel is None:
        return _ENGLISH
    try:
        locale = _locale_of(viewer) or _selected_locale()
    except Exception:  # the page that says that the database is down must not need it to find its language
        logger.exception("the language of the request can't be told")
        return _ENGLISH
    return _load(locale, (*map(str, babel.translation_directories), str(FOLDER))) if locale else _ENGLISH


def _selected_locale() -> str | None:
    from flask_babel import get_locale  # an application without Flask-Babel has no such extension either

    selected = get_locale()
    return str(selected) if selected is not None else None


@lru_cache(maxsize=256)
def _load(locale: str, folders: tuple[str, ...]) -> Language:
    """The catalogues of a locale, each falling back to the next: the application's to ours, ``de_AT`` to ``de``."""
    parts = locale.split("_")
    names = ["_".join(parts[:length]) for length in range(len(parts), 0, -1)]
    found: catalogues.NullTranslations | None = None
    paths = [path for folder in folders for path in catalogues.find(DOMAIN, folder, names, all=True)]
    for path in paths:
        with Path(path).open("rb") as file:
            texts = catalogues.GNUTranslations(file)
        if found is None:
            found = texts
        else:
            found.add_fallback(texts)
    return Language(locale, found) if found is not None else _ENGLISH


def _formatted(value: float, pattern: str) -> str:
    from babel import UnknownLocaleError
    from babel.numbers import format_decimal

    try:
        return str(format_decimal(value, format=pattern, locale=language().locale))
    except (UnknownLocaleError, ValueError):  # a language that Babel has never heard of
        return str(format_decimal(value, format=pattern, locale="en"))
