"""Where the result of a job goes: a ``.npy`` file or a Zarr array, either complete or absent."""

from __future__ import annotations

import errno
import math
import os
import shutil
import stat
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._errors import FileError, reason
from .npy import HEADER_BYTES, Header, parse_header

if TYPE_CHECKING:
    from numpy.typing import NDArray

ZARR_CHUNK_BYTES = 4 << 20
"""Boxes are put together to chunks of this size."""
PACKED_BYTES = 32 << 20
"""Chunks of this size together are packed at a time; but always one."""
_ROWS = "rows.npy"
"""In the directory of a Zarr array, while it is not whole."""
BINARY = getattr(os, "O_BINARY", 0)
NO_LINK = getattr(os, "O_NOFOLLOW", 0)
"""Flags with which files of a run are opened, where the system has them: others may have put a
link in the way, to a file that is not to be written."""
_ZARR_METADATA = ("zarr.json", ".zarray", ".zgroup")


class Places(NamedTuple):
    """The path of the output, and those beside it that a run uses until it is complete."""

    output: Path
    partial: Path
    progress: Path
    replaced: Path

    @classmethod
    def of(cls, output: Path) -> Places:
        """Those of an output."""
        suffixes = ("partial", "progress", "replaced")
        return cls(output, *(output.with_name(f"{output.name}.{suffix}") for suffix in suffixes))


