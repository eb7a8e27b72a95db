"""Pictures of every page of the example application: ``make screenshots``.

The example is started on a PostgreSQL of its own, gets the history of the demo, and is looked at by Chromium in a light
and a dark theme, on a phone 320 px wide, and printed. ``--docs`` also makes the pictures of the documentation.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask

from example_app.extensions import db
from example_app.seed import ensure_history
from tests.example_app.shops import PASSWORD, open_shop
from tests.support.cluster import Cluster
from tests.support.server import Server
from tests.ui.browsing import running_chromium, served

#: Statements that find what is worth a picture.
ADDRESS = "SELECT transaction_id || '.' || id FROM activity WHERE verb = 'update' AND "
WANTED = {
    "product": "SELECT record_key FROM activity WHERE table_name = 'products' AND verb = 'update' "
    "AND changed_data ? 'price' GROUP BY 1 ORDER BY count(*) DESC, record_key LIMIT 1",
    "deleted": "SELECT table_name || '/' || record_key FROM activity WHERE verb = 'delete' AND schema = 'public' "
    "AND table_name IN ('products', 'customers') ORDER BY id DESC LIMIT 1",
    "change": ADDRESS + "table_name = 'products' AND changed_data ? 'price' ORDER BY id DESC LIMIT 1",
    "text": ADDRESS + "length(old_data ->> 'description') > 0 "
    "AND changed_data ? 'description' ORDER BY length(changed_data ->> 'description') DESC LIMIT 1",
    "json": ADDRESS + "jsonb_typeof(changed_data -> 'attributes') = 'object' ORDER BY id DESC LIMIT 1",
    "transaction": "SELECT transaction_id FROM activity WHERE verb = 'update' GROUP BY 1 "
    "ORDER BY count(*) DESC LIMIT 1",
    "order": "SELECT transaction_id FROM activity GROUP BY 1 HAVING count(DISTINCT table_name) > 1 "
    "ORDER BY count(*) DESC LIMIT 1",
    "back": ADDRESS + "table_name = 'products' AND record_key = :product ORDER BY id DESC LIMIT 1",
    "actor": "SELECT actor_id FROM transaction WHERE actor_id IS NOT NULL GROUP BY 1 ORDER BY count(*) DESC LIMIT 1",
}
#: Name of the picture and address.
PAGES = (
    ("product", "/products/{product}"),
    ("list", "/audit/"),
    ("list-filtered", "/audit/?table=products&verb=update&col=price"),
    ("list-bulk", "/audit/?table=warehouse.supplier_prices&period=all"),
    ("list-breakdown", "/audit/?breakdown=1&period=all"),
    ("list-errors", "/audit/?key=4&since=soon&addr=nowhere"),
    ("list-nothing", "/audit/?actor=4711"),
    ("record", "/audit/record/products/{product}"),
    ("record-price", "/audit/record/products/{product}?col=price"),
    ("record-deleted", "/audit/record/{deleted}"),
    ("activity", "/audit/activity/{change}"),
    ("activity-text", "/audit/activity/{text}"),
    ("activity-json", "/audit/activity/{json}"),
    ("at", "/audit/record/products/{product}/at?time=2100-01-01T00:00"),
    ("compare", "/audit/record/products/{product}/compare?from=first&to=last"),
    ("revert", "/audit/record/products/{product}/revert?to={back}&side=before"),
    ("transactions", "/audit/transactions"),
    ("transaction-many", "/audit/transaction/{transaction}"),
    ("transaction", "/audit/transaction/{order}"),
    ("actor", "/audit/actor/{actor}"),
    ("export", "/audit/export?table=products"),
    ("help", "/audit/help"),
    ("not-found", "/audit/activity/999999999.999999999"),
)
#: Name, size of the window, theme, medium.
LOOKS = (
    ("light", (1280, 900), "light", "screen"),
    ("dark", (1280, 900), "dark", "screen"),
    ("phone", (320, 700), "light", "screen"),
    ("print", (1000, 900), "light", "print"),
)
#: Pictures of the documentation: file, page, size of the window, theme.
BEST = (
    ("list", "list", (1280, 1000), "light"),
    ("record", "record", (1280, 1000), "light"),
    ("activity", "activity-text", (1280, 720), "light"),
    ("transaction", "transaction-many", (1280, 960), "dark"),
    ("revert", "revert", (1280, 560), "light"),
    ("phone", "list-filtered", (360, 720), "light"),
)
#: Most bytes of a picture of the documentation.
LIMIT = 150_000


@contextmanager
def demo() -> Iterator[Flask]:
    """The example with the history of its demo, on a server of its own."""
    with (
        Cluster() as cluster,
        Server(cluster.url(), prefix="screenshots").database() as url,
        open_shop(url, upgrade=True) as app,
    ):
        ensure_history(app, echo=lambda text: None)
        yield app


def addresses(app: Flask) -> dict[str, str]:
    """The address of each page."""
    with app.app_context(), db.engine.connect() as connection:
        found: dict[str, Any] = {}
        for name, statement in WANTED.items():
            given = {"product": found["product"]} if ":product" in statement else {}
            found[name] = connection.scalar(sa.text(statement), given)
    missing = [name for name, value in found.items() if value is None]
    if missing:
        print("Nothing in the history for:", ", ".join(missing), file=sys.stderr)
    known = {name: str(value) for name, value in found.items() if value is not None}
    # a page whose record isn't there is left out
    return {name: path.format(**known) for name, path in PAGES if all(f"{{{gone}}}" not in path for gone in missing)}


def open_page(chromium: Any, address: str, size: tuple[int, int], theme: str, username: str = "admin") -> Any:
    """A tab in which somebody is logged in."""
    width, height = size
    page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
    page.goto(f"{address}/login")
    page.fill("[name=username]", username)
    page.fill("[name=password]", PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_load_state("networkidle")
    return page


def picture_every_page(chromium: Any, address: str, paths: dict[str, str], folder: Path) -> int:
    """Each page in each look; gives the number of pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for look, size, theme, medium in LOOKS:
        page = open_page(chromium, address, size, theme)
        page.emulate_media(media=medium, color_scheme=theme)
        for name, path in paths.items():
            page.goto(f"{address}{path}", wait_until="networkidle")
            page.screenshot(path=folder / f"{name}-{look}.png", full_page=True)
        page.close()
    refused = open_page(chromium, address, (1280, 900), "light", "clerk")
    refused.goto(f"{address}/audit/")
    refused.screenshot(path=folder / "not-allowed-light.png")
    refused.close()
    return len(paths) * len(LOOKS) + 1


