"""Staff accounts."""

from __future__ import annotations

import datetime as dt

from flask_login import UserMixin
from sqlalchemy import DateTime
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.security import check_password_hash, generate_password_hash

from .. import clock
from ..extensions import db


class User(UserMixin, db.Model):
    """Somebody who works in the shop and may log in."""

    __tablename__ = "users"
    # The log says that a password was changed, never what the hash is; a login alone is not a change.
    __table_args__ = ({"info": {"audit_logged": {"mask": ["password_hash"], "exclude": ["last_login_at"]}}},)

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(unique=True)
    display_name: Mapped[str]
    role: Mapped[str]
    password_hash: Mapped[str]
    active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True), default=clock.now)
    last_login_at: Mapped[dt.datetime | None] = mapped_column(DateTime(timezone=True))

    def set_password(self, password: str) -> None:
        """Keep the hash of ``password``."""
        self.password_hash = generate_password_hash(password)

    def check_password(self, password: str) -> bool:
        """Is this the password?"""
        return check_password_hash(self.password_hash, password)

    @property
    def is_active(self) -> bool:
        """Flask-Login refuses accounts that were switched off."""
        return self.active

    def __str__(self) -> str:
        return self.display_name
