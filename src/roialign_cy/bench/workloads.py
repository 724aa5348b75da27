"""The named workloads: what real networks ask of RoI Align, as data."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class RandomBoxes:
    """Boxes of random size and place inside the map, dealt out to the images in turn.

    Attributes
    ----------
    count : int
        Boxes in all, over all images.
    smallest, largest : float
        Range of their width and height, in cells of the map.
    """

    count: int
    smallest: float
    largest: float

    def draw(self, workload: Workload, rng: np.random.Generator) -> NDArray[Any]:
        """Draw an array of shape (count, 5) in input units."""
        limits = np.array([workload.width, workload.height])
        extent = rng.uniform(self.smallest, np.minimum(self.largest, limits), (self.count, 2))
        near = rng.uniform(0, limits - extent)
        rois = np.empty((self.count, 5))
        rois[:, 0] = np.arange(self.count) % workload.batch
        rois[:, 1:3] = near / workload.spatial_scale
        rois[:, 3:5] = (near + extent) / workload.spatial_scale
        return rois


@dataclass(frozen=True, slots=True)
class OneBox:
    """One given box ``x1, y1, x2, y2`` of the first image, in input units."""

    corners: tuple[float, float, float, float]
    count: int = 1

    def draw(self, workload: Workload, rng: np.random.Generator) -> NDArray[Any]:
        """Give the box as an array of shape (1, 5)."""
        return np.array([[0, *self.corners]])


@dataclass(frozen=True, slots=True)
class Workload:
    """One pooling call; its arrays are drawn from a seed that its name gives.

    Attributes
    ----------
    batch, channels, height, width : int
        Shape of the feature map, whatever the layout.
    boxes : RandomBoxes or OneBox
        Where the boxes come from.
    sampling_ratio : int or None
        Samples per section and axis, 0 for the adaptive count, None for the convention's own.
    modes : tuple of str
        The modes it is meant for.
    """

    name: str
    batch: int
    channels: int
    height: int
    width: int
    boxes: RandomBoxes | OneBox
    output_size: tuple[int, int]
    sampling_ratio: int | None
    spatial_scale: float
    convention: str = "detectron2"
    dtype: str = "float32"
    layout: str = "NCHW"
    modes: tuple[str, ...] = ("avg", "max", "max_weighted")

    def features(self) -> NDArray[Any]:
        """Draw the feature map, of values in [0, 1)."""
        # Nothing negative: a maximum that starts from 0 (OpenVINO) then agrees with the others.
        draw = np.float64 if self.dtype == "float64" else np.float32
        values = self._rng("features").random(self.shape, dtype=draw)
        return values.astype(self.dtype, copy=False)

    def rois(self) -> NDArray[Any]:
        """Draw the boxes, an array of shape (K, 5), float64 if the features are, else float32."""
        boxes = self.boxes.draw(self, self._rng("boxes"))
        return boxes.astype("float64" if self.dtype == "float64" else "float32")

    def options(self, mode: str, num_threads: int | None) -> dict[str, Any]:
        """Everything that `roialign_cy.roi_align` is given besides arrays and a backend."""
        return {
            "output_size": self.output_size,
            "convention": self.convention,
            "spatial_scale": self.spatial_scale,
            "sampling_ratio": self.sampling_ratio,
            "mode": mode,
            "layout": self.layout,
            "num_threads": num_threads,
        }

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the features in this layout."""
        if self.layout == "NHWC":
            return self.batch, self.height, self.width, self.channels
        return self.batch, self.channels, self.height, self.width

    @property
    def bytes_moved(self) -> int:
        """What must cross memory once: the map in, the output out."""
        rows, cols = self.output_size
        values = np.prod(self.shape) + self.boxes.count * self.channels * rows * cols
        return int(values) * np.dtype(self.dtype).itemsize

    def tiny(self) -> Workload:
        """Reduce it to a call of the same kind that takes no time, for a trial of the harness."""
        small = replace(
            self,
            channels=min(self.channels, 3),
            height=min(self.height, 20),
            width=min(self.width, 24),
            output_size=(min(self.output_size[0], 3), min(self.output_size[1], 2)),
        )
        if isinstance(self.boxes, OneBox):
            return small
        shrink = small.height / self.height
        sizes = self.boxes.smallest * shrink, self.boxes.largest * shrink
        return replace(small, boxes=RandomBoxes(min(self.boxes.count, 4), *sizes))

    def _rng(self, array: str) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(f"{self.name} {array}".encode()))


