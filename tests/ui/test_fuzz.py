"""Promise: no address, however it was made, gives anything worse than 400 or 404 (S21).

``AUDIT_TEST_FUZZ`` is the number of addresses for each seed; ``make test-long`` takes 2,500.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from urllib.parse import quote

import pytest

from flask_audit_logger.ui import RevertPolicy
from tests.support.apps import logged_in_as
from tests.ui.shop import ANN, make_history

PARAMETERS = (
    "table", "key", "verb", "col", "field", "was", "became", "actor", "kind", "impersonated", "addr", "period", "since",
    "until", "tx", "req", "sort", "before", "after", "limit", "tz", "time", "from", "to", "all", "side",
    "path", "min_rows",
    "breakdown", "shape", "bom", "x",
)  # fmt: skip
GOOD = {
    "table": ["products", "order_items", "public.products"], "verb": ["insert", "update"],
    "period": ["all", "7d", "last-quarter"],
    "col": ["price", "name"], "field": ["price"], "actor": ["1", "~none"], "tz": ["UTC", "Asia/Kathmandu"],
    "from": ["first", "9.6"],
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
#: Parts of addresses that mean something; each is used half of the time.
KNOWN = {
    "table": "products", "key": "42", "change": "9.6", "transaction_id": "6", "actor": "1", "column": "description",
    "name": "facets", "filename": "audit.css",
}  # fmt: skip
METHODS = ("GET",) * 17 + ("HEAD", "HEAD", "POST")
#: A time limit is documented and says when to come again; everything else is an answer to the address.
EXPECTED = {200, 302, 308, 400, 403, 404, 405}


def text(choices):
    if choices.random() < 0.7:
        return choices.choice(NASTY)
    return "".join(chr(choices.choice((choices.randrange(1, 128), choices.randrange(1, 0xD800)))) for _ in range(8))


def path_of(choices, rule):
    """A rule with its parts filled in, some of them with what they are meant for."""
    path = rule
    while "<" in path:
        before, _, rest = path.partition("<")
        part, _, after = rest.partition(">")
        known = KNOWN.get(part.rpartition(":")[2])
        if known is None or choices.random() < 0.5:
            known = quote(text(choices)[:300], safe="", errors="surrogatepass") or "~_"
        path = f"{before}{known}{after}"
    return path


def address(choices, rules):
    """A path and a query that mix what is right with what is not."""
    path = path_of(choices, choices.choice(rules))
    parts = []
    for _ in range(choices.randrange(5)):
        name = choices.choice(PARAMETERS)
        value = choices.choice(GOOD[name]) if name in GOOD and choices.random() < 0.6 else text(choices)
        parts.append(f"{name}={quote(value, safe='', errors='surrogatepass')}")
    return path + ("?" + "&".join(parts) if parts else "")


@pytest.fixture
def open_shop(new_shop):
    """Everything that can be switched on is on, so that every route answers."""
    shop = make_history(new_shop(revert=RevertPolicy()))
    KNOWN["change"] = GOOD["from"][1] = shop.address(6)
    return shop


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.slow
def test_random_addresses_never_fail(open_shop, seed):
    choices = random.Random(f"20261124-{seed}")
    app = open_shop.application.app
    rules = sorted({rule.rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("audit.")})
    assert len(rules) >= 16
    answers = Counter()
    for _ in range(int(os.environ.get("AUDIT_TEST_FUZZ", "100"))):
        path, method = address(choices, rules), choices.choice(METHODS)
        with app.test_client().open(path, method=method, headers=logged_in_as(ANN)) as response:
            is_time_limit = response.status_code == 503 and "Retry-After" in response.headers
            assert response.status_code in EXPECTED or is_time_limit, (method, path, response.status_code)
            answers[response.status_code] += 1
    print(f"seed {seed}: {sum(answers.values())} addresses of {len(rules)} routes, {dict(sorted(answers.items()))}")
    assert answers[200] > sum(answers.values()) / 10
