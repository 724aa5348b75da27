"""Random calls, and whether the gpu backend answers as the reference does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cupy
import numpy as np
import roialign_cy as ra

# Of the largest value: what a few roundings in the working type, and one to the result, amount to.
TOLERANCE = {np.float16: 2e-3, np.float32: 1e-6, np.float64: 1e-13}


@dataclass(frozen=True)
class Call:
    """The options of a random call."""

    mode: str = "avg"
    convention: str = "detectron2"
    ratio: int | tuple[int, int] | None = 2
    layout: str = "NCHW"
    dtype: Any = np.float32
    rois_dtype: Any = np.float64
    channels: int = 9  # two threads per place, of which the second has a channel less
    size: tuple[int, int] = (7, 6)
    output_size: tuple[int, int] = (2, 3)
    scale: float = 0.5
    seed: int = 0

    @property
    def options(self) -> dict[str, Any]:
        """Those that the forward pass and the gradients have in common."""
        return {
            "convention": self.convention,
            "spatial_scale": self.scale,
            "sampling_ratio": self.ratio,
            "mode": self.mode,
            "layout": self.layout,
        }

    def pool(self, features: Any, rois: Any, **options: Any) -> Any:
        """The forward pass: on the gpu where the arrays are."""
        return ra.roi_align(features, rois, self.output_size, **self.options, **options)

    def gradients(
        self, grad: Any, rois: Any, features: Any, wrt: Any = ("features", "rois"), **options: Any
    ) -> Any:
        """The gradients."""
        return ra.roi_align_backward(
            grad, rois, features.shape, features=features, wrt=wrt, **self.options, **options
        )

    def arrays(self) -> tuple[Any, Any, Any]:
        """Features, boxes and a gradient of the output."""
        rng = np.random.default_rng(self.seed)
        shape = (2, self.channels, *self.size)
        features = rng.standard_normal(shape).astype(self.dtype)
        rois = random_rois(rng, self.size, self.scale)
        if self.rois_dtype is np.float16:  # in which the huge box would overflow
            rois = rois[:-1]
        rois = rois.astype(self.rois_dtype)
        grad = rng.standard_normal((len(rois), self.channels, *self.output_size))
        grad = grad.astype(self.dtype)
        if self.layout == "NHWC":
            features, grad = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (features, grad))
        return features, rois, grad


def random_rois(rng: np.random.Generator, size: tuple[int, int], scale: float) -> Any:
    """Boxes of two images: on the map, across its border, on its lines, reversed, empty, huge."""
    height, width = size
    far = np.array([width, height, width, height]) / scale
    boxes = [
        *(rng.uniform(-0.2, 1.2, (6, 4)) * far),
        *np.round(rng.uniform(-0.2, 1.2, (4, 4)) * far),
        far * [0.9, 0.8, 0.1, 0.2],
        far * [0.3, 0.4, 0.3, 0.4],
        far * [-0.5, -0.5, 1.5, 1.5],
        far * [-9, 0.2, -8, 0.6],
        [-1 / scale, -1 / scale, far[2], far[3]],
        far * [-2000, -1500, 2000, 1000],
    ]
    return np.column_stack([np.arange(len(boxes)) % 2, boxes])


def assert_forward_agrees(call: Call) -> None:
    features, rois, _ = call.arrays()
    expected = call.pool(features, rois, backend="reference")
    output = call.pool(cupy.asarray(features), cupy.asarray(rois))
    assert output.dtype == features.dtype
    assert_close(output, expected, TOLERANCE[call.dtype], np.abs(features).max())


def assert_backward_agrees(call: Call, *wrt: str) -> None:
    features, rois, grad = call.arrays()
    expected = call.gradients(grad, rois, features, wrt, backend="reference")
    results = call.gradients(*map(cupy.asarray, (grad, rois, features)), wrt)
    for name, result, value in zip(wrt, results, expected, strict=True):
        assert result.dtype == value.dtype
        tolerance = TOLERANCE[call.dtype]
        if name == "rois":  # sums of differences of neighbouring cells
            tolerance = max(10 * tolerance, TOLERANCE[call.rois_dtype])
        # Several boxes add up in a cell: a sum's error is that of its terms together.
        assert_close(result, value, 4 * tolerance, np.abs(value).max())


def assert_same_bits(call: Call) -> None:
    """The pooled values and, if there is one, the gradient of the features are the CPU's."""
    features, rois, grad = call.arrays()
    on_device = cupy.asarray(features), cupy.asarray(rois)
    np.testing.assert_array_equal(call.pool(*on_device).get(), call.pool(features, rois))
    if call.mode == "max_weighted":
        return
    by_map = call.gradients(cupy.asarray(grad), on_device[1], on_device[0], "features")
    np.testing.assert_array_equal(by_map.get(), call.gradients(grad, rois, features, "features"))


def assert_close(result: Any, expected: Any, tolerance: float, scale: float) -> None:
    np.testing.assert_allclose(
        result.get().astype(np.float64),
        expected.astype(np.float64),
        rtol=0,
        atol=float(tolerance * scale),
    )
