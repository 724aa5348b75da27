"""The kernels, compiled when first used: one for every choice that is made at compile time.

A getter's arguments are those choices. The kernel's name carries them, so that a profile says
which one ran.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

if TYPE_CHECKING:
    from roialign_cy.backends.kit import CallSpec

# Contraction to fused multiply-adds would move coordinates by an ulp, and so points across the
# border of the map.
OPTIONS = ("-fmad=false",)

# Numbers come in pairs, as complex ones, since an argument costs the host half a microsecond: a
# number and its rounding to the boxes' dtype, or what holds along rows and what along columns.
_BOX_ARGUMENTS = (
    "raw R rois, int64 row_stride, int64 col_stride, float64 images,"
    "complex128 scale, complex128 offset, complex128 min_size,"
    "complex128 size, complex128 sections, complex128 own_sections, complex128 ratio"
)
_MAKE_PLANS = """
        const Geometry geometry = {
            scale.real(), offset.real(), min_size.real(),
            scale.imag(), offset.imag(), min_size.imag()};
        const AxisPlan y_plan = {
            size.real(), sections.real(), own_sections.real(), ratio.real()};
        const AxisPlan x_plan = {
            size.imag(), sections.imag(), own_sections.imag(), ratio.imag()};"""
_TABLES = "raw int8 tables, int64 num_boxes, int64 rows, int64 cols, int64 row_room, int64 col_room"
_READING = "int64 num_images, int64 height, int64 width"
_TABLES_FILES = "geometry", "weights", "tables"
_ON_TABLES = *_TABLES_FILES, "threads", "pool"

_ENUM = {"avg": "AVG", "max": "MAX", "max_weighted": "MAX_WEIGHTED"}

MOST_LANES = 8
"""Most channels that one thread works on: twice as many would spill, half as many would share
the work on coordinates among fewer."""


def working_type(dtype: Any) -> str:
    """What values of that dtype are weighted and summed in."""
    return "double" if dtype == np.float64 else "float"


def sampler(spec: CallSpec) -> str:
    """The name of a ``Sampling`` of ``cuda/samples.cuh``, but for its case."""
    has_zeros = spec.border == "zero" and spec.sampling in ("centered", "interior")
    return f"{spec.sampling}_zero" if has_zeros else spec.sampling


@cache
def table_sizes(mode: str, working: str, wide: bool) -> tuple[int, int]:
    """Bytes of an entry of the tables of ``cuda/tables.cuh``, and of a section."""
    index, weight = ("i8" if wide else "i4"), ("f8" if working == "double" else "f4")
    tap, point = f"{index},{weight}", f"{index},{index},{weight},{weight},{index}"
    entry = np.dtype(tap if mode == "avg" else point, align=True)
    return entry.itemsize, 5 * np.dtype(index).itemsize


@cache
def reading_sizes(wide: bool) -> tuple[int, int, int]:
    """Bytes of ``Readers``, ``Extent`` and an index in ``cuda/readers.cuh``."""
    index = 8 if wide else 4
    return 2 * index, 5 * index, index


@cache
def boxes_kernel(sampling: str) -> Any:
    """From the caller's boxes to those of the gradient with respect to them."""
    return _kernel(
        f"roi_align_boxes_{sampling}",
        _BOX_ARGUMENTS,
        "raw float64 boxes",
        f"""
        {_MAKE_PLANS}
        make_box<R, {sampling.upper()}>(
            &rois[0] + i * row_stride, col_stride, images, y_plan, x_plan, geometry,
            reinterpret_cast<Box*>(&boxes[0])[i]);
        """,
        "geometry",
    )


@cache
def tables_kernel(mode: str, sampling: str, working: str, wide: bool) -> Any:
    """From the caller's boxes to the tables of the other kernels."""
    index = index_type(wide)
    return _kernel(
        f"roi_align_tables_{mode}_{sampling}_{working}_{index_name(wide)}",
        f"{_BOX_ARGUMENTS}, complex128 entries,int64 num_boxes, int64 row_room, int64 col_room",
        "raw int8 tables",
        f"""
        {_MAKE_PLANS}
        const ptrdiff_t rows = sections.real(), cols = sections.imag();
        {_make_tables(_entry(mode), working, index)}
        make_tables<{_ENUM[mode]}, {sampling.upper()}, R>(
            ({index})i, &rois[0], row_stride, col_stride, images, y_plan, x_plan, geometry,
            ({index})entries.real(), ({index})entries.imag(), all);
        """,
        *_TABLES_FILES,
    )


