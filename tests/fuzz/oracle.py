"""What a call has to give: the reference's answer, or for what has none, plain arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np

import roialign_cy as ra
from roialign_cy import _arrays
from roialign_cy._elements import pooled_dtype
from roialign_cy._rotated import make_rotated_spec
from roialign_cy._spec import CallSpec, make_spec
from roialign_cy.backends import reference

from .calls import Call
from .coordinates import floats
from .naive_masks import naive

# Relative to the largest cell, or the sum of what is added in a gradient: test_properties.py and
# test_backward.py in tests/core have the reasons.
FORWARD = {"float64": 1e-12, "float32": 1e-6, "float16": 2.0**-10}
BACKWARD = {"float64": 4e-12, "float32": 16e-6, "float16": 2.0**-8}
BY_BOXES = {"float64": 4e-12, "float32": 8e-6, "float16": 8e-6}


ROTATED = ("roi_align_rotated", "roi_align_rotated_backward")
"""Functions of rotated boxes."""


class FailureError(AssertionError):
    """A call was neither answered as the oracle does nor refused by name."""


def compare(call: Call, arguments: dict[str, Any], result: Any) -> str:
    """Hold a result to the oracle's; say which kind of comparison that was."""
    function = call.function
    if function in ROTATED and is_at_the_border(arguments, spec_of(function, arguments)):
        return "rotated, at the border"
    if function in ("roi_align", "roi_pool", "multiscale_roi_align", "roi_align_rotated"):
        return _pooled(function, arguments, result)
    if function in ("roi_align_backward", "roi_align_rotated_backward"):
        return _gradients(function, arguments, result)
    if function.startswith("crop_and_resize"):
        return _crops(function, arguments, result)
    _HELPERS.get(function, _anything)(arguments, result)
    return "helper"


def _pooled(function: str, arguments: dict[str, Any], result: np.ndarray) -> str:
    features = arguments["features"]
    maps = [np.asarray(array) for array in (features if isinstance(features, list) else [features])]
    expected = _by_reference(function, arguments)
    dtype = pooled_dtype(maps[0].dtype, arguments.get("out")).newbyteorder("=")
    if result.dtype != dtype or result.shape != expected.shape:
        raise FailureError(f"gave {result.dtype} {result.shape}, not as {expected.shape}")
    tolerance = 0.0 if function == "roi_pool" else FORWARD[result.dtype.name]
    _assert_close(result, expected, tolerance * max(map(_largest, maps)), "the reference")
    if result.size == 0 or not all(array.size for array in maps):
        return "empty"
    return "kernel"


def _gradients(function: str, arguments: dict[str, Any], result: Any) -> str:
    wrt, features = arguments["wrt"], arguments["features"]
    names, results = ((wrt,), (result,)) if isinstance(wrt, str) else (wrt, result)
    expected = _by_reference(function, arguments)
    expected = (expected,) if isinstance(wrt, str) else expected
    grads = np.asarray(arguments["grad_output"])
    spec = spec_of(function, arguments)
    try:
        for name, got, wanted in zip(names, results, expected, strict=True):
            if (got.dtype, got.shape) != (wanted.dtype, wanted.shape):
                raise FailureError(f"gave {got.dtype} {got.shape}, not {wanted.dtype}")
            added = float(np.abs(grads, dtype=np.float64).sum())
            if name == "features":
                tolerance = added * BACKWARD[got.dtype.name]
            else:
                relative = BY_BOXES[grads.dtype.name] + float(np.finfo(got.dtype).eps)
                # Slopes are numbers of the working type, however small the scale.
                smallest = float(np.finfo(np.promote_types(grads.dtype, np.float32)).tiny)
                slope = max(spec.spatial_scales[0], smallest)
                tolerance = relative * added * _largest(features) * slope
            # The slopes of a mean's samples may cancel in a cell, which then is not read.
            is_lax = name == "rois" and spec.mode == "avg"
            _assert_close(got, wanted, tolerance, f"the reference, by {name}", is_lax)
    except FailureError:
        if spec.mode == "max" and has_near_tie(arguments, spec):
            return "kernel, undecided maximum"
        raise
    if grads.size == 0 or 0 in arguments["input_shape"]:
        return "empty"
    return "kernel"


