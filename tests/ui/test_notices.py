"""Promise: pages say that older changes were removed, never that nothing happened, and tell holds in plain words."""

from __future__ import annotations

import pytest

from flask_audit_logger.ui import AuditUI
from tests.growth.test_months import cli
from tests.ui.shop import Shop, declare_shop, may_read, text_of

REMOVED = "Older changes were removed on"


@pytest.fixture
def shop(create_app):
    """Three users: of the first only old changes, of the second old and new ones, of the third only new ones."""
    shop = Shop(create_app(declare=declare_shop, ui=AuditUI(permission=may_read), keep={"users": "1y"}))
    shop.sql("INSERT INTO users (id, name) VALUES (1, 'Old'), (2, 'Both'), (9, 'Gone')")
    shop.sql("UPDATE transaction SET issued_at = issued_at - interval '2 years'")
    shop.sql("UPDATE users SET name = 'Now' WHERE id = 2; INSERT INTO users (id, name) VALUES (3, 'New')")
    code, output = cli(shop.application, "hold", "add", "--table", "users", "--key", "9", "--reason", "case <12>")
    assert code == 0, output
    assert cli(shop.application, "maintain")[0] == 0
    return shop


def test_what_was_removed_is_said(shop):
    assert f"The log has no change of this record. {REMOVED}" in text_of(shop.page("/audit/record/users/1"))
    assert f"The log has no change of this record. {REMOVED}" in text_of(shop.page("/audit/record/users/1/at"))
    assert f"The log has no change of this record. {REMOVED}" in text_of(shop.page("/audit/record/users/1/compare"))
    assert f"{REMOVED} 20" in text_of(shop.page("/audit/record/users/2"))
    assert "by the rule 1y." in text_of(shop.page("/audit/record/users/2"))
    assert REMOVED in text_of(shop.page("/audit/record/users/2/at?time=2020-01-01"))
    assert REMOVED not in text_of(shop.page("/audit/record/users/3"))
    assert REMOVED not in text_of(shop.page("/audit/record/users/9"))  # held from its beginning
    shop.page("/audit/record/products/1", status=404)


def test_the_list_tells_what_the_log_says_about_itself(shop):
    """As entries, with who made them; a change of no row has no columns, and nothing is to be taken back."""
    text = text_of(shop.page("/audit/?period=all&verb=pruned&verb=hold"))
    assert "2 changes from before " in text
    assert "removed by the rule 1y" in text
    assert "record 9 held: case <12>" in text
    assert "audit maintain" in text
    assert "no recorded column changed" not in text
    entry = shop.activity(verb="hold")
    made = f"/audit/transaction/{entry.transaction_id}"
    for page in ("/audit/?period=all", "/audit/transactions?period=all", made, "/audit/actor/~none",
                 "/audit/export.csv?period=all", "/audit/export.jsonl?period=all", "/audit/breakdown/facets?period=all",
                 "/audit/?period=all&verb=erased"):  # fmt: skip
        assert shop.get(page.removeprefix("/audit")).status_code == 200, page
    with shop.application.app.app_context():
        preview = shop.application.audit_logger.revert(entry.transaction_id).preview()
    assert (preview.groups, preview.conflicts, preview.impossible) == ((), (), ())
    assert "record 9 held: case <12>" in text_of(shop.page(f"/audit/activity/{entry.transaction_id}.{entry.id}"))
