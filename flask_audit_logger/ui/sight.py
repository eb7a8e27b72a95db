"""What a viewer may see of a row. Values that may not be seen leave the query layer as masked."""

from __future__ import annotations

from collections.abc import Callable, Collection

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
        """Whether values of a column are shown."""
        key = (table, column)
        if key not in self._known:
            self._known[key] = self._decide(table, column)
        return self._known[key]

    def can_search(self, table: TableRef, column: str) -> bool:
        """Whether a column may be filtered by: not if its values were masked in the log either."""
        info = self._catalog.get(table)
        return self.can_see(table, column) and not (info is not None and column in info.masked)

    def value(self, table: TableRef, column: str, value: Value) -> Value:
        """A value, or the mask. Not even whether it is null shows through; only that it was not logged."""
        return value if value == ABSENT or self.can_see(table, column) else MASKED

    def row(self, table: TableRef, row: dict[str, object]) -> dict[str, object]:
        """A whole row for machines, with the same marks that the trigger writes for masked columns."""
        marked = {"audit_logger": "masked"}
        return {column: value if self.can_see(table, column) else marked for column, value in row.items()}

    def can_see_fact(self, name: str) -> bool:
        """Whether a column of the transaction table, such as ``client_addr``, is shown."""
        return self._rule is None or bool(self._rule("transaction", name, self._viewer))

    def _decide(self, table: TableRef, column: str) -> bool:
        text = self._catalog.text(table)
        if {f"{text}.{column}", f"{table}.{column}"} & self._mask:
            return False
        return self._rule is None or bool(self._rule(text, column, self._viewer))