class Output(ABC):
    """An array of shape (K, C, rows, cols), or (K, rows, cols, C), on its way to the disk."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path = path
        self.shape = shape
        self.dtype = dtype
        self.box_bytes = math.prod(shape[1:]) * dtype.itemsize

    @abstractmethod
    def create(self) -> None:
        """Create the array, where there is nothing yet."""

    @abstractmethod
    def open(self) -> None:
        """Open the array of an earlier run; raise FileError if it is not the one that run made."""

    @abstractmethod
    def write(self, boxes: NDArray[np.intp], channels: slice, pooled: NDArray[Any]) -> None:
        """Put the results of some boxes, ascending, in their place."""

    @abstractmethod
    def flush(self) -> None:
        """Return when everything written is on the disk."""

    def finish(self) -> None:  # noqa: B027  # most need no such step
        """Make the array from what was written, when that is complete."""

    @abstractmethod
    def close(self) -> None:
        """Close the files."""

    def _changed(self, what: str) -> FileError:
        return FileError(
            f"{str(self.path)!r} is not as the earlier run has left it: {what}; "
            "--overwrite, without --resume, starts over"
        )


class NpyOutput(Output):
    """A ``.npy`` file, written by ordinary writes.

    A full disk is then an error of the write; through a memory map it would be a signal.
    """

    def create(self) -> None:
        header = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": self.shape,
        }
        with self.path.open("xb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            file.flush()
            reserve(file.fileno(), file.tell() + self.box_bytes * self.shape[0])
        self.open()

    def open(self) -> None:
        self._file = FileIO(os.open(self.path, os.O_RDWR | NO_LINK | BINARY), "r+")
        try:
            self._verify()
        except BaseException:
            self._file.close()
            raise

    def _verify(self) -> None:
        try:
            found = parse_header(self._file.read(HEADER_BYTES))
        except ValueError as error:
            raise self._changed(reason(error)) from error
        self._offset = found.offset
        expected = Header(self.shape, False, self.dtype, found.offset)
        if found != expected:
            raise self._changed(f"its header is {found[:3]}, not {expected[:3]}")
        size = os.fstat(self._file.fileno()).st_size
        if size != expected.end:
            raise self._changed(f"it has {size} bytes, not {expected.end}")

    def write(self, boxes: NDArray[np.intp], channels: slice, pooled: NDArray[Any]) -> None:
        is_part = pooled.shape[1:] != self.shape[1:]  # then boxes do not lie beside each other
        within = channels.start * self.box_bytes // self.shape[1] if is_part else 0
        ends = range(1, len(boxes)) if is_part else np.flatnonzero(np.diff(boxes) != 1) + 1
        first = 0
        for last in (*ends, len(boxes)):
            self._file.seek(self._offset + int(boxes[first]) * self.box_bytes + within)
            left = pooled[first:last].data.cast("B")
            while left:
                left = left[self._file.write(left) :]
            first = last

    def read(self, first: int, last: int) -> NDArray[Any]:
        """Return the results of some boxes."""
        shape = (last - first, *self.shape[1:])
        offset = self._offset + first * self.box_bytes
        return np.fromfile(self.path, self.dtype, math.prod(shape), offset=offset).reshape(shape)

    def flush(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class ZarrOutput(Output):
    """A Zarr array in a directory.

    Boxes come in the order of the maps, which scatters them over the chunks: packed at once, a
    chunk would be read, unpacked and packed again for nearly every box. So rows go to a file in
    the directory first, and are packed when all are there.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        super().__init__(path, shape, dtype)
        import zarr  # here, so that its absence shows before anything is written

        self._zarr = zarr
        self._rows = NpyOutput(path / _ROWS, shape, dtype)
        boxes = max(min(ZARR_CHUNK_BYTES // max(self.box_bytes, 1), shape[0]), 1)
        self._chunks = (boxes, *(max(size, 1) for size in shape[1:]))

    def create(self) -> None:
        self.path.mkdir()
        self._array = self._zarr.create_array(
            self.path,
            shape=self.shape,
            chunks=self._chunks,
            dtype=self.dtype,
        )
        self._rows.create()

    def open(self) -> None:
        try:
            self._array = self._zarr.open_array(self.path, mode="r+")
        except Exception as error:  # whatever Zarr raises for files that are not its own
            raise self._changed(reason(error)) from error
        found = (self._array.shape, self._array.dtype, self._array.chunks)
        expected = (self.shape, self.dtype, self._chunks)
        if found != expected:
            raise self._changed(f"its shape, dtype and chunks are {found}, not {expected}")
        if not self._rows.path.exists():
            raise self._changed(f"{_ROWS!r} is missing in it")
        self._rows.open()

    def write(self, boxes: NDArray[np.intp], channels: slice, pooled: NDArray[Any]) -> None:
        self._rows.write(boxes, channels, pooled)

    def flush(self) -> None:
        self._rows.flush()

    def finish(self) -> None:
        for left in self.path.rglob("*.partial"):  # chunks that a killed run was just writing
            left.unlink()

        def pack(first: int) -> None:
            last = min(first + self._chunks[0], self.shape[0])
            self._array[first:last] = self._rows.read(first, last)

        # Zarr writes chunks side by side too, but returns at the first that fails, while the
        # others are still being written, and directories made, where the caller tidies up.
        chunk_bytes = max(self._chunks[0] * self.box_bytes, 1)
        with ThreadPoolExecutor(max(PACKED_BYTES // chunk_bytes, 1)) as threads:
            list(threads.map(pack, range(0, self.shape[0], self._chunks[0])))
        for path in (*self.path.rglob("*"), self.path):  # Zarr leaves that to the system
            sync(path)

    def close(self) -> None:
        self._rows.close()


_KINDS: dict[str, type[Output]] = {".npy": NpyOutput, ".zarr": ZarrOutput}


def output_kind(path: Path) -> type[Output]:
    """The kind of output that a file's name stands for."""
    try:
        return _KINDS[path.suffix.lower()]
    except KeyError:
        raise FileError(
            f"the output must end in one of {', '.join(_KINDS)}, got {str(path)!r}"
        ) from None


def keep_permissions(places: Places, *, to_write: bool = False) -> None:
    """Give the partial output the permissions of the one that it is to replace, if any.

    ``to_write`` adds those that a run needs until then.
    """
    if places.output.exists():
        is_folder = places.partial.is_dir()
        mode = stat.S_IMODE(places.output.stat().st_mode)
        if is_folder and not places.output.is_dir():
            mode |= (mode & 0o444) >> 2  # who may read it may look into it
        elif not is_folder:
            mode &= 0o666
        if to_write:
            mode |= 0o700 if is_folder else 0o600
        places.partial.chmod(mode)


def replace(places: Places) -> None:
    """Put the complete output in its place, replacing what may be there."""
    path, new = places.output, places.partial
    keep_permissions(places)
    # A directory that is not empty cannot be replaced at once.
    if path.exists() and (new.is_dir() or path.is_dir()):
        path.rename(places.replaced)
    new.replace(path)
    sync(path.parent)
    settle(places)


def settle(places: Places) -> None:
    """Remove what is no longer needed once the output is in its place."""
    if places.output.is_dir():
        remove(places.output / _ROWS)
    remove(places.replaced)


def is_zarr(folder: Path) -> bool:
    """Whether a directory has the metadata of Zarr."""
    return any((folder / name).exists() for name in _ZARR_METADATA)


def remove(path: Path) -> None:
    """Remove a file or a directory, or nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Return when a file, or a directory's list of files, is on the disk."""
    if os.name == "nt" and path.is_dir():  # Windows opens no directories
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def reserve(descriptor: int, nbytes: int) -> None:
    """Reserve the space on the disk now: a full disk then shows before hours of work, not after."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, nbytes)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
    os.truncate(descriptor, nbytes)
