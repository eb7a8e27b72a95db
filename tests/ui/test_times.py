"""Promise: a time on a page is an instant that the viewer can tell, and an address means it to everybody."""

from __future__ import annotations

import datetime as dt
import re
from html import unescape
from urllib.parse import parse_qs, quote, urlencode, urlsplit
from zoneinfo import ZoneInfo

import pytest
from flask import render_template_string

from flask_audit_logger.ui import RevertPolicy, Viewer
from flask_audit_logger.ui.times import Clock, period_limits
from tests.support.apps import logged_in_as
from tests.ui.everywhere import addresses
from tests.ui.shop import ANN, BOB, listed, make_history, text_of, with_own_shop
from tests.ui.test_filter_pin import pin

BERLIN = {"AUDIT_UI_TIMEZONE": "Europe/Berlin"}
PAGES = ("/", "/record/products/42", "/transactions", "/export", "/breakdown/histogram", "/help")


@pytest.mark.parametrize("zone", [ZoneInfo("Asia/Kolkata"), "Asia/Kolkata"], ids=repr)
def test_a_user_may_have_a_zone_of_any_kind(shop, monkeypatch, zone):
    monkeypatch.setattr(shop.models.User, "timezone", zone, raising=False)
    for path in PAGES:
        assert shop.get(path).status_code == 200, path
    assert "Times in Asia/Kolkata" in shop.page("/?period=today")


@pytest.mark.parametrize("zone", [2, "GMT+1", "Berlin", "../x", dt.timezone(dt.timedelta(hours=1)), ""], ids=repr)
def test_what_is_no_zone_is_the_configured_one_and_said_once(new_shop, monkeypatch, caplog, zone):
    shop = make_history(new_shop(config=BERLIN))
    monkeypatch.setattr(shop.models.User, "timezone", zone, raising=False)
    for path in (*PAGES, "/?period=today"):
        assert shop.get(path).status_code == 200, path
    assert "Times in Europe/Berlin" in shop.page("/?period=today")
    said = [record.getMessage() for record in caplog.records if "time zone" in record.getMessage()]
    assert said == (
        [f"a viewer's time zone is {str(zone)!r}, which is none; Europe/Berlin is used instead"] if zone else []
    )


def test_a_viewer_may_have_a_zone_of_any_kind(new_shop):
    zones = iter((ZoneInfo("Asia/Kolkata"), 7))
    shop = make_history(new_shop(viewer=lambda: Viewer("1", timezone=next(zones)), permission=lambda *_: True))
    assert "Times in Asia/Kolkata" in shop.page("/")
    assert "Times in UTC" in shop.page("/")


def test_an_address_of_a_state_means_one_instant_to_everybody(new_shop, monkeypatch):
    shop = make_history(new_shop(config=BERLIN))
    zones = {str(ANN): "America/New_York", str(BOB): "Asia/Tokyo"}
    monkeypatch.setattr(shop.models.User, "timezone", property(lambda user: zones[str(user.id)]), raising=False)
    for table in ("activity", "transaction"):
        shop.sql(f"UPDATE {table} SET issued_at = timestamptz '2026-01-01 12:00+00' + id * interval '1 minute'")
    form = shop.page("/record/products/42").partition('<form class="audit-inline" method="get"')[2]
    assert '<input type="hidden" name="tz" value="America/New_York">' in form.partition("</form>")[0]
    path = "/record/products/42/at?time=2026-01-01T08:00&tz=America/New_York"
    states = {user: text_of(shop.page(path, user=user).partition("The row at that time")[2]) for user in (ANN, BOB)}
    assert [len(re.findall("2026-01-01", state)) > 3 for state in states.values()] == [True, True]
    assert "as of 2026-01-01 08:00:00" in shop.page(path)
    html = shop.page(path, user=BOB)
    assert "as of 2026-01-01 08:00:00" in html and "Times in America/New_York" in html
    assert "Times in Asia/Tokyo" in shop.page("/record/products/42/at", user=BOB)
    assert '<input type="hidden" name="tz" value="America/New_York">' in html and 'value="2026-01-01T08:00"' in html
    assert "There is no time zone" in shop.page("/record/products/42/at?time=2026-01-01T08:00&tz=Mars", 400)


