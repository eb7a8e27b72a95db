"""Options of one audited table, as its triggers carry them."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

from ..sql import VERBS

TRUNCATE_CHOICES = ("marker", "rows", "refuse")
OLD_DATA_CHOICES = ("row", "changed")


@dataclass(frozen=True)
class TableOptions:
    """How one table is logged. All names are names of database columns.

    :param key: columns of the record key in order; ``None`` leaves it to the primary key of the database.
    :param exclude: columns that are neither stored nor a cause of an activity.
    :param only: the only columns that are stored; ``None`` is all.
    :param ignore: columns that are stored, but whose change alone is no cause of an activity.
    :param mask: columns whose change is logged, but never a value.
    :param verbs: the verbs that are captured.
    :param truncate: ``marker`` logs that the table was emptied, ``rows`` each row, ``refuse`` forbids it.
    :param old_data: ``row`` logs the whole old row of an update, ``changed`` only the changed columns.
    :param partitioned: whether the table has partitions that need the triggers, too.
    """

    key: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    verbs: tuple[str, ...] = VERBS
    truncate: str = "marker"
    old_data: str = "row"
    partitioned: bool = False

    def argument(self, *, partition: bool = False) -> str:
        """The argument of the trigger function: JSON with the options that are not the default.

        :param partition: whether the trigger is on a partition.
        """
        given = {name: value for name, value in self.changed_from_default().items() if name not in _NOT_ARGUMENTS}
        return json.dumps({**given, **({"partition": True} if partition else {})}, ensure_ascii=False)

    def changed_from_default(self) -> dict[str, Any]:
        """The options that are not the default, by name; tuples as lists."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}

    @classmethod
    def from_trigger(cls, argument: str, *, verbs: tuple[str, ...], partitioned: bool) -> TableOptions:
        """Read back what :meth:`argument` wrote."""
        given: dict[str, Any] = json.loads(argument or "{}")
        given.pop("partition", None)
        return cls.make(**given, verbs=verbs, partitioned=partitioned)

    @classmethod
    def make(cls, **given: Any) -> TableOptions:
        """Make options from lists as well as tuples."""
        values: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in given.items()}
        return cls(**values)


_NOT_ARGUMENTS = frozenset({"verbs", "partitioned"})
