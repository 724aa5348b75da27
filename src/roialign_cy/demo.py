"""What ``roialign demo`` computes: a photograph's features, and their pooling under one box.

Points on the map are in the document's coordinates: cells, origin at the bottom left, y up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import roialign_cy as ra

from . import _jobs

IMAGE_SIZE = 512
SUB_SAMPLING = 32
MAP_SIZE = IMAGE_SIZE // SUB_SAMPLING
BOX = (296, 320, 200, 145)
"""Top-left corner, width and height on the image, y up."""
OUTPUT_SIZE = (3, 3)
_CALL: dict[str, Any] = {
    "rois": ra.boxes.from_document([BOX], height=IMAGE_SIZE),
    "output_size": OUTPUT_SIZE,
    "spatial_scale": 1 / SUB_SAMPLING,
}
CHANNELS = ("red", "green", "blue", "luminance", "gradient x", "gradient y")

_MOST_IMAGE_BYTES = 1 << 30
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
    from PIL import ImageOps

    if path is None:
        from matplotlib.cbook import get_sample_data

        path = Path(get_sample_data("grace_hopper.jpg", asfileobj=False))
    try:
        with _jobs.open_image(path, _MOST_IMAGE_BYTES) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except Exception as error:  # Pillow raises anything for broken files
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
    pooled: NDArray[Any] = ra.roi_align(features, **_CALL, backend=backend)
    return pooled.reshape(-1, *OUTPUT_SIZE)


def explain_box(features: NDArray[Any], channel: int = 0) -> ra.Explanation:
    """Explain one channel of `pool_box`.

    Parameters
    ----------
    features : ndarray of shape (1, C, 16, 16)
    channel : int, default 0

    Returns
    -------
    Explanation
    """
    return ra.explain(features, **_CALL, channel=channel)


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
