"""Logging in and out."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_user, logout_user

from .. import clock
from ..extensions import db, login_manager
from ..forms import LoginForm, ShopForm
from ..models import User

auth = Blueprint("auth", __name__)
blueprints = (auth,)

login_manager.login_view = "auth.login"
login_manager.login_message = "Please log in first."


@login_manager.user_loader
def load_user(user_id: str) -> User | None:
    """The account of a session; one that was switched off or deleted is logged out."""
    user = db.session.get(User, int(user_id)) if user_id.isdecimal() else None
    return user if user is not None and user.active else None


@auth.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """Name and password."""
    if current_user.is_authenticated:
        return redirect(url_for("home.index"))
    form = LoginForm(request.form if request.method == "POST" else None, next=request.args.get("next", ""))
    if request.method == "POST" and form.validate():
        user = db.session.scalar(db.select(User).where(User.username == form.username.data))
        if user is not None and user.check_password(form.password.data) and login_user(user):
            user.last_login_at = clock.now()
            db.session.commit()
            return redirect(_local(form.next.data))
        form.form_errors.append("User name or password is wrong, or the account is switched off.")
    return render_template("shop/login.html", form=form), 422 if form.errors else 200


@auth.post("/logout")
def logout() -> ResponseReturnValue:
    """Leave."""
    if ShopForm(request.form).validate():
        logout_user()
        session.pop("csrf", None)
        flash("You are logged out.", "good")
    return redirect(url_for("auth.login"))


def _local(target: str | None) -> str:
    """``target`` if it is a path of this shop, else the start page."""
    if target and target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable():
        return target
    return url_for("home.index")
