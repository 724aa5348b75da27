"""Boxes in files, and where in its file each of them stands."""

from __future__ import annotations

import csv
import json
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _arrays, boxes
from .._rois import normalise_rois
from ._errors import FileError, cannot, check_file, reason
from .npy import read_npy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._spec import CallSpec

COLUMNS = ("image", "x1", "y1", "x2", "y2")
FILE_NAME = "file_name"
_END = "\x1aend of the boxes"
"""Added to what is read of a text, to see whether its last row ends there; in no file of boxes."""
_COCO_NAMES = {"images", "annotations", "id", "image_id", "bbox", "file_name"}


@dataclass(frozen=True)
class BoxFile:
    """The boxes of a job.

    Attributes
    ----------
    path : Path
    rois : ndarray of shape (K, 5)
    place : callable
        Where box k stands: ``"line 7"``.
    num_images : int or None
        How many images the file says there are.
    file_names : tuple of str
        Those of the images, if the boxes were read by them.
    """

    path: Path
    rois: NDArray[np.floating]
    place: Callable[[int], str]
    num_images: int | None = None
    file_names: tuple[str, ...] = ()

    def check(
        self, num_images: int, spec: CallSpec, levels: NDArray[np.intp] | None = None
    ) -> None:
        """Raise FileError for the first box that cannot be pooled on so many maps."""
        if self.num_images not in (None, num_images):
            raise FileError(
                f"{str(self.path)!r} lists {self.num_images} images, but there are "
                f"{num_images} maps"
            )
        fault = _arrays.find_fault(self.rois, num_images, spec, levels=levels)
        if fault is not None:
            row, text = fault
            raise FileError(f"{self._where(row)}: {text}")

    def where_named(self, image: int) -> str:
        """Where the first box of an image stands, with the name of the file."""
        return self._where(int(np.argmax(self.rois[:, 0] == image)))

    def _where(self, row: int) -> str:
        return f"{str(self.path)!r}, {self.place(row)}"


def read_boxes(path: Path, *, by_name: bool = False) -> BoxFile:
    """Read boxes from ``.csv``, ``.npy`` or COCO's ``.json``.

    ``by_name`` takes images by the names of their files, and counts those that have boxes.

    Raises
    ------
    FileError
        If it is no such file, or a row of it is no box.
    """
    readers = {".csv": _read_csv, ".npy": _read_npy, ".json": _read_coco}
    if by_name:
        readers = {".csv": _read_named_csv, ".json": _read_named_coco}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise FileError(f"{str(path)!r} must end in one of {', '.join(readers)}")
    try:
        check_file(path)
        return reader(path)
    except FileError:
        raise
    except (EOFError, OSError, csv.Error) as error:
        raise cannot("read", path, error) from error
    except (RecursionError, TypeError, ValueError) as error:
        raise FileError(f"{str(path)!r}: {reason(error)}") from error


def _read_npy(path: Path) -> BoxFile:
    rois = normalise_rois(read_npy(path), num_images=0)
    return BoxFile(path, rois, lambda row: f"row {row}")


def _read_named_csv(path: Path) -> BoxFile:
    return _read_csv(path, (FILE_NAME, *COLUMNS[1:]))


def _read_named_coco(path: Path) -> BoxFile:
    found = _read_coco(path)
    used, images = np.unique(found.rois[:, 0].astype(np.intp), return_inverse=True)
    found.rois[:, 0] = images
    names = found.file_names
    missing = [index for index in used if not names[index]]
    if missing:
        raise FileError(f"{str(path)!r}, images[{missing[0]}]: it must have a 'file_name'")
    file_names = tuple(names[index] for index in used)
    return replace(found, file_names=file_names, num_images=len(file_names))


