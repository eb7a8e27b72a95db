"""What the application tells the pages, and what it is told: the types of the hooks of :class:`AuditUI`."""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
logger = logging.getLogger("flask_audit_logger.ui")


@dataclass(frozen=True)
class Viewer:
    """Who looks at the pages.

    :param id: key of the user.
    :param label: how the user is called.
    :param timezone: IANA name of the zone in which times are shown, or a ``ZoneInfo``; ``None``, and what is no zone,
        for ``AUDIT_UI_TIMEZONE``.
    :param locale: language of the pages, such as ``de`` or ``de_AT``; ``None`` for the one that Flask-Babel selects.
    """

    id: str
    label: str | None = None
    timezone: str | dt.tzinfo | None = None
    locale: str | None = None


@dataclass(frozen=True)
class Label:
    """How a record or an actor is called.

    :param text: shown, always escaped.
    :param url: a page of the application about it; only a path (``/products/42``) or an http(s) URL is linked.
    :param deleted: whether it no longer exists.
    """

    text: str
    url: str | None = None
    deleted: bool = False

    @property
    def safe_url(self) -> str | None:
        """The URL if a browser can only read it as a path of this site or as an http(s) address."""
        if self.url is None or re.search(r"[\x00-\x20\\\x7f]", self.url):
            return None
        is_path = self.url.startswith("/") and not self.url.startswith("//")
        return self.url if is_path or re.match(r"https?://[^/]", self.url, re.IGNORECASE) else None


@dataclass(frozen=True)
class Preset:
    """A search the application offers above the filters.

    :param name: text of the link.
    :param filters: parameters of the list, such as ``{"table": "products", "col": ["price"]}``.
    """

    name: str
    filters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """A column of the application's own on the list of changes and in exports.

    Both functions get the whole activity, also what its viewer may not see; they decide what they show of it.

    :param name: in exports.
    :param title: above the column of the list.
    :param cell: ``(activity) -> value`` for the list, shown as text; ``None``: the list does not have the column.
    :param export: ``(activity) -> value`` for exports, where ``None`` is nothing; ``None``: exports do not have it.
    """

    name: str
    title: str
    cell: Callable[[Any], Any] | None = None
    export: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class RevertPolicy:
    """How values are put back; without one, they can't be.

    :param reason_required: whether whoever does it has to say why.
    """

    reason_required: bool = True


@dataclass(frozen=True)
class ViewEvent:
    """Somebody read a page of the log, or tried to.

    :param action: what the permission callback was asked for.
    :param target: a :class:`RecordRef`, an id, an actor, or ``None``.
    :param filters: the parameters of the address.
    :param status: of the response: 200, or 403 for an attempt that was refused.
    :param rows: rows that a list showed or an export holds; ``None`` for other pages.
    :param address: of the client, as the application sees it.
    """

    viewer: Viewer | None
    action: str | None
    target: Any
    filters: Mapping[str, Sequence[str]]
    status: int
    rows: int | None
    address: str | None
    time: dt.datetime


class Audited(Protocol):
    """What the pages need of an :class:`AuditLogger`."""

    @property
    def db(self) -> Any:
        """The Flask-SQLAlchemy object."""

    @property
    def models(self) -> Any:
        """The tables of the log."""

    @property
    def actor_cls(self) -> Any:
        """The model of the actors, if there is one."""

    def context(self, *, reason: str) -> AbstractContextManager[None]:
        """Say why changes are made."""


def asked(name: str, call: Callable[[], T], otherwise: T) -> T:
    """What a hook of the application answers; one that fails is logged and takes no page with it.

    :param name: which hook of :class:`AuditUI`, for the message.
    """
    try:
        return call()
    except Exception:  # whatever the application raises
        logger.exception("the hook %s failed", name)
        return otherwise