def _crops(function: str, arguments: dict[str, Any], result: Any) -> str:
    images, names = arguments["images"], arguments.get("wrt", "crops")
    expected = _by_reference(function, arguments)
    if isinstance(names, str):
        names, result, expected = [names], [result], [expected]
    for name, got, wanted in zip(names, result, expected, strict=True):
        if (got.dtype, got.shape) != (wanted.dtype, wanted.shape):
            raise FailureError(f"gave {got.dtype} {got.shape}, not {wanted.dtype} {wanted.shape}")
        if name == "crops":
            tolerance = FORWARD[got.dtype.name] * _largest(images)
        else:
            grads = arguments["grad_output"]
            tolerance = _largest(np.abs(grads, dtype=np.float64).sum()) * BACKWARD[grads.dtype.name]
            if name == "boxes":
                relative = 1 + float(np.finfo(got.dtype).eps) / BACKWARD[grads.dtype.name]
                tolerance *= relative * _largest(images) * max(arguments["image_shape"])
        is_lax = name == "boxes"  # as for the gradients of means
        _assert_close(got, wanted, tolerance, f"the reference, {name}", is_lax)
    return "kernel" if images.size and all(got.size for got in result) else "empty"


def has_near_tie(arguments: dict[str, Any], spec: CallSpec) -> bool:
    """Say whether two points of a section could each be its largest, but for rounding."""
    features = _arrays.as_nchw(np.asarray(arguments["features"]), spec)
    features = features.astype(np.float64)
    rois = arguments["rois"]
    if isinstance(rois, list):
        rois = ra.boxes.from_list(rois) if np.ndim(rois[0]) == 2 or not len(rois[0]) else rois
    near = 4 * FORWARD[arguments["grad_output"].dtype.name] * _largest(features)
    with np.errstate(all="ignore"):
        for section in reference.sections(floats(np.asarray(rois)), spec, *features.shape[2:]):
            image = features[section.image]
            values = [reference.interpolated(image, y.cells, x.cells) for y, x in section.points]
            if len(values) > 1:
                last, largest = np.sort(values, axis=0)[-2:]
                if (largest - last <= near).any():
                    return True
    return False


def spec_of(function: str, arguments: dict[str, Any]) -> CallSpec:
    """Fill in what the options of a plain pooling call leave open."""
    if function == "roi_pool":
        arguments = arguments | {"convention": "roi_pool"}
    size = arguments.get("output_size")
    if size is None:
        shape = arguments["grad_output"].shape
        size = shape[1:3] if arguments["layout"] == "NHWC" else shape[2:]
    names = ("spatial_scale", "sampling_ratio", "mode", "layout", "num_threads")
    options = map(arguments.get, names)
    if function in ROTATED:
        return make_rotated_spec(size, arguments["convention"], arguments["clockwise"], *options)
    return make_spec(size, arguments.get("convention"), *options)


def is_at_the_border(arguments: dict[str, Any], spec: CallSpec) -> bool:
    """Whether rounding, which differs from the reference's, may take a sample off the map.

    Or away from what it is next to, where that is what a gradient depends on.
    """
    shape = arguments.get("input_shape") or arguments["features"].shape
    size = shape[1:3] if spec.channels_last else shape[2:]
    rois = floats(np.asarray(arguments["rois"]))
    near = 1e-12 * (1 + _largest(rois[:, 1:5]) * spec.spatial_scales[0])
    for section in reference.sections(rois, spec, *size):
        for point in section.points:
            for sample, cells in zip(point, size, strict=True):
                jumps = [-1, cells]
                if "wrt" in arguments:
                    jumps.append(round(sample.position))
                if any(abs(sample.position - jump) <= near for jump in jumps):
                    return True
    return False


def _by_reference(function: str, arguments: dict[str, Any]) -> Any:
    """Give the reference's answer, in memory of its own."""
    changes = {"backend": "reference", "out": None}
    return getattr(ra, function)(**arguments | changes)


