"""Mistakes to make in the kernels, each with the check that must notice it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import cupy
import numpy as np
from roialign_cy import Convention

from agreement import (
    Call,
    assert_backward_agrees,
    assert_forward_agrees,
    assert_same_bits,
    random_rois,
)
from large import large_array

CELLS = Convention(pixel_offset=0.0)  # coordinates are cell indices
ZEROS = Convention(pixel_offset=0.0, border="zero")


def mean() -> None:
    assert_forward_agrees(Call("avg", "torchvision", 2))


def mean_channels_last() -> None:
    assert_forward_agrees(Call("avg", "torchvision", 2, "NHWC"))


def interior_maximum() -> None:
    assert_forward_agrees(Call("max", "document", 2))


def other_ratios() -> None:
    assert_forward_agrees(Call("avg", "torchvision", (1, 4)))


def mean_of_many() -> None:
    assert_forward_agrees(Call("avg", "detectron2", 33))


def maximum_of_very_many() -> None:
    assert_forward_agrees(Call("max", "document", 33))


def weighted_maximum() -> None:
    assert_forward_agrees(Call("max_weighted", "onnx", 2))


def adaptive_mean() -> None:
    assert_forward_agrees(Call("avg", "torchvision", 0, scale=1 / 3))


def adaptive_maximum() -> None:
    assert_forward_agrees(Call("max", "detectron2", 0))


def maximum_of_many() -> None:
    assert_forward_agrees(Call("max", "document", 9))


def means_of_ones() -> None:
    """In a type that rounds: every weight counts to its last bit."""
    for convention, ratio in (("detectron2", 7), ("document", 5), ("prroi", None)):
        assert_same_bits(Call("avg", convention, ratio, dtype=np.float32))
        assert_same_bits(Call("avg", convention, ratio, dtype=np.float64))


def maximum_to_the_bit() -> None:
    for ratio in (2, 3, 0):
        assert_same_bits(Call("max", "detectron2", ratio))


def roi_pooling() -> None:
    for dtype in (np.float64, np.float32, np.float16):
        assert_same_bits(Call("max", "roi_pool", None, rois_dtype=dtype, scale=0.3))


def prroi_pooling() -> None:
    assert_same_bits(Call("avg", "prroi", None, dtype=np.float64))
    assert_backward_agrees(Call("avg", "prroi", None, dtype=np.float64), "rois")


def many_boxes() -> None:
    """More than a word of them, on more than a tile of the map and on every image."""
    for mode in ("avg", "max"):
        call = Call(mode, ratio=2, size=(19, 70), channels=2)
        features, _, _ = call.arrays()
        rng = np.random.default_rng(1)
        rois = np.concatenate([random_rois(rng, call.size, call.scale) for _ in range(5)])
        grad = rng.standard_normal((len(rois), 2, *call.output_size)).astype(np.float32)
        expected = call.gradients(grad, rois, features, "features")
        by_map = call.gradients(*map(cupy.asarray, (grad, rois, features)), "features")
        np.testing.assert_array_equal(by_map.get(), expected)


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


def border_of_zeros() -> None:
    for mode in ("avg", "max"):
        for ratio in (2, 12):
            assert_same_bits(Call(mode, ZEROS, ratio, scale=1.0))
    assert_same_bits(Call("max", ZEROS, 3, scale=0.3))
    call = Call("max", ZEROS, 1, output_size=(1, 1), scale=1.0)
    height, width = call.size
    features = np.full((2, 9, height, width), np.inf, np.float32)
    pool(features, [[0, -1, 1, -1, 1], [0, 1, -1, 1, -1], [0, width, 1, width, 1]], call)


def gradient_under_zeros() -> None:
    for mode in ("avg", "max"):
        assert_backward_agrees(Call(mode, ZEROS, 2, dtype=np.float64), "rois")


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


def columns_apart() -> None:
    """A sample on a column and the next beyond its neighbour: no two columns to take at once."""
    call = Call("avg", CELLS, 2, output_size=(1, 1), scale=1.0)
    features, *_ = call.arrays()
    rois = np.array([[0.0, -0.5, 0, 5.5, 4]])  # columns 1 and 4
    pooled = call.pool(cupy.asarray(features), cupy.asarray(rois)).get()
    np.testing.assert_array_equal(pooled, call.pool(features, rois))


def strides() -> None:
    call = Call()
    features, rois, _ = call.arrays()
    turned = cupy.asarray(features.transpose(3, 2, 1, 0).copy()).T
    out = cupy.empty((3, 2, 9, len(rois)), np.float32).T
    expected = call.pool(cupy.asarray(features), cupy.asarray(rois))
    call.pool(turned, cupy.asarray(rois), out=out)
    np.testing.assert_array_equal(out.get(), expected.get())


def beyond_32_bits() -> None:
    """Images, then channels, then rows 2.2e9 bytes apart."""
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


def gradient_between_samples() -> None:
    """Cells that lie among those of a section and that none of its samples reads."""
    call = Call("avg", CELLS, 2, output_size=(1, 1), scale=1.0, channels=1, dtype=np.float64)
    grad = np.full((1, 1, 1, 1), np.inf)
    rois = np.array([[0.0, 0, 1, 10, 11]])
    gradients = (
        call.gradients(grad, rois, np.zeros((1, 1, 12, 12)), "features", backend=backend)
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


def gradient_by_many_channels() -> None:
    """So many parts that their sum has two levels."""
    assert_backward_agrees(Call(channels=100, dtype=np.float64), "rois")


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
    Mutant("samples", "position >= -1.0", "position >= -1.5", border),
    Mutant("samples", "position <= size", "position <= size + 1", border),
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
    Mutant(
        "samples", "weight_above += upcoming.fraction", "weight += upcoming.fraction", adaptive_mean
    ),
    Mutant("samples", "    weight = weight_above;", "    weight = 0;", adaptive_mean),
    Mutant("samples", "step = ascends ? 1 : -1", "step = 1", border_within_a_section),
    # Weights
    Mutant("weights", "if (most > share) most = next_below(most, W());", "", means_of_ones),
    Mutant("weights", "!= target) rounded = step_to", "!= 0) rounded = step_to", means_of_ones),
    Mutant("weights", "rounded = step_to<W>(target, total, rounded)", "", means_of_ones),
    Mutant("weights", "total = in_type<W>(total + rounded);", "total += rounded;", means_of_ones),
    Mutant("weights", "if (sizeof(W) == 8) {", "if (false) {", means_of_ones),
    Mutant("weights", "weight > step ? 0.4375 : -0.4375", "0", means_of_ones),
    # Tables
    Mutant("tables", "writer.add(cell, sum / axis.samples)", "writer.add(cell, sum)", mean),
    Mutant("tables", "taps[count++] = {cell, rounder.last(weight)}", "", mean),
    Mutant("tables", "place : cell + 3 * (-1 - place)", "place : cell", adaptive_mean),
    Mutant(
        "tables",
        "place : 2 * (section.first + 3 * (-1 - place))",
        "place : section.first + 3 * (-1 - place)",
        maximum_of_very_many,
    ),
    Mutant("tables", "? p : count - 1 - p;", "? p : p;", mean_of_many),
    Mutant("tables", "p * fixed_room : -1 - rank", "0 : -1 - rank", mean),
    Mutant("tables", "is_row ? p : p - tables.rows", "p", mean),
    Mutant("tables", "is_row ? fixed_row_room : fixed_col_room", "fixed_row_room", other_ratios),
    Mutant("tables", "is_row ? rows.size : cols.size", "rows.size", mean),
    Mutant("tables", "point.low_weight *= W(0.5);", "point.low_weight = 0;", one_cell),
    Mutant("tables", "    ++point.high;", "", interior_maximum),
    Mutant("tables", "MODE != MAX_WEIGHTED &&", "", weighted_maximum),
    Mutant("tables", "(inside.begin > 0 ? OUTSIDE_BEFORE : 0)", "0", interior_maximum),
    Mutant("tables", "inside.end < (long long)axis.samples", "false", interior_maximum),
    # RoI Pooling and PrRoI Pooling
    Mutant("geometry", "whole - 1 : whole + 1", "whole : whole + 1", roi_pooling),
    Mutant("geometry", "scaled - whole) < 0.5", "scaled - whole) <= 0.5", roi_pooling),
    Mutant("geometry", "const double scaled = rounded<R>", "const double scaled = ", roi_pooling),
    Mutant("geometry", "fmax(length, 1.0)", "length", roi_pooling),
    Mutant("tables", "const double low = counting<R>", "const double low = ", roi_pooling),
    Mutant("tables", "ceil(high) + axis.start", "floor(high) + axis.start", roi_pooling),
    Mutant("tables", "if (cell <= low) weight = 1.0 - weight;", "", prroi_pooling),
    Mutant("tables", "weight /= high - low;", "", prroi_pooling),
    Mutant("tables", "if (axis.section <= 0) return {0, 0};", "", prroi_pooling),
    Mutant("tables", "if (stretch.low < 0 ||", "if (", prroi_pooling),
    Mutant("box_gradient", "cell <= stretch.low ? -0.5 : 0.5", "0.5", prroi_pooling),
    Mutant("box_gradient", "(weight - hat(stretch.low - cell))", "weight", prroi_pooling),
    # A border of zeros
    Mutant("samples", "-1.0, has_zeros(SAMPLING)", "-1.0, false", border_of_zeros),
    Mutant("samples", "size, !has_zeros(SAMPLING)", "size, true", border_of_zeros),
    Mutant("samples", "spot.low < 0 ? spot.fraction :", "false ? 0.0 :", border_of_zeros),
    Mutant("samples", "? 1.0 : 1.0 - spot.fraction", "? 1.0 : 1.0", border_of_zeros),
    Mutant("samples", "!has_zeros(SAMPLING) && position >= size - 1 ?", "true ?", border_of_zeros),
    Mutant("tables", "has_zeros(SAMPLING) && cell < 0", "false", border_of_zeros),
    Mutant("tables", "|| cell < size)", "|| true)", border_of_zeros),
    Mutant("tables", "WeightRounder<W>(weight).last(weight)", "1", border_of_zeros),
    Mutant("feature_gradient", "? 2 * point.low_weight", "? W(1)", border_of_zeros),
    Mutant("box_gradient", "has_low = low >= 0;", "", gradient_under_zeros),
    Mutant("box_gradient", "has_high = low + 1 < size;", "", gradient_under_zeros),
    Mutant("box_gradient", "return has_zeros", "return false && ", gradient_under_zeros),
    # Sums and maxima
    Mutant("pool", "fill_lanes(results, -W(0));", "fill_lanes(results, W(1));", mean),
    Mutant("pool", "IS_FIRST ? value :", "false ? value :", mean),
    Mutant("pool", "weight * sums[col][lane]", "sums[col][lane]", mean),
    Mutant("pool", "y.weight * W(cell[col])", "y.weight * W(*cell)", mean),
    Mutant("pool", "x_taps[1].cell == col + 1", "true", columns_apart),
    Mutant("pool", "y_weight == 0 || x_weight == 0", "y_weight == 0", one_cell),
    Mutant("pool", "y.outside || x.outside", "false", interior_maximum),
    Mutant("pool", "y.outside || x.outside", "true", interior_maximum),
    Mutant("pool", "value > best ||", "value < best ||", interior_maximum),
    Mutant("pool", " || value != value", "", nan),
    Mutant("pool", "y.count == BAD_SECTION", "false", bad_boxes),
    # Threads, channels, strides
    Mutant("threads", "thread % groups", "0", mean),
    Mutant("threads", "place.row * layout.row", "place.row", strides),
    Mutant("threads", "lane + 2 < LANES || has_last ? ", "true ? ", mean_channels_last),
    Mutant(
        "threads", "place.outer * layout.outer", "(int)(place.outer * layout.outer)", beyond_32_bits
    ),
    Mutant("threads", "ptrdiff_t outer, channel;", "ptrdiff_t outer; int channel;", beyond_32_bits),
    # Who reads a cell
    Mutant("readers", "box.image == image &&", "", many_boxes),
    Mutant("readers", "box.top < top + TILE_ROWS", "box.top < top", many_boxes),
    Mutant("readers", "box.right > left", "box.right > left + TILE_COLS", many_boxes),
    Mutant("readers", "image < own.image ||", "image > own.image ||", many_boxes),
    Mutant("readers", "top < own.top || (top == own.top && k < thread)", "k < thread", many_boxes),
    Mutant("readers", "extents[k].image < image;", "extents[k].image <= image;", many_boxes),
    Mutant("readers", "found.end = p + 1;", "found.end = found.begin + 1;", gradient_of_mean),
    Mutant(
        "readers",
        "begin = is_any ? min(begin, section.first)",
        "begin = is_any ? begin",
        many_boxes,
    ),
    # The gradient of the features
    Mutant("feature_gradient", "mask &= mask - 1", "mask = 0", many_boxes),
    Mutant("feature_gradient", "++word", "word = end", many_boxes),
    Mutant(
        "feature_gradient", "taps[at].cell > cell) --at;", "false) --at;", gradient_between_samples
    ),
    Mutant(
        "feature_gradient",
        "x_weight * W(*element);\n        element",
        "W(*element);\n        element",
        gradient_of_mean,
    ),
    Mutant(
        "feature_gradient", "if (y_weight == 0) continue;\n    W", "W", gradient_between_samples
    ),
    # Scattered over others' cells: a race
    Mutant(
        "feature_gradient",
        "store_lanes(sums, find_element(out, out_layout, cell)",
        "store_lanes(sums, out + cell.group",
        gradient_of_mean,
    ),
    Mutant(
        "feature_gradient",
        "x_weight != 0) line[lane] += x_weight *",
        "x_weight != 0) line[lane] +=",
        gradient_of_maximum,
    ),
    Mutant("feature_gradient", "*number - j * x.count", "*number", maximum_to_the_bit),
    Mutant("feature_gradient", "W(x.first + i == cell.col)", "W(1)", roi_pooling),
    Mutant("argmax", "candidate > value[lane]", "candidate >= value[lane]", ties),
    Mutant("argmax", "(candidate != candidate && value[lane] == value[lane])", "false", ties),
    Mutant("argmax", "(ys.outside | xs.outside) & OUTSIDE_BEFORE", "false", ties),
    Mutant("argmax", "if (ys.outside & OUTSIDE_AFTER)", "if (false)", ties),
    Mutant("argmax", "if (xs.outside & OUTSIDE_AFTER)", "if (false)", ties),
    # The gradient of the boxes
    Mutant("box_gradient", "scale - fraction * axis.growth", "scale", gradient_by_boxes),
    Mutant("geometry", "    axis.growth = 0;", "", gradient_by_boxes),
    Mutant("box_gradient", "after - before", "before - after", gradient_by_boxes),
    Mutant("box_gradient", "position >= 0 &&", "", gradient_by_boxes),
    Mutant("box_gradient", "&& position < size - 1", "", gradient_by_boxes),
    Mutant("box_gradient", "(section + within) / sections", "within", gradient_by_boxes),
    Mutant("box_gradient", "box.y.samples * box.x.samples", "box.y.samples", gradient_by_boxes),
    Mutant("box_gradient", "number % x.count].sample", "number % x.count].low", gradient_by_boxes),
    Mutant("box_gradient", "i += threads", "i += threads + 1", gradient_by_many_channels),
    Mutant("box_gradient", "== BAD_BOX", "== EMPTY_BOX", gradient_by_bad_boxes),
]

CHECKS = sorted({mutant.check for mutant in MUTANTS}, key=lambda check: check.__name__)
