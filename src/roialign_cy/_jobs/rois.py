"""Boxes in files, and where in its file each of them stands."""

from __future__ import annotations

import csv
import json
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _arrays, boxes
from .._rois import normalise_rois
from ._errors import FileError, cannot, reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._spec import CallSpec

COLUMNS = ("image", "x1", "y1", "x2", "y2")
_COCO_NAMES = {"images", "annotations", "id", "image_id", "bbox"}


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
    """

    path: Path
    rois: NDArray[np.floating]
    place: Callable[[int], str]
    num_images: int | None = None

    def check(self, num_images: int, spec: CallSpec) -> None:
        """Raise FileError for the first box that cannot be pooled on so many maps."""
        if self.num_images not in (None, num_images):
            raise FileError(
                f"{str(self.path)!r} lists {self.num_images} images, but there are "
                f"{num_images} maps"
            )
        fault = _arrays.find_fault(self.rois, num_images, spec)
        if fault is not None:
            row, text = fault
            raise FileError(f"{str(self.path)!r}, {self.place(row)}: {text}")


def read_boxes(path: Path) -> BoxFile:
    """Read boxes from ``.csv``, ``.npy`` or COCO's ``.json``.

    Raises
    ------
    FileError
        If it is no such file, or a row of it is no box.
    """
    readers = {".csv": _read_csv, ".npy": _read_npy, ".json": _read_coco}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise FileError(f"{str(path)!r} must end in one of {', '.join(readers)}")
    try:
        if path.exists() and not path.is_file():
            raise FileError(f"{str(path)!r} is no file")
        return reader(path)
    except FileError:
        raise
    except (EOFError, OSError, csv.Error) as error:
        raise cannot("read", path, error) from error
    except (RecursionError, TypeError, ValueError) as error:
        raise FileError(f"{str(path)!r}: {reason(error)}") from error


def _read_npy(path: Path) -> BoxFile:
    with path.open("rb") as file:
        try:
            np.lib.format.read_magic(file)
        except ValueError:
            raise FileError(f"{str(path)!r}: it is no .npy file, but for its name") from None
        file.seek(0)
        content = np.lib.format.read_array(file, allow_pickle=False)
    rois = normalise_rois(content, num_images=0)
    return BoxFile(path, rois, lambda row: f"row {row}")


def _read_csv(path: Path) -> BoxFile:
    """Read rows of five numbers, or of more under a header that names these five."""
    # A million boxes as lists of Python's numbers would take more memory than the whole job.
    values, lines = array("d"), array("q")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        picked: tuple[int, ...] = ()
        width = len(COLUMNS)
        for cells in reader:
            where = f"{str(path)!r}, line {reader.line_num}"
            if len(cells) <= 1 and not "".join(cells).strip():
                continue
            if not picked:
                picked = tuple(range(width))
                if not _is_number(cells[0]):
                    picked, width = _columns(cells, where), len(cells)
                    continue
            if len(cells) != width:
                raise FileError(f"{where}: a row must have {width} columns, got {len(cells)}")
            try:
                values.extend([float(cells[index]) for index in picked])
            except ValueError:
                text = ",".join(cells)
                raise FileError(f"{where}: a box must be of numbers, got {text!r}") from None
            lines.append(reader.line_num)
    if not picked:
        raise FileError(f"{str(path)!r}: it is empty; where there are no boxes, a header is needed")
    rois = np.array(values, np.float64).reshape(-1, len(COLUMNS))
    return BoxFile(path, rois, lambda row: f"line {lines[row]}")


def _columns(header: list[str], where: str) -> tuple[int, ...]:
    names = [name.strip().lower() for name in header]
    missing = [column for column in COLUMNS if column not in names]
    if missing and any(mark in cell for cell in header for mark in ";\t"):
        raise FileError(f"{where}: columns must be separated by commas")
    if missing:
        raise FileError(
            f"{where}: the columns must be {','.join(COLUMNS)}: {','.join(missing)} missing "
            f"in {','.join(header)!r}"
        )
    repeated = [column for column in COLUMNS if names.count(column) > 1]
    if repeated:
        raise FileError(f"{where}: there is more than one column {','.join(repeated)}")
    return tuple(names.index(column) for column in COLUMNS)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_coco(path: Path) -> BoxFile:
    """Read the annotations of a file of COCO's, whose images are counted as it lists them."""
    # Its polygons would take many times the memory of its boxes.
    content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_without_rest)
    try:
        listed, annotations = content["images"], content["annotations"]
        if not (isinstance(listed, list) and isinstance(annotations, list)):
            raise TypeError
        indices = {image["id"]: index for index, image in enumerate(listed)}
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
            image_id, box = annotation["image_id"], annotation["bbox"]
            is_known = image_id in indices
            x, y, width, height = map(float, box)
        except (KeyError, OverflowError, TypeError, ValueError):
            raise FileError(
                f"{where}: it must have an 'image_id' and a 'bbox' of four numbers, "
                f"got {json.dumps(annotation)[:80]}"
            ) from None
        if not is_known:
            raise FileError(f"{where}: no image has its image_id, {image_id!r}")
        corners_and_sizes.extend((x, y, width, height))
        images.append(indices[image_id])
    rows = np.array(corners_and_sizes, np.float64).reshape(-1, 4)
    rois = boxes.from_xywh(rows, images=np.array(images))
    return BoxFile(path, rois, lambda row: f"annotations[{row}]", len(indices))


def _without_rest(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Keep what is read of an object of JSON."""
    return {name: value for name, value in pairs if name in _COCO_NAMES}
