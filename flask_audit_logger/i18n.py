"""The texts of the pages in the viewer's language: translation, numbers, and the names of what is counted.

English is written in the code. If the application uses Flask-Babel, texts come from catalogues of the domain ``audit``,
the application's before the package's. A text without a translation stays English, as does all without Flask-Babel.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from gettext import NullTranslations
from pathlib import Path
from typing import Any, Protocol, cast

from flask import current_app, g, has_app_context
from markupsafe import Markup, escape

try:
    import flask_babel
except ImportError:  # it is optional
    flask_babel = None

#: Name of the catalogues: ``<folder>/<language>/LC_MESSAGES/audit.mo``.
DOMAIN = "audit"
FOLDER = Path(__file__).parent / "translations"

logger = logging.getLogger("flask_audit_logger.ui")


@dataclass(frozen=True)
class Language:
    """A language that there are texts in.

    :param locale: what numbers are written by, such as ``de_AT``.
    """

    locale: str
    texts: NullTranslations

    @property
    def tag(self) -> str:
        """For the attribute ``lang``."""
        return self.locale.replace("_", "-")

    @property
    def is_source(self) -> bool:
        """Whether texts stay as they are written in the code."""
        return self is _ENGLISH


_ENGLISH = Language("en", NullTranslations())


# Texts


def gettext(text: str, **values: Any) -> str:
    """A text in the viewer's language.

    :param text: in English, with named placeholders: ``Changes by %(actor)s``.
    """
    return str(_filled(language().texts.gettext(text) if text else text, text, values))


def ngettext(one: str, many: str, count: int, **values: Any) -> str:
    """A text with a number: ``%(number)s``, formatted for the language."""
    values.setdefault("number", number(count))
    return str(_filled(language().texts.ngettext(one, many, count), one if count == 1 else many, values))


def pgettext(context: str, text: str, **values: Any) -> str:
    """A text that needs another translation here than elsewhere.

    :param context: says where here is.
    """
    return str(_filled(language().texts.pgettext(context, text), text, values))


if flask_babel is not None:

    class _LazyText(flask_babel.LazyString):  # type: ignore[misc]  # Flask-Babel has no types
        """A text that is translated when read. Flask-Babel's own calls itself HTML, which no translation is."""

        def __html__(self) -> str:
            return escape(str(self))


def lazy_gettext(text: str) -> str:
    """A text that is translated whenever it is read: for what is written once for all requests, such as a label."""
    return text if flask_babel is None else cast(str, _LazyText(gettext, text))


def marked(text: str) -> str:
    """Mark a text for the catalogues; it stays English until a page shows it.

    For code below the pages, whose results are plain data.
    """
    return text


def template_texts() -> dict[str, Callable[..., Markup]]:
    """``_``, ``ngettext`` and ``pgettext`` for the templates of one page: their language is asked for once.

    A translation is text, not HTML: whatever is in a catalogue is escaped, and so are values. A part with markup of its
    own is a placeholder, given as the result of a macro or of ``{% set part %}…{% endset %}``.
    """
    texts = language().texts
    known: dict[str, Markup] = {}

    def html_gettext(text: str, **values: Any) -> Markup:
        if text not in known:
            known[text] = escape(str(texts.gettext(text) if text else text))
        return _html(known[text], text, values) if values else known[text]

    def html_ngettext(one: str, many: str, count: int, **values: Any) -> Markup:
        values.setdefault("number", number(count))
        return _html(escape(str(texts.ngettext(one, many, count))), one if count == 1 else many, values)

    def html_pgettext(context: str, text: str, **values: Any) -> Markup:
        return _html(escape(str(texts.pgettext(context, text))), text, values)

    return {"_": html_gettext, "gettext": html_gettext, "ngettext": html_ngettext, "pgettext": html_pgettext}


def _html(translated: Markup, source: str, values: Mapping[str, Any]) -> Markup:
    # % of text, as all of it is escaped already: that of Markup, which escapes each value, takes three times as long
    escaped = {name: escape(value) for name, value in values.items()}
    return Markup(_filled(str(translated), str(escape(source)), escaped))  # noqa: S704


def _filled(translated: Any, source: Any, values: Mapping[str, Any]) -> Any:
    """A text with its values; in English if the placeholders of a translation are wrong."""
    if not values:
        return translated
    try:
        return translated % values
    except (KeyError, TypeError, ValueError):
        logger.error("the translation %r has other placeholders than %r", translated, source)
        return source % values


