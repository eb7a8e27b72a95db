"""Somebody at a browser: reads pages, fills in their forms and sends them, through the test client."""

from __future__ import annotations

from collections import defaultdict
from html.parser import HTMLParser
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse


class SeedingError(Exception):
    """A page did not do what the script expected."""


class Visitor:
    """One account on one device; logs in with the first page it needs."""

    def __init__(self, app: Flask, username: str, password: str, address: str, agent: str) -> None:
        self.username, self.password = username, password
        self.client = app.test_client()
        self.client.environ_base.update({"REMOTE_ADDR": address, "HTTP_USER_AGENT": agent})
        self.logged_in = False

    def log_in(self, **changes: Any) -> str:
        """Send the login form."""
        self.logged_in = True
        return self.submit("/login", username=self.username, password=self.password, **changes)

    def submit(self, path: str, form: str = "record", **changes: Any) -> str:
        """Open ``path``, change some fields of its form and send it; returns the path one is sent to.

        :raises SeedingError: if the page or the answer is not what it should be.
        """
        answer = self.send(path, form, **changes)
        if answer.status_code != 302:
            raise SeedingError(f"POST {path} as {self.username}: {answer.status}\n{_complaints(answer)}")
        return answer.location

    def send(self, path: str, form: str = "record", **changes: Any) -> TestResponse:
        """Like :meth:`submit`, but take any answer."""
        if not self.logged_in:
            self.log_in()
        response = self.client.get(path)
        if response.status_code != 200:
            raise SeedingError(f"GET {path} as {self.username}: {response.status}")
        page = _FormReader(form)
        page.feed(response.text)
        data = {name: value for name, value in {**page.fields, **changes}.items() if value is not None}
        return self.client.post(page.action or path, data=data)


class _FormReader(HTMLParser):
    """The fields of the form with a given id, as a browser would send them."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form, self.inside, self.action = form, False, ""
        self.fields: dict[str, Any] = defaultdict(list)
        self._text: str | None = None
        self._select: str | None = None

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Take note of a field."""
        values = dict(attributes)
        name, value = values.get("name") or "", values.get("value") or ""
        if tag == "form":
            self.inside = values.get("id") == self.form
            if self.inside:
                self.action = values.get("action") or ""
        elif not self.inside:
            return
        elif tag == "input" and values.get("type") == "checkbox":
            if "checked" in values:
                self.fields[name].append(value)
        elif tag == "input" and values.get("type") != "file":
            self.fields[name] = value
        elif tag == "textarea":
            self._text, self.fields[name] = name, ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select is not None and ("selected" in values or not self.fields[self._select]):
            self.fields[self._select] = value

    def handle_data(self, data: str) -> None:
        """Collect the text of a text area."""
        if self._text is not None:
            self.fields[self._text] += data

    def handle_endtag(self, tag: str) -> None:
        """Leave a text area, a selection or the form."""
        if tag == "textarea" and self._text is not None:
            self.fields[self._text] = self.fields[self._text].lstrip("\r\n")
            self._text = None
        elif tag == "select":
            self._select = None
        elif tag == "form":
            self.inside = False


def _complaints(answer: TestResponse) -> str:
    return "\n".join(line.strip() for line in answer.text.splitlines() if "error" in line or "message" in line)
