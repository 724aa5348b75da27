"""Where a pooled value comes from: in numbers, as formulas, as a table and as a picture."""

from __future__ import annotations

from .compare import compare_conventions
from .explanation import Explanation
from .level import explain_level
from .numbers import explain

__all__ = ["Explanation", "compare_conventions", "explain", "explain_level"]