_FPN_BOX = Workload(
    name="fpn-box",
    batch=1,
    channels=256,
    height=200,
    width=304,
    boxes=RandomBoxes(512, 7, 28),
    output_size=(7, 7),
    sampling_ratio=2,
    spatial_scale=1 / 4,
)
_FPN_MASK = replace(_FPN_BOX, name="fpn-mask", boxes=RandomBoxes(100, 7, 28), output_size=(14, 14))
_FPN_P4 = replace(_FPN_BOX, name="fpn-p4", batch=2, height=50, width=76, spatial_scale=1 / 16)
_PHOTO_CROPS = Workload(
    name="photo-crops",
    batch=1,
    channels=3,
    height=4000,
    width=6000,
    boxes=RandomBoxes(16, 300, 2000),
    output_size=(224, 224),
    sampling_ratio=2,
    spatial_scale=1.0,
)
_SMALL_CALL = Workload(
    name="small-call",
    batch=1,
    channels=16,
    height=16,
    width=16,
    boxes=RandomBoxes(1, 5, 8),
    output_size=(3, 3),
    sampling_ratio=2,
    spatial_scale=1 / 32,
)
_DOCUMENT: dict[str, Any] = {"convention": "document", "sampling_ratio": None, "modes": ("max",)}

_ALL = (
    _FPN_BOX,
    _FPN_MASK,
    _FPN_P4,
    Workload(
        name="c4-head",
        batch=1,
        channels=1024,
        height=50,
        width=76,
        boxes=RandomBoxes(300, 4, 40),
        output_size=(14, 14),
        sampling_ratio=0,
        spatial_scale=1 / 16,
    ),
    replace(_FPN_BOX, name="large-adaptive", boxes=RandomBoxes(32, 50, 200), sampling_ratio=0),
    replace(_FPN_BOX, name="fpn-box-1000", boxes=RandomBoxes(1000, 7, 28)),
    replace(_FPN_P4, name="fpn-p5", height=25, width=38, spatial_scale=1 / 32),
    replace(_FPN_BOX, name="large-ratio2", boxes=RandomBoxes(32, 50, 200)),
    replace(_FPN_BOX, name="one-roi", boxes=RandomBoxes(1, 7, 28)),
    replace(_FPN_P4, name="p4-2-boxes", batch=1, boxes=RandomBoxes(2, 7, 28)),
    replace(_FPN_P4, name="p4-16-boxes", batch=1, boxes=RandomBoxes(16, 7, 28)),
    replace(
        _FPN_BOX,
        name="p3-100-boxes",
        height=100,
        width=152,
        boxes=RandomBoxes(100, 7, 28),
        spatial_scale=1 / 8,
    ),
    replace(_FPN_P4, name="roi-pool", convention="roi_pool", sampling_ratio=None, modes=("max",)),
    replace(_FPN_P4, name="prroi", convention="prroi", sampling_ratio=None, modes=("avg",)),
    _PHOTO_CROPS,
    replace(_PHOTO_CROPS, name="photo-crops-nhwc", layout="NHWC"),
    replace(_FPN_BOX, name="nhwc", layout="NHWC"),
    replace(_FPN_BOX, name="float64", dtype="float64"),
    replace(_FPN_BOX, name="float16", dtype="float16"),
    _SMALL_CALL,
    # The document's example: its box [296, 320, 200, 145] on a 512 x 512 image, y turned down.
    replace(
        _SMALL_CALL,
        name="document-call",
        channels=1,
        boxes=OneBox((296, 192, 496, 337)),
        **_DOCUMENT,
    ),
    replace(_FPN_BOX, name="document-7x7", **_DOCUMENT),
    replace(_FPN_MASK, name="document-14x14", **_DOCUMENT),
)

WORKLOADS: dict[str, Workload] = {workload.name: workload for workload in _ALL}
"""All workloads by name, those of the headline first."""

HEADLINE = ("fpn-box", "fpn-mask", "fpn-p4", "c4-head", "large-adaptive")
"""The workloads that means are taken over."""
