"""Feature maps in files (NumPy's, Zarr, images), seen by a step one window at a time."""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from .. import _arrays
from .._core.memory import is_plain
from ._errors import FileError, TooLargeError, cannot, check_file, check_size, reason
from .images import SUFFIXES as IMAGE_SUFFIXES
from .images import describe, load_pixels
from .npy import HEADER_BYTES, map_array, parse_header
from .outputs import is_zarr, reserve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .plan import Step
    from .rois import BoxFile

COPIED_BYTES = 1 << 20
"""Of a packed array, at a time."""


@dataclass(frozen=True)
class FeatureFile:
    """The maps of a job.

    Attributes
    ----------
    path : Path
    array_name : str or None
        The array in the file, if it was asked for by name.
    shape : (int, int, int, int)
        In the job's layout.
    dtype : dtype
        As it lies in the file.
    layout : {"NCHW", "NHWC"}
    renew : callable
        Returns the array. A memory map is made anew each time: the pages that an old one has read
        count as memory of the process until it is closed.
    copies : bool
        Whether windows are copies of the rows that are read, and not the array itself.
    source : Path
        The file, or the directory of just the Zarr array.
    fingerprint : str
        Of the source, before it was read.
    first_image : int
        Which of the job's images its first is.
    """

    path: Path
    array_name: str | None
    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]
    layout: str
    renew: Callable[[], Any]
    copies: bool
    source: Path
    fingerprint: str
    first_image: int = 0

    def window(self, step: Step) -> NDArray[Any]:
        """Images and channels of a step, filled only in the rows that its boxes read."""
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

    def check_unchanged(self) -> None:
        """Raise FileError if the source is not what it was when it was opened."""
        try:
            is_changed = _fingerprint(self.source) != self.fingerprint
        except OSError as error:
            raise cannot("read", self.path, error) from error
        if is_changed:
            raise FileError(f"{str(self.path)!r} was changed while it was read")

    def _read(self, index: tuple[Any, ...]) -> Any:
        try:
            return self.renew()[index]
        except Exception as error:  # Zarr's codecs raise whatever the libraries below them raise
            raise cannot("read", self.path, error) from error

    def _index(self, images: Any, channels: slice, rows: slice) -> tuple[Any, ...]:
        return (images, channels, rows) if self.layout == "NCHW" else (images, rows, ..., channels)


@contextmanager
def open_features(
    path: Path, layout: str, array_name: str | None, most_bytes: int
) -> Iterator[FeatureFile]:
    """Open a ``.npy``, ``.npz``, Zarr or image file.

    Parameters
    ----------
    path : Path
        A directory, or a name that ends in ``.zarr``, is Zarr; otherwise the suffix decides.
    layout : {"NCHW", "NHWC"}
        The order of the axes; an image is brought into it.
    array_name : str or None
        The array of a ``.npz`` file or a Zarr group that holds several.
    most_bytes : int
        How much may be decoded at a time: an image, a chunk of Zarr.

    Raises
    ------
    FileError
        If it is not such a file, or has no maps in it.
    """
    with ExitStack() as stack:
        with _errors_of(path):
            if path.is_dir() or path.suffix.lower() == ".zarr":
                renew, source = _open_zarr(path, array_name, most_bytes)
                fingerprint = _fingerprint(source)
            else:
                source, fingerprint = path, _fingerprint(path)
                renew = _open_file(path, layout, array_name, most_bytes, stack)
            array = renew()
            _arrays.check_features(array, layout, is_numpy=True)
        yield FeatureFile(
            path=path,
            array_name=array_name,
            shape=tuple(array.shape),
            dtype=np.dtype(array.dtype),
            layout=layout,
            renew=renew,
            copies=not is_plain(array),
            source=source,
            fingerprint=fingerprint,
        )


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Say of which file it is that an error tells."""
    try:
        yield
    except (FileError, ImportError):
        raise
    except TooLargeError as error:
        raise FileError(f"{str(path)!r}: {error}: --memory allows more") from error
    except (TypeError, ValueError) as error:
        raise FileError(f"{str(path)!r}: {reason(error)}") from error
    except Exception as error:  # whatever zipfile, Pillow, Zarr and those below them raise
        raise cannot("read", path, error) from error


def _open_file(
    path: Path, layout: str, name: str | None, most_bytes: int, stack: ExitStack
) -> Callable[[], Any]:
    """Find out how to get the array."""
    suffix = path.suffix.lower()
    check_file(path)
    if suffix == ".npz":
        return _map_maps(_unpack(path, name, stack))
    if name is not None:
        raise FileError(f"{str(path)!r} holds one array, without a name; {name!r} was asked for")
    if suffix == ".npy":
        return _map_maps(stack.enter_context(path.open("rb")))
    if suffix in IMAGE_SUFFIXES:
        pixels = _load_map(path, layout, most_bytes)
        return lambda: pixels
    known = ", ".join((".npy", ".npz", ".zarr", *IMAGE_SUFFIXES))
    raise FileError(f"{str(path)!r} must be a directory of Zarr or end in one of {known}")


def is_folder(path: Path) -> bool:
    """Whether it is a directory of photographs, and not Zarr's; FileError if nothing is there."""
    try:
        is_directory = stat.S_ISDIR(path.stat().st_mode)
    except OSError as error:
        raise cannot("read", path, error) from error
    return is_directory and path.suffix.lower() != ".zarr" and not is_zarr(path)


