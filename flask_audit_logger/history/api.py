"""``LogInCode``: the methods of ``AuditLogger`` with which an application's own code uses the log."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from .reverts import Revert
from .targets import revert_of

if TYPE_CHECKING:
    from ..databases import Database
    from ..models import AuditModels


class LogInCode:
    """What code may ask of the log, and do by it.

    Reading happens as the pages read: on a connection of its own, so only what is committed is seen, and never by
    the rules of a viewer, as code is trusted.
    """

    if TYPE_CHECKING:
        # what AuditLogger has for it
        @property
        def database(self) -> Database: ...

        @property
        def actor_cls(self) -> type[Any] | None: ...

        def models_of(self, bind_key: str | None) -> AuditModels: ...

    def revert(
        self,
        target: Any,
        *,
        to: dt.datetime | None = None,
        only: Collection[str] = (),
        reason: str | None = None,
    ) -> Revert:
        """Take back what a mistake did. Nothing happens before ``apply()`` of the result, which has a ``preview()``.

        :param target: a transaction or its id, a change, or a record: a mapped object, or ``(Model, key)``.
        :param to: for a record, the time to whose state it goes back; it is made again if it is gone.
        :param only: columns that go back, by their names in the database; rows that came or went stay as they are then.
        :param reason: why, for the log.
        :raises ConfigurationError: if the target is none of these.
        """
        return revert_of(self, target, to=to, only=only, reason=reason)