@with_own_shop
def test_the_state_of_a_day_is_that_of_its_last_moment(shop):
    for table in ("activity", "transaction"):
        shop.sql(f"UPDATE {table} SET issued_at = timestamptz '2026-01-02 00:00+00' + id * interval '1 microsecond'")
    html = shop.page("/record/products/42/at?time=2026-01-01")
    assert "as of 2026-01-01 23:59:59" in html and "did not exist yet" in html
    assert "The row at that time" in shop.page("/record/products/42/at?time=2026-01-02")


@with_own_shop
def test_a_logged_instant_is_shown_with_its_fraction_of_a_second(shop):
    for fraction in ("", ".25", ".250001"):
        shop.sql(f"UPDATE products SET checked_at = '2026-01-01 12:00:00{fraction}+00' WHERE id = 42")
    for path in ("/", "/record/products/42"):
        shown = text_of(shop.page(path))
        assert "2026-01-01 12:00:00 +00:00 → 2026-01-01 12:00:00.250000 +00:00" in shown, path
        assert "2026-01-01 12:00:00.250000 +00:00 → 2026-01-01 12:00:00.250001 +00:00" in shown, path


def test_a_time_that_clocks_show_twice_has_its_offset(new_shop):
    shop = make_history(new_shop(config=BERLIN))
    for table in ("transaction", "activity"):
        shop.sql(f"UPDATE {table} SET issued_at = timestamptz '2026-10-25 00:30+00' + id % 2 * interval '1 hour'")
    html = shop.page("/?since=2026-10-25&limit=200")
    assert set(re.findall(r">(2026-10-25 02:30:00[^<]*)<", html)) == {
        "2026-10-25 02:30:00 +02:00", "2026-10-25 02:30:00 +01:00",
    }  # fmt: skip
    html = shop.page("/?since=2026-10-25T02:30%2B02:00&until=2026-10-25T02:30%2B01:00")
    assert "from 2026-10-25 02:30:00 +02:00 until 2026-10-25 02:30:00 +01:00" in text_of(html)
    bars = re.findall(r'aria-label="([^"]*)"', shop.page("/breakdown/histogram?since=2026-10-25&until=2026-10-25"))
    assert len(bars) == len(set(bars)) == 26
    assert any("02:00 +02:00: " in bar for bar in bars) and any("02:00 +01:00: " in bar for bar in bars)


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        ("2026-10-24T23:59:59+00:00", "2026-10-25 01:59:59"),
        ("2026-10-25T00:00:00+00:00", "2026-10-25 02:00:00 +02:00"),
        ("2026-10-25T01:59:59+00:00", "2026-10-25 02:59:59 +01:00"),
        ("2026-10-25T02:00:00+00:00", "2026-10-25 03:00:00"),
        ("2026-03-29T01:00:00+00:00", "2026-03-29 03:00:00"),
    ],
)
def test_other_times_have_none(instant, text):
    assert Clock("Europe/Berlin").moment(dt.datetime.fromisoformat(instant)).text == text


#: At half past midnight of the 29th of November in Berlin, which is still the 28th in UTC.
NOW = dt.datetime(2026, 11, 28, 23, 30, tzinfo=dt.UTC)
#: Name, month in which quarters start, and the local days of Berlin in which the period begins and ends.
PERIODS = [
    ("today", 1, "2026-11-29", None),
    ("yesterday", 1, "2026-11-28", "2026-11-29"),
    ("this-month", 1, "2026-11-01", None),
    ("last-month", 1, "2026-10-01", "2026-11-01"),
    ("this-quarter", 1, "2026-10-01", None),
    ("this-quarter", 2, "2026-11-01", None),
    ("this-quarter", 3, "2026-09-01", None),
    ("this-quarter", 12, "2026-09-01", None),
    ("last-quarter", 1, "2026-07-01", "2026-10-01"),
    ("last-quarter", 3, "2026-06-01", "2026-09-01"),
    ("this-year", 1, "2026-01-01", None),
    ("last-year", 1, "2025-01-01", "2026-01-01"),
]


@pytest.mark.parametrize(("name", "quarter", "begins", "ends"), PERIODS)
def test_periods_begin_and_end_at_midnight_of_the_viewer(name, quarter, begins, ends):
    berlin = ZoneInfo("Europe/Berlin")
    wanted = tuple(day and dt.datetime.fromisoformat(day).replace(tzinfo=berlin) for day in (begins, ends))
    assert period_limits(name, NOW, berlin, quarter) == wanted


