"""Feature maps in files: NumPy's, Zarr and images, of which a step sees one window at a time."""

from __future__ import annotations

import math
import mmap
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from .. import _arrays
from .._rois import is_plain
from ._errors import FileError, cannot, reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .plan import Step

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
COPIED_BYTES = 1 << 20
"""Of a packed array, at a time."""


@dataclass(frozen=True)
class FeatureFile:
    """The maps of a job.

    Attributes
    ----------
    path : Path
    array_name : str or None
        The array in the file that was asked for by name.
    shape : (int, int, int, int)
        In the job's layout.
    dtype : dtype
        As it lies in the file.
    layout : {"NCHW", "NHWC"}
    renew : callable
        Gives the array. A memory map is a new one each time: the pages that an old one has read
        count as memory of the process until it is gone.
    copies : bool
        Whether windows are copies of the rows that are read, and not the array itself.
    """

    path: Path
    array_name: str | None
    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]
    layout: str
    renew: Callable[[], Any]
    copies: bool

    def window(self, step: Step) -> NDArray[Any]:
        """Images and channels of a step, of which the rows that its boxes read are filled."""
        images = slice(step.first_image, step.last_image)
        if not self.copies:
            view: NDArray[Any] = self._read(self._index(images, step.channels, slice(None)))
            return view
        n, c, h, w = self.shape
        if self.layout == "NHWC":
            n, h, w, c = self.shape
        n, c = len(range(n)[images]), len(range(c)[step.channels])
        window = _canvas((n, c, h, w) if self.layout == "NCHW" else (n, h, w, c), self.dtype)
        for image, top, bottom in step.spans:
            rows = slice(top, bottom)
            window[self._index(image - step.first_image, slice(None), rows)] = self._read(
                self._index(image, step.channels, rows)
            )
        return window

    def _read(self, index: tuple[Any, ...]) -> Any:
        try:
            return self.renew()[index]
        except Exception as error:  # Zarr's codecs raise whatever the libraries below them raise
            raise cannot("read", self.path, error) from error

    def _index(self, images: Any, channels: slice, rows: slice) -> tuple[Any, ...]:
        return (images, channels, rows) if self.layout == "NCHW" else (images, rows, ..., channels)


@contextmanager
def open_features(path: Path, layout: str, array_name: str | None = None) -> Iterator[FeatureFile]:
    """Open a ``.npy``, ``.npz``, Zarr or image file.

    Parameters
    ----------
    path : Path
        A directory is Zarr, and what ends in ``.zarr``; the rest goes by its suffix.
    layout : {"NCHW", "NHWC"}
        The order of the axes; an image's are put into it.
    array_name : str, optional
        The array of a ``.npz`` file or a Zarr group that holds several.

    Raises
    ------
    FileError
        If it is no such file, or no maps are in it.
    """
    with ExitStack() as stack:
        try:
            renew = _open(path, layout, array_name, stack)
            array = renew()
            _arrays.check_features(array, layout)
        except FileError:
            raise
        # Beside OSError: what zipfile, zlib and Pillow raise for broken files.
        except (EOFError, OSError, SyntaxError, zipfile.BadZipFile, zlib.error) as error:
            raise cannot("read", path, error) from error
        except (TypeError, ValueError) as error:
            raise FileError(f"{str(path)!r}: {reason(error)}") from error
        yield FeatureFile(
            path=path,
            array_name=array_name,
            shape=tuple(array.shape),
            dtype=np.dtype(array.dtype),
            layout=layout,
            renew=renew,
            copies=not (isinstance(array, np.ndarray) and is_plain(array)),
        )


def _open(path: Path, layout: str, name: str | None, stack: ExitStack) -> Callable[[], Any]:
    """Find out how to get the array."""
    suffix = path.suffix.lower()
    if path.is_dir() or suffix == ".zarr":
        return _open_zarr(path, name)
    if path.exists() and not path.is_file():
        raise FileError(f"{str(path)!r} is no file")
    if suffix == ".npz":
        return _map_npy(_unpack(path, name, stack))
    if name is not None:
        raise FileError(f"{str(path)!r} holds one array, without a name; {name!r} was asked for")
    if suffix == ".npy":
        return _map_npy(stack.enter_context(path.open("rb")))
    if suffix in IMAGE_SUFFIXES:
        return _load_image(path, layout)
    known = ", ".join((".npy", ".npz", ".zarr", *IMAGE_SUFFIXES))
    raise FileError(f"{str(path)!r} must be a directory of Zarr or end in one of {known}")


