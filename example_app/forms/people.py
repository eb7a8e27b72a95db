"""Forms of customers, accounts and the login."""

from __future__ import annotations

from typing import Any

from wtforms import BooleanField, HiddenField, PasswordField, SelectField, StringField, TextAreaField
from wtforms.validators import InputRequired, Length, Optional, Regexp

from ..roles import ROLES
from .base import ReasonForm, ShopForm, options, strip

PASSWORD_LENGTH = Length(min=8, max=200, message="Use 8 characters or more.")


class LoginForm(ShopForm):
    """Name and password."""

    username = StringField("User name", [InputRequired()], filters=[strip], render_kw={"autocomplete": "username"})
    password = PasswordField("Password", [InputRequired()], render_kw={"autocomplete": "current-password"})
    next = HiddenField()


class CustomerForm(ReasonForm):
    """A customer."""

    name = StringField("Name", [InputRequired(), Length(max=120)], filters=[strip])
    email = StringField(
        "E-mail",
        [InputRequired(), Length(max=254), Regexp(r"^[^@\s]+@[^@\s]+\.[^@\s]+$", message="This is no e-mail address.")],
        filters=[strip],
        description="The log says that it changed, but never keeps the address.",
        render_kw={"type": "email"},
    )
    street = StringField("Street", [Length(max=200)], filters=[strip], default="")
    city = StringField("City", [Length(max=100)], filters=[strip], default="")
    newsletter = BooleanField("Gets the newsletter")
    notes = TextAreaField("Notes", [Length(max=5000)], filters=[strip], default="")


class UserForm(ReasonForm):
    """An account that exists: an empty password stays as it is."""

    username = StringField(
        "User name",
        [InputRequired(), Regexp(r"^[a-z][a-z0-9.]{1,39}$", message="Use small letters, digits and dots.")],
        filters=[strip],
        render_kw={"autocomplete": "off"},
    )
    display_name = StringField("Name", [InputRequired(), Length(max=80)], filters=[strip])
    role = SelectField("Role", choices=options(ROLES.items()))
    active = BooleanField("May log in", default=True)
    password = PasswordField(
        "New password",
        [Optional(), PASSWORD_LENGTH],
        description="Leave empty to keep the old one.",
        render_kw={"autocomplete": "new-password"},
    )

    def populate_obj(self, obj: Any) -> None:
        """Copy the fields; a password becomes a hash."""
        for name, field in self._fields.items():
            if name != "password":
                field.populate_obj(obj, name)
        if self.password.data:
            obj.set_password(self.password.data)


class NewUserForm(UserForm):
    """A new account needs a password."""

    password = PasswordField("Password", [InputRequired(), PASSWORD_LENGTH], render_kw={"autocomplete": "new-password"})
