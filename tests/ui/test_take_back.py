"""Promise: a transaction is taken back from its page, only by who may, only as shown, and the log says so."""

from __future__ import annotations

import re

import pytest

from flask_audit_logger.history import reverts
from flask_audit_logger.ui import RevertPolicy
from tests.ui.previews import Browser
from tests.ui.shop import ANN, CLEO, make_history, may_read, text_of


@pytest.fixture
def shop(new_shop):
    return make_history(new_shop(revert=RevertPolicy()))


def priced(shop, rows=3):
    """A mistake in many rows; the address of its transaction."""
    shop.sql(f"INSERT INTO categories SELECT n, 'c' || n FROM generate_series(100, {99 + rows}) n")
    shop.sql("UPDATE categories SET name = 'wrong' WHERE id >= 100")
    return f"/transaction/{shop.activity(table_name='categories').transaction_id}"


def path_of(transaction_id):
    return f"/transaction/{transaction_id}"


def names(shop):
    return [name for (name,) in shop.sql("SELECT name FROM categories WHERE id >= 100 ORDER BY id")]


def opened(shop, path, user=ANN):
    """The preview, as it is found from the page of the transaction."""
    button = re.search(r'class="audit-button" href="([^"]*take-back)">Take back …', shop.page(path))
    browser = Browser(shop, user)
    return browser, button[1], browser.preview(button[1])


def test_many_rows_are_taken_back(shop):
    """20,000 in a browser: tests/example_app/test_browser.py."""
    browser, path, html = opened(shop, priced(shop, 3_000))
    assert "3,000 changes of transaction" in text_of(html) and "wrong" in html
    response = browser.send(path)
    assert response.status_code == 303, response.text
    assert set(names(shop)) == {f"c{n}" for n in range(100, 3_100)}
    page = text_of(shop.page(response.headers["Location"]))
    undone = re.search(r"\d+", path)[0]
    assert "Done. This is the resulting transaction." in page and "3,000 rows" in page
    assert f"Took back transaction {undone}: A slip" in page
    newest = shop.activity().transaction
    assert newest.actor_id == ANN and newest.context["undoes"] == int(undone)
    first = shop.page(path_of(undone))
    assert f"Taken back by transaction {newest.id}" in text_of(first) and f'{path_of(newest.id)}">' in first
    assert "Taken back by" not in shop.page(path_of(newest.id))


def test_what_was_taken_back_already_says_so_in_the_next_preview(shop):
    browser, path, html = opened(shop, priced(shop))
    assert "Already taken back" not in html
    assert browser.send(path).status_code == 303
    shop.sql("UPDATE categories SET name = 'theirs' WHERE id = 101")
    ((undoing,),) = shop.sql("SELECT max(id) FROM transaction WHERE context ? 'undoes'")
    html = browser.preview(path)
    said = f'<a href="/audit{path_of(undoing)}">Already taken back by transaction {undoing}.</a>'
    assert html.index(said) < html.index("Changed since")


def test_what_was_changed_since_is_shown_and_stays(shop):
    path = priced(shop)
    shop.sql("UPDATE categories SET name = 'theirs' WHERE id = 101")
    browser, path, html = opened(shop, path)
    assert "Changed since: these stay as they are" in html and 'name="skip"' in html
    assert browser.send(path).status_code == 422
    assert names(shop) == ["wrong", "theirs", "wrong"]
    assert browser.send(path, skip="y").status_code == 303
    assert names(shop) == ["c100", "theirs", "c102"]


def test_one_change_is_called_one(shop):
    assert "1 change of transaction" in text_of(opened(shop, priced(shop, rows=1))[2])


def test_what_changed_after_the_preview_is_shown_anew(shop):
    browser, path, _ = opened(shop, priced(shop))
    shop.sql("UPDATE categories SET name = 'theirs' WHERE id = 101")
    response = browser.send(path, skip="y")
    assert response.status_code == 409 and "Changed since" in response.text
    assert names(shop) == ["wrong", "theirs", "wrong"]


def test_a_reason_and_the_token_of_the_form_are_required(shop):
    browser, path, _ = opened(shop, priced(shop))
    assert browser.send(path, reason=" ").status_code == 422
    assert browser.send(path, audit_token="x").status_code == 400
    assert browser.send(path, row="x").status_code == 409
    assert Browser(shop).send(path, reason="A slip").status_code == 400
    assert names(shop) == ["wrong"] * 3


def test_what_the_database_refuses_changes_nothing(shop):
    browser, path, _ = opened(shop, priced(shop))
    shop.sql("ALTER TABLE categories ADD CONSTRAINT not_c102 CHECK (name <> 'c102')")
    response = browser.send(path)
    assert response.status_code == 422 and "not_c102" in response.text
    assert names(shop) == ["wrong"] * 3
    assert shop.get("/").status_code == 200


def test_it_is_off_unless_the_policy_and_the_permission_allow_it(new_shop):
    off = make_history(new_shop())
    path = priced(off)
    assert "take-back" not in off.page(path)
    off.page(f"{path}/take-back", 404)


def test_who_may_put_values_back_in_records_may_not_take_transactions_back(new_shop):
    shop = make_history(
        new_shop(
            revert=RevertPolicy(),
            permission=lambda action, target: (
                may_read(action, target) and not isinstance(target, int | str) if action == "revert" else True
            ),
        )
    )
    path = priced(shop)
    assert "take-back" not in shop.page(path)
    shop.page(f"{path}/take-back", 403)


def test_the_scope_holds_for_the_changes_and_the_rows(new_shop):
    """What is in another scope is not told, and a row that may be another's by now is not touched."""

    def scope(select, viewer):
        activity = shop.application.audit_logger.activity_cls
        return select.where(activity.table_name == "categories", activity.record_key != "101")

    shop = make_history(new_shop(revert=RevertPolicy(), permission=lambda action, target: True, scope=scope))
    with shop.acting(ANN) as session:
        session.add(shop.models.Item(order_id=77, code="not-mine"))
    hidden = f"/transaction/{shop.application.transactions()[-1].id}/take-back"
    assert shop.get(hidden, user=CLEO).status_code == 404
    browser, path, html = opened(shop, priced(shop))
    assert "2 changes" in text_of(html)
    assert browser.send(path).status_code == 303
    assert names(shop) == ["c100", "wrong", "c102"]


def test_too_many_changes_are_not_taken_back(shop, monkeypatch):
    path = priced(shop)
    monkeypatch.setattr(reverts, "MOST_CHANGES", 2)
    assert "At most" in shop.page(f"{path}/take-back", 422)
    shop.page("/transaction/999999/take-back", 404)
