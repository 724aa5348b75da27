"""The kernels, compiled when first used: one for every choice that is made at compile time.

A getter's arguments are those choices. The kernel's name carries them, so that a profile says
which one ran.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import cupy

# Contraction to fused multiply-adds would move coordinates by an ulp, and so points across the
# border of the map.
OPTIONS = ("-fmad=false",)

_ENUM = {"avg": "AVG", "max": "MAX", "max_weighted": "MAX_WEIGHTED"}

MOST_LANES = 8
"""Most channels that one thread works on: twice as many would spill, half as many would share
the work on coordinates among fewer."""

MOST_FIXED_SAMPLES = 4
"""Most samples per axis and section that loops are unrolled for."""


def boxes_kernel(interior: bool) -> Any:
    """From the caller's boxes to those of the other kernels."""
    return _kernel(
        f"roi_align_boxes_{_sampling(interior)}",
        "raw R rois, int64 row_stride, int64 col_stride, float64 images,"
        "float64 scale, float64 offset, float64 min_size,"
        "float64 own_scale, float64 own_offset, float64 own_min_size,"
        "float64 height, float64 rows, float64 own_rows, float64 ratio_rows,"
        "float64 width, float64 cols, float64 own_cols, float64 ratio_cols",
        "raw float64 boxes",
        f"""
        const Geometry geometry = {{scale, offset, min_size, own_scale, own_offset, own_min_size}};
        const AxisPlan y_plan = {{height, rows, own_rows, ratio_rows}};
        const AxisPlan x_plan = {{width, cols, own_cols, ratio_cols}};
        make_box<R, {_bool(interior)}>(
            &rois[0] + i * row_stride, col_stride, images, y_plan, x_plan, geometry,
            reinterpret_cast<Box*>(&boxes[0])[i]);
        """,
        "geometry",
    )


def pool_kernel(
    mode: str,
    interior: bool,
    samples: tuple[int, int],
    channels_last: bool,
    lanes: int,
    wide: bool,
) -> Any:
    """The pooled values. ``samples`` is (0, 0) where the boxes say how many there are."""
    index = _index(wide)
    counted = "counted" if samples == (0, 0) else f"{samples[0]}x{samples[1]}"
    choices = (
        _ENUM[mode],
        _bool(interior),
        *map(str, samples),
        _bool(channels_last),
        str(lanes),
        index,
    )
    return _kernel(
        f"roi_align_{mode}_{_sampling(interior)}_{counted}_{_variant(channels_last, lanes, wide)}",
        f"raw T features, {_layout('f')}, int64 channels, int64 height, int64 width,"
        f"raw float64 boxes, int64 rows, int64 cols, int64 groups, {_layout('o')}",
        "raw T out",
        f"""
        pool<{", ".join(choices)}>(
            ({index})i, &features[0], {_make_layout("f", index)}, channels, height, width,
            reinterpret_cast<const Box*>(&boxes[0]), rows, cols, groups,
            &out[0], {_make_layout("o", index)});
        """,
        "threads",
        "forward",
    )


def argmax_kernel(interior: bool, channels_last: bool, lanes: int, wide: bool) -> Any:
    """Which sample of a section is its maximum."""
    index = _index(wide)
    choices = (_bool(interior), _bool(channels_last), str(lanes), index)
    return _kernel(
        f"roi_align_argmax_{_sampling(interior)}_{_variant(channels_last, lanes, wide)}",
        f"raw T features, {_layout('f')}, int64 channels, int64 height, int64 width,"
        f"raw float64 boxes, int64 rows, int64 cols, int64 groups, {_layout('a')}",
        "raw float64 argmax_row, raw float64 argmax_col",
        f"""
        find_argmax<{", ".join(choices)}>(
            ({index})i, &features[0], {_make_layout("f", index)}, channels, height, width,
            reinterpret_cast<const Box*>(&boxes[0]), rows, cols, groups,
            &argmax_row[0], &argmax_col[0], {_make_layout("a", index)});
        """,
        "threads",
        "forward",
        "argmax",
    )


