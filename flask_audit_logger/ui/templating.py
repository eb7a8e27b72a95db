"""Render pages, and the pages with one message: refused, not found, too slow, no log."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from flask import Flask, current_app, make_response, render_template, request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from werkzeug.urls import iri_to_uri

from ..diff.kinds import Span
from ..diff.show import Piece, visible
from ..i18n import SPANS, gettext, language, lazy_gettext, ngettext, number, size, template_texts
from .options import DEBUG
from .shown import Crumb, MessagePage, Option, Page
from .visit import Visit

FOLDER = Path(__file__).parent.parent

STATIC = FOLDER / "static"

TEMPLATES = FOLDER / "templates"

logger = logging.getLogger("flask_audit_logger.ui")


def make_environment(app: Flask) -> Environment:
    """An environment that shares nothing with the application's but the place where templates are found."""
    environment = Environment(
        loader=app.jinja_env.loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=bool(app.config.get("TEMPLATES_AUTO_RELOAD") or app.debug),
    )
    environment.filters.update(
        number=number, size=size, apart=apart, groupby_mark=grouped_by_mark, local_input=local_input, is_local=is_local
    )
    return environment


def apart(delta: str | Span) -> str:
    """A difference of two numbers, which is text, or of two times."""
    return delta if isinstance(delta, str) else delta.sign + " ".join(SPANS[unit](size) for size, unit in delta.parts)


def grouped_by_mark(parts: Iterable[Piece]) -> list[tuple[str, list[Piece]]]:
    """Group neighbouring pieces with the same mark."""
    return [(mark, list(group)) for mark, group in groupby(parts, key=lambda piece: piece.mark)]


def local_input(text: str) -> str:
    """A typed time as the value of a ``datetime-local`` field, if it is one."""
    return text.replace(" ", "T", 1) if is_local(text) else text


