"""How long the entries of which table are kept: ``keep={"*": "2y", "orders": "10y"}``."""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..exceptions import ConfigurationError
from ..schema.names import TableName
from ..sql import EVENT

#: Stands for every table that no rule names.
EVERY_TABLE = "*"

_PERIOD = re.compile(r"([1-9][0-9]{0,3})(d|w|mo|y)")


def rules(keep: Mapping[Any, Any] | None) -> tuple[tuple[str, str], ...]:
    """Check what an application gives as ``keep``.

    :returns: names of tables, with or without their schema, and periods.
    :raises ConfigurationError: if it is no dictionary of names and periods.
    """
    if keep is None:
        return ()
    given: Any = keep
    if not isinstance(given, Mapping) or not given:
        raise ConfigurationError(f'keep is {keep!r}; give how long, as {{"*": "2y", "orders": "10y"}}.')
    for table, period in keep.items():
        if not isinstance(table, str) or not isinstance(period, str) or not _PERIOD.fullmatch(period):
            raise ConfigurationError(
                f"keep says {period!r} of {table!r}; give days, weeks, months or years, as '90d', '6w', '18mo' or '2y'."
            )
    return tuple(keep.items())


def before(period: str, now: dt.datetime) -> dt.datetime:
    """The time before which entries are due.

    :param period: as ``"18mo"``. The last day of a month stands for those that a shorter one has not.
    :param now: in UTC.
    """
    found = _PERIOD.fullmatch(period)
    if found is None:
        raise ConfigurationError(f"{period!r} is no period; give one like '90d', '6w', '18mo' or '2y'.")
    number, unit = int(found[1]), found[2]
    if unit in ("d", "w"):
        return now - dt.timedelta(days=number * (7 if unit == "w" else 1))
    count = now.year * 12 + now.month - 1 - number * (12 if unit == "y" else 1)
    year, month = max(count // 12, 1), count % 12 + 1
    return now.replace(year=year, month=month, day=min(now.day, calendar.monthrange(year, month)[1]))


def rule_of(kept: Mapping[str, str], schema: str, table: str) -> str | None:
    """The period that counts for a table, the rule that names it best; ``None`` if it is kept for good."""
    for name in (f"{schema}.{table}", table, EVERY_TABLE):
        if name in kept:
            return kept[name]
    return None


def check_names(kept: Mapping[str, str], audited: Iterable[TableName], logged: Iterable[str]) -> None:
    """A rule for a table that doesn't exist would leave the one that was meant to another rule.

    :param logged: names of the tables that have entries, without their schemas.
    :raises ConfigurationError: if a rule names none of them.
    """
    audited = list(audited)
    known = {name for table in audited for name in (table.name, str(table))} | {EVENT, *logged}
    for table in kept:
        if table != EVERY_TABLE and table not in known and table.rpartition(".")[2] not in logged:
            raise ConfigurationError(
                f"keep names the table {table!r}, which is neither audited nor logged. There are "
                f"{', '.join(sorted(known)) or 'none'}."
            )
