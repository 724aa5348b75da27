"""Where the result of a job goes: a ``.npy`` file or a Zarr array, whole or not there."""

from __future__ import annotations

import errno
import math
import os
import shutil
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._errors import FileError, reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

ZARR_CHUNK_BYTES = 4 << 20
"""Boxes are put together to chunks of this size."""


_ZARR_METADATA = ("zarr.json", ".zarray", ".zgroup")


class Places(NamedTuple):
    """The output's path, and those beside it that a run makes use of until it is whole."""

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
        """Make the array, where nothing is yet."""

    @abstractmethod
    def open(self) -> None:
        """Open the array of an earlier run; raise FileError if it is not what that has made."""

    @abstractmethod
    def write(self, boxes: NDArray[np.intp], channels: slice, pooled: NDArray[Any]) -> None:
        """Put the results of some boxes, ascending, in their place."""

    @abstractmethod
    def flush(self) -> None:
        """Return when everything that was written is on the disk."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the files."""

    def _changed(self, what: str) -> FileError:
        return FileError(
            f"{str(self.path)!r} is not as the earlier run has left it: {what}; "
            "--overwrite, without --resume, starts over"
        )


class NpyOutput(Output):
    """A ``.npy`` file, written by ordinary writes.

    A full disk is an error of a write. Through a memory map it would be a signal.
    """

    def create(self) -> None:
        header = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": self.shape,
        }
        with self.path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            file.flush()
            _reserve(file.fileno(), file.tell() + self.box_bytes * self.shape[0])
        self.open()

    def open(self) -> None:
        self._file = self.path.open("r+b", buffering=0)
        try:
            self._verify()
        except BaseException:
            self._file.close()
            raise

    def _verify(self) -> None:
        try:
            version = np.lib.format.read_magic(self._file)
            header = np.lib.format.read_array_header_1_0(self._file)
        except ValueError as error:
            raise self._changed(reason(error)) from error
        expected = ((1, 0), (self.shape, False, self.dtype))
        if (version, header) != expected:
            raise self._changed(f"its header is {version, header}, not {expected}")
        self._offset = self._file.tell()
        size = os.fstat(self._file.fileno()).st_size
        expected_size = self._offset + self.shape[0] * self.box_bytes
        if size != expected_size:
            raise self._changed(f"it has {size} bytes, not {expected_size}")

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

    def flush(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class ZarrOutput(Output):
    """A Zarr array in a directory."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        super().__init__(path, shape, dtype)
        import zarr  # here, so that its absence shows before anything is written

        self._zarr = zarr
        self._unflushed: set[int] = set()

    def create(self) -> None:
        self._array = self._zarr.create_array(
            self.path,
            shape=self.shape,
            chunks=self._chunks,
            dtype=self.dtype,
        )

    @property
    def _chunks(self) -> tuple[int, ...]:
        boxes = max(min(ZARR_CHUNK_BYTES // max(self.box_bytes, 1), self.shape[0]), 1)
        return (boxes, *(max(size, 1) for size in self.shape[1:]))

    def open(self) -> None:
        try:
            self._array = self._zarr.open_array(self.path, mode="r+")
        except (KeyError, OSError, TypeError, ValueError) as error:
            raise self._changed(reason(error)) from error
        found = (self._array.shape, self._array.dtype, self._array.chunks)
        expected = (self.shape, self.dtype, self._chunks)
        if found != expected:
            raise self._changed(f"its shape, dtype and chunks are {found}, not {expected}")
        for left in self.path.rglob("*.partial"):  # chunks that were just being written
            left.unlink()

    def write(self, boxes: NDArray[np.intp], channels: slice, pooled: NDArray[Any]) -> None:
        if self.shape[1:] == pooled.shape[1:]:
            channels = slice(None)
        chunks, firsts = np.unique(boxes // self._array.chunks[0], return_index=True)
        parts = map(slice, firsts, [*firsts[1:], len(boxes)])

        def write_chunk(part: slice) -> None:
            self._array.oindex[boxes[part], channels] = pooled[part]

        # Zarr writes chunks side by side too, but returns at the first that fails, while the
        # others are still being written, and directories made, where the caller tidies up.
        with ThreadPoolExecutor() as threads:
            list(threads.map(write_chunk, parts))
        self._unflushed.update(chunks.tolist())

    def flush(self) -> None:
        """Flush the chunks and the directories: Zarr itself leaves that to the system."""
        keys = [
            self._array.metadata.encode_chunk_key((chunk, 0, 0, 0)) for chunk in self._unflushed
        ]
        folders = {self.path}
        for path in (self.path / key for key in ("zarr.json", *keys)):
            if path.exists():  # a chunk of zeros does not
                sync(path)
                folders.update(path.parents[: len(path.relative_to(self.path).parts)])
        for folder in folders:
            sync(folder)
        self._unflushed.clear()

    def close(self) -> None:
        pass


_KINDS: dict[str, type[Output]] = {".npy": NpyOutput, ".zarr": ZarrOutput}


def output_kind(path: Path) -> type[Output]:
    """The kind of output that a file's name stands for."""
    try:
        return _KINDS[path.suffix.lower()]
    except KeyError:
        raise FileError(
            f"the output must end in one of {', '.join(_KINDS)}, got {str(path)!r}"
        ) from None


def replace(places: Places) -> None:
    """Put the whole output in its place, and in that of what may be there."""
    path, new = places.output, places.partial
    # A directory that is not empty cannot be replaced at once.
    if path.exists() and (new.is_dir() or path.is_dir()):
        path.rename(places.replaced)
    new.replace(path)
    sync(path.parent)
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


def _reserve(descriptor: int, nbytes: int) -> None:
    """Take the room on the disk now: a full disk then shows before hours of work, not after."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, nbytes)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
    os.truncate(descriptor, nbytes)
