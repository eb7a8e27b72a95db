"""Catalogues that tests make, and what a page shows that did not come from one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

CATALOGUES = Path(__file__).parents[2] / "flask_audit_logger" / "translations"
#: A language that the package has no texts in; the tests make them.
MADE = "fi"
_ATTRIBUTES = ("alt", "aria-label", "data-label", "placeholder", "title")
_OUR_ATTRIBUTES = re.compile(r"data-audit-(copied|failed|future|many|more|now|one)\Z")
#: Elements whose content is never a text of ours: what was logged, and names that are data.
_DATA = ("bdi", "code", "kbd", "pre", "style", "time")
_VOID = ("br", "hr", "img", "input", "link", "meta", "rect", "polyline")


def make_catalogue(folder: Path, change: Callable[[str], str], locale: str = MADE) -> Path:
    """A catalogue of all texts, each one changed."""
    messages = read("audit.pot")
    from babel.messages.catalog import Catalog
    from babel.messages.mofile import write_mo

    texts = Catalog(locale=locale)
    for message in messages:
        if message.id:
            several = (change(message.id[0]), change(message.id[1])) if isinstance(message.id, tuple) else None
            texts.add(message.id, several or change(message.id), context=message.context)
    path = folder / locale / "LC_MESSAGES" / "audit.mo"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_mo(file, texts)
    return folder


def read(name: str, locale: str | None = None) -> Any:
    """A catalogue of the package."""
    pofile = pytest.importorskip("babel.messages.pofile", reason="Babel is not installed")
    with (CATALOGUES / name).open("rb") as file:
        return pofile.read_po(file, locale=locale)


def untranslated(html: str, allowed: set[str]) -> list[str]:
    """The texts of a page with words that are not in ⟦brackets⟧, but for addresses and names_with_underscores.

    :param allowed: words that are data.
    """
    found = []
    for text in _Texts.of(html):
        words = {
            word for word in re.findall(r"[^\W\d]{2,}", re.sub(r"https?://\S+", "", _outside(text))) if "_" not in word
        }
        if words - allowed:
            found.append(" ".join(text.split()))
    return found


def _outside(text: str) -> str:
    """What is not within brackets, which may be within others."""
    depth, kept = 0, []
    for character in text:
        depth += character == "⟦"
        kept.append(" " if depth else character)
        depth -= character == "⟧"
    assert depth == 0, text
    return "".join(kept)


class _Texts(HTMLParser):
    """Collects texts. A block is one text, so that brackets that open before a link close after it."""

    _INLINE = ("a", "b", "bdi", "code", "del", "ins", "q", "small", "span", "strong", "time")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = [""]

    @classmethod
    def of(cls, html: str) -> Iterator[str]:
        parser = cls()
        parser.feed(html)
        parser.close()
        return (text for text in parser.texts if text.strip())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = [value for name, value in attrs if name in _ATTRIBUTES or _OUR_ATTRIBUTES.match(name)]
        # before the text that goes on
        self.texts[-1:-1] = [value for value in named if value]
        if tag not in self._INLINE:
            self.texts.append("")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open.pop() != tag:
                pass
        if tag not in self._INLINE:
            self.texts.append("")

    def handle_data(self, data: str) -> None:
        if not any(tag in _DATA for tag in self.open):
            self.texts[-1] += data
