"""Names of tables, records and actors in URLs.

Each part is tilde-encoded: ``A-Za-z0-9_-`` stay, a space is ``+``, every other byte of its UTF-8 is ``~HH``. Percent
encoding would not do: servers and Werkzeug decode it before routing, so that ``a%2Fb`` becomes two path segments.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_PART = re.compile(r"(?:[A-Za-z0-9_+-]|~[0-9A-F]{2})+", re.ASCII)
EMPTY = "~_"
#: The actor of changes whose actor was not recorded.
NOBODY = "~none"


class BadKey(ValueError):
    """A part of a URL that no link of ours could have."""


def encode(text: str) -> str:
    """Encode one part; the empty text is ``~_``."""
    if not text:
        return EMPTY
    return "".join(
        chr(byte) if byte in _SAFE else "+" if byte == 0x20 else f"~{byte:02X}" for byte in text.encode("utf-8")
    )


def decode(part: str) -> str:
    """Decode one part.

    :raises BadKey: unless it is exactly what :func:`encode` makes of some text.
    """
    if part == EMPTY:
        return ""
    if not _PART.fullmatch(part):
        raise BadKey(part)
    raw = re.sub("~(..)", lambda match: chr(int(match[1], 16)), part.replace("+", " "))
    try:
        text = raw.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadKey(part) from error
    if "\x00" in text or encode(text) != part:
        raise BadKey(part)
    return text


def encode_key(components: Sequence[str]) -> str:
    """Encode the values of a key."""
    return ",".join(encode(component) for component in components)


def decode_key(text: str) -> tuple[str, ...]:
    """Decode the values of a key.

    :raises BadKey: if it is not what :func:`encode_key` makes.
    """
    return tuple(decode(part) for part in text.split(","))


def encode_table(schema: str | None, name: str) -> str:
    """Encode a table; ``schema`` is ``None`` for the default one."""
    return encode(name) if schema is None else f"{encode(schema)}.{encode(name)}"


def decode_table(text: str) -> tuple[str | None, str]:
    """Decode a table into schema (``None``: the default one) and name.

    :raises BadKey: if it is not what :func:`encode_table` makes.
    """
    parts = [decode(part) for part in text.split(".")]
    if len(parts) > 2:
        raise BadKey(text)
    return (None, parts[0]) if len(parts) == 1 else (parts[0], parts[1])
