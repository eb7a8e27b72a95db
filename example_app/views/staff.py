"""Pages of staff accounts."""

from __future__ import annotations

from typing import Any

from flask_login import current_user

from ..forms import NewUserForm, UserForm
from ..models import User
from ..roles import ROLES
from .crud import Column, Crud


class Users(Crud):
    """Accounts."""

    name, singular, plural = "users", "Account", "Accounts"
    model, form, new_form = User, UserForm, NewUserForm
    searched = ("username", "display_name")
    order_by = ("username",)
    columns = (
        Column("Name", lambda row: row.display_name),
        Column("User name", lambda row: row.username),
        Column("Role", lambda row: ROLES.get(row.role, row.role)),
        Column("May log in", lambda row: "yes" if row.active else "no"),
    )

    def facts(self, row: User) -> list[tuple[str, Any]]:
        """The list's columns and the times."""
        return [*super().facts(row), ("Created", row.created_at), ("Last login", row.last_login_at)]

    def refuse_delete(self, row: User) -> str | None:
        """Nobody locks themselves out."""
        return "You can't delete your own account." if row.id == current_user.id else None


blueprints = (Users().blueprint(),)
