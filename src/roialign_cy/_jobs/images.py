"""Images, of a few formats and bounded size."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._errors import check_file, check_size

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
"""Those of the suffixes. Pillow goes by the content and would run Ghostscript on PostScript."""
_PIXEL_BYTES = {"TIFF": 13, "WEBP": 21}
"""Most that a pixel takes while it is read, by decoders that copy more than the others."""
_USUAL_PIXEL_BYTES = 9
_STRIP_PIXELS = 1 << 18
_CHANNELS = {"L": 1, "I;16": 1, "RGB": 3}
_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)  # of Exif


@contextmanager
def open_image(path: Path, most_bytes: int) -> Iterator[ImageFile]:
    """Open an image without decoding it.

    Parameters
    ----------
    path : Path
    most_bytes : int
        How much memory decoding it may take.
    """
    from PIL import Image

    check_file(path)
    # Pillow warns, and logs, about sizes that are checked here and about damage it can cope with.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with (
        warnings.catch_warnings(action="ignore"),
        Image.open(path, formats=_FORMATS) as image,
    ):
        width, height = image.size
        check_size(f"its {width} x {height} pixels", memory_of(image), most_bytes)
        yield image


def memory_of(image: ImageFile) -> int:
    """Return an upper bound on the bytes that loading an image takes."""
    width, height = image.size
    return width * height * _PIXEL_BYTES.get(image.format or "", _USUAL_PIXEL_BYTES)


def describe(path: Path, most_bytes: int) -> tuple[tuple[int, int, int], np.dtype[Any]]:
    """Give the shape and dtype that `load_pixels` would, without decoding the image."""
    with open_image(path, most_bytes) as image:
        width, height = image.size
        if image.getexif().get(_ORIENTATION, 1) in _ON_ITS_SIDE:
            width, height = height, width
        mode, dtype = _pixel_kind(image)
        return (height, width, _CHANNELS[mode]), dtype


def load_pixels(path: Path, most_bytes: int) -> NDArray[np.unsignedinteger]:
    """Load an image of one frame, as (height, width, channels).

    In colours it is of 8 bits, in grey of 8 or 16.
    """
    from PIL import ImageOps

    with open_image(path, most_bytes) as image:
        mode, dtype = _pixel_kind(image)
        ImageOps.exif_transpose(image, in_place=True)
        upright: Image = image if mode in (image.mode, "I;16") else image.convert(mode)
    del image
    width, height = upright.size
    pixels: NDArray[np.unsignedinteger] = np.empty((height, width, _CHANNELS[mode]), dtype)
    # In strips: for the whole image Pillow would make two more copies.
    rows = max(_STRIP_PIXELS // width, 1)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        strip = np.asarray(upright.crop((0, top, width, bottom)))
        pixels[top:bottom] = strip.reshape(bottom - top, width, _CHANNELS[mode])
    return pixels


def _pixel_kind(image: ImageFile) -> tuple[str, np.dtype[Any]]:
    """What the pixels of an image become: a mode of `_CHANNELS`, and the type of a value."""
    frames = getattr(image, "n_frames", 1)
    dtype: type[np.unsignedinteger]
    raw_modes = {_raw_mode(tile[3]) for tile in image.tile}
    # Older versions of Pillow widen grey values of 16 bits.
    if image.mode.startswith("I;16") or (
        image.mode == "I" and raw_modes and raw_modes <= {"I;16", "I;16B"}
    ):
        mode, dtype = "I;16", np.uint16
    elif image.mode.startswith(("F", "I")):
        raise ValueError(f"its values ({image.mode}) are not of 8 or 16 bits: save them as .npy")
    # Pillow drops half of the bits of colours; BGR;16 is of 5 or 6 bits each.
    elif re.search(r"(?<!BGR);16", str(raw_modes)):
        raise ValueError("its colours are of 16 bits: save them as .npy")
    else:
        mode, dtype = "L" if image.mode in ("1", "L", "LA") else "RGB", np.uint8
    if frames > 1 and image.format != "MPO":  # a photograph and its previews
        raise ValueError(f"it has {frames} frames: save them as .npy")
    return mode, np.dtype(dtype)


def _raw_mode(arguments: Any) -> str:
    """How the values of a tile are packed, by what Pillow keeps for its decoder."""
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)
