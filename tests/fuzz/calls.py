"""A call of a public function, and how to draw one.

A plain call is drawn first, which has to be answered. Then one or two of its arguments may be
swapped for something odd: such a call may be refused, by the name of one of them, and has to be
where the odd value makes no sense at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

import roialign_cy as ra
from roialign_cy.conventions import MODE_OF_SAMPLING, ROUNDED_SAMPLINGS, find_convention

from .arrays import ROWS_KINDS, WRITEABLE_KINDS, Array, Overlap, Rows, draw_array
from .coordinates import draw_coordinate, draw_rotated_rows, draw_rows
from .source import Source

NAN = math.nan
FLOATS = ("<f4", "<f8", "<f2", ">f4", ">f8", ">f2")
BACKENDS = (None, "cpu", "base", "v3", "planar", "tiled", "threads", "reference")
"""The forced ones are registered by `judge.registered_backends`."""

OWN_CONVENTIONS = (
    ra.Convention(pixel_offset=0.0),
    ra.Convention(pixel_offset=-0.3, min_size=2.5, sampling="interior", sampling_ratio=(3, 1)),
    ra.Convention(pixel_offset=1e6, min_size=0.0, mode="max"),
    ra.Convention(min_size=1e5, mode="max_weighted"),
    ra.Convention(border="zero"),
    ra.Convention(pixel_offset=0.0, sampling="corners"),
    ra.Convention(pixel_offset=0.5, sampling="nearest"),
)
CONVENTIONS = (*ra.CONVENTIONS, *OWN_CONVENTIONS)
SCALES = (1.0, 0.5, 1 / 16, 0.3, 2, np.float32(0.7), Fraction(1, 3), 1e-3, np.array(1.5))


class Opaque:
    """Of no type that anything takes."""

    def __repr__(self) -> str:
        return "Opaque()"


# What no argument takes that is a number or a name.
JUNK = (None, "", "no", b"no", 1j, (), [], {}, {1, 2}, Opaque(), Decimal("sNaN"), slice(1), range)
NOT_NUMBERS = (*JUNK, math.nan, math.inf, -math.inf, 10**400, -(10**400), (0.5, 0.5))
ODD_NUMBERS = (
    *(5e-324, 1e-310, 1e300, 1.7e308, True, Decimal("0.5"), np.float16(2)),
    *(np.array([0.5]), np.array([0.5, 1]), np.array(3)),
)


def _odd(never: tuple[Any, ...], perhaps: tuple[Any, ...] = ()) -> tuple[tuple[Any, bool], ...]:
    """Pair odd values with whether they have to be refused."""
    return (*((value, True) for value in never), *((value, False) for value in perhaps))


BAD_SIZES = _odd(
    (*JUNK, 0, -1, (2, 0), (1, 2, 3), 2.0, NAN, (1, None), 10**30, -(10**30), 2**63, (1, 2**64)),
    (True, (2**45, 1), (1, 2**45), 2**50, [3, 2], np.int8(2), np.float64(2), np.array([1, 2, 3])),
)
BAD_RATIOS = _odd(
    (*JUNK[1:], -2, 4097, (1, 4097), (-2, 2), 2.0, (1, 2, 3), 10**30, NAN),
    (True, [1, 2], np.uint8(3), np.array(2), -1, (-1, 2)),
)
BAD_THREADS = _odd(
    (*JUNK[1:], 0, -1, 1.5, NAN, (2,)), (True, 2**31, 2**63, 10**30, np.int64(2), np.array(1))
)
BAD_NAMES = _odd((*JUNK, "NCHw", "maximum", "\0", "ümlaut", 7))
BAD_BACKENDS = (*BAD_NAMES[1:], ("gpu", False))
BAD_INDICES = _odd((*JUNK, -1, 99, 10**30, 0.0, NAN), (False,))
NESTED: list[Any] = []
NESTED.append(NESTED)
BAD_ARRAYS = _odd(
    (
        *(value for value in JUNK if not isinstance(value, tuple | list)),
        *(1.5, np.float32(1), [[1, 2], [3]], [["0", "1"]], NESTED, memoryview(b"a")),
        *([[0, 0, 0, 10**400, 1.5]], [[0, 0, None, 1, 1]], np.ma.zeros((1, 5))),
    )
)
BAD_DTYPES = ("<c16", "|b1", "|O", "<U3", "<M8[s]", "|V8")


@dataclass(frozen=True)
class Call:
    """A call, written down.

    Attributes
    ----------
    function : str
        Its name in `roialign_cy`.
    arguments : dict
        By name; `Array`, `Rows` and `Overlap` stand for the arrays that they describe.
    odd : dict
        The arguments for whose sake the call may be refused, and whether it has to be.
    """

    function: str
    arguments: dict[str, Any]
    odd: dict[str, bool] = field(default_factory=dict)


def draw_call(source: Source) -> Call:
    """Draw a call of any public function."""
    call = source.pick(_DRAWERS)(source)
    if source.chance(20):
        for _ in range(source.pick((1, 1, 1, 2))):
            name = source.pick(tuple(call.arguments))
            if name not in call.odd and not _is_shared(call, name):
                call.arguments[name], call.odd[name] = _odd_value(source, call, name)
    return call


# Plain calls


def _roi_align(source: Source) -> Call:
    features, options, size = _maps_and_options(source)
    rois = _rois(source, features, options)
    arguments = {"features": features, "rois": rois, "output_size": size, **options}
    if source.chance(35):
        arguments["out"] = _out(source, features, rois, size, options["layout"])
    return Call("roi_align", arguments)


def _roi_pool(source: Source) -> Call:
    call = _roi_align(source)
    for name in ("convention", "sampling_ratio", "mode"):
        del call.arguments[name]
    return Call("roi_pool", call.arguments)


def _multiscale(source: Source) -> Call:
    fine, options, size = _maps_and_options(source)
    levels = source.pick((None, None, "any"))
    pyramids = ((1.0, 0.5), (0.25, 0.125, 0.0625), (2.0,))
    scales = source.pick(pyramids if levels is None else ((0.3, 1.5), (1, 1e-3, 0.5)))
    rois = _rois(source, fine, options | {"spatial_scale": scales[0]})
    images, channels, height, width = _channels_first(fine.shape, options["layout"])
    maps = [fine]
    for level in range(1, len(scales)):
        shape = images, channels, -(-height >> level), -(-width >> level)
        if options["layout"] == "NHWC":
            shape = shape[0], *shape[2:], shape[1]
        maps.append(draw_array(source, shape, fine.dtype))
    if levels is not None:
        levels = [source.below(len(scales)) for _ in range(count_of(rois))]
    del options["spatial_scale"]
    arguments = {"features": maps, "rois": rois, "output_size": size, "spatial_scales": scales}
    rule = source.pick(("torchvision", "detectron2", "mmdet"))
    arguments |= {"levels": levels, "level_rule": rule, "canonical_level": 4}
    arguments |= {"canonical_size": source.pick((224, 8, 0.5, 1e300, np.float32(3))), **options}
    if source.chance(35):
        arguments["out"] = _out(source, fine, rois, size, options["layout"])
    return Call("multiscale_roi_align", arguments, {"rois": False})


def _backward(source: Source) -> Call:
    maps, options, size = _maps_and_options(source)
    rois = _rois(source, maps, options)
    grads = _out(source, maps, rois, size, options["layout"])
    grads = draw_array(source, grads.shape, maps.dtype, ("noise", "whole", "tiny"))
    wrt = source.pick(("features", "rois", ("features", "rois"), ("rois",), ["rois", "features"]))
    maps = _of_modest_size(maps)
    names = ("detectron2", "document", "roi_pool", "prroi")
    mode = options["mode"] or "avg"
    if mode == "max_weighted":
        mode = "max"
    options |= {"mode": mode, "convention": source.pick((*names, *OWN_CONVENTIONS))}
    _settle(source, options)
    mode = options["mode"] or find_convention(options["convention"]).mode
    if find_convention(options["convention"]).sampling in ROUNDED_SAMPLINGS:
        wrt = "features"
    is_needed = mode == "max" or wrt != "features"
    arguments = {
        "grad_output": grads,
        "rois": rois,
        "input_shape": maps.shape,
        "features": maps if is_needed or source.chance(30) else None,
        "wrt": wrt,
        **options,
    }
    if isinstance(wrt, str) and source.chance(35):
        shape, dtype = maps.shape, _native(maps.dtype)
        if wrt == "rois":
            shape, dtype = (count_of(rois), 4), boxes_dtype(rois)
        arguments["out"] = Array(shape, dtype, kind=source.pick(WRITEABLE_KINDS))
    return Call("roi_align_backward", arguments)


def _of_modest_size(maps: Array) -> Array:
    """Refill maps whose gradients would overflow."""
    fills = ("noise", "whole", "constant", "tiny", "poison")
    if maps.fill in fills:
        return maps
    return replace(maps, fill=fills[maps.seed % len(fills)])


def _crop(source: Source) -> Call:
    images, options, size = _maps_and_options(source)
    for name in ("convention", "spatial_scale", "sampling_ratio", "mode"):
        del options[name]
    count = source.below(5)
    sides = [draw_coordinate(source, 1, source.chance(10)) for _ in range(4 * count)]
    boxes = Rows(tuple(zip(*[iter(sides)] * 4, strict=True)), source.pick(("<f8", "<f4", ">f2")))
    arguments = {
        "boxes": boxes if count else Array((0, 4), "<f4"),
        "box_indices": [source.below(max(images.shape[0], 1)) for _ in range(count)],
        "method": source.pick(("bilinear", "nearest")),
        **options,
    }
    # Of which some are not finite, and there may be no image.
    faults = {"boxes": False, "box_indices": False}
    if source.chance(50):
        value = source.pick((0, 0.0, -1.5, NAN, math.inf, 1e300, np.float32(7)))
        arguments |= {"images": images, "crop_size": size, "extrapolation_value": value}
        if source.chance(35):
            arguments["out"] = _out(source, images, boxes, size, options["layout"])
        return Call("crop_and_resize", arguments, faults)
    wrt = source.pick(("images", "boxes", ["boxes", "images"]))
    if arguments["method"] == "nearest":
        wrt = "images"
    grads = _out(source, images, boxes, size, options["layout"])
    grads = draw_array(source, grads.shape, images.dtype, ("noise", "whole", "tiny"))
    arguments |= {"grad_output": grads, "image_shape": images.shape, "wrt": wrt}
    arguments["images"] = _of_modest_size(images)
    return Call("crop_and_resize_backward", arguments, faults)


def _rotated(source: Source) -> Call:
    """Turn the boxes of a plain call."""
    call = source.pick((_roi_align, _backward))(source)
    arguments = call.arguments
    maps = arguments.get("features") or Array(arguments["input_shape"], "<f4")
    images, _, height, width = _channels_first(maps.shape, arguments["layout"])
    if images == 0:
        return call
    scale = float(arguments["spatial_scale"])
    rois = draw_rotated_rows(source, images, height, width, scale)
    maximal = ra.Convention(pixel_offset=0.0, mode="max", angle="radians")
    options = {
        "rois": rois if rois.rows else Array((0, 6), rois.dtype),
        "convention": source.pick(("detectron2", "torchvision", ra.Convention(border="zero"))),
        "sampling_ratio": source.pick((None, 0, 1, 2, (1, 3), (64, 1))),
        "mode": source.pick((None, "avg", "max")),
        "clockwise": source.pick((False, True)),
    }
    if source.chance(20):
        options["convention"] = maximal
    if call.function == "roi_align_backward":
        sections = arguments["grad_output"].shape
        grads = (len(rois.rows), *sections[1:])
        options["grad_output"] = draw_array(source, grads, maps.dtype, ("noise", "whole", "tiny"))
        fills = ("noise", "whole", "constant")
        options["features"] = Array(
            maps.shape, maps.dtype, fills[maps.seed % len(fills)], maps.seed, maps.kind
        )
    arguments = {name: value for name, value in arguments.items() if name != "out"} | options
    function = call.function.replace("align", "align_rotated")
    return Call(function, arguments)


def _paste_masks(source: Source) -> Call:
    boxes = _four_columns(source)
    count, cells = count_of(boxes), source.below(6)
    channel = source.pick(((), (1,)))
    size = (source.below(12), source.pick((1, 5, 70, 200)))
    dtype = source.pick(FLOATS)
    threshold = source.pick((None, 0.5, 0.5, 1, 1 / 3))
    arguments = {
        "masks": draw_array(source, (count, *channel, cells, cells), dtype),
        "boxes": boxes,
        "image_size": size,
        "threshold": threshold,
        "convention": source.pick(("detectron2", "torchvision")),
        "format": source.pick(("dense", "crops", "dense" if threshold is None else "rle")),
        "num_threads": source.pick((None, 1, 2, 10**30)),
    }
    if arguments["format"] == "dense" and source.chance(35):
        shape, kind = (count, *size), source.pick(ROWS_KINDS)
        arguments["out"] = Array(shape, _native(dtype) if threshold is None else "|b1", kind=kind)
    return Call("paste_masks", arguments, {"boxes": False})  # of which some are not finite


def _explain(source: Source) -> Call:
    features, options, size = _maps_and_options(source, most_cells=5)
    for name in ("backend", "num_threads"):
        del options[name]
    rois = _rois(source, features, options)
    roi = source.below(max(count_of(rois), 1))
    channels = _channels_first(features.shape, options["layout"])[1]
    arguments = {"features": features, "rois": rois, "output_size": size}
    arguments |= {"roi": roi, "channel": source.below(max(channels, 1))}
    arguments |= {"coordinates": source.pick(("document", "array")), **options}
    # No box, no channel, no cell; or a box of more points than can be listed.
    names = ("rois", "roi", "channel", "features")
    return Call("explain", arguments, dict.fromkeys(names, False))


def _compare(source: Source) -> Call:
    arguments = dict(_explain(source).arguments)
    if source.below(32):  # a picture takes as long as a hundred other calls
        return _roi_align(source)
    del arguments["convention"]
    arguments["conventions"] = source.pick((("document",), ("onnx", ra.Convention())))
    names = ("rois", "roi", "channel", "features")
    return Call("compare_conventions", arguments, dict.fromkeys(names, False))


def _from_xywh(source: Source) -> Call:
    boxes = _four_columns(source)
    if source.chance(50):
        return Call("boxes.from_cxcywh", {"boxes": boxes, "images": source.below(1000)})
    return Call("boxes.from_xywh", {"boxes": boxes})


def _from_document(source: Source) -> Call:
    height = source.pick((512, 10.5, -3, 1e6, 1e300, np.float32(7), Fraction(9, 2), 5e-324))
    return Call("boxes.from_document", {"boxes": _four_columns(source), "height": height})


def _from_list(source: Source) -> Call:
    entries = [_four_columns(source) for _ in range(source.below(4))]
    return Call("boxes.from_list", {"boxes": entries})


def _convention(source: Source) -> Call:
    arguments = {
        "pixel_offset": source.pick((0.5, 0, -1e300, Fraction(1, 2), np.float16(2))),
        "min_size": source.pick((None, 0, 1.0, 1e300, 5e-324)),
        "sampling": source.pick(("centered", "interior")),
        "sampling_ratio": source.pick((0, 4096, (0, 1), [2, 2], True, np.int8(3))),
        "mode": source.pick(("avg", "max", "max_weighted")),
        "max_rule": source.pick(("max", "max_weighted")),
    }
    return Call("Convention", arguments)


def _number_of_threads(source: Source) -> Call:
    return Call("set_num_threads", {"num_threads": source.pick((None, 1, 2, 10**30, True))})


def _backend(source: Source) -> Call:
    function = source.pick(("get", "unavailable_reason", "use", "register"))
    name = "backend" if function == "register" else "name"
    value, must = source.pick(((None, True), *BAD_BACKENDS, ("cpu", function == "register")))
    return Call(f"backends.{function}", {name: value}, {name: must and function != "register"})


_DRAWERS = (
    *(_roi_align,) * 20,
    *(_rotated,) * 3,
    *(_paste_masks,) * 3,
    *(_crop,) * 3,
    *(_backward,) * 16,
    *(_roi_pool,) * 5,
    *(_multiscale,) * 3,
    *(_explain,) * 4,
    *(_from_list, _from_xywh, _from_document, _convention, _number_of_threads, _backend, _compare),
)


def _maps_and_options(source: Source, most_cells: int = 9) -> tuple[Array, dict, Any]:
    shape = (
        0 if source.chance(2) else source.pick((1, 2, 3)),
        0 if source.chance(2) else source.pick((1, 2, 3, 4, 5, 16, 17, 33, 1, 2, 3, 4)),
        0 if source.chance(2) else source.below(most_cells) + 1,
        0 if source.chance(2) else source.below(most_cells) + 1,
    )
    layout = source.pick(("NCHW", "NHWC"))
    if layout == "NHWC":
        shape = (shape[0], *shape[2:], shape[1])
    ratio = source.pick((None, 0, 1, 2, (1, 3), (2, 0), 3, (3, 2)))
    size = source.pick((1, 2, 3, (1, 2), (3, 1), (2, 4), [2, 2], np.int64(2)))
    if source.chance(3):
        ratio, size = source.pick((9, (130, 1), (1, 70))), 1
    elif source.chance(2):
        ratio, size = 1, source.pick(((1, 130), (70, 1), 9))
    options = {
        "convention": source.pick(CONVENTIONS),
        "spatial_scale": source.pick(SCALES),
        "sampling_ratio": ratio,
        "mode": source.pick((None, "avg", "max", "max_weighted")),
        "layout": layout,
        "backend": source.pick(BACKENDS),
        "num_threads": source.pick((None, 1, 2, 3, 10**30)),
    }
    _settle(source, options)
    return draw_array(source, shape, source.pick(FLOATS)), options, size


def _settle(source: Source, options: dict) -> None:
    """Ask for nothing that the convention has no choice of."""
    mode = MODE_OF_SAMPLING.get(find_convention(options["convention"]).sampling)
    if mode is not None:
        options["mode"], options["sampling_ratio"] = (
            source.pick((None, mode)),
            source.pick((None, 0)),
        )


def _rois(source: Source, features: Array, options: dict) -> Any:
    images, _, height, width = _channels_first(features.shape, options["layout"])
    scale = float(options["spatial_scale"])
    rows = draw_rows(source, images, height, width, scale)
    form = source.below(16)
    if form < 12:
        return rows
    if form < 14 and rows.rows:  # as numbers; without any, this is a list for no image
        return [list(row) for row in rows.rows]
    indices = [row[0] for row in rows.rows]
    return [
        Rows(tuple(row[1:] for row in rows.rows if row[0] == image), rows.dtype, rows.kind)
        if image in indices
        else source.pick(([], (), Array((0, 4), "<f8"), Array((0,), "<f8")))
        for image in range(images)
    ]


def _out(source: Source, features: Array, rois: Any, size: Any, layout: str) -> Array:
    rows, cols = size if isinstance(size, tuple | list) else (int(size), int(size))
    channels = _channels_first(features.shape, layout)[1]
    shape = (count_of(rois), channels, rows, cols)
    if layout == "NHWC":
        shape = (shape[0], rows, cols, channels)
    return Array(shape, _native(features.dtype), "noise", 0, source.pick(WRITEABLE_KINDS))


def _four_columns(source: Source) -> Any:
    rows = draw_rows(source, 1, 9, 9, 1.0)
    rows = Rows(tuple(row[1:] for row in rows.rows), rows.dtype, rows.kind)
    form = source.below(4)
    if form == 3:
        return [list(row) for row in rows.rows]
    return rows if rows.rows else Array((0, 4), "<f4")


def count_of(rois: Any) -> int:
    """Count the boxes that are written down."""
    if isinstance(rois, Rows):
        return len(rois.rows)
    if isinstance(rois, Array):
        return 0 if 0 in rois.shape else rois.shape[0]
    if rois and isinstance(rois[0], list) and rois[0] and not isinstance(rois[0][0], list | tuple):
        return len(rois)
    return sum(count_of(entry) for entry in rois)


def boxes_dtype(rois: Any) -> str:
    """Tell the dtype that boxes are computed in."""
    if isinstance(rois, Rows):
        dtype = np.dtype(rois.dtype)
        is_narrow = dtype.kind == "f" and dtype.itemsize <= 8
        return _native(rois.dtype) if is_narrow else "<f8"
    filled = [entry for entry in rois if isinstance(entry, Rows)]
    return boxes_dtype(filled[0]) if filled else "<f8"


def _native(dtype: str) -> str:
    return "<" + dtype[1:]


def _channels_first(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    return shape if layout == "NCHW" else (shape[0], shape[3], *shape[1:3])


# Odd arguments


def _is_shared(call: Call, name: str) -> bool:
    """Whether an argument has to stay what it is for the sake of ``out``."""
    out = call.arguments.get("out")
    return isinstance(out, Overlap) and out.other == name


def _odd_value(source: Source, call: Call, name: str) -> tuple[Any, bool]:
    now = call.arguments[name]
    if name in ("features", "images", "grad_output") and isinstance(now, Array):
        form = source.below(4)
        if form == 0:
            dtype = source.pick((*BAD_DTYPES, "<i4", "|u1", "<f16"))
            return Array(now.shape, dtype), name == "grad_output" or dtype not in ("|b1", "|u1")
        if form == 1:
            return Array(source.pick((now.shape[:3], (1, *now.shape), (), (7,))), now.dtype), True
        if form == 2 and name == "grad_output":
            return Array(tuple(size + 1 for size in now.shape), now.dtype), False
        return source.pick(BAD_ARRAYS)
    if name in ("rois", "boxes"):
        width = 5 if name == "rois" else 4
        width += "clockwise" in call.arguments
        form = source.below(4)
        if form == 0:
            return Array((2, width), source.pick(BAD_DTYPES)), True
        if form == 1:
            return Array(source.pick(((2, width - 1), (2, width, 1), (width,), (2, 0)))), False
        if form == 2:
            return source.pick(((), [], [[]], [[], []], [(), [[1, 2, 3, 4]]], [[0] * width])), False
        return source.pick(BAD_ARRAYS)
    if name == "out":
        form = source.below(4)
        inputs = ("features", "images", "rois", "grad_output")
        others = [key for key in inputs if isinstance(call.arguments.get(key), Array | Rows)]
        others = [key for key in others if key not in call.odd]
        if form == 0 and isinstance(now, Array) and others and 0 not in now.shape:
            other = source.pick(others)
            is_shared = call.arguments[other].make().array.size > 0
            return Overlap(now.shape, now.dtype, other), is_shared
        if form == 1 and isinstance(now, Array):
            shape = source.pick((now.shape[:-1], (*now.shape, 1), now.shape[::-1], (0,)))
            return Array(shape, now.dtype), shape != now.shape
        if form == 2 and isinstance(now, Array):
            dtype = source.pick(("<f2", "<f4", "<f8", ">f4", "<i4", "|O"))
            return Array(now.shape, dtype), dtype != now.dtype
        if isinstance(now, Array):
            kind = source.pick(("read-only", "broadcast"))
            return Array(now.shape, now.dtype, kind=kind), kind == "read-only"
        return source.pick(BAD_ARRAYS)
    if name in ("input_shape", "image_shape"):
        shapes = ((), (1, 2, 3), (1, 1, 1, -1), (2**62, 2, 1, 1), (2**63, 0, 1, 1), "four", None)
        shapes += ((1.0, 1, 1, 1), 7, (10**30,) * 4, (NAN,) * 4, {1, 2, 3, 4}, (2**40, 0, 5, 5))
        shape = source.pick(shapes)
        return shape, shape not in ((2**40, 0, 5, 5), {1, 2, 3, 4})
    return source.pick(_ODD[name])


_ODD: dict[str, tuple[tuple[Any, bool], ...]] = {
    "masks": BAD_ARRAYS,
    "image_size": _odd(
        (*JUNK, 5, -1, (-1, 2), (1, 2, 3), (2.0, 2), (2**64, 1), (2**40, 2**40), NAN),
        (True, [3, 2], (np.int8(3), True), (0, 0)),
    ),
    "threshold": _odd((*NOT_NUMBERS[1:], 0, -0.5), ODD_NUMBERS),
    "format": BAD_NAMES,
    "images": _odd((*JUNK[1:], -1, 0.5, NAN, (1, 2, 3, 4, 5, 6, 7))),
    "output_size": BAD_SIZES,
    "crop_size": BAD_SIZES,
    "method": BAD_NAMES,
    "box_indices": _odd((*JUNK[:9], [9], [-1], [0.5], [[0]])),
    "extrapolation_value": _odd(JUNK, ODD_NUMBERS),
    "convention": BAD_NAMES,
    "conventions": _odd(((), "document", None, ("x",), [1], Opaque())),
    "spatial_scales": _odd((*NOT_NUMBERS[:-1], (0, 1), (NAN, 1), ("1", 1), 0.5)),
    "levels": _odd(
        (*(value for value in JUNK if value not in (None, (), [])), [9], [-1], [0.5], [[0]]),
    ),
    "level_rule": BAD_NAMES,
    "canonical_size": _odd((*NOT_NUMBERS, 0, -0.5), ODD_NUMBERS),
    "canonical_level": _odd(NOT_NUMBERS, ODD_NUMBERS),
    "spatial_scale": _odd((*NOT_NUMBERS, 0, -0.5), ODD_NUMBERS),
    "height": _odd(NOT_NUMBERS, ODD_NUMBERS),
    "sampling_ratio": BAD_RATIOS,
    "mode": BAD_NAMES[1:],
    "layout": BAD_NAMES,
    "backend": BAD_BACKENDS,
    "name": BAD_BACKENDS,
    "num_threads": BAD_THREADS,
    "features": BAD_ARRAYS[1:],
    "wrt": (*BAD_NAMES, *_odd((("rois", "rois"), (1,)))),
    "roi": BAD_INDICES,
    "channel": BAD_INDICES,
    "coordinates": BAD_NAMES,
    "pixel_offset": _odd(NOT_NUMBERS, ODD_NUMBERS),
    "min_size": _odd((*NOT_NUMBERS[1:], -1), ODD_NUMBERS),
    "sampling": BAD_NAMES,
    "max_rule": BAD_NAMES,
    "clockwise": _odd(tuple(value for value in JUNK if value is not False), (True,)),
}
