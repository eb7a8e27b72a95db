"""Making pages. The content is rendered by an environment of our own, the layout by the application's.

So a page looks the same whatever the application does to its templates: autoescape off, ``trim_blocks`` on, filters
and globals replaced. Only the layout is the application's to replace, and it gets the finished blocks.
"""

from __future__ import annotations

import hashlib
import logging
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask, current_app, g, make_response, render_template, request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ..query.diff.pieces import visible
from .contexts import Page
from .state import UIState, current_state
from .texts import gettext, install, language
from .words import apart, grouped_by_mark, is_local, local_input, number, size

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
    install(environment)
    return environment


def render(page: Page, status: int = 200) -> Any:
    """Make the response of a page."""
    state = current_state()
    shared = {"page": page, "ui": _Frame(state)}
    content = state.environment.get_template(page.template).render(shared)
    head = state.environment.get_template("audit/_head.html").render(shared)
    scripts = state.environment.get_template("audit/_scripts.html").render(shared)
    parts = {
        "audit_title": escape(page.title),
        "audit_theme": escape(state.config.theme),
        "audit_lang": escape(language().tag),
        "audit_skip": escape(gettext("Skip to the content")),
        # our own environment escaped everything in them
        "audit_head": Markup(head),  # noqa: S704
        "audit_content": Markup(content),  # noqa: S704
        "audit_scripts": Markup(scripts),  # noqa: S704
    }
    response = make_response(_in_layout(state, parts, status), status)
    g.audit_answered = True
    return response


def _in_layout(state: UIState, parts: dict[str, Any], status: int) -> str:
    try:
        return render_template("audit/page.html", audit_layout=state.ui.layout, **parts)
    except Exception:
        if status < 500:
            raise
        # what failed may be what the layout needs, such as the user of the session: say so without it
        logger.exception("the layout %r failed, too", state.ui.layout)
        ours = state.environment.overlay(loader=FileSystemLoader(TEMPLATES))
        return ours.get_template("audit/page.html").render(audit_layout=state.ui.STANDALONE, **parts)


def is_standalone(state: UIState) -> bool:
    """Whether the layout is the package's own, and no template of the application of that name."""
    file = current_app.jinja_env.get_template(state.ui.layout).filename
    return file is not None and Path(file).is_relative_to(TEMPLATES)


def fragment(template: str, state: UIState | None = None, **values: Any) -> str:
    """Render a part of a page."""
    state = state or current_state()
    return state.environment.get_template(template).render(ui=_Frame(state), **values)


class _Frame:
    """What every template may use besides its page."""

    def __init__(self, state: UIState) -> None:
        self._state = state

    @property
    def links(self) -> Any:
        """Addresses of the pages."""
        return self._state.links

    @property
    def nonce(self) -> str | None:
        """The nonce for style and script."""
        return self._state.nonce()

    @property
    def theme(self) -> str:
        """``auto``, ``light`` or ``dark``."""
        return self._state.config.theme

    @property
    def lang(self) -> str:
        """The language of the texts, as in the attribute ``lang``."""
        return language().tag

    @property
    def tabs(self) -> list[tuple[str, str, bool]]:
        """The kinds of pages: text, address, and whether this page is one of them."""
        here = (request.endpoint or "").rpartition(".")[2]
        found = [(gettext("Changes"), self.links.activities(), here == "activities")]
        if self._state.may("transaction"):
            found.append((gettext("Transactions"), self.links.transactions(), here == "transactions"))
        if self._state.may("help"):
            found.append((gettext("Help"), self.links.help(), here == "help"))
        return found

    @property
    def now(self) -> Any:
        """When this page was made: a print says so."""
        return self._state.clock.now

    @property
    def here(self) -> str:
        """The address of this page: a print says that, too."""
        return visible(request.url)

    def moment(self, instant: Any) -> Any:
        """A logged instant in the viewer's zone."""
        return self._state.clock.moment(instant)

    def asset(self, filename: str) -> str:
        """Address of a file of the package; it changes with the file."""
        return self._state.links.static(filename, file_hash(filename))


@cache
def file_hash(filename: str) -> str:
    """Beginning of the SHA-256 of a file of the package."""
    return hashlib.sha256((STATIC / filename).read_bytes()).hexdigest()[:12]