@cache
def pool_kernel(
    mode: str,
    whole_cells: bool,
    channels_last: bool,
    lanes: int,
    working: str,
    wide: bool,
    in_pairs: bool,
) -> Any:
    """The pooled values. A mean can take neighbouring columns ``in_pairs``."""
    index = index_type(wide)
    choices = _choices(mode, whole_cells, channels_last, lanes, working, index)
    return _kernel(
        f"roi_align_{_variant(mode, whole_cells, channels_last, lanes, wide)}"
        f"{'_pairs' if in_pairs else ''}",
        f"raw T features, {_layout('f')}, int64 channels, {_TABLES}, int64 groups, {_layout('o')}",
        "raw T out",
        f"""
        {_make_tables(_entry(mode), working, index)}
        pool<{_bool(in_pairs)}, {choices}>(
            ({index})i, &features[0], {_make_layout("f", index)}, ({index})channels, all,
            ({index})groups, &out[0], {_make_layout("o", index)});
        """,
        *_ON_TABLES,
    )


@cache
def argmax_kernel(
    whole_cells: bool, channels_last: bool, lanes: int, working: str, wide: bool
) -> Any:
    """Which point or cell of a section is its maximum."""
    index = index_type(wide)
    choices = _choices(None, whole_cells, channels_last, lanes, working, index)
    return _kernel(
        f"roi_align_argmax_{_variant('', whole_cells, channels_last, lanes, wide)}",
        f"raw T features, {_layout('f')}, int64 channels, {_TABLES}, int64 groups, {_layout('a')}",
        f"raw {_argmax_dtype(wide)} argmax",
        f"""
        {_make_tables("Point", working, index)}
        find_argmax<{choices}>(
            ({index})i, &features[0], {_make_layout("f", index)}, ({index})channels, all,
            ({index})groups, ({index}*)&argmax[0], {_make_layout("a", index)});
        """,
        *_ON_TABLES,
        "argmax",
    )


@cache
def readers_kernel(mode: str, working: str, wide: bool) -> Any:
    """Which sections read a row or column of the map, and which part of it each box reads."""
    index = index_type(wide)
    return _kernel(
        f"roi_align_readers_{mode}_{working}_{index_name(wide)}",
        f"{_TABLES}, {_READING}",
        "raw int8 reading",
        f"""
        {_make_tables(_entry(mode), working, index)}
        {_make_reading(index)}
        find_readers(({index})i, all, by_cell);
        """,
        *_TABLES_FILES,
        "readers",
    )


@cache
def order_kernel(wide: bool) -> Any:
    """The order in which a cell meets the boxes."""
    return _reading_kernel("order", "order_boxes", wide)


@cache
def marks_kernel(wide: bool) -> Any:
    """Which boxes may read a tile of the map."""
    return _reading_kernel("marks", "mark_boxes", wide)


def _reading_kernel(name: str, function: str, wide: bool) -> Any:
    index = index_type(wide)
    return _kernel(
        f"roi_align_{name}_{index_name(wide)}",
        f"int64 num_boxes, {_READING}",
        "raw int8 reading",
        f"""
        {_make_reading(index)}
        {function}(({index})i, by_cell);
        """,
        *_TABLES_FILES,
        "readers",
    )


@cache
def gather_kernel(
    mode: str, whole_cells: bool, channels_last: bool, lanes: int, working: str, wide: bool
) -> Any:
    """The gradient with respect to the features."""
    index = index_type(wide)
    choices = _choices(mode, whole_cells, channels_last, lanes, working, index)
    return _kernel(
        f"roi_align_feature_gradient_{_variant(mode, whole_cells, channels_last, lanes, wide)}",
        f"raw T grad, {_layout('g')}, int64 channels, {_TABLES}, {_READING}, raw int8 reading,"
        f"int64 groups, raw {_argmax_dtype(wide)} argmax, {_layout('a')}, {_layout('o')}",
        "raw T out",
        f"""
        {_make_tables(_entry(mode), working, index)}
        {_make_reading(index)}
        gather<{choices}>(
            ({index})i, &grad[0], {_make_layout("g", index)}, ({index})channels, all, by_cell,
            ({index})groups, (const {index}*)&argmax[0], {_make_layout("a", index)},
            &out[0], {_make_layout("o", index)});
        """,
        *_ON_TABLES,
        "argmax",
        "readers",
        "feature_gradient",
    )


