"""Element types of maps, and what is pooled from them."""

from __future__ import annotations

from typing import Any

import numpy as np

INTEGERS = "?bBhH"
"""Characters of the dtypes, one or two bytes wide, that are pooled to float32."""


def is_read(dtype: np.dtype[Any], name: str) -> bool:
    """Whether an argument may be a NumPy array of that dtype: gradients are no integers."""
    if dtype.char in INTEGERS:
        return name != "grad_output"
    return dtype.char in "efd" or is_bfloat16(dtype)


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Whether it is ``ml_dtypes.bfloat16``, which is none of NumPy's own."""
    return bool(dtype.kind == "V" and dtype.name == "bfloat16")


def pooled_dtype(dtype: np.dtype[Any], out: Any | None = None) -> np.dtype[Any]:
    """The dtype of what is pooled from maps of that dtype, into ``out`` if that is given.

    Integers may be pooled into any float; what is no float is for others to refuse.
    """
    if dtype.char not in INTEGERS:
        return dtype
    if out is not None and out.dtype.char in "efd":
        given: np.dtype[Any] = out.dtype
        return given
    return np.dtype(np.float32)
