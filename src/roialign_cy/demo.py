"""What ``roialign demo`` computes: a photograph's features, and their pooling under one box.

Points on the map are in the document's coordinates: cells, origin at the bottom left, y up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import roialign_cy as ra

IMAGE_SIZE = 512
SUB_SAMPLING = 32
MAP_SIZE = IMAGE_SIZE // SUB_SAMPLING
BOX = (296, 320, 200, 145)
"""Top-left corner, width and height on the image, y up."""
OUTPUT_SIZE = (3, 3)
CHANNELS = ("red", "green", "blue", "luminance", "gradient x", "gradient y")

_LUMINANCE_OF_RGB = np.array([0.2126, 0.7152, 0.0722], np.float32)  # Rec. 709


def load_photograph(path: Path | None = None) -> NDArray[np.uint8]:
    """Load a photograph, cut to its central square and resized to 512 x 512.

    Parameters
    ----------
    path : Path, optional
        An image file; by default the portrait of Grace Hopper that comes with Matplotlib.

    Returns
    -------
    ndarray of shape (512, 512, 3)

    Raises
    ------
    ValueError
        If the file cannot be read as an image.
    """
    from PIL import Image, ImageOps

    if path is None:
        from matplotlib.cbook import get_sample_data

        path = Path(get_sample_data("grace_hopper.jpg", asfileobj=False))
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
    # Beside OSError: what Pillow raises for broken PNGs and for absurd sizes.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot read {str(path)!r} as an image: {error}") from error
    return np.asarray(ImageOps.fit(upright, (IMAGE_SIZE, IMAGE_SIZE)))


def feature_map(photograph: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Sub-sample a photograph by 32: the mean of six simple features over each cell.

    Parameters
    ----------
    photograph : ndarray of shape (512, 512, 3)

    Returns
    -------
    ndarray of shape (1, 6, 16, 16)
        The `CHANNELS`: three colours and the luminance in 0 .. 1, and the size of the
        luminance's horizontal and vertical gradient per pixel.
    """
    colours = photograph.astype(np.float32) / 255
    luminance = colours @ _LUMINANCE_OF_RGB
    down, right = np.gradient(luminance)
    planes = np.stack([*np.moveaxis(colours, -1, 0), luminance, abs(right), abs(down)])
    blocks = planes.reshape(1, len(CHANNELS), MAP_SIZE, SUB_SAMPLING, MAP_SIZE, SUB_SAMPLING)
    means: NDArray[np.float32] = blocks.mean(axis=(3, 5))
    return means


def pool_box(features: NDArray[Any], backend: str | None = None) -> NDArray[Any]:
    """Pool the document's box to 3 x 3.

    Parameters
    ----------
    features : ndarray of shape (1, C, 16, 16)
    backend : str, optional
        Name of the backend.

    Returns
    -------
    ndarray of shape (C, 3, 3)
        Section (i, j) of the document is ``[:, j - 1, i - 1]``.
    """
    rois = ra.boxes.from_document([BOX], height=IMAGE_SIZE)
    scale = 1 / SUB_SAMPLING
    pooled: NDArray[Any] = ra.roi_align(
        features, rois, OUTPUT_SIZE, spatial_scale=scale, backend=backend
    )
    return pooled.reshape(-1, *OUTPUT_SIZE)


def values_at(
    features: NDArray[Any], points: list[tuple[float, float]], backend: str | None = None
) -> NDArray[Any]:
    """Interpolate a map at points of its own, one after the other.

    Parameters
    ----------
    features : ndarray of shape (1, C, H, W)
    points : list of (x, y)
    backend : str, optional
        Name of the backend.

    Returns
    -------
    ndarray of shape (len(points), C)
    """
    # A point is a box of no size: all of its samples are there.
    boxes = [(x, y, 0.0, 0.0) for x, y in points]
    rois = ra.boxes.from_document(boxes, height=features.shape[2])
    pooled: NDArray[Any] = ra.roi_align(features, rois, 1, backend=backend)
    return pooled.reshape(len(points), -1)


def map_box() -> tuple[float, float, float, float]:
    """Top-left corner, width and height of the box on the map."""
    x, y, w, h = (side / SUB_SAMPLING for side in BOX)
    return x, y, w, h


def point(i: int, j: int, n: int, m: int) -> tuple[float, float]:
    """Point (n, m) of section (i, j) on the map, by the document's formula."""
    x, y, w, h = map_box()
    t, k = OUTPUT_SIZE
    return x + w / k * (i - 1) + w / k**2 * n, y - h / t * (j - 1) - h / t**2 * m


def section_points(i: int, j: int) -> list[tuple[float, float]]:
    """Locate the four points of section (i, j), left to right, then top to bottom."""
    t, k = OUTPUT_SIZE
    return [point(i, j, n, m) for m in range(1, t) for n in range(1, k)]


def neighbours(coordinate: float) -> tuple[float, float]:
    """Centres of the two cells beside a coordinate, by the document's rule."""
    whole = int(coordinate)
    below = whole + 0.5 if coordinate - whole > 0.5 else whole - 0.5
    return below, below + 1