@cache
def box_parts_kernel(
    mode: str, sampling: str, channels_last: bool, working: str, wide: bool
) -> Any:
    """What every section and group of channels adds to the gradient of its box."""
    index = index_type(wide)
    choices = f"{_ENUM[mode]}, {sampling.upper()}, {_bool(channels_last)}, {working}, {index}"
    return _kernel(
        f"roi_align_box_gradient_{mode}_{sampling}_"
        f"{'nhwc' if channels_last else 'nchw'}_{index_name(wide)}",
        f"raw T features, {_layout('f')}, int64 channels, int64 height, int64 width,"
        f"raw float64 boxes, float64 scale, raw T grad, {_layout('g')}, {_TABLES},"
        f"int64 groups, raw {_argmax_dtype(wide)} argmax, {_layout('a')}",
        "raw float64 parts",
        f"""
        {_make_tables("Point", working, index)}
        add_parts<{choices}>(
            ({index})i, &features[0], {_make_layout("f", index)}, ({index})channels,
            ({index})height, ({index})width, reinterpret_cast<const Box*>(&boxes[0]), scale,
            &grad[0], {_make_layout("g", index)}, ({index})groups, all,
            (const {index}*)&argmax[0], {_make_layout("a", index)},
            reinterpret_cast<Sides*>(&parts[0]));
        """,
        *_ON_TABLES,
        "argmax",
        "box_gradient",
    )


@cache
def box_sums_kernel(wide: bool) -> Any:
    """The sums of those parts, each over every ``sums``-th of them."""
    index = index_type(wide)
    return _kernel(
        f"roi_align_box_gradient_sums_{index_name(wide)}",
        "raw float64 boxes, raw float64 parts, int64 count, int64 sums,"
        "int64 row_stride, int64 sum_stride, int64 col_stride",
        "raw R out",
        f"""
        const ptrdiff_t box = i / (4 * sums), sum = i / 4 % sums, side = i % 4;
        add_up<{index}>(
            side, sum, sums, reinterpret_cast<const Box*>(&boxes[0])[box],
            &parts[0] + box * count * 4, count,
            &out[0] + box * row_stride + sum * sum_stride + side * col_stride);
        """,
        *_ON_TABLES,
        "argmax",
        "box_gradient",
    )


def index_type(wide: bool) -> str:
    """The type of offsets in a kernel."""
    return "long long" if wide else "int"


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


def _entry(mode: str) -> str:
    return "Tap" if mode == "avg" else "Point"


def _argmax_dtype(wide: bool) -> str:
    return "int64" if wide else "int32"


def _choices(
    mode: str | None, whole_cells: bool, channels_last: bool, lanes: int, working: str, index: str
) -> str:
    listed = [_bool(whole_cells), _bool(channels_last), str(lanes), working, index]
    return ", ".join(listed if mode is None else [_ENUM[mode], *listed])


def _variant(mode: str, whole_cells: bool, channels_last: bool, lanes: int, wide: bool) -> str:
    names = [mode, "cells" if whole_cells else "", "nhwc" if channels_last else "nchw"]
    return "_".join([name for name in names if name] + [f"lanes{lanes}", index_name(wide)])


def _make_tables(entry: str, working: str, index: str) -> str:
    return (
        f"const Tables<{entry}<{working}, {index}>, {index}> all("
        "&tables[0], num_boxes, rows, cols, row_room, col_room);"
    )


def _make_reading(index: str) -> str:
    return f"const Reading<{index}> by_cell(&reading[0], num_boxes, num_images, height, width);"


def _layout(prefix: str) -> str:
    """Parameters of an array's strides, in bytes."""
    return ", ".join(f"int64 {prefix}_{axis}" for axis in ("outer", "channel", "row", "col"))


def _make_layout(prefix: str, index: str) -> str:
    row, col = f"({index}){prefix}_row", f"({index}){prefix}_col"
    return f"Layout<{index}>{{{prefix}_outer, {prefix}_channel, {row}, {col}}}"
