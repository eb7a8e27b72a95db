"""A text taken apart so that nothing in it can hide: controls become badges, blanks can be made visible."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from ...i18n import marked

#: Controls, format characters (bidi overrides, zero width) and separators that browsers treat as line ends.
_SPECIAL = (
    "\\x00-\\x1f\\x7f-\\x9f\\xad\\u0600-\\u0605\\u061c\\u06dd\\u070f\\u180e\\u200b-\\u200f\\u2028-\\u202e"
    "\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\U000e0000-\\U000e007f\\ud800-\\udfff"
)
_CONTROLS = re.compile(f"[{_SPECIAL}]")
_CONTROLS_AND_BLANKS = re.compile(f"[{_SPECIAL} \\xa0]")
_SIGNS = {"\n": "⏎", "\t": "⇥", "\r": "␍", " ": "·", "\u00a0": "⍽"}


@dataclass(frozen=True)
class Piece:
    """A part of a shown text.

    ``kind`` is ``text``, ``control`` (``text`` is its code point, as in ``U+202E``), ``blank`` (``text`` is the sign
    for it) or ``cut`` (something was left out here). ``mark`` is ``removed``, ``added`` or empty.
    """

    kind: str
    text: str
    mark: str = ""


def pieces(text: str, *, mark: str = "", block: bool = False, blanks: bool = False) -> list[Piece]:
    """Take a text apart.

    :param block: line breaks stay line breaks; otherwise they are shown as a sign.
    :param blanks: show every blank, not only line breaks and tabs.
    """
    found: list[Piece] = []
    start = 0
    for match in (_CONTROLS_AND_BLANKS if blanks else _CONTROLS).finditer(text):
        character = match[0]
        if block and not blanks and character in "\n\t":
            continue
        if match.start() > start:
            found.append(Piece("text", text[start : match.start()], mark))
        start = match.end()
        if character in _SIGNS:
            line_end = "\n" if block and character == "\n" else ""
            found.append(Piece("blank", _SIGNS[character] + line_end, mark))
        else:
            found.append(Piece("control", f"U+{ord(character):04X}", mark))
    if start < len(text):
        found.append(Piece("text", text[start:], mark))
    return found


def visible(text: str) -> str:
    """A name or another text that can't have markup, with its controls written out."""
    return "".join(f"⟨{piece.text}⟩" if piece.kind == "control" else piece.text for piece in pieces(text))


def edge_pieces(text: str, *, mark: str = "") -> list[Piece]:
    """Take a short text apart; blanks at its ends, which nobody would see, are shown."""
    inner = text.strip(" \u00a0\t\n\r")
    if not inner:
        return pieces(text, mark=mark, blanks=True)
    start = text.index(inner)
    return [
        *pieces(text[:start], mark=mark, blanks=True),
        *pieces(inner, mark=mark),
        *pieces(text[start + len(inner) :], mark=mark, blanks=True),
    ]


def difference_notes(old: str, new: str) -> tuple[str, ...]:
    """Say so when two texts differ in a way that is easily missed."""
    if old == new:
        return ()
    if "".join(old.split()) == "".join(new.split()):
        return (marked("differs only in whitespace"),)
    if old.casefold() == new.casefold():
        return (marked("differs only in upper and lower case"),)
    if unicodedata.normalize("NFC", old) == unicodedata.normalize("NFC", new):
        return (marked("differs only in how accents are encoded"),)
    return ()