def _largest(array: np.ndarray) -> float:
    """Give the largest finite magnitude."""
    wide = np.abs(np.asarray(array), dtype=np.float64)
    return float(wide[np.isfinite(wide)].max(initial=0.0))


def _assert_close(
    got: np.ndarray,
    wanted: np.ndarray,
    tolerance: float,
    whose: str,
    is_lax: bool = False,
) -> None:
    """Expect NaN and infinities in the same places, and all else within the tolerance.

    ``is_lax``: anything, where NaN or an infinity is wanted.
    """
    facts = np.finfo(got.dtype)
    tolerance += 4 * float(facts.smallest_subnormal)
    mine, theirs = (np.asarray(array).astype(np.float64) for array in (got, wanted))
    with np.errstate(invalid="ignore"):
        is_close = np.abs(mine - theirs) <= tolerance + 2 * float(facts.eps) * np.abs(theirs)
    is_close |= (mine == theirs) | (np.isnan(mine) & np.isnan(theirs))
    if is_lax:
        is_close |= ~np.isfinite(theirs)
    # On either side of overflowing.
    smaller = np.minimum(np.abs(mine), np.abs(theirs))
    is_close |= (smaller > 0.999 * float(facts.max)) & (np.sign(mine) == np.sign(theirs))
    if not is_close.all():
        at = tuple(map(int, np.argwhere(~is_close)[0]))
        raise FailureError(f"at {at}: gave {mine[at]!r}, {whose} {theirs[at]!r}")


# Functions that no backend is behind


def _corners(arguments: dict[str, Any]) -> np.ndarray:
    return floats(np.asarray(arguments["boxes"]).reshape(-1, 4))


def _assert_rows(got: np.ndarray, columns: list[np.ndarray], dtype: Any) -> None:
    wanted = np.array(columns, dtype).T.reshape(-1, len(columns))
    if (got.dtype, got.shape) != (wanted.dtype, wanted.shape):
        raise FailureError(f"gave {got.dtype} {got.shape}, not {wanted.dtype} {wanted.shape}")
    _assert_close(got, wanted, 0.0, "arithmetic")


@np.errstate(all="ignore")
def _check_xywh(arguments: dict[str, Any], result: Any) -> None:
    given = arguments["boxes"]
    if isinstance(given, list | tuple) and any(np.ndim(e) == 2 or not np.size(e) for e in given):
        rows = ra.boxes.from_list([ra.boxes.from_xywh(entry) for entry in given])
        _assert_close(result, rows, 0.0, "entry by entry")
        return
    boxes = _corners(arguments)
    x, y, w, h = boxes.T
    _assert_rows(result, [x, y, x + w, y + h], boxes.dtype)


@np.errstate(all="ignore")
def _check_cxcywh(arguments: dict[str, Any], result: Any) -> None:
    boxes = _corners(arguments)
    x, y, w, h = boxes.T
    indices = np.broadcast_to(arguments["images"], len(boxes)).astype(boxes.dtype)
    corners = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
    _assert_rows(result, [indices, *corners], boxes.dtype)


@np.errstate(all="ignore")
def _check_document(arguments: dict[str, Any], result: Any) -> None:
    boxes = _corners(arguments)
    x, y, w, h = boxes.T
    top = boxes.dtype.type(float(arguments["height"])) - y
    _assert_rows(result, [0 * np.ones_like(x), x, top, x + w, top + h], boxes.dtype)


def _check_list(arguments: dict[str, Any], result: Any) -> None:
    rows = [
        (image, *map(float, row))
        for image, entry in enumerate(arguments["boxes"])
        for row in floats(np.asarray(entry).reshape(-1, 4))
    ]
    got = [tuple(map(float, row)) for row in result]
    if len(got) != len(rows) or not np.array_equal(got, rows, equal_nan=True):
        raise FailureError(f"gave {got}, not {rows}")


