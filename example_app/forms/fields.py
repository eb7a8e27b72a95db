"""Fields for the columns that HTML has no control for."""

from __future__ import annotations

import json
from typing import Any

from wtforms import FileField, SelectMultipleField, StringField, TextAreaField
from wtforms.validators import ValidationError
from wtforms.widgets import CheckboxInput, ListWidget


class TagsField(StringField):
    """A list of texts, separated by commas."""

    def _value(self) -> str:
        if self.raw_data:
            return str(self.raw_data[0])
        return ", ".join(self.data or [])

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Split, strip, and drop what is empty or there twice."""
        if valuelist:
            words = [word.strip() for word in valuelist[0].replace("\0", "").split(",")]
            self.data = list(dict.fromkeys(word for word in words if word))


class JSONField(TextAreaField):
    """A JSON object."""

    def _value(self) -> str:
        if self.raw_data:
            return str(self.raw_data[0])
        return json.dumps(self.data or {}, indent=2, ensure_ascii=False)

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Read the text; anything but an object is an error."""
        if not valuelist:
            return
        try:
            self.data = json.loads(valuelist[0] or "{}", parse_constant=_refuse)
        except ValueError as error:
            raise ValueError(f"This is not JSON: {error}.") from None
        if not isinstance(self.data, dict):
            raise ValueError('Write an object, such as {"colour": "blue"}.')


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


class CheckboxesField(SelectMultipleField):
    """Any number of choices, as checkboxes in a fieldset."""

    widget = ListWidget(prefix_label=False)
    option_widget = CheckboxInput()


class ImageField(FileField):
    """A small picture; ``data`` becomes ``(bytes, media type)`` or ``None`` if no file was chosen."""

    max_bytes = 256 * 1024
    signatures = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Read the upload."""
        self.data = None
        if valuelist and getattr(valuelist[0], "filename", ""):
            self.data = (valuelist[0].read(self.max_bytes + 1), None)

    def pre_validate(self, form: Any) -> None:
        """Refuse what is too big or no picture; the content decides, not the name."""
        if self.data is None:
            return
        content = self.data[0]
        if len(content) > self.max_bytes:
            raise ValidationError("The picture is larger than 256 KB.")
        for signature, media_type in self.signatures:
            if content.startswith(signature):
                self.data = (content, media_type)
                return
        raise ValidationError("Choose a PNG, JPEG or GIF picture.")

    def populate_obj(self, obj: Any, name: str) -> None:
        """Store a new picture; keep the old one if no file was chosen."""
        if self.data is not None:
            obj.image, obj.image_type = self.data