def is_local(text: str) -> bool:
    """Whether a ``datetime-local`` field can hold what was typed; an offset or a bare date needs a text field."""
    return not text or re.fullmatch(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?", text) is not None


def render(visit: Visit, page: Page, status: int = 200) -> Any:
    """Make the response of a page."""
    shared = {**template_texts(), "page": page, "ui": _Frame(visit)}
    content, head, scripts = (
        visit.site.environment.get_template(name).render(shared)
        for name in (page.template, "audit/_head.html", "audit/_scripts.html")
    )
    parts = {
        "audit_title": escape(page.title),
        "audit_theme": escape(visit.settings.theme),
        "audit_lang": escape(language().tag),
        "audit_skip": escape(gettext("Skip to the content")),
        # our own environment escaped everything in them
        "audit_head": Markup(head),  # noqa: S704
        "audit_content": Markup(content),  # noqa: S704
        "audit_scripts": Markup(scripts),  # noqa: S704
    }
    response = make_response(_in_layout(visit, parts, status), status)
    visit.is_answered = True
    return response


def _in_layout(visit: Visit, parts: dict[str, Any], status: int) -> str:
    try:
        return render_template("audit/page.html", audit_layout=visit.ui.layout, **parts)
    except Exception:
        if status < 500:
            raise
        # what failed may be what the layout needs, such as the user of the session: say so without it
        logger.exception("the layout %r failed, too", visit.ui.layout)
        ours = visit.site.environment.overlay(loader=FileSystemLoader(TEMPLATES))
        return ours.get_template("audit/page.html").render(audit_layout=visit.ui.STANDALONE, **parts)


def is_standalone(visit: Visit) -> bool:
    """Whether the layout is the package's own, and no template of the application of that name."""
    file = current_app.jinja_env.get_template(visit.ui.layout).filename
    return file is not None and Path(file).is_relative_to(TEMPLATES)


def fragment(visit: Visit, template: str, **values: Any) -> str:
    """Render a part of a page."""
    return visit.site.environment.get_template(template).render(template_texts(), ui=_Frame(visit), **values)


class _Frame:
    """What every template may use besides its page."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    @property
    def links(self) -> Any:
        """Addresses of the pages."""
        return self._visit.links

    @property
    def nonce(self) -> str | None:
        """The nonce for style and script."""
        return self._visit.nonce()

    @property
    def theme(self) -> str:
        """``auto``, ``light`` or ``dark``."""
        return self._visit.settings.theme

    @property
    def lang(self) -> str:
        """The language of the texts, as in the attribute ``lang``."""
        return language().tag

    @property
    def tabs(self) -> list[tuple[str, str, bool]]:
        """The kinds of pages: text, address, and whether this page is one of them."""
        here = (request.endpoint or "").rpartition(".")[2]
        found = [(gettext("Changes"), self.links.activities(), here == "activities")]
        if self._visit.may("transaction"):
            found.append((gettext("Transactions"), self.links.transactions(), here == "transactions"))
        if self._visit.may("help"):
            found.append((gettext("Help"), self.links.help(), here == "help"))
        return found

    @property
    def zones(self) -> list[tuple[str, str, bool]]:
        """The zones that are offered: the name, the address that chooses it, and whether it is the present one."""
        visit, (path, args) = self._visit, here()
        names = dict.fromkeys((visit.usual_zone, visit.settings.timezone, "UTC", visit.clock.name))
        return [(name, f"{path}?{urlencode([*args, (ZONE, name)])}", name == visit.clock.name) for name in names]

    @property
    def lag(self) -> str | None:
        """How far what the page read is behind, if it was read from another server than is written to."""
        lag = self._visit.lag
        if lag is None:
            return None
        if lag.behind is None:
            return gettext("This page is read from a copy of the log. How far that is behind is not known now.")
        if not lag.behind:
            return gettext("This page is read from a copy of the log, which is up to date.")
        return ngettext(
            "This page is read from a copy of the log. What is newer than %(number)s minute may be missing.",
            "This page is read from a copy of the log. What is newer than %(number)s minutes may be missing.",
            lag.minutes,
        )

    @property
    def now(self) -> Any:
        """When this page was made: a print says so."""
        return self._visit.clock.now

    @property
    def here(self) -> str:
        """The address of this page: a print says that, too."""
        return visible(request.url)

    def moment(self, instant: Any) -> Any:
        """A logged instant in the viewer's zone."""
        return self._visit.clock.moment(instant)

    def asset(self, filename: str) -> str:
        """Address of a file of the package; it changes with the file."""
        return self._visit.links.static(filename, file_hash(filename))


#: The parameter that chooses a zone and keeps the choice.
ZONE = "zone"


def here() -> tuple[str, list[tuple[str, str]]]:
    """The path of this request as in a link, and its parameters but a choice of the zone."""
    given = [(name, value) for name, value in request.args.items(multi=True) if name != ZONE]
    return urlsplit(iri_to_uri(request.base_url)).path, given


@cache
def file_hash(filename: str) -> str:
    """Beginning of the SHA-256 of a file of the package."""
    return hashlib.sha256((STATIC / filename).read_bytes()).hexdigest()[:12]


#: Said wherever the log would be shown.
NOT_POSTGRESQL = lazy_gettext(
    "Changes are recorded in PostgreSQL only, and this application uses another database here."
)

_NO_PERMISSION = (
    "No permission callback was given, so every page is closed.",
    "Pass one: AuditLogger(db, ui=AuditUI(permission=can_read_audit))",
    "It is called with an action such as 'list' or 'record' and its target, and must return True to let somebody in.",
)

#: Said in the logging as well: out of debug mode the page gives no reason.
ONLY_LOCAL = (
    "The pages are closed: %s. AuditUI(permission='debug') opens them in debug mode only, to a browser on this "
    "machine; for others give a function, AuditUI(permission=can_read_audit)."
)


def message(
    visit: Visit,
    status: int,
    heading: str,
    text: str,
    details: Sequence[str] = (),
    options: Sequence[Option] = (),
    *,
    bare: bool = False,
) -> Any:
    """A page with one message.

    :param bare: without breadcrumb and tabs, which ask what the viewer may see.
    """
    page = MessagePage(
        title=gettext("%(page)s – Audit", page=heading),
        heading=heading,
        crumbs=() if bare else crumbs(visit, Crumb(heading)),
        zone=visit.clock.name,
        text=text,
        details=tuple(details),
        options=tuple(options),
    )
    return render(visit, page, status)


def crumbs(visit: Visit, *steps: Crumb) -> tuple[Crumb, ...]:
    """The breadcrumb of a page: the application, the list, and the steps given."""
    home: list[Crumb] = []
    if visit.settings.home is not None:
        name, endpoint = visit.settings.home
        home.append(Crumb(name, current_app.url_for(endpoint)))
    return (*home, Crumb(gettext("Audit log"), visit.links.activities()), *steps)


def refused(visit: Visit, action: str | None) -> Any:
    """The page of a refusal. Its reason is shown only to developers."""
    details: tuple[str, ...] = ()
    if current_app.debug:
        if visit.ui.permission is None:
            details = _NO_PERMISSION
        elif visit.ui.permission == DEBUG:
            details = (ONLY_LOCAL % visit.not_local,)
        elif action is None:
            details = (f"The view of {request.endpoint!r} declares no action, so nobody is let in.",)
        else:
            details = (visit.note or f"permission({action!r}, …) did not return True.",)
    text = gettext("You are not allowed to read this part of the audit log.")
    return message(visit, 403, gettext("Not allowed"), text, details, bare=True)


def not_signed_in(visit: Visit) -> Any:
    """Nobody is signed in and the application has no way to ask."""
    return message(visit, 401, gettext("Please sign in"), gettext("Sign in to read the audit log."), bare=True)


def not_found(visit: Visit) -> Any:
    """Nothing is here, or nothing the viewer may see; both look the same."""
    text = gettext("The audit log has nothing at this address, or you are not allowed to see it.")
    options = [Option(gettext("All changes"), visit.links.activities())]
    return message(visit, 404, gettext("Nothing here"), text, options=options)


def too_slow(visit: Visit) -> Any:
    """A search hit its time limit."""
    links, args = visit.links, request.args
    endpoint = (request.endpoint or "").rpartition(".")[2]
    options = []
    if endpoint in ("activities", "transactions"):
        link = links.activities if endpoint == "activities" else links.transactions
        drop = ("period", "since", "until", "before", "after")
        kept: dict[str, Any] = {name: args.getlist(name) for name in args if name not in drop}
        options = [
            Option(gettext("Only the last 24 hours"), link({**kept, "period": "24h"})),
            Option(gettext("Only the last 7 days"), link({**kept, "period": "7d"})),
        ]
    seconds = visit.settings.statement_timeout_ms / 1000
    text = gettext(
        "This search took longer than %(seconds)s s and was stopped. Narrow it down, or try again later.",
        seconds=f"{seconds:g}",
    )
    response = message(visit, 503, gettext("That took too long"), text, options=options)
    response.headers["Retry-After"] = "5"
    return response


def unavailable(visit: Visit) -> Any:
    """The database can't be reached."""
    text = gettext("The database can't be reached. Try again later.")
    response = message(visit, 503, gettext("The audit log can't be read"), text, bare=True)
    response.headers["Retry-After"] = "30"
    return response


def unlogged(visit: Visit) -> Any:
    """Reading has to be logged and could not be."""
    text = gettext("This view could not be recorded. Try again later.")
    return message(visit, 503, gettext("The audit log can't be shown"), text)


def unsupported(visit: Visit) -> Any:
    """The database can't have a log."""
    return message(visit, 503, gettext("There is no audit log"), str(NOT_POSTGRESQL))


def missing(visit: Visit) -> Any:
    """The tables were not made yet."""
    details = ("Run the migrations: flask db upgrade, or db.create_all().",) if current_app.debug else ()
    text = gettext("There is no audit log in this database yet.")
    return message(visit, 503, gettext("The audit log is missing"), text, details)


def outdated(visit: Visit) -> Any:
    """The tables are those of an older version."""
    details = ("Run the migrations: flask db migrate, then flask db upgrade.",) if current_app.debug else ()
    text = gettext("The tables of the audit log need a migration first.")
    return message(visit, 503, gettext("The audit log can't be read"), text, details)


def forbidden(visit: Visit) -> Any:
    """The application's user of the database has no right to read the log."""
    models, quote = visit.audit_logger.models, visit.audit_logger.engine.dialect.identifier_preparer
    tables = f"{quote.format_table(models.activity)}, {quote.format_table(models.transaction)}"
    grants = [f"GRANT SELECT ON {tables} TO …;"]
    if models.activity.schema is not None:
        grants.insert(0, f"GRANT USAGE ON SCHEMA {quote.format_schema(models.activity.schema)} TO …;")
    details = (f"Run as their owner: {' '.join(grants)}",) if current_app.debug else ()
    text = gettext("The application's database user may not read the audit log.")
    return message(visit, 503, gettext("The audit log can't be read"), text, details)


def bad_value(visit: Visit) -> Any:
    """PostgreSQL refused a value that the form let through."""
    text = gettext("One of the values can't be used in a search.")
    options = [Option(gettext("All changes"), visit.links.activities())]
    return message(visit, 400, gettext("There is a problem"), text, options=options)