@pytest.mark.parametrize(("name", "hours"), [("1h", 1), ("24h", 24), ("7d", 168), ("30d", 720), ("90d", 2160)])
def test_a_span_ends_now(name, hours):
    assert period_limits(name, NOW, ZoneInfo("Europe/Berlin")) == (NOW - dt.timedelta(hours=hours), None)


def test_periods_at_the_turn_of_the_year():
    new_year = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

    def days(name, quarter=1):
        return [bound and f"{bound:%Y-%m-%d}" for bound in period_limits(name, new_year, ZoneInfo("UTC"), quarter)]

    assert days("yesterday") == ["2025-12-31", "2026-01-01"]
    assert days("last-month") == ["2025-12-01", "2026-01-01"]
    assert days("this-quarter", 2) == ["2025-11-01", None] and days("last-quarter", 2) == ["2025-08-01", "2025-11-01"]


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_quarters_start_as_configured(new_shop, quarter):
    """And no page ends before the present: what was changed a moment ago is in it."""
    shop = make_history(new_shop(config={"AUDIT_UI_QUARTER_START_MONTH": quarter}))
    given = parse_qs(urlsplit(pin(shop.page("/?period=last-quarter"))).query)
    since, until = (dt.datetime.fromisoformat(given[name][0]) for name in ("since", "until"))
    assert (since.month - quarter) % 3 == (until.month - quarter) % 3 == 0 and 89 <= (until - since).days <= 92
    assert (since.day, until.day) == (1, 1)
    assert shop.ids("/?period=this-quarter") == shop.ids("/?period=all") and shop.ids("/?period=last-quarter") == []


@with_own_shop
def test_the_form_and_the_help_say_whose_time_a_period_is(shop):
    """A long transaction makes changes long after its own time, and they are found by that."""
    change = shop.activity(record_key="42")
    shop.sql(f"UPDATE activity SET issued_at = issued_at + interval '1 hour' WHERE id = {change.id}")
    since = f"{change.issued_at.astimezone(dt.UTC):%Y-%m-%dT%H:%M}"
    html = shop.page(f"/?since={since}&table=products")
    assert f'.{change.id}"' in html and "By transaction time" in html
    assert "By transaction time" not in shop.page("/"), "where no time is asked for, it would be in the way"
    assert "The filter compares the time of the transaction" in shop.page("/help")


def test_times_are_the_viewers(new_shop):
    shop = make_history(new_shop(viewer=lambda: Viewer("7", "Vera", "Asia/Kolkata"), permission=lambda *_: True))
    shop.sql("UPDATE activity SET issued_at = '2026-01-01 00:00+00'")
    html = shop.page("/?period=all")
    assert '<time datetime="2026-01-01T00:00:00.000Z">2026-01-01 05:30:00</time>' in html
    assert "Times in Asia/Kolkata" in html
    assert "2026-01-01 05:30:00.000000 +05:30" in shop.page("/activity/1")


def choices(html):
    """The zones that a page offers: name and address."""
    box = html.partition('<details class="audit-zones">')[2].partition("</details>")[0]
    return {name: unescape(href) for href, name in re.findall(r'<a href="([^"]*)"[^>]*>([^<]*)</a>', box)}


def test_a_zone_is_chosen_on_each_page_and_kept(new_shop):
    """And an address says which zone it was made for, so that it shows the same to everybody."""
    shop = make_history(new_shop(config=BERLIN, revert=RevertPolicy()))
    shop.sql("UPDATE activity SET issued_at = '2026-01-01 00:00+00'")
    client, headers = shop.application.app.test_client(), logged_in_as(ANN)
    for path in addresses(shop):
        with client.get(path, headers=headers) as response:
            if response.status_code != 200 or "</h1>" not in response.text:
                continue
        assert list(choices(response.text)) == ["Europe/Berlin", "UTC"], path
        chosen = client.get(choices(response.text)["UTC"], headers=headers)
        parts, asked = urlsplit(chosen.location), urlsplit(path)
        assert chosen.status_code == 302 and parts.path == asked.path, path
        assert parse_qs(parts.query) == {**parse_qs(asked.query), "tz": ["UTC"]}, path
        assert "HttpOnly; Path=/audit/; SameSite=Lax" in chosen.headers["Set-Cookie"]
        assert chosen.headers["Cache-Control"] == "private, no-store" and "Cookie" in chosen.headers["Vary"]
        client.delete_cookie("audit_tz", path="/audit/")
    page = "/audit/record/products/42?limit=25"
    client.get(choices(client.get(page, headers=headers).text)["UTC"], headers=headers)
    html = client.get(page, headers=headers).text
    assert html.count("Times in UTC") == 2 and "2026-01-01 00:00:00" in html, "kept on other pages, too"
    html = client.get(f"{page}&tz=Asia/Tokyo", headers=headers).text
    assert "Times in Asia/Tokyo" in html and "2026-01-01 09:00:00" in html
    assert list(choices(html)) == ["Europe/Berlin", "UTC", "Asia/Tokyo"]
    back = client.get(choices(html)["Europe/Berlin"], headers=headers)
    assert "audit_tz=;" in back.headers["Set-Cookie"], "the usual zone needs no choice"
    assert "2026-01-01 01:00:00" in client.get(back.location, headers=headers).text
    assert "2026-01-01 01:00:00" in client.get(page, headers=headers).text


