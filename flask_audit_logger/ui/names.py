"""What the pages call kinds of changes and kinds of actors."""

from __future__ import annotations

from .texts import Texts, marked

VERB_NAMES = Texts(
    {
        "insert": marked("Created"),
        "update": marked("Updated"),
        "delete": marked("Deleted"),
        "truncate": marked("Emptied"),
        "snapshot": marked("Snapshot"),
    }
)
#: The same within a sentence.
VERB_WORDS = Texts(
    {
        "insert": marked("created"),
        "update": marked("updated"),
        "delete": marked("deleted"),
        "truncate": marked("emptied"),
        "snapshot": marked("snapshot"),
    }
)
KIND_NAMES = Texts(
    {
        "user": marked("User"),
        "service": marked("Background job"),
        "system": marked("Command"),
        "none": marked("Not recorded"),
    }
)
