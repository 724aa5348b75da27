"""Maps of integers, booleans and bfloat16: what is made of them, and who gets them converted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .backends import Backend

INTEGERS = "?bBhH"
"""Characters of the dtypes, one or two bytes wide, that are pooled to float32."""


def is_read(dtype: np.dtype[Any], name: str) -> bool:
    """Whether an argument may be a NumPy array of that dtype: of integers, features alone."""
    return (
        dtype.char in "efd" or (dtype.char in INTEGERS and name == "features") or is_bfloat16(dtype)
    )


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Whether it is ``ml_dtypes.bfloat16``, which is none of NumPy's own."""
    return dtype.kind == "V" and dtype.name == "bfloat16"


def pooled_dtype(dtype: np.dtype[Any], out: Any | None = None) -> np.dtype[Any]:
    """The dtype of what is pooled from maps of that dtype, into ``out`` if that is given.

    Integers may be pooled into any float; what is no float is for others to refuse.
    """
    if dtype.char not in INTEGERS:
        return dtype
    if out is not None and out.dtype.char in "efd":
        return np.dtype(out.dtype)
    return np.dtype(np.float32)


def convert(array: Any, backend: Backend, dtype: np.dtype[Any]) -> Any:
    """Values that the backend reads: the array itself, or a copy as floats.

    Parameters
    ----------
    array : array or None
    backend : Backend
    dtype : dtype
        Of the result of the call: in float64 integers are read as that, else as float32.
    """
    if array is None or array.dtype.char in "efd" or getattr(backend, "reads_all_types", False):
        return array
    return array.astype(np.float64 if dtype.itemsize == 8 else np.float32)


def round_into(target: Any, values: Any) -> None:
    """Write values of another dtype, rounded once."""
    with np.errstate(over="ignore"):
        target[...] = values
