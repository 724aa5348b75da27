"""Mistakes to make in the kernels, each with the check that must notice it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import cupy
import numpy as np
from roialign_cy import Convention

from agreement import Call, assert_backward_agrees, assert_forward_agrees
from large import large_array

CELLS = Convention(pixel_offset=0.0)  # coordinates are cell indices


def mean() -> None:
    assert_forward_agrees(Call("avg", "torchvision", 2))


def mean_channels_last() -> None:
    assert_forward_agrees(Call("avg", "torchvision", 2, "NHWC"))


def interior_maximum() -> None:
    assert_forward_agrees(Call("max", "document", 2))


def weighted_maximum() -> None:
    assert_forward_agrees(Call("max_weighted", "onnx", 2))


def adaptive_mean() -> None:
    assert_forward_agrees(Call("avg", "torchvision", 0, scale=1 / 3))


def adaptive_maximum() -> None:
    assert_forward_agrees(Call("max", "detectron2", 0))


def maximum_of_many() -> None:
    assert_forward_agrees(Call("max", "document", 9))


def pool(features: Any, rois: Any, call: Call) -> None:
    """Held to the reference, on arrays that were made to be difficult."""
    rois = np.asarray(rois, call.rois_dtype)
    expected = call.pool(features, rois, backend="reference")
    output = call.pool(cupy.asarray(features), cupy.asarray(rois))
    np.testing.assert_allclose(output.get(), expected, rtol=0, atol=1e-6)


def border() -> None:
    """Points at the borders of the map, and next to them."""
    call = Call("avg", CELLS, 1, output_size=(1, 1), scale=1.0)
    features, *_ = call.arrays()
    height, width = call.size
    rows = (-1, np.nextafter(-1, -2), -0.5, 0, height - 1, height, np.nextafter(height, 9))
    pool(features, [[0, 1, y, 1, y] for y in rows], call)
    cols = (-1, np.nextafter(-1, -2), -0.5, 0, width - 1, width, np.nextafter(width, 9))
    pool(features, [[0, x, 1, x, 1] for x in cols], call)


def border_within_a_section() -> None:
    """Samples on whole cells, of which some lie at the borders of the map, both ways round."""
    for mode in ("avg", "max"):
        call = Call(mode, CELLS, 12, output_size=(1, 1), scale=1.0)
        features, *_ = call.arrays()
        boxes = np.array([[0, -2.5, -2.5, 9.5, 9.5], [0, 9.5, 9.5, -2.5, -2.5]])
        pool(features - 5, boxes, call)
        pool(features - 5, boxes - np.array([0, 5, 5, 5, 5]), call)
        pool(features - 5, boxes + np.array([0, 5, 5, 5, 5]), call)


def one_cell() -> None:
    """On its last row and column and on whole cells, the map is read there and nowhere else."""
    for mode in ("avg", "max", "max_weighted"):
        for ratio in (1, 5):
            features = np.full((1, 8, 4, 4), np.inf, np.float32)
            features[..., 3, 3] = features[..., 1, 1] = 2
            call = Call(mode, CELLS, ratio, output_size=(1, 1), scale=1.0)
            pool(features, [[0, 3, 3, 3, 3], [0, 1, 1, 1, 1], [0, 2, 2, 2, 2]], call)


def nan() -> None:
    for ratio in (2, 5):
        call = Call("max", "document", ratio)
        features, rois, _ = call.arrays()
        features[..., 2, 3] = np.nan
        pool(features, rois, call)


def count_in_own_dtype() -> None:
    """Extents that are whole in float32 and a little more in float64, or the reverse."""
    call = Call("avg", CELLS, 0, output_size=(1, 1), scale=0.01, rois_dtype=np.float32)
    features, *_ = call.arrays()
    near = np.arange(100.1, 140)
    zero = np.zeros(len(near))
    pool(features, np.column_stack([zero, near, near, near + 400, near + 300]), call)
    call = Call("avg", CELLS, 0, output_size=(1, 1), scale=1.0, rois_dtype=np.float32)
    pool(features, [[0, 0, 0, 1e-40, 1e-40]], call)  # subnormal, and yet one sample


def huge_box() -> None:
    for mode in ("avg", "max"):
        call = Call(mode, "detectron2", 0, size=(3, 4), scale=1.0)
        features, *_ = call.arrays()
        pool(features, [[0, -1e13, -1e13, 1e13, 1e13], [1, -1e13, 0, 1, 3]], call)


def bad_boxes() -> None:
    inf, nan = np.inf, np.nan
    boxes = [[n, 1, 1, 3, 3] for n in (2, -1, -3, 0.5, nan)]
    boxes += [[0, nan, 1, 3, 3], [0, 1, nan, 3, 3], [0, 1, 1, nan, 3], [0, 1, 1, 3, nan]]
    # Widened to a least extent, these look finite.
    boxes += [[0, inf, 1, 3, 3], [0, 1, inf, 3, 3], [0, 1, 1, -inf, 3], [0, 1, 1, 3, -inf]]
    features = cupy.ones((2, 8, 4, 4), np.float32)
    for dtype, huge in ((np.float64, 1.7e308), (np.float32, 3e38), (np.float16, 6e4)):
        rois = np.array([[1, 1, 1, 3, 3], *boxes, [0, -huge, 0, huge, 1]], dtype)
        call = Call("avg", "torchvision", scale=1.0)
        output = call.pool(features, cupy.asarray(rois)).get()
        assert not np.isnan(output[0]).any()
        assert np.isnan(output[1:]).all()


def strides() -> None:
    call = Call()
    features, rois, _ = call.arrays()
    turned = cupy.asarray(features.transpose(3, 2, 1, 0).copy()).T
    out = cupy.empty((3, 2, 9, len(rois)), np.float32).T
    expected = call.pool(cupy.asarray(features), cupy.asarray(rois))
    call.pool(turned, cupy.asarray(rois), out=out)
    np.testing.assert_array_equal(out.get(), expected.get())


def beyond_32_bits() -> None:
    """Images, then channels, then rows 2.2e9 items apart."""
    call = Call(scale=1.0, channels=2, size=(2, 2), dtype=np.float16)
    features, *_ = call.arrays()
    rois = cupy.asarray([[1.0, 0, 0, 2, 2], [0.0, 0, 0, 2, 2]])
    expected = call.pool(cupy.asarray(features), rois).get()
    for axis in range(3):
        apart = large_array(features, axis)
        np.testing.assert_array_equal(call.pool(apart, rois).get(), expected)


def gradient_of_mean() -> None:
    assert_backward_agrees(Call("avg", "torchvision", 2, dtype=np.float64), "features")


def gradient_of_mean_of_many() -> None:
    for convention in ("detectron2", "document"):
        assert_backward_agrees(Call("avg", convention, 7, dtype=np.float64), "features")


def gradient_of_maximum() -> None:
    assert_backward_agrees(Call("max", "document", None, dtype=np.float64), "features")


def gradient_on_whole_cells() -> None:
    """A cell without weight gets nothing, not even a NaN."""
    call = Call("avg", CELLS, 1, output_size=(1, 1), scale=1.0, channels=1, dtype=np.float64)
    grad = np.full((1, 1, 1, 1), np.inf)
    rois = np.array([[0.0, 1, 1, 1, 1]])
    gradients = (
        call.gradients(grad, rois, np.zeros((1, 1, 3, 3)), "features", backend=backend)
        for backend in ("gpu", "reference")
    )
    np.testing.assert_array_equal(*gradients)


def ties() -> None:
    """Maps of few values, samples outside: it matters which is first."""
    for seed in range(4):
        call = Call("max", "detectron2", 3, dtype=np.float64, seed=seed)
        features, rois, grad = call.arrays()
        features = -np.abs(np.round(features / 2))
        features[..., 3, 3] = np.nan
        gradients = (
            call.gradients(grad, rois, features, "features", backend=backend)
            for backend in ("gpu", "reference")
        )
        np.testing.assert_allclose(*gradients, rtol=0, atol=1e-12)


def gradient_by_boxes() -> None:
    for convention in ("torchvision", "document"):
        assert_backward_agrees(Call("avg", convention, 2, dtype=np.float64), "rois")
    assert_backward_agrees(Call("max", "document", 2, dtype=np.float64), "rois")


def gradient_by_bad_boxes() -> None:
    call = Call("avg", channels=1, output_size=(1, 1))
    grad, rois = cupy.ones((1, 1, 1, 1), np.float32), cupy.asarray([[np.nan, 1, 1, 2, 2]])
    features = cupy.ones((2, 1, 7, 6), np.float32)
    by_map, by_box = call.gradients(grad, rois, features)
    assert not by_map.get().any()
    assert np.isnan(by_box.get()).all()


class Mutant(NamedTuple):
    """Replace ``old`` by ``new`` everywhere in a file of ``cuda/``."""

    file: str
    old: str
    new: str
    check: Callable[[], None]


MUTANTS = [
    # From boxes to axes
    Mutant("geometry", "exact(roi[2 * stride])", "exact(roi[stride])", mean),
    Mutant("geometry", "near * g.scale - g.offset;", "near * g.scale;", interior_maximum),
    Mutant("geometry", "- g.offset - axis.start", "- axis.start", interior_maximum),
    Mutant("geometry", "    extent = g.min_size;", "", mean),
    Mutant("geometry", "extent < g.min_size", "extent <= -g.min_size", mean),
    Mutant("geometry", "ceil(rounded<R>(own / plan.own_sections))", "ceil(own)", adaptive_mean),
    Mutant("geometry", "own = own_extent<R>", "own = own_extent<double>", count_in_own_dtype),
    Mutant("geometry", "if (bits & 0x7f800000u)", "if (true)", count_in_own_dtype),
    Mutant("geometry", "fabs(value) < 0x1p-126", "false", count_in_own_dtype),
    Mutant("geometry", "image < images", "image <= images", bad_boxes),
    Mutant("geometry", "image >= 0 && ", "", bad_boxes),
    Mutant("geometry", " && floor(image) == image", "", bad_boxes),
    Mutant("geometry", "is_good_image && is_good_x", "is_good_image", bad_boxes),
    Mutant("geometry", "is_good_x && is_good_y", "is_good_x", bad_boxes),
    Mutant("geometry", "isfinite(far) && ", "", bad_boxes),
    Mutant("geometry", " && isfinite(axis.start)", "", bad_boxes),
    Mutant("geometry", "isfinite(own) && ", "", bad_boxes),
    # Where samples lie
    Mutant("samples", "(i + 0.5) * section / samples", "i * section / samples", mean),
    Mutant("samples", "(i + 1.0) * section", "(i + 0.5) * section", interior_maximum),
    Mutant("samples", "(samples + 1.0);", "samples;", interior_maximum),
    Mutant("samples", "axis.start + section * axis.section", "axis.start", mean),
    # Border and clamp
    Mutant("samples", "position >= -1.0", "position > -1.0", border),
    Mutant("samples", "position >= -1.0", "position >= 0.0", border),
    Mutant("samples", "position <= size", "position < size", border),
    Mutant("samples", "position <= size", "position <= size - 1", border),
    Mutant("samples", "position >= -1.0 && position", "position", border),
    Mutant("samples", "fmax(position, 0.0)", "position", border),
    Mutant("samples", "(double)(size - 1))", "(double)size)", border),
    Mutant("samples", "at < bound ||", "at <= bound ||", border_within_a_section),
    Mutant("samples", "(or_at && at == bound)", "false", border_within_a_section),
    Mutant("samples", "range.begin = samples - high", "range.begin = low", border_within_a_section),
    Mutant(
        "samples",
        "return range;\n  const",
        "return range;\n  return range;\n  const",
        border_within_a_section,
    ),
    Mutant(
        "samples", "const long long samples = (long long)", "const int samples = (int)", huge_box
    ),
    Mutant("samples", "fmin(samples_left, end - i) - 1", "samples_left", maximum_of_many),
    Mutant("samples", "floor(at) + 1 - at : at - floor(at)", "1.0 : 1.0", maximum_of_many),
    # Weights
    Mutant("samples", "taps.high += stride", "taps.high += 1", mean),
    Mutant("samples", "(W)((1.0 - spot.fraction) * share)", "(W)(spot.fraction * share)", mean),
    Mutant("samples", "spot.fraction = 0.5", "spot.fraction = 0", one_cell),
    Mutant("samples", "if (spot.fraction > 0) {", "if (true) {", one_cell),
    Mutant("samples", "MODE != MAX_WEIGHTED", "true", weighted_maximum),
    Mutant(
        "samples", "weight_above += upcoming.fraction", "weight += upcoming.fraction", adaptive_mean
    ),
    Mutant("samples", "    weight = weight_above;", "    weight = 0;", adaptive_mean),
    Mutant("samples", "step = ascends ? 1 : -1", "step = 1", border_within_a_section),
    Mutant("forward", "y_weight == 0 || x_weight == 0", "y_weight == 0", one_cell),
    Mutant("forward", "1.0 / COL_SAMPLES", "1.0", mean),
    Mutant("forward", "(W)(x_sum / box.x.samples)", "(W)(x_sum / box.y.samples)", adaptive_mean),
    # Reduction
    Mutant("forward", "larger(results[lane], W(0))", "results[lane]", interior_maximum),
    Mutant("forward", "if (!all_inside)", "if (true)", interior_maximum),
    Mutant("forward", "value > best ||", "value < best ||", interior_maximum),
    Mutant("forward", " || value != value", "", nan),
    Mutant("forward", "xs.end - xs.begin == (long long)box.x.samples", "true", adaptive_maximum),
    # Threads, channels, strides
    Mutant("threads", "thread % groups", "0", mean),
    Mutant("threads", "place.row * layout.row", "place.row", strides),
    Mutant("threads", "lane + 2 < LANES || has_last ? ", "true ? ", mean_channels_last),
    Mutant(
        "forward",
        "(ptrdiff_t)box.image * features_layout.outer",
        "(int)box.image * (int)features_layout.outer",
        beyond_32_bits,
    ),
    Mutant("threads", "ptrdiff_t outer, channel;", "ptrdiff_t outer; int channel;", beyond_32_bits),
    # The gradient of the features
    Mutant("feature_gradient", "box.image != cell.outer ||", "", gradient_of_mean),
    Mutant("feature_gradient", "axis.lowest <= cell + 1", "axis.lowest < cell", gradient_of_mean),
    Mutant(
        "feature_gradient", "cell == spot.low + 1 ? spot.fraction : 0.0", "0.0", gradient_of_mean
    ),
    Mutant("feature_gradient", "x_share * (y_share", "(y_share", gradient_of_mean),
    # Scattered over others' cells: a race
    Mutant(
        "feature_gradient",
        "store_lanes(sums, find_element(out, out_layout, cell)",
        "store_lanes(sums, out + cell.group",
        gradient_of_mean,
    ),
    Mutant("feature_gradient", "if (y_share == 0) continue;", "", gradient_on_whole_cells),
    Mutant("feature_gradient", "cell - 1.5 - begin", "cell - begin", gradient_of_mean_of_many),
    Mutant(
        "feature_gradient",
        "floor(fmax(a, b)) + 1",
        "floor(fmax(a, b)) - 1",
        gradient_of_mean_of_many,
    ),
    Mutant("feature_gradient", "W(x) * (W(y)", "(W(y)", gradient_of_maximum),
    Mutant("argmax", "candidate > value[lane]", "candidate >= value[lane]", ties),
    Mutant("argmax", "(candidate != candidate && value[lane] == value[lane])", "false", ties),
    Mutant("argmax", "if (y_sides.before) best.consider_outside();", "", ties),
    Mutant("argmax", "if (x_sides.before) best.consider_outside();", "", ties),
    Mutant("argmax", "if (y_sides.after)", "if (false)", ties),
    Mutant("argmax", "if (x_sides.after)", "if (false)", ties),
    # The gradient of the boxes
    Mutant("box_gradient", "scale - fraction * axis.growth", "scale", gradient_by_boxes),
    Mutant("geometry", "    axis.growth = 0;", "", gradient_by_boxes),
    Mutant("box_gradient", "(right - left)", "(left - right)", gradient_by_boxes),
    Mutant("box_gradient", "position >= 0 &&", "", gradient_by_boxes),
    Mutant("box_gradient", "&& position < size - 1", "", gradient_by_boxes),
    Mutant("box_gradient", "(section + within) / sections", "within", gradient_by_boxes),
    Mutant("box_gradient", "box.y.samples * box.x.samples", "box.y.samples", gradient_by_boxes),
    Mutant("box_gradient", "== BAD_BOX", "== EMPTY_BOX", gradient_by_bad_boxes),
]

CHECKS = sorted({mutant.check for mutant in MUTANTS}, key=lambda check: check.__name__)
