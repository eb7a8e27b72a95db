"""Compare logged values and describe the difference as typed parts, from which templates make HTML."""

from .budget import Budget
from .fields import diff_field, differs
from .kinds import ValueKind
from .show import FieldDiff, Shown, as_text, show_value
from .values import Value

__all__ = ["Budget", "FieldDiff", "Shown", "Value", "ValueKind", "as_text", "diff_field", "differs", "show_value"]