# The language of a request


def language() -> Language:
    """The language of this request: the viewer's, or the one that Flask-Babel selects, if there are texts in it."""
    if not has_app_context():
        return _ENGLISH
    visit = g.get("audit_visit")
    if visit is None or not visit.is_current:
        return _language_of(None)
    # each text asks, so the answer is kept until the viewer is known
    if visit.language is None or visit.language[0] is not visit.viewer:
        visit.language = visit.viewer, _language_of(visit.viewer)
    found: Language = visit.language[1]
    return found


def _language_of(viewer: Any) -> Language:
    if "babel" not in current_app.extensions:
        return _ENGLISH
    locale = _own_locale(viewer)
    try:
        with flask_babel.force_locale(locale) if locale else nullcontext():
            texts, selected = _catalogues().get_translations(), flask_babel.get_locale()
    except Exception:  # the page that says that the database is down must not need it to find its language
        logger.exception("the language of the request can't be told")
        return _ENGLISH
    return Language(str(selected), texts) if texts.files else _ENGLISH


def _own_locale(viewer: Any) -> str | None:
    """The locale that the viewer has of their own, if Babel knows it."""
    from babel import Locale, UnknownLocaleError

    given = getattr(viewer, "locale", None)
    try:
        return str(Locale.parse(str(given).replace("-", "_"))) if given else None
    except (UnknownLocaleError, ValueError):
        return None


def _catalogues() -> Any:
    """The catalogues of this application; Flask-Babel keeps what it has read of them."""
    known = current_app.extensions.setdefault("audit_logger_texts", {})
    if DOMAIN not in known:
        # of two translations of a text the later one counts
        folders = [str(FOLDER), *map(str, flask_babel.get_babel().translation_directories)]
        known[DOMAIN] = flask_babel.Domain(folders, DOMAIN)
    return known[DOMAIN]


# Numbers, days and lists


def number(value: int) -> str:
    """A whole number with separators between thousands."""
    return f"{value:,}" if language().is_source else _formatted(value, "#,##0")


def decimal(value: float) -> str:
    """A number with one decimal place."""
    return f"{value:,.1f}" if language().is_source else _formatted(value, "#,##0.0")


def size(octets: int) -> str:
    """A number of bytes."""
    if octets < 1000:
        return f"{octets} B"
    unit, factor = next(((u, f) for u, f in (("kB", 1e3), ("MB", 1e6)) if octets < f * 1000), ("GB", 1e9))
    return f"{decimal(octets / factor)} {unit}"


def calendar(moment: dt.datetime, english: str, pattern: str) -> str:
    """A day or a time with names of days and months.

    :param english: format for ``strftime``.
    :param pattern: the same as a pattern of the CLDR.
    """
    if language().is_source:
        return moment.strftime(english)
    from babel.dates import format_datetime

    return str(format_datetime(moment, pattern, tzinfo=moment.tzinfo, locale=language().locale))


def joined(parts: list[str], last: str = "and") -> str:
    """A list of words as a phrase.

    :param last: ``and`` or ``or``.
    """
    if len(parts) < 2:
        return "".join(parts)
    values = {"parts": pgettext("between the items of a list", ", ").join(parts[:-1]), "last": parts[-1]}
    return gettext("%(parts)s and %(last)s", **values) if last == "and" else gettext("%(parts)s or %(last)s", **values)


def _formatted(value: float, pattern: str) -> str:
    from babel.numbers import format_decimal

    return str(format_decimal(value, format=pattern, locale=language().locale))


# What is counted, and what happened


@dataclass(frozen=True)
class Noun:
    """What is counted.

    :param counted: a number of it.
    :param more: more than were counted, with ``%(number)s``.
    :param any: an unknown number of it.
    """

    counted: Callable[[int], str]
    more: str
    any: str


class Counted(Protocol):
    """A number of rows, counted up to a cap."""

    @property
    def number(self) -> int:
        """The number, or the cap."""

    @property
    def is_capped(self) -> bool:
        """Whether there are more."""


def amount(count: Counted | None, noun: Noun) -> str:
    """A count with its noun; without a number if counting took too long."""
    if count is None:
        return str(noun.any)
    return str(noun.more) % {"number": number(count.number)} if count.is_capped else noun.counted(count.number)


