"""Forms of categories and products."""

from __future__ import annotations

from typing import Any

from wtforms import BooleanField, DecimalField, StringField, TextAreaField
from wtforms.validators import InputRequired, Length, NumberRange, Regexp

from ..extensions import db
from ..models import Category
from .base import ReasonForm, options, strip
from .fields import CheckboxesField, ImageField, JSONField, TagsField


def _category_id(item: Any) -> int:
    return item.id if isinstance(item, Category) else int(item)


class CategoryForm(ReasonForm):
    """A category."""

    name = StringField("Name", [InputRequired(), Length(max=80)], filters=[strip])
    description = TextAreaField("Description", [Length(max=2000)], filters=[strip], default="")


class ProductForm(ReasonForm):
    """A product."""

    name = StringField("Name", [InputRequired(), Length(max=120)], filters=[strip])
    sku = StringField(
        "Article number",
        [InputRequired(), Regexp(r"^[A-Z0-9-]{3,20}$", message="Use 3 to 20 capitals, digits and hyphens.")],
        filters=[strip],
    )
    price = DecimalField(
        "Price in euro",
        [InputRequired(), NumberRange(min=0, max=99_999_999, message="The price must be between 0 and 99,999,999.")],
        places=2,
    )
    description = TextAreaField("Description", [Length(max=5000)], filters=[strip], default="")
    categories = CheckboxesField("Categories", coerce=_category_id)
    tags = TagsField("Tags", description="Separated by commas.")
    attributes = JSONField("Attributes", description='A JSON object, such as {"colour": "blue"}.')
    image = ImageField("Picture", description="PNG, JPEG or GIF, up to 256 KB. Pictures are not kept in the log.")
    on_sale = BooleanField("On sale", default=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows = db.session.execute(db.select(Category.id, Category.name).order_by(Category.name))
        self.categories.choices = options(rows)

    def populate_obj(self, obj: Any) -> None:
        """Copy the fields, and look the categories up."""
        chosen = set(self.categories.data or [])
        for name, field in self._fields.items():
            if name != "categories":
                field.populate_obj(obj, name)
        with db.session.no_autoflush:
            obj.categories = list(db.session.scalars(db.select(Category).where(Category.id.in_(chosen))))