@pytest.mark.parametrize("zone", ["", "Mars", "../x", "posix/UTC", "Europe", "x" * 5000, "\x00", "Ä", "UTC\r\nX: y"])
def test_a_bad_zone_is_no_error(shop, zone):
    """Neither in the cookie nor as a choice; as part of an address it is one, as other dates would be shown."""
    query = urlencode({"zone": zone, "period": "today", "tz": "Asia/Tokyo"})
    for path in PAGES:
        response = shop.get(f"{path}?{query}")
        assert response.status_code == 302 and "Set-Cookie" not in response.headers, path
        assert parse_qs(urlsplit(response.location).query) == {"period": ["today"], "tz": ["Asia/Tokyo"]}
        headers = {**logged_in_as(ANN), "Cookie": f"audit_tz={quote(zone)}"}
        kept = shop.application.app.test_client(use_cookies=False).get(f"/audit{path}", headers=headers)
        assert kept.status_code == 200, path
        assert "Times in UTC" in kept.text or path == "/breakdown/histogram"
    assert "There is no time zone" in shop.page("/?tz=Mars", 400)


def test_a_page_of_the_application_has_arguments_of_its_own(new_shop):
    shop = make_history(new_shop(config=BERLIN))
    template = "{% from 'audit/embed.html' import recent_changes %}{{ recent_changes('products', 42) }}"
    shop.application.app.add_url_rule("/mine", "mine", lambda: render_template_string(template))
    shop.sql("UPDATE activity SET issued_at = '2026-01-01 00:00+00'")
    for query in ("", "?tz=Asia/Tokyo", "?zone=Asia/Tokyo"):
        client = shop.application.app.test_client()
        assert "2026-01-01 01:00:00" in client.get(f"/mine{query}", headers=logged_in_as(ANN)).text


#: A zone, a day, and its hours.
DAYS = [
    ("Europe/Berlin", "2026-03-29", 23),
    ("Europe/Berlin", "2026-10-25", 25),
    ("America/New_York", "2026-03-08", 23),
    ("America/New_York", "2026-11-01", 25),
    ("UTC", "2026-03-29", 24),
    ("Asia/Kolkata", "2026-10-25", 24),
]


@pytest.mark.parametrize(("zone", "day", "hours"), DAYS)
def test_a_day_is_that_of_the_chosen_zone(own_shop, zone, day, hours):
    """All its hours and no other, also where clocks are put forward or back."""
    begin = dt.datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).astimezone(dt.UTC)
    assert period_limits("yesterday", begin + dt.timedelta(hours=hours + 1), ZoneInfo(zone))[0] == begin
    second, span = dt.timedelta(seconds=1), dt.timedelta(hours=hours)
    times = [begin - second, begin, begin + span - second, begin + span]
    numbers = [row.id for row in own_shop.application.activities()][-4:]
    for number, time in zip(numbers, times, strict=True):
        whose = f"(SELECT transaction_id FROM activity WHERE id = {number})"
        own_shop.sql(f"UPDATE transaction SET issued_at = '{time.isoformat()}' WHERE id = {whose}")
    client = own_shop.application.app.test_client()
    client.get(f"/audit/?zone={zone}", headers=logged_in_as(ANN))
    html = client.get(f"/audit/?since={day}&until={day}", headers=logged_in_as(ANN)).text
    assert listed(html) == numbers[2:0:-1] and f"Times in {zone}" in html