CHANGES = Noun(
    lambda n: ngettext("%(number)s change", "%(number)s changes", n),
    lazy_gettext("More than %(number)s changes"),
    lazy_gettext("Changes"),
)
TRANSACTIONS = Noun(
    lambda n: ngettext("%(number)s transaction", "%(number)s transactions", n),
    lazy_gettext("More than %(number)s transactions"),
    lazy_gettext("Transactions"),
)
ROWS = Noun(
    lambda n: ngettext("%(number)s row", "%(number)s rows", n),
    lazy_gettext("More than %(number)s rows"),
    lazy_gettext("Rows"),
)
#: What changes of one kind are called.
VERB_NOUNS = {
    "insert": Noun(
        lambda n: ngettext("%(number)s new record", "%(number)s new records", n),
        lazy_gettext("More than %(number)s new records"),
        lazy_gettext("New records"),
    ),
    "update": Noun(
        lambda n: ngettext("%(number)s update", "%(number)s updates", n),
        lazy_gettext("More than %(number)s updates"),
        lazy_gettext("Updates"),
    ),
    "delete": Noun(
        lambda n: ngettext("%(number)s deletion", "%(number)s deletions", n),
        lazy_gettext("More than %(number)s deletions"),
        lazy_gettext("Deletions"),
    ),
    "truncate": Noun(
        lambda n: ngettext("%(number)s emptied table", "%(number)s emptied tables", n),
        lazy_gettext("More than %(number)s emptied tables"),
        lazy_gettext("Emptied tables"),
    ),
    "snapshot": Noun(
        lambda n: ngettext("%(number)s snapshot", "%(number)s snapshots", n),
        lazy_gettext("More than %(number)s snapshots"),
        lazy_gettext("Snapshots"),
    ),
    "pruned": Noun(
        lambda n: ngettext("%(number)s removal of old changes", "%(number)s removals of old changes", n),
        lazy_gettext("More than %(number)s removals of old changes"),
        lazy_gettext("Removals of old changes"),
    ),
    "hold": Noun(
        lambda n: ngettext("%(number)s hold", "%(number)s holds", n),
        lazy_gettext("More than %(number)s holds"),
        lazy_gettext("Holds"),
    ),
    "release": Noun(
        lambda n: ngettext("%(number)s released hold", "%(number)s released holds", n),
        lazy_gettext("More than %(number)s released holds"),
        lazy_gettext("Released holds"),
    ),
    "erased": Noun(
        lambda n: ngettext("%(number)s erasure", "%(number)s erasures", n),
        lazy_gettext("More than %(number)s erasures"),
        lazy_gettext("Erasures"),
    ),
    "event": Noun(
        lambda n: ngettext("%(number)s event", "%(number)s events", n),
        lazy_gettext("More than %(number)s events"),
        lazy_gettext("Events"),
    ),
}
VERB_NAMES = {
    "insert": lazy_gettext("Created"),
    "update": lazy_gettext("Updated"),
    "delete": lazy_gettext("Deleted"),
    "truncate": lazy_gettext("Emptied"),
    "snapshot": lazy_gettext("Snapshot"),
    "pruned": lazy_gettext("Old changes removed"),
    "hold": lazy_gettext("Held"),
    "release": lazy_gettext("Hold released"),
    "erased": lazy_gettext("Erased"),
    "event": lazy_gettext("Event"),
}
#: The same within a sentence.
VERB_WORDS = {
    "insert": lazy_gettext("created"),
    "update": lazy_gettext("updated"),
    "delete": lazy_gettext("deleted"),
    "truncate": lazy_gettext("emptied"),
    "snapshot": lazy_gettext("snapshot"),
    "pruned": lazy_gettext("old changes removed"),
    "hold": lazy_gettext("held"),
    "release": lazy_gettext("hold released"),
    "erased": lazy_gettext("erased"),
    "event": lazy_gettext("event"),
}
#: Kinds of actors.
KIND_NAMES = {
    "user": lazy_gettext("User"),
    "service": lazy_gettext("Background job"),
    "system": lazy_gettext("Command"),
    "none": lazy_gettext("Not recorded"),
    "outside": lazy_gettext("Outside the application"),
}
#: Parts of a span of time.
SPANS: dict[str, Callable[[int], str]] = {
    "days": lambda n: ngettext("%(number)s day", "%(number)s days", n),
    "d": lambda n: ngettext("%(number)s d", "%(number)s d", n),
    "h": lambda n: ngettext("%(number)s h", "%(number)s h", n),
    "min": lambda n: ngettext("%(number)s min", "%(number)s min", n),
    "s": lambda n: ngettext("%(number)s s", "%(number)s s", n),
}
