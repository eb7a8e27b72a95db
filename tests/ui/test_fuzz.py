"""Promise: no address, however it was made, gives anything worse than 400 or 404 (S21).

``AUDIT_TEST_FUZZ`` is the number of addresses for each seed; 2,500 is a good long run.
"""

from __future__ import annotations

import os
import random
from urllib.parse import quote

import pytest

PARAMETERS = (
    "table", "key", "verb", "col", "field", "was", "became", "actor", "kind", "impersonated", "addr", "period", "since",
    "until", "tx", "req", "sort", "before", "after", "limit", "tz", "time", "from", "to", "all", "side",
    "path", "min_rows",
    "panels", "shape", "bom", "x",
)  # fmt: skip
GOOD = {
    "table": ["products", "order_items", "public.products"], "verb": ["insert", "update"],
    "period": ["all", "7d", "last-quarter"],
    "col": ["price", "name"], "field": ["price"], "actor": ["1", "~none"], "tz": ["UTC", "Asia/Kathmandu"],
    "from": ["first", "6"],
    "since": ["2026-01-01"], "until": ["2027-01-01T10:00"], "limit": ["25"], "sort": ["time"],
    "after": ["0.0"], "side": ["old", "new"],
}  # fmt: skip
NASTY = (
    "", " ", "0", "-1", "1", "99999999999999999999", "1.5", "1e400", "NaN", "null", "true", "[]", '{"a": 1}',
    '"', "'", "%", "%s",
    "%(x)s", "\x00", "\x1b", "\ud800", "\u202e", "🙂" * 50, "x" * 250, "..", "../..", "~", "~41", "~_", "a,b",
    "a.b.c", "9" * 5000,
    "2026-02-30", "0000-00-00", "9999-12-31", "2026-01-01T00:00+25:00", "::1", "192.0.2.1/99", "fe80::1%eth0",
    "1.2", "0.0", "now",
    "[" * 3000, "\\", "a\nb", "Ünïcödé", "=1+1", "<script>", "$1", ":x", "?", "#", "&", "+",
)  # fmt: skip
PATHS = (
    "/", "/transactions", "/export", "/export.csv", "/export.jsonl", "/help", "/panel/facets",
    "/panel/histogram", "/panel/{}",
    "/activity/{}", "/activity/6", "/activity/6/value/{}", "/transaction/{}", "/transaction/6", "/actor/{}", "/actor/1",
    "/record/products/42", "/record/{}/{}", "/record/products/{}", "/record/products/42/at",
    "/record/products/42/compare",
    "/record/order_items/{}/compare", "/static/{}",
)  # fmt: skip


def text(choices):
    if choices.random() < 0.7:
        return choices.choice(NASTY)
    return "".join(chr(choices.choice((choices.randrange(1, 128), choices.randrange(1, 0xD800)))) for _ in range(8))


def address(choices):
    """A path and a query that mix what is right with what is not."""
    path = choices.choice(PATHS)
    while "{}" in path:
        path = path.replace("{}", quote(text(choices)[:300], safe="", errors="surrogatepass") or "~_", 1)
    parts = []
    for _ in range(choices.randrange(5)):
        name = choices.choice(PARAMETERS)
        value = choices.choice(GOOD[name]) if name in GOOD and choices.random() < 0.6 else text(choices)
        parts.append(f"{name}={quote(value, safe='', errors='surrogatepass')}")
    return path + ("?" + "&".join(parts) if parts else "")


@pytest.mark.parametrize("seed", range(4))
def test_random_addresses_never_fail(shop, seed):
    choices = random.Random(f"20261124-{seed}")
    for _ in range(int(os.environ.get("AUDIT_TEST_FUZZ", "200"))):
        path = address(choices)
        with shop.get(path) as response:
            assert response.status_code in (200, 308, 400, 404), (path, response.status_code)
