"""``LogInCode``: the methods of ``AuditLogger`` with which an application's own code uses the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