def _read_csv(path: Path, columns: tuple[str, ...] = COLUMNS) -> BoxFile:
    """Read rows of five numbers, or of more under a header that names these five.

    Of images by the names of their files, the first is a text, and there has to be a header.
    """
    by_name = columns[0] == FILE_NAME
    line, first = next(_rows(path), (0, []))
    if not first:
        raise FileError(f"{str(path)!r}: it is empty; where there are no boxes, a header is needed")
    has_header = by_name or not _is_number(first[0])
    picked, width = tuple(range(len(columns))), len(columns)
    if has_header:
        picked, width = _columns(first, columns, f"{str(path)!r}, line {line}"), len(first)
    numbers = picked[1:] if by_name else picked
    # Of other columns a letter is kept: that they are there is checked. A row that is added at the
    # end is missing in the table if a quote before it is not closed: so would be other boxes.
    kinds = dict.fromkeys(numbers, "f8") | ({picked[0]: "O"} if by_name else {})
    dtype = [(str(index), kinds.get(index, "U1")) for index in range(width)]
    with path.open(encoding="utf-8-sig") as file:
        lines = (text for text in file if text.strip())
        try:
            table = np.loadtxt(
                chain(lines, [",".join(["nan"] * width)]),
                dtype,
                comments=None,
                delimiter=",",
                quotechar='"',
                skiprows=int(has_header),
                ndmin=1,
            )
            table, added = table[:-1], table[-1]
            if not np.isnan([added[str(index)] for index in numbers]).all():
                raise ValueError("the last row is within quotes")
        except ValueError as error:
            for line, cells in islice(_rows(path), has_header, None):
                _check_cells(cells, numbers, width, f"{str(path)!r}, line {line}")
            raise FileError(f"{str(path)!r}: {reason(error)}") from error
    names: dict[str, int] = {}
    if by_name:
        for name in table[str(picked[0])]:
            names.setdefault(name, len(names))
        table[str(picked[0])] = [names[name] for name in table[str(picked[0])]]
    rois = np.stack([table[str(index)].astype(np.float64) for index in picked], axis=1)

    def place(row: int) -> str:
        # Looked for only now: a million numbers of lines take longer than the boxes.
        return f"line {next(islice(_rows(path), row + has_header, None))[0]}"

    return BoxFile(path, rois, place, len(names) if by_name else None, tuple(names))


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Give the number of the line and the cells of each row, but of blank ones."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(chain(file, [_END]))
        line = 1
        for cells in reader:
            if cells == [_END]:
                return
            if cells and cells[-1].endswith(_END):
                raise FileError(f"{str(path)!r}, line {line}: a quote is opened and not closed")
            if len(cells) > 1 or "".join(cells).strip():
                yield reader.line_num, cells
            line = reader.line_num + 1


def _check_cells(cells: list[str], picked: tuple[int, ...], width: int, where: str) -> None:
    if len(cells) != width:
        raise FileError(f"{where}: a row must have {width} columns, got {len(cells)}")
    if not all(_is_number(cells[index]) for index in picked):
        raise FileError(f"{where}: a box must be of numbers, got {','.join(cells)[:80]!r}")


def _columns(header: list[str], columns: tuple[str, ...], where: str) -> tuple[int, ...]:
    names = [name.strip().lower() for name in header]
    missing = [column for column in columns if column not in names]
    if missing and any(mark in cell for cell in header for mark in ";\t"):
        raise FileError(f"{where}: columns must be separated by commas")
    if missing:
        raise FileError(
            f"{where}: the columns must be {','.join(columns)}: {','.join(missing)} missing "
            f"in {','.join(header)!r}"
        )
    repeated = [column for column in columns if names.count(column) > 1]
    if repeated:
        raise FileError(f"{where}: there is more than one column {','.join(repeated)}")
    return tuple(names.index(column) for column in columns)


def _is_number(text: str) -> bool:
    """Whether NumPy reads it as one: Python's own takes 1_0, too, and the digits of all scripts."""
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and "_" not in text


def _read_coco(path: Path) -> BoxFile:
    """Read the annotations of a file of COCO's, whose images are counted as it lists them."""
    # Its polygons would take many times the memory of its boxes.
    content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_without_rest)
    try:
        listed, annotations = content["images"], content["annotations"]
        if not (isinstance(listed, list) and isinstance(annotations, list)):
            raise TypeError
        indices = {_as_id(image["id"]): index for index, image in enumerate(listed)}
    except (KeyError, TypeError) as error:
        raise FileError(
            f"{str(path)!r}: it must have lists, 'images', with an 'id' each, and 'annotations'"
        ) from error
    for index, image in enumerate(listed):
        if indices[image["id"]] != index:
            raise FileError(f"{str(path)!r}, images[{index}]: another has its id, {image['id']!r}")
    corners_and_sizes, images = array("d"), array("q")
    for row, annotation in enumerate(annotations):
        where = f"{str(path)!r}, annotations[{row}]"
        try:
            image_id, box = _as_id(annotation["image_id"]), annotation["bbox"]
            if not (isinstance(box, list) and all(type(value) in (float, int) for value in box)):
                raise TypeError
            x, y, width, height = map(float, box)
        except (KeyError, OverflowError, TypeError, ValueError):
            raise FileError(
                f"{where}: it must have an 'image_id' and a 'bbox' of four numbers, "
                f"got {json.dumps(annotation)[:80]}"
            ) from None
        if image_id not in indices:
            raise FileError(f"{where}: no image has its image_id, {image_id!r}")
        corners_and_sizes.extend((x, y, width, height))
        images.append(indices[image_id])
    rows = np.array(corners_and_sizes, np.float64).reshape(-1, 4)
    rois = boxes.from_xywh(rows, images=np.array(images))
    names = (image.get("file_name") for image in listed)
    file_names = tuple(name if isinstance(name, str) else "" for name in names)
    return BoxFile(path, rois, lambda row: f"annotations[{row}]", len(indices), file_names)


def _as_id(value: Any) -> int | str | float:
    """Give what may name an image: to Python, true is 1."""
    if isinstance(value, bool) or not isinstance(value, int | str | float):
        raise TypeError
    return value


def _without_rest(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Keep what is read of an object of JSON."""
    return {name: value for name, value in pairs if name in _COCO_NAMES}
