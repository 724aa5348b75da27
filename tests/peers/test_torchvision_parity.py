"""The conventions "torchvision" and "detectron2" against torchvision itself."""

import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest

import roialign_cy as ra
from roialign_cy._spec import make_spec
from roialign_cy.backends.reference import box_axes

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch", reason="needs the extra 'peers'")
torchvision = pytest.importorskip("torchvision", reason="needs the extra 'peers'")

CONFIGURATIONS = 300  # for each convention and dtype: 1200 in all
TOLERANCE = {"float64": 1e-9, "float32": 2e-4}
# Their coordinates are of the features' type. This close to the border, a float32 sample may be
# on its other side, where the value is another.
MARGIN = 1e-3


@dataclass(frozen=True)
class Configuration:
    features: np.ndarray
    rois: np.ndarray
    output_size: tuple[int, int]
    sampling_ratio: int
    spatial_scale: float
    convention: str

    def rounded_to(self, dtype):
        """The same numbers as that type has them, in float64."""
        features, rois = (a.astype(dtype).astype(np.float64) for a in (self.features, self.rois))
        return replace(self, features=features, rois=rois)

    def theirs(self, dtype):
        pooled = torchvision.ops.roi_align(
            torch.from_numpy(self.features.astype(dtype)),
            torch.from_numpy(self.rois.astype(dtype)),
            self.output_size,
            self.spatial_scale,
            self.sampling_ratio,
            aligned=self.convention == "detectron2",
        )
        return pooled.numpy()

    def ours(self, dtype, backend):
        return ra.roi_align(
            self.features.astype(dtype),
            self.rois.astype(dtype),
            self.output_size,
            convention=self.convention,
            spatial_scale=self.spatial_scale,
            sampling_ratio=self.sampling_ratio,
            backend=backend,
        )

    def runs_in_torchvision(self, dtype):
        # An adaptive box that is reversed along one axis only has a negative number of samples,
        # which is no size for the table that it makes of them.
        try:
            self.theirs(dtype)
        except ValueError as error:
            if "std::vector" not in str(error):
                raise
            return False
        return True

    def without_failures(self, dtype):
        """The same without the boxes that torchvision fails on."""
        if self.runs_in_torchvision(dtype):
            return self
        boxes = [self.rois[k : k + 1] for k in range(len(self.rois))]
        kept = [box for box in boxes if replace(self, rois=box).runs_in_torchvision(dtype)]
        return replace(self, rois=np.concatenate([self.rois[:0], *kept]))

    def near_the_border(self):
        """Mask (K, 1, rows, cols) of the sections with a sample close to where the map ends."""
        spec = make_spec(
            self.output_size,
            self.convention,
            self.spatial_scale,
            self.sampling_ratio,
            None,
            "NCHW",
            None,
        )
        mask = np.zeros((len(self.rois), 1, *self.output_size), bool)
        for k, roi in enumerate(self.rois.astype(np.float32)):
            rows, cols = map(near_the_border, box_axes(roi, spec), self.features.shape[2:])
            mask[k, 0] = np.logical_or.outer(rows, cols)
        return mask


def near_the_border(axis, size):
    positions = [
        [axis.position(section, i) for i in range(axis.samples)] for section in range(axis.sections)
    ]
    distances = np.abs(np.array(positions)[..., None] - [-1, size])
    return (distances < MARGIN).any(axis=(1, 2))


def sides(rng, count, size):
    """Near and far sides of boxes along an axis of ``size`` cells."""
    kinds = [
        rng.uniform(0, size, (count, 2)),
        rng.uniform(-size - 3, 2 * size + 3, (count, 2)),
        rng.integers(-2, size + 3, (count, 2)),
        rng.integers(-4, 2 * size + 4, (count, 2)) / 2,
        rng.choice([-1.5, -1, -0.5, 0, 0.5, size - 1, size - 0.5, size, size + 0.5], (count, 2)),
        np.repeat(rng.uniform(-2, size + 2, (count, 1)), 2, axis=1),
    ]
    pairs = np.sort(np.choose(rng.integers(len(kinds), size=(count, 1)), kinds), axis=1)
    is_reversed = rng.random((count, 1)) < 0.15
    return np.where(is_reversed, pairs[:, ::-1], pairs)


def configuration(seed, convention):
    rng = np.random.default_rng(seed)
    n, c, h, w = rng.integers(1, [4, 20, 30, 30])
    k = int(rng.integers(0, 12))
    scale = float(rng.choice([1, 0.5, 0.25, 1 / 16, 0.3, 1.7]))
    x, y = sides(rng, k, w), sides(rng, k, h)
    offset = 0.5 if convention == "detectron2" and rng.random() < 0.5 else 0  # back on the border
    boxes = (np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1) + offset) / scale
    return Configuration(
        features=rng.standard_normal((n, c, h, w)),
        rois=np.column_stack([rng.integers(0, n, k), boxes]),
        output_size=tuple(int(number) for number in rng.integers(1, 8, 2)),
        sampling_ratio=int(rng.integers(0, 5)),
        spatial_scale=scale,
        convention=convention,
    )


def errors(call, dtype, backend):
    return np.abs(call.ours(dtype, backend).astype(np.float64) - call.theirs(dtype))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("convention", ["torchvision", "detectron2"])
def test_random_configurations_give_what_torchvision_gives(convention, dtype, backend, capsys):
    worst = (0.0, None)
    boxes = boxes_kept = sections = sections_near = 0
    count = 40 if backend == "reference" else CONFIGURATIONS  # the oracle is slow
    for seed in range(count):
        call = configuration(seed, convention).rounded_to(dtype)
        boxes += len(call.rois)
        call = call.without_failures(dtype).without_failures("float64")
        boxes_kept += len(call.rois)
        error = errors(call, dtype, backend)
        if dtype == "float32":
            is_near = call.near_the_border()
            sections += is_near.size
            sections_near += is_near.sum()
            error = np.where(is_near, errors(call, "float64", backend), error)
        worst = max(worst, (error.max(initial=0), seed))

    summary = (
        f"{convention}, {dtype}, {backend}: worst absolute error {worst[0]:.3g}, "
        f"in configuration {worst[1]} of {count}; {boxes_kept} of {boxes} boxes, "
        f"{sections_near} of {sections} sections compared in float64"
    )
    with capsys.disabled():
        sys.stdout.write(f"\n{summary} ")
    assert worst[0] <= TOLERANCE[dtype], summary
    assert boxes_kept > 0.9 * boxes, summary
    assert sections_near <= 0.3 * sections, summary