def _map_npy(file: IO[bytes]) -> Callable[[], NDArray[Any]]:
    """Make memory maps of the array in an open ``.npy`` file."""
    version = np.lib.format.read_magic(file)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise ValueError(f"version {version} of the format is none of plain arrays")
    shape, is_fortran, dtype = read_header(file)
    if is_fortran and len(shape) > 1:
        raise ValueError("it is in Fortran order, which scatters each map: save a C-ordered copy")
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    offset = file.tell()
    nbytes = math.prod(shape) * dtype.itemsize
    there = os.fstat(file.fileno()).st_size - offset
    if there < nbytes:
        raise ValueError(f"it is truncated: {there} of {nbytes} bytes of shape {shape} are there")
    if nbytes == 0:
        return lambda: np.empty(shape, dtype)
    return lambda: np.memmap(file, dtype, "r", offset, shape)


def _unpack(path: Path, name: str | None, stack: ExitStack) -> IO[bytes]:
    """Unpack a member into a file that is gone with this process."""
    unpacked = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  # the stack is one
    with zipfile.ZipFile(path) as archive:
        members = {member.removesuffix(".npy"): member for member in archive.namelist()}
        with archive.open(members[_only(path, members, name)]) as member:
            shutil.copyfileobj(member, unpacked, COPIED_BYTES)
    unpacked.seek(0)
    return unpacked


def _open_zarr(path: Path, name: str | None) -> Callable[[], Any]:
    import zarr

    try:
        found = zarr.open(path, mode="r")
    except (KeyError, ValueError, FileNotFoundError) as error:
        raise FileError(f"cannot read {str(path)!r} as Zarr: {reason(error)}") from error
    if isinstance(found, zarr.Group):
        found = found[_only(path, dict(found.arrays()), name)]
    elif name is not None:
        raise FileError(f"{str(path)!r} holds one array only, not {name!r}")
    return lambda: found


def _only(path: Path, names: dict[str, Any], wanted: str | None) -> str:
    """Find the array that is meant among several."""
    if wanted in names:
        return str(wanted)
    if wanted is None and len(names) == 1:
        return next(iter(names))
    listed = ", ".join(map(repr, sorted(names))) or "none"
    raise FileError(f"{str(path)!r} holds the arrays {listed}: name one of them with --array")


def _load_image(path: Path, layout: str) -> Callable[[], NDArray[np.float32]]:
    """Load an image, grey or in colours, as one map of its values in float32."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            if image.mode.startswith(("F", "I")):
                raise ValueError(f"its values ({image.mode}) are not of 8 bits: save them as .npy")
            # Pillow drops half of the bits of colours; BGR;16 is of 5 or 6 bits each.
            if re.search(r"(?<!BGR);16", str([tile[3] for tile in image.tile])):
                raise ValueError("its values are of 16 bits: save them as .npy")
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format != "MPO":  # a photograph and its previews
                raise ValueError(f"it has {frames} frames: save them as .npy")
            upright = ImageOps.exif_transpose(image)
            pixels = np.asarray(upright.convert("L" if image.mode in ("1", "L") else "RGB"))
    except Image.DecompressionBombError as error:
        raise cannot("read", path, error) from error
    pixels = np.atleast_3d(pixels)[np.newaxis].astype(np.float32)
    maps = pixels if layout == "NHWC" else np.moveaxis(pixels, -1, 1)
    return lambda: maps


def _canvas(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros that take memory only where they are written, page by page."""
    # Of a large np.zeros a written byte takes 2 MiB: NumPy asks for huge pages.
    pages = mmap.mmap(-1, max(math.prod(shape) * dtype.itemsize, 1))
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        pages.madvise(mmap.MADV_NOHUGEPAGE)
    flat = np.frombuffer(pages, dtype.newbyteorder("="), count=math.prod(shape))
    return flat.reshape(shape)