def _check_explanation(arguments: dict[str, Any], result: Any) -> None:
    it = result[0] if isinstance(result, tuple) else result
    options = {name: arguments[name] for name in ("convention", "spatial_scale", "sampling_ratio")}
    options |= {name: arguments[name] for name in ("mode", "layout")}
    pooled = ra.roi_align(
        arguments["features"], arguments["rois"], arguments["output_size"], backend="reference",
        **options,
    )[arguments["roi"]]  # fmt: skip
    is_last = arguments["layout"] == "NHWC"
    plane = pooled[..., arguments["channel"]] if is_last else pooled[arguments["channel"]]
    if not np.array_equal(it.output, plane, equal_nan=True):
        raise FailureError("explained another output than the reference's")
    if it.values.size == 0 or not np.isfinite(it.map).all():
        return
    # What is listed makes up what is given.
    largest, exists = _largest(it.map), ~np.isnan(it.points).any(axis=-1)
    cells = np.where(it.weights > 0, it.cells, 0).astype(np.float64)
    values = (it.weights * cells).sum(axis=-1)
    if it.spec.mode == "max_weighted":
        values = it.values
    tolerance = FORWARD[it.output.dtype.name] * largest
    _assert_close(it.values[exists], values[exists], 1e-12 * largest, "weights and cells")
    if it.spec.mode == "avg":
        count = 1 if it.spec.sampling == "integral" else it.values.shape[2] * it.values.shape[3]
        reduced = values.sum(axis=(2, 3)) / count
    else:
        reduced = values.max(axis=(2, 3), where=exists, initial=-np.inf)
        reduced[~exists.any(axis=(2, 3))] = 0
    _assert_close(it.output, reduced.astype(it.output.dtype), tolerance, "the listed points")


def _check_pasted(arguments: dict[str, Any], result: Any) -> None:
    masks = np.asarray(arguments["masks"])
    masks = masks.astype(masks.dtype.newbyteorder("=")).reshape(len(masks), *masks.shape[-2:])
    boxes, size = _corners(arguments), arguments["image_size"]
    threshold, convention = arguments["threshold"], arguments["convention"]
    options = {"image_size": size, "convention": convention, "num_threads": 1}
    dense = ra.paste_masks(masks, boxes, threshold=None, **options)
    if np.isfinite(masks).all() and masks.size:
        expected = naive(masks, boxes, size, convention)
        with np.errstate(over="ignore"):
            expected = expected.astype(masks.dtype)
        tolerance = FORWARD[masks.dtype.name] * _largest(masks)
        _assert_close(dense, expected, tolerance, "the definition")
    if threshold is not None:
        with np.errstate(over="ignore"):
            dense = dense >= dense.dtype.type(threshold)
    if arguments["format"] == "rle":
        same = ra.paste_masks(masks, boxes, threshold=threshold, format="rle", **options)
        is_same = result == same and all(code["size"] == list(size) for code in result)
    elif arguments["format"] == "crops":
        images = np.zeros_like(dense)
        for image, (crop, (y, x)) in zip(images, result, strict=True):
            image[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
        is_same = np.array_equal(images, dense, equal_nan=threshold is None)
    else:
        is_same = np.array_equal(result, dense, equal_nan=threshold is None)
    if not is_same:
        raise FailureError("another format, or other threads, give other pixels")


def _check_convention(arguments: dict[str, Any], result: Any) -> None:
    for name in ("pixel_offset", "min_size"):
        given, kept = arguments[name], getattr(result, name)
        if kept != (None if given is None else float(given)):
            raise FailureError(f"kept {name} as {kept!r}")
    if hash(result) != hash(ra.Convention(**arguments)):
        raise FailureError("hashes differ")


def _anything(arguments: dict[str, Any], result: Any) -> None:
    """Any answer is right; that there is one is what counts."""


_HELPERS = {
    "boxes.from_xywh": _check_xywh,
    "boxes.from_cxcywh": _check_cxcywh,
    "boxes.from_document": _check_document,
    "boxes.from_list": _check_list,
    "explain": _check_explanation,
    "paste_masks": _check_pasted,
    "Convention": _check_convention,
}
