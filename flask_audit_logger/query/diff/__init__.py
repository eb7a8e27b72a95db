"""What changed in a value, as typed nodes; making HTML of them is the business of the templates."""

from .fields import FieldDiff, diff_field, show_value
from .kinds import Kind

__all__ = ["FieldDiff", "Kind", "diff_field", "show_value"]
