"""What a viewer may see of a row. Values that may not be seen leave the query layer as masked."""

from __future__ import annotations

from collections.abc import Callable, Collection

from ..exceptions import ConfigurationError
from ..query.refs import TableRef
from ..query.tables import TableCatalog
from ..query.values import ABSENT, MASKED, Value
from .hooks import Viewer

ColumnRule = Callable[[str, str, Viewer | None], bool]


class Sight:
    """Decides for each column whether its values are shown; each column is asked for once.

    :param mask: ``table.column`` or ``schema.table.column`` that nobody may see here.
    :param rule: the application's ``can_see_column``.
    """

    def __init__(
        self, catalog: TableCatalog, mask: Collection[str], rule: ColumnRule | None, viewer: Viewer | None
    ) -> None:
        self._catalog = catalog
        self._mask = frozenset(mask)
        self._rule = rule
        self._viewer = viewer
        self._known: dict[tuple[TableRef, str], bool] = {}

    def can_see(self, table: TableRef, column: str) -> bool:
        """Whether values of a column are shown and may be searched for."""
        key = (table, column)
        if key not in self._known:
            self._known[key] = self._decide(table, column)
        return self._known[key]

    def value(self, table: TableRef, column: str, value: Value) -> Value:
        """A value, or the mask. Not even whether it is null shows through; only that it was not logged."""
        return value if value == ABSENT or self.can_see(table, column) else MASKED

    def row(self, table: TableRef, row: dict[str, object]) -> dict[str, object]:
        """A whole row for machines, with the same marks that the trigger writes for masked columns."""
        marked = {"audit_logger": "masked"}
        return {column: value if self.can_see(table, column) else marked for column, value in row.items()}

    def can_see_fact(self, name: str) -> bool:
        """Whether a column of the transaction table, such as ``client_addr``, is shown."""
        return f"transaction.{name}" not in self._mask and self._allows("transaction", name)

    def _decide(self, table: TableRef, column: str) -> bool:
        if names_in_mask(self._catalog, table, column) & self._mask:
            return False
        info = self._catalog.get(table)
        # what was logged before the table got its option is hidden as well
        if info is not None and column in info.masked:
            return False
        return self._allows(self._catalog.text(table), column)

    def _allows(self, table: str, column: str) -> bool:
        return self._rule is None or bool(self._rule(table, column, self._viewer))


def names_in_mask(catalog: TableCatalog, table: TableRef, column: str) -> set[str]:
    """How ``AuditUI(mask=…)`` may name a column."""
    return {f"{catalog.text(table)}.{column}", f"{table}.{column}"}


def refuse_masked_keys(catalog: TableCatalog, mask: Collection[str]) -> None:
    """Check that no key is masked: records are found, named and linked by it, so it can't be hidden.

    :raises ConfigurationError: naming the column.
    """
    for info in catalog.audited:
        for column in info.key:
            masked = names_in_mask(catalog, info.ref, column) & set(mask)
            if masked:
                raise ConfigurationError(
                    f"AuditUI(mask=…) names {min(masked)!r}, but {column!r} is part of the key of its table. "
                    "Records are found, named and linked by their keys, which can't be hidden. Take it out of the "
                    "mask; AuditUI(scope=…) keeps people from the table, and a key without a meaning tells nothing."
                )