def open_photographs(
    folder: Path, boxes: BoxFile, layout: str, most_bytes: int
) -> tuple[FeatureFile, ...]:
    """Open the images that boxes name, each a map of its own size; one at a time is decoded.

    Grey ones among others in colours have three equal channels.

    Raises
    ------
    FileError
        If a name leads out of the folder, or to no image; it says where the name stands.
    """
    if not boxes.file_names:
        raise FileError(f"there are no boxes on images in {str(folder)!r}")
    load = lru_cache(maxsize=1)(_load_map)
    kinds = []
    for index, name in enumerate(boxes.file_names):
        path = folder / name
        try:
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise FileError(f"{name!r} is no name of a file in {str(folder)!r}")
            with _errors_of(path):
                kinds.append((path, *describe(path, most_bytes), _fingerprint(path)))
        except FileError as error:
            raise FileError(f"{boxes.where_named(index)}: {error}") from error.__cause__
    channels = max(shape[2] for _, shape, *_ in kinds)
    return tuple(
        FeatureFile(
            path=path,
            array_name=None,
            shape=(1, channels, h, w) if layout == "NCHW" else (1, h, w, channels),
            dtype=dtype,
            layout=layout,
            renew=partial(load, path, layout, most_bytes, channels),
            copies=False,
            source=path,
            fingerprint=fingerprint,
            first_image=index,
        )
        for index, (path, (h, w, _), dtype, fingerprint) in enumerate(kinds)
    )


def _load_map(
    path: Path, layout: str, most_bytes: int, channels: int | None = None
) -> NDArray[np.unsignedinteger]:
    pixels = load_pixels(path, most_bytes)
    height, width, own = pixels.shape
    maps = np.broadcast_to(pixels, (1, height, width, channels or own))
    return maps if layout == "NHWC" else np.moveaxis(maps, -1, 1)


def _map_maps(file: IO[bytes]) -> Callable[[], NDArray[Any]]:
    header, renew = map_array(file)
    if header.is_fortran:
        raise ValueError("it is in Fortran order, which scatters each map: save a C-ordered copy")
    return renew


def _unpack(path: Path, name: str | None, stack: ExitStack) -> IO[bytes]:
    """Unpack a member, up to the size in its header, into a file that ends with this process."""
    unpacked = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  # the stack is one
    with zipfile.ZipFile(path) as archive:
        members = {member.removesuffix(".npy"): member for member in archive.namelist()}
        info = archive.getinfo(members[_only(path, members, name)])
        # LZMA takes what memory the file says.
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{info.filename!r} in it is packed as NumPy does not write it")
        with archive.open(info) as member:
            begin = member.read(HEADER_BYTES)
            end = parse_header(begin).end
            try:
                reserve(unpacked.fileno(), end)
                for part in chain([begin], iter(lambda: member.read(COPIED_BYTES), b"")):
                    if unpacked.tell() + len(part) > end:
                        raise ValueError(f"{info.filename!r} in it goes on after its array")
                    unpacked.write(part)
            except OSError as error:
                raise cannot(f"unpack into {tempfile.gettempdir()!r}", path, error) from error
    unpacked.truncate()
    unpacked.seek(0)
    return unpacked


def _open_zarr(path: Path, name: str | None, most_bytes: int) -> tuple[Callable[[], Any], Path]:
    import zarr

    from .blosc import refuse_short_chunks

    with refuse_short_chunks():
        try:
            found = zarr.open(path, mode="r")
        except Exception as error:
            raise cannot("read", path, error) from error
        if isinstance(found, zarr.Group):
            found = found[_only(path, dict(found.arrays()), name)]
        elif name is not None:
            raise FileError(f"{str(path)!r} holds one array only, not {name!r}")
    chunk_bytes = math.prod(found.chunks) * found.dtype.itemsize
    check_size(f"its chunks of {found.chunks}", chunk_bytes, most_bytes)
    return lambda: found, path / found.path


def _only(path: Path, names: dict[str, Any], wanted: str | None) -> str:
    """Choose the array that is meant."""
    if wanted in names:
        return str(wanted)
    if wanted is None and len(names) == 1:
        return next(iter(names))
    listed = ", ".join(map(repr, sorted(names))) or "none"
    raise FileError(f"{str(path)!r} holds the arrays {listed}: name one of them with --array")


def _fingerprint(path: Path) -> str:
    """What identifies a file, or a directory's files, without reading them: names, sizes, times.

    This includes the time of the last change of any kind: programs can set back the other.
    """
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        status = file.stat()
        times = f" {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\n"
        digest.update(os.fsencode(file.relative_to(path)) + times.encode())
    return digest.hexdigest()


def _canvas(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros that take memory only where they are written, page by page."""
    # In a large np.zeros each byte written takes 2 MiB: NumPy asks for huge pages.
    pages = mmap.mmap(-1, max(math.prod(shape) * dtype.itemsize, 1))
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        pages.madvise(mmap.MADV_NOHUGEPAGE)
    flat = np.frombuffer(pages, dtype.newbyteorder("="), count=math.prod(shape))
    return flat.reshape(shape)
