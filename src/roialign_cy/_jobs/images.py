"""Images: of a few formats, and no larger than may be."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

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


@contextmanager
def open_image(path: Path, most_bytes: int) -> Iterator[ImageFile]:
    """Open an image, which is not decoded yet.

    Parameters
    ----------
    path : Path
    most_bytes : int
        What decoding it may take.
    """
    from PIL import Image

    check_file(path)
    # Pillow warns, and logs, of sizes that are checked here and of damage that it can live with.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with (
        warnings.catch_warnings(action="ignore"),
        Image.open(path, formats=_FORMATS) as image,
    ):
        width, height = image.size
        check_size(f"its {width} x {height} pixels", memory_of(image), most_bytes)
        yield image


def memory_of(image: ImageFile) -> int:
    """Give the bytes that it takes at most to load an image."""
    width, height = image.size
    return width * height * _PIXEL_BYTES.get(image.format or "", _USUAL_PIXEL_BYTES)


def load_pixels(path: Path, most_bytes: int) -> NDArray[np.uint8]:
    """Load an image of 8 bits and one frame, grey or in colours, as (height, width, channels)."""
    from PIL import ImageOps

    with open_image(path, most_bytes) as image:
        if image.mode.startswith(("F", "I")):
            raise ValueError(f"its values ({image.mode}) are not of 8 bits: save them as .npy")
        # Pillow drops half of the bits of colours; BGR;16 is of 5 or 6 bits each.
        if re.search(r"(?<!BGR);16", str([tile[3] for tile in image.tile])):
            raise ValueError("its values are of 16 bits: save them as .npy")
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":  # a photograph and its previews
            raise ValueError(f"it has {frames} frames: save them as .npy")
        ImageOps.exif_transpose(image, in_place=True)
        mode = "L" if image.mode in ("1", "L") else "RGB"
        upright: Image = image if image.mode == mode else image.convert(mode)
    del image
    width, height = upright.size
    pixels = np.empty((height, width, len(mode)), np.uint8)
    # In strips: of the whole, Pillow would make two copies more.
    rows = max(_STRIP_PIXELS // width, 1)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        strip = np.asarray(upright.crop((0, top, width, bottom)))
        pixels[top:bottom] = strip.reshape(bottom - top, width, len(mode))
    return pixels
