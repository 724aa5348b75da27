"""The named workloads: what real networks ask of RoI Align, as data."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

PASTE = "paste"
"""The mode of a `PasteWorkload`."""
FLOATS = ("float16", "bfloat16", "float32", "float64")


def element_type(name: str) -> np.dtype[Any]:
    """Give the type of that name, of NumPy or of ml_dtypes."""
    if name == "bfloat16":
        try:
            from ml_dtypes import bfloat16
        except ImportError:
            raise NotImplementedError("bfloat16 is of the package ml_dtypes") from None
        found: np.dtype[Any] = np.dtype(bfloat16)
        return found
    return np.dtype(name)


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
    coarser : int
        Maps beside that one, each half as high and wide as the one before: all are one call's.
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
    coarser: int = 0

    def features(self) -> Any:
        """Draw the feature map, of values in [0, largest); where there are several, a list."""
        rng = self._rng("features")
        # Nothing negative: a maximum that starts from 0 (OpenVINO) then agrees with the others.
        draw = np.float64 if self.dtype == "float64" else np.float32
        maps = [
            (self.largest * rng.random(shape, dtype=draw)).astype(element_type(self.dtype))
            for shape in self.shapes
        ]
        return maps if self.coarser else maps[0]

    def rois(self) -> NDArray[Any]:
        """Draw the boxes, an array of shape (K, 5), float64 if the features are, else float32."""
        boxes = self.boxes.draw(self, self._rng("boxes"))
        return boxes.astype("float64" if self.dtype == "float64" else "float32")

    def options(self, mode: str, num_threads: int | None) -> dict[str, Any]:
        """Everything that `roialign_cy.roi_align` is given besides arrays and a backend."""
        return {
            "output_size": self.output_size,
            "convention": self.convention,
            **self._scales(),
            "sampling_ratio": self.sampling_ratio,
            "mode": mode,
            "layout": self.layout,
            "num_threads": num_threads,
        }

    def _scales(self) -> dict[str, Any]:
        if not self.coarser:
            return {"spatial_scale": self.spatial_scale}
        return {"spatial_scales": [self.spatial_scale / 2**k for k in range(self.coarser + 1)]}

    @property
    def largest(self) -> int:
        """What all values of the features are below."""
        return 1 if self.dtype in FLOATS else 256

    @property
    def pooled_dtype(self) -> str:
        """Type of the result, and of a gradient with respect to it."""
        return self.dtype if self.dtype in FLOATS else "float32"

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the features in this layout, of several maps of the finest."""
        if self.layout == "NHWC":
            return self.batch, self.height, self.width, self.channels
        return self.batch, self.channels, self.height, self.width

    @property
    def shapes(self) -> list[tuple[int, int, int, int]]:
        """Shapes of all maps."""
        return [
            replace(self, height=self.height >> k, width=self.width >> k).shape
            for k in range(self.coarser + 1)
        ]

    @property
    def bytes_moved(self) -> int:
        """What must cross memory once: the maps in, the output out."""
        rows, cols = self.output_size
        read = sum(map(math.prod, self.shapes)) * element_type(self.dtype).itemsize
        written = self.boxes.count * self.channels * rows * cols
        return read + written * element_type(self.pooled_dtype).itemsize

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
        return _rng(self.name, array)


def _rng(name: str, array: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(f"{name} {array}".encode()))


@dataclass(frozen=True, slots=True)
class PasteWorkload:
    """A call that pastes masks into an image, with a threshold; the boxes are of any size.

    Attributes
    ----------
    count : int
        Masks, and boxes.
    side : int
        Rows and columns of a mask.
    height, width : int
        Of the image.
    channels : int
        Of a mask, which has one.
    """

    name: str
    count: int
    side: int
    height: int
    width: int
    channels: int = 1
    modes: tuple[str, ...] = (PASTE,)

    def masks(self) -> NDArray[Any]:
        """Draw the masks, of values in [0, 1)."""
        shape = self.count, self.channels, self.side, self.side
        return _rng(self.name, "masks").random(shape, dtype=np.float32)

    def boxes(self) -> NDArray[Any]:
        """Draw the boxes, an array of shape (count, 4): all reach into the image."""
        size = np.array([self.width, self.height])
        rng = _rng(self.name, "boxes")
        near = rng.uniform(-0.1, 0.9, (self.count, 2)) * size
        far = near + rng.uniform(0.02, 0.4, (self.count, 2)) * size
        far = np.maximum(far, 0.02 * size)  # torchvision pastes no mask beside its image
        return np.concatenate([near, far], axis=1).astype(np.float32)

    @property
    def bytes_moved(self) -> int:
        """What must cross memory once: the masks in, an image of bool for each out."""
        return 4 * self.count * self.side**2 + self.count * self.height * self.width

    def tiny(self) -> PasteWorkload:
        """Reduce it to a call of the same kind that takes no time."""
        return replace(self, count=3, height=40, width=30)


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
    replace(_FPN_BOX, name="bfloat16", dtype="bfloat16"),
    # torchvision's MultiScaleRoIAlign knows this convention alone.
    replace(
        _FPN_BOX,
        name="fpn-levels",
        boxes=RandomBoxes(1000, 5, 200),
        convention="torchvision",
        modes=("avg",),
        coarser=3,
    ),
    Workload(
        name="mask-targets",
        batch=20,
        channels=1,
        height=800,
        width=1333,
        boxes=RandomBoxes(128, 20, 400),
        output_size=(28, 28),
        sampling_ratio=0,
        spatial_scale=1.0,
        dtype="uint8",
        modes=("avg",),
    ),
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

PASTE_WORKLOADS = {
    workload.name: workload
    for workload in (PasteWorkload("paste-masks", count=100, side=28, height=1333, width=800),)
}
"""Those that paste masks, which no backend takes part in."""

HEADLINE = ("fpn-box", "fpn-mask", "fpn-p4", "c4-head", "large-adaptive")
"""The workloads that means are taken over."""
