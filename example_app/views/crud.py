"""List, show, create, edit and delete: the same five pages for every table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

from flask import Blueprint, abort, current_app, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user
from sqlalchemy import Select, Text, cast, or_
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm.exc import StaleDataError
from wtforms import Form

from ..errors import explain
from ..extensions import db, login_manager
from ..forms import DeleteForm
from ..roles import may

PER_PAGE = 25


@dataclass(frozen=True)
class Column:
    """A column of the list page."""

    label: str
    value: Callable[[Any], Any]
    number: bool = False


@contextmanager
def reason(form: Form) -> Iterator[None]:
    """Give the changes made inside the reason that was typed into ``form``."""
    text = form.reason.data if "reason" in form else None
    audit_logger = current_app.extensions["audit_logger"]
    with audit_logger.context(reason=text) if text else nullcontext():
        yield


def saved(form: Form) -> bool:
    """Commit; if the database refuses, roll back and tell it in the form."""
    try:
        with reason(form):
            db.session.commit()
    except (DataError, IntegrityError, StaleDataError) as error:
        db.session.rollback()
        problem = explain(error)
        if problem.field in form:
            form[problem.field].errors = [*form[problem.field].errors, problem.text]
        else:
            form.form_errors.append(problem.text)
        return False
    return True


class Crud:
    """The pages of one table; a subclass says what is in them."""

    name: ClassVar[str]
    model: ClassVar[type[Any]]
    form: ClassVar[type[Form]]
    new_form: ClassVar[type[Form] | None] = None
    singular: ClassVar[str]
    plural: ClassVar[str]
    columns: ClassVar[tuple[Column, ...]]
    #: Attributes that make up the key, with the converters of the URL.
    key: ClassVar[dict[str, str]] = {"id": "int"}
    #: Columns that the search box looks through.
    searched: ClassVar[tuple[str, ...]] = ("name",)
    order_by: ClassVar[tuple[str, ...]] = ("id",)
    show_template: ClassVar[str] = "shop/show.html"

    def blueprint(self) -> Blueprint:
        """The five pages as a blueprint."""
        blueprint = Blueprint(self.name, __name__, url_prefix="/" + self.name.replace("_", "-"))
        record = "/" + "/".join(f"<{converter}:{name}>" for name, converter in self.key.items())
        add = blueprint.add_url_rule
        add("/", "index", self.index)
        add("/new", "new", self.new, methods=["GET", "POST"])
        add(record, "show", self.show)
        add(f"{record}/edit", "edit", self.edit, methods=["GET", "POST"])
        add(f"{record}/delete", "delete", self.delete, methods=["GET", "POST"])
        return blueprint

    # What a subclass may change

    def select(self) -> Select[Any]:
        """The rows of the list, before search and order."""
        return db.select(self.model)

    def facts(self, row: Any) -> list[tuple[str, Any]]:
        """Label and value pairs of the record's page."""
        return [(column.label, column.value(row)) for column in self.columns]

    def show_context(self, row: Any) -> dict[str, Any]:
        """What else the template of the record's page needs."""
        return {}

    def after_delete(self, row: Any) -> str:
        """Where to go when a record is gone."""
        return url_for(f"{self.name}.index")

    def refuse_delete(self, row: Any) -> str | None:
        """Why this record can't go, if the database would not say so itself."""
        return None

    def prefilled(self) -> dict[str, Any]:
        """What the form of a new record holds already."""
        return {}

    # The pages

    def index(self) -> ResponseReturnValue:
        """The list, a page at a time, perhaps only what a search finds."""
        self.require("read")
        sought = request.args.get("q", "").strip().replace("\0", "")
        query = self.select()
        if sought:
            query = query.where(or_(*(self._column(name).icontains(sought, autoescape=True) for name in self.searched)))
        query = query.order_by(*(self._column(name, order=True) for name in self.order_by))
        page = db.paginate(query, per_page=PER_PAGE, max_per_page=PER_PAGE, error_out=False)
        if page.page > 1 and not page.items:
            abort(404)
        return self.render("shop/list.html", page=page, sought=sought)

    def show(self, **key: Any) -> ResponseReturnValue:
        """One record."""
        self.require("read")
        row = self.get(key)
        return self.render(self.show_template, row=row, facts=self.facts(row), **self.show_context(row))

    def new(self) -> ResponseReturnValue:
        """Create a record."""
        self.require("create")
        form_class = self.new_form or self.form
        form = form_class(self.submitted(), data=self.prefilled())
        if request.method == "POST" and form.validate():
            row = self.model()
            form.populate_obj(row)
            db.session.add(row)
            if saved(form):
                flash(f"{self.singular} “{row}” was created.", "good")
                return redirect(self.url(row))
        return self.render("shop/form.html", form=form, row=None), _status(form)

    def edit(self, **key: Any) -> ResponseReturnValue:
        """Change a record."""
        self.require("edit")
        row = self.get(key)
        form = self.form(self.submitted(), obj=row)
        title = str(row)
        if request.method == "POST" and form.validate():
            form.populate_obj(row)
            if not db.session.is_modified(row):
                flash(f"Nothing was changed in “{title}”.")
                return redirect(self.url(row))
            if saved(form):
                flash(f"“{row}” was saved.", "good")
                return redirect(self.url(row))
        return self.render("shop/form.html", form=form, row=row, row_title=title), _status(form)

    def delete(self, **key: Any) -> ResponseReturnValue:
        """Delete a record after asking."""
        self.require("delete")
        row = self.get(key)
        form = DeleteForm(self.submitted())
        title, target = str(row), self.after_delete(row)
        if request.method == "POST" and form.validate():
            refusal = self.refuse_delete(row)
            if refusal:
                form.form_errors.append(refusal)
            else:
                db.session.delete(row)
                if saved(form):
                    flash(f"{self.singular} “{title}” was deleted. Its history stays.", "good")
                    return redirect(target)
        return self.render("shop/delete.html", form=form, row=row, row_title=title), _status(form)

    # Helpers

    def require(self, action: str) -> None:
        """Refuse people whose role doesn't allow ``action`` here, and send strangers to the login."""
        if not may(action, self.name):
            abort(403 if current_user.is_authenticated else login_manager.unauthorized())

    def get(self, key: dict[str, Any]) -> Any:
        """The record, or 404."""
        description = f"{self.singular} not found."
        try:
            return db.get_or_404(self.model, tuple(key[name] for name in self.key), description=description)
        except DataError:  # a number that no key column can hold
            db.session.rollback()
            abort(404, description)

    def submitted(self) -> Any:
        """What was posted, files included; ``None`` for a page that is only looked at."""
        if request.method != "POST":
            return None
        data = request.form.copy()
        data.update(request.files)
        return data

    def url(self, row: Any, page: str = "show") -> str:
        """Address of a page of ``row``."""
        return url_for(f"{self.name}.{page}", **{name: getattr(row, name) for name in self.key})

    def render(self, template: str, **context: Any) -> str:
        """The page, with what all of these templates use."""
        return render_template(template, crud=self, **context)

    def _column(self, name: str, *, order: bool = False) -> Any:
        descending, name = name.startswith("-"), name.lstrip("-")
        column = getattr(self.model, name)
        if order:
            return column.desc() if descending else column
        return cast(column, Text)


def _status(form: Form) -> int:
    return 422 if form.errors else 200
