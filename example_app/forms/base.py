"""What all forms share: a token against forged requests, and the reason of a change."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import wtforms.fields.choices
from flask import current_app, session
from wtforms import Form, StringField
from wtforms.csrf.session import SessionCSRF
from wtforms.validators import Length, Optional


def options(pairs: Iterable[tuple[Any, str]]) -> list[Any]:
    """Choices of a selection from pairs of value and text, in the form that the installed WTForms wants."""
    choice = getattr(wtforms.fields.choices, "SelectChoice", None)  # since WTForms 3.3, which deprecates tuples
    return [choice(value, text) if choice else (value, text) for value, text in pairs]


def strip(value: Any) -> Any:
    """Drop blanks around a text, and the NUL that PostgreSQL can't store."""
    return value.replace("\0", "").strip() if isinstance(value, str) else value


class ShopForm(Form):
    """A form whose token is tied to the session."""

    class Meta(Form.Meta):
        """Settings of WTForms."""

        csrf = True
        csrf_class = SessionCSRF
        csrf_time_limit = timedelta(hours=12)

        @property
        def csrf_secret(self) -> bytes:
            """The key that signs tokens."""
            return str(current_app.secret_key).encode()

        @property
        def csrf_context(self) -> Any:
            """Where the token's counterpart is kept."""
            return session


class ReasonField(StringField):
    """Why a change is made; it goes into the log and is no column of the record."""

    def populate_obj(self, obj: Any, name: str) -> None:
        """Leave the record alone."""


class ReasonForm(ShopForm):
    """A form whose change may be explained."""

    reason = ReasonField(
        "Reason for this change",
        [Optional(), Length(max=200)],
        filters=[strip],
        description="Optional. It is kept in the change history, beside your name.",
    )


class DeleteForm(ReasonForm):
    """Confirms that a record shall go."""
