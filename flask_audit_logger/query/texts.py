"""Texts that a page shows as they are. They are marked where they are written and translated where they are shown."""

from __future__ import annotations


def marked(text: str) -> str:
    """Mark a text for the catalogues of translations; it stays as it is."""
    return text


def marked_plural(one: str, many: str) -> tuple[str, str]:
    """Mark a text with ``%(number)s`` in it and its plural."""
    return one, many