def gather_kernel(mode: str, interior: bool, channels_last: bool, lanes: int, wide: bool) -> Any:
    """The gradient with respect to the features."""
    index = _index(wide)
    choices = (_ENUM[mode], _bool(interior), _bool(channels_last), str(lanes), index)
    return _kernel(
        f"roi_align_feature_gradient_{mode}_{_sampling(interior)}_"
        f"{_variant(channels_last, lanes, wide)}",
        f"raw T grad, {_layout('g')}, int64 channels, int64 height, int64 width,"
        "raw float64 boxes, int64 num_boxes, int64 rows, int64 cols, int64 groups,"
        f"raw float64 argmax_row, raw float64 argmax_col, {_layout('a')}, {_layout('o')}",
        "raw T out",
        f"""
        gather<{", ".join(choices)}>(
            ({index})i, &grad[0], {_make_layout("g", index)}, channels, height, width,
            reinterpret_cast<const Box*>(&boxes[0]), num_boxes, rows, cols, groups,
            &argmax_row[0], &argmax_col[0], {_make_layout("a", index)},
            &out[0], {_make_layout("o", index)});
        """,
        "threads",
        "forward",
        "argmax",
        "feature_gradient",
    )


def box_parts_kernel(mode: str, interior: bool, channels_last: bool, wide: bool) -> Any:
    """What every section and group of channels adds to the gradient of its box."""
    index = _index(wide)
    choices = (_ENUM[mode], _bool(interior), _bool(channels_last), index)
    return _kernel(
        f"roi_align_box_gradient_{mode}_{_sampling(interior)}_"
        f"{'nhwc' if channels_last else 'nchw'}_{index_name(wide)}",
        f"raw T features, {_layout('f')}, int64 channels, int64 height, int64 width,"
        f"raw float64 boxes, float64 scale, raw T grad, {_layout('g')},"
        "int64 rows, int64 cols, int64 groups,"
        f"raw float64 argmax_row, raw float64 argmax_col, {_layout('a')}",
        "raw float64 parts",
        f"""
        add_parts<{", ".join(choices)}>(
            ({index})i, &features[0], {_make_layout("f", index)}, channels, height, width,
            reinterpret_cast<const Box*>(&boxes[0]), scale,
            &grad[0], {_make_layout("g", index)}, rows, cols, groups,
            &argmax_row[0], &argmax_col[0], {_make_layout("a", index)},
            reinterpret_cast<Sides*>(&parts[0]));
        """,
        "threads",
        "forward",
        "argmax",
        "box_gradient",
    )


def box_sums_kernel(wide: bool) -> Any:
    """The sum of those parts."""
    index = _index(wide)
    return _kernel(
        f"roi_align_box_gradient_sums_{index_name(wide)}",
        "raw float64 boxes, raw float64 parts, int64 count, int64 row_stride, int64 col_stride",
        "raw R out",
        f"""
        add_up<{index}>(
            i, reinterpret_cast<const Box*>(&boxes[0]), &parts[0], count,
            &out[0] + i / 4 * row_stride + i % 4 * col_stride);
        """,
        "threads",
        "forward",
        "argmax",
        "box_gradient",
    )


def index_name(wide: bool) -> str:
    """How a kernel's name tells its index width."""
    return "index64" if wide else "index32"


@cache
def _kernel(name: str, inputs: str, outputs: str, operation: str, *parts: str) -> Any:
    return cupy.ElementwiseKernel(
        inputs,
        outputs,
        operation,
        name,
        no_return=True,
        options=OPTIONS,
        preamble=_preamble("box", "samples", *parts),
    )


@cache
def _preamble(*parts: str) -> str:
    # As one text: CuPy's cache of compiled kernels does not look into included files.
    folder = files(__package__) / "cuda"
    return "\n".join((folder / f"{part}.cuh").read_text(encoding="utf-8") for part in parts)


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _index(wide: bool) -> str:
    return "long long" if wide else "int"


def _sampling(interior: bool) -> str:
    return "interior" if interior else "centered"


def _variant(channels_last: bool, lanes: int, wide: bool) -> str:
    return f"{'nhwc' if channels_last else 'nchw'}_lanes{lanes}_{index_name(wide)}"


def _layout(prefix: str) -> str:
    """Parameters of an array's strides, in elements."""
    return ", ".join(f"int64 {prefix}_{axis}" for axis in ("outer", "channel", "row", "col"))


def _make_layout(prefix: str, index: str) -> str:
    row, col = f"({index}){prefix}_row", f"({index}){prefix}_col"
    return f"Layout<{index}>{{{prefix}_outer, {prefix}_channel, {row}, {col}}}"
