"""What changed in a value, as typed nodes; making HTML of them is the business of the templates."""

from .fields import diff_field, differs
from .kinds import Kind
from .nodes import FieldDiff, Shown
from .single import as_text, show_value

__all__ = ["FieldDiff", "Kind", "Shown", "as_text", "diff_field", "differs", "show_value"]