def picture_the_best(chromium: Any, address: str, paths: dict[str, str], folder: Path) -> int:
    """The pictures of the documentation, small enough for a repository."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, name, size, theme in BEST:
        page = open_page(chromium, address, size, theme)
        page.goto(f"{address}{paths[name]}", wait_until="networkidle")
        if file == "phone":
            page.evaluate("document.querySelector('#audit-results').scrollIntoView()")
        target = folder / f"{file}.png"
        page.screenshot(path=target)
        page.close()
        shrink(target)
    return len(BEST)


def shrink(file: Path) -> None:
    """Make a picture small: 128 colours are enough for text.

    :raises SystemExit: if it is still too large.
    """
    from PIL import Image

    with Image.open(file) as picture:
        small = picture.convert("RGB").quantize(128, dither=Image.Dither.NONE)
        small.save(file, optimize=True)
    if file.stat().st_size > LIMIT:
        raise SystemExit(f"{file} has {file.stat().st_size} bytes, more than {LIMIT}.")


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--docs", type=Path, help="where the pictures of the documentation go; none without")
    options = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    with demo() as app, served(app) as address, running_chromium() as chromium:
        paths = addresses(app)
        number = picture_every_page(chromium, address, paths, options.folder)
        print(f"{number} pictures in {options.folder}")
        if options.docs:
            print(f"{picture_the_best(chromium, address, paths, options.docs)} pictures in {options.docs}")


if __name__ == "__main__":
    main()
