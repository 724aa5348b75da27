"""Arrays in ``.npy`` files, whose headers are checked before they are believed."""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._errors import FileError, cannot, check_file, reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEADER_BYTES = 12 + 10_000
"""More than this NumPy takes for no header; what comes before it included."""


class Header(NamedTuple):
    """What a file says about its array, and where in the file it begins."""

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]
    offset: int

    @property
    def end(self) -> int:
        """Where the array ends."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def parse_header(begin: bytes) -> Header:
    """Read the header at the beginning of a file; `HEADER_BYTES` of it are enough.

    Raises
    ------
    ValueError
        If it is not that of a plain array.
    """
    file = io.BytesIO(begin)
    try:
        version = np.lib.format.read_magic(file)
    except ValueError:
        raise ValueError("it is no .npy file") from None
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"version {version} of the format is none of plain arrays")
    try:
        with warnings.catch_warnings(action="ignore"):  # of headers that Python 2 wrote
            shape, is_fortran, dtype = read(file)
    except Exception as error:  # what Python's parser and tokenizer raise for other texts, too
        raise ValueError(f"its header is damaged: {reason(error)[:200]}") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    if any(size < 0 for size in shape):
        raise ValueError(f"its header is damaged: the shape is {shape}")
    return Header(shape, is_fortran and len(shape) > 1, dtype, file.tell())


def map_array(file: IO[bytes]) -> tuple[Header, Callable[[], NDArray[Any]]]:
    """Read the header of an open file, and return a function that makes memory maps of its array.

    Raises
    ------
    ValueError
        If it is not an array, or not complete.
    """
    header = parse_header(file.read(HEADER_BYTES))
    shape, is_fortran, dtype, offset = header
    there = os.fstat(file.fileno()).st_size - offset
    nbytes = header.end - offset
    if there < nbytes:
        raise ValueError(f"it is truncated: {there} of {nbytes} bytes of shape {shape} are there")
    if nbytes == 0:
        empty: NDArray[Any] = np.empty(shape, dtype)
        return header, lambda: empty
    if is_fortran:
        return header, lambda: np.memmap(file, dtype, "r", offset, shape, "F")
    return header, lambda: np.memmap(file, dtype, "r", offset, shape)


def read_npy(path: Path) -> NDArray[Any]:
    """Map the array of a file.

    Raises
    ------
    FileError
        If it is not such a file.
    """
    try:
        check_file(path)
        with path.open("rb") as file:
            _, renew = map_array(file)
            return renew()
    except FileError:
        raise
    except OSError as error:
        raise cannot("read", path, error) from error
    except Exception as error:  # ValueError of ours; OverflowError of an impossible shape
        raise FileError(f"{str(path)!r}: {reason(error)}") from error
