"""Where a pooled value comes from: in numbers, as formulas, as a table and as a picture."""

from __future__ import annotations

from .numbers import Explanation, explain

__all__ = ["Explanation", "explain"]
