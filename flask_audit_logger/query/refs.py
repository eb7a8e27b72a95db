"""Names of what the log speaks about: a table, and one record of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

#: Bytes of the longest key that is stored as it is; what a longer one begins with instead.
LONGEST_KEY = 1000
HASHED = "sha256:"


@dataclass(frozen=True, order=True)
class TableRef:
    """A table as the log names it: always with its schema."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, order=True)
class RecordRef:
    """One record: its table and its key as stored in ``activity.record_key``."""

    table: TableRef
    key: str

    @property
    def components(self) -> tuple[str, ...]:
        """The values of the key's columns as text, in the order of the key."""
        return key_components(self.key)


def stored_key(components: Sequence[str]) -> str:
    """The text under which a key is stored: one component as it is, several as a JSON array, a long key as its hash.

    The array is written as PostgreSQL prints ``jsonb``: blanks after commas, nothing but control characters,
    quote and backslash escaped.
    """
    whole = components[0] if len(components) == 1 else json.dumps(list(components), ensure_ascii=False)
    data = whole.encode("utf-8", "surrogatepass")
    return whole if len(data) <= LONGEST_KEY else HASHED + hashlib.sha256(data).hexdigest()


def key_components(key: str) -> tuple[str, ...]:
    """Take a stored key apart; the inverse of :func:`stored_key`.

    A one-column key whose value looks like an array of texts gives several components, which lead back to the same
    stored text, so a link made from them still finds the record.
    """
    if key.startswith("["):
        try:
            parts = json.loads(key)
        except ValueError:
            return (key,)
        if (
            isinstance(parts, list)
            and len(parts) > 1
            and all(isinstance(part, str) for part in parts)
            and stored_key(parts) == key
        ):
            return tuple(parts)
    return (key,)
