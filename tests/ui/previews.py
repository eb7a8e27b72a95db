"""A browser that puts values back: it opens the preview, keeps its cookies, and sends the form."""

from __future__ import annotations

import re
from typing import Any

from tests.support.apps import logged_in_as
from tests.ui.shop import ANN, Shop


class Browser:
    """Keeps cookies and fills the form of a preview in."""

    def __init__(self, shop: Shop, user: int = ANN) -> None:
        self.shop = shop
        self.client = shop.application.app.test_client()
        self.headers = logged_in_as(user)
        self.fields: dict[str, Any] = {}

    def preview(self, path: str) -> str:
        """Open the preview of a change; the form is ready to be sent."""
        response = self.client.get(self.shop.addressed(path), headers=self.headers)
        assert response.status_code == 200, response.text
        self.fields = dict(re.findall(r'<input[^>]* name="(audit_token|row)"[^>]* value="([^"]*)"', response.text))
        ticked = re.findall(r'name="column" value="([^"]*)" checked', response.text)
        self.fields |= {"column": ticked, "reason": "A slip"}
        return response.text

    def send(self, path: str, **fields: Any) -> Any:
        """Send the form, some fields changed."""
        return self.client.post(self.shop.addressed(path), data={**self.fields, **fields}, headers=self.headers)


def change_of(shop: Shop, column: str, key: str = "42") -> Any:
    """The update that changed a column of a product."""
    found = shop.application.activities(table_name="products", record_key=key, verb="update")
    return next(activity for activity in found if column in activity.changed_data)


def path_of(activity: Any, side: str = "before", *columns: str) -> str:
    """Address of the preview that goes back to before (or after) a change."""
    query = "".join(f"&col={column}" for column in columns)
    record, change = f"{activity.table_name}/{activity.record_key}", f"{activity.transaction_id}.{activity.id}"
    return f"/audit/record/{record}/revert?to={change}&side={side}{query}"


def product(shop: Shop, column: str, key: int = 42) -> Any:
    """A value of a product as it is now."""
    rows = shop.sql(f"SELECT {column} FROM products WHERE id = {key}")
    return rows[0][0] if rows else None
