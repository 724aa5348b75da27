"""Run a call and judge what comes of it.

It may be answered, with what the oracle says; or it may be refused, by an error that names an
argument at fault. Anything else is a failure.
"""

from __future__ import annotations

import json
import re
import sys
import time
import warnings
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np

import roialign_cy as ra
from roialign_cy._core import variants

from .arrays import Array, Made, Overlap, Rows, shared
from .calls import Call
from .coordinates import can_be_pooled, floats
from .oracle import ROTATED, FailureError, compare, spec_of
from .ways import POOLING, assert_same_bits, forced, registered

# What a fault in one argument can show as a fault in: sizes have to fit, numbers to be finite.
COUPLED = {
    "rois": {"out", "grad_output", "roi"},
    "features": {"rois", "channel"},
    "output_size": {"out", "rois"},
    "input_shape": {"grad_output", "rois", "features", "out"},
    "wrt": {"features", "images", "out"},
    "masks": {"boxes", "threshold"},
    "image_size": {"out"},
    "crop_size": {"out", "boxes"},
    "images": {"grad_output", "box_indices"},
    "image_shape": {"grad_output", "images", "box_indices", "out"},
    "threshold": {"out"},
    "spatial_scale": {"rois"},
    "spatial_scales": {"rois", "features"},
    "sampling_ratio": {"rois"},
    "name": {"backend"},
}
MOST_SECONDS = 1.0
"""Of CPU time, for a call that is not the slow oracle's own; pictures of two may take as long."""


class Refusal(NamedTuple):
    """An error that a call raised."""

    kind: type[Exception]
    text: str


def registered_backends() -> AbstractContextManager[None]:
    """Know the forced backends of `calls.BACKENDS` by their names, and those of all ways."""
    usable = variants.promised()
    return registered(
        [
            forced("base", "base"),
            forced("v3", "v3" if "v3" in usable else usable[-1]),
            forced("planar", order="planar"),
            forced("tiled", order="tiled", run=1),
            forced("threads", parallel=True, splits=3),
        ]
    )


def judge(call: Call) -> str:
    """Run a call; say what became of it, or raise `FailureError`."""
    arguments, memories = build_arguments(call)
    before = [_state(*made) for made in memories.values()]
    out_before = before[list(memories).index("out")] if "out" in memories else None
    began = time.process_time()
    result, error = _outcome(call.function, arguments)
    seconds = time.process_time() - began
    after = [_state(*made) for made in memories.values()]

    if call.arguments.get("backend") != "reference" and seconds > MOST_SECONDS:
        raise FailureError(f"took {seconds:.1f} s of CPU time")
    for name, was, now in zip(memories, before, after, strict=True):
        if was != now and (name != "out" or error is not None):
            raise FailureError(f"{name} was changed")
    if error is not None:
        return _refused(call, error, arguments)
    if any(call.odd.values()):
        raise FailureError(f"was not refused, but gave {result!r}")
    if has_to_be_refused(call, arguments):
        raise FailureError("was not refused, though its boxes cannot be pooled")
    if out_before is not None and result is not arguments["out"]:
        raise FailureError("gave another array than out")
    verdict = compare(call, arguments, result)
    if out_before is not None and result.size:
        _check_surroundings(memories["out"], out_before)
    if verdict.startswith("kernel"):
        assert_same_bits(call.function, arguments, result)
    return verdict


def build_arguments(call: Call) -> tuple[dict[str, Any], dict[str, Made]]:
    """Make the arguments, and all the memory that may be looked at after the call."""
    memories: dict[str, Made] = {}

    def build(name: str, value: Any) -> Any:
        if isinstance(value, Array | Rows):
            memories[name] = value.make()
            return memories[name].array
        if isinstance(value, list) and any(isinstance(item, Array | Rows) for item in value):
            return [build(f"{name}[{index}]", item) for index, item in enumerate(value)]
        return value

    arguments = {name: build(name, value) for name, value in call.arguments.items()}
    if isinstance(arguments.get("out"), Overlap):
        overlap = arguments["out"]
        moved, out = shared(arguments[overlap.other], overlap)
        arguments |= {overlap.other: moved, "out": out}
        memories |= {overlap.other: Made(moved, moved), "out": Made(out, out)}
    return arguments, memories


def _state(array: np.ndarray, memory: np.ndarray) -> tuple[Any, ...]:
    """All that a call must leave as it is, but for what it writes to."""
    facts = (array.shape, array.strides, array.dtype, array.flags.writeable)
    contents = memory.tobytes() if memory.dtype != object else None
    return *facts, contents, sys.getrefcount(array)


def _outcome(function: str, arguments: dict[str, Any]) -> tuple[Any, Refusal | None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return run(function, arguments), None
    except Exception as error:  # whose frames hold on to the arguments
        return None, Refusal(type(error), str(error))


def run(function: str, arguments: dict[str, Any]) -> Any:
    """Call a public function by its name, and what it gives where that is more than a value."""
    target: Any = ra
    for name in function.split("."):
        target = getattr(target, name)
    if function == "set_num_threads":
        try:
            return target(**arguments)
        finally:
            ra.set_num_threads(None)
    result = target(**arguments)
    if function == "backends.use":
        with result:
            pass
    if function == "explain" and result.output.size and result.values_of(0, 0).size:
        json.dumps(result.to_dict(), allow_nan=True)
        first = result.number(0, 0)
        return result, result.formula(first), result.formula(first, first)
    return result


def has_to_be_refused(call: Call, arguments: dict[str, Any]) -> bool:
    """Say whether boxes of a call that is plain otherwise cannot be pooled."""
    if call.function not in POOLING or call.function in ROTATED or call.odd:
        return False  # rotated boxes are drawn such that all can
    shape = arguments.get("input_shape") or arguments["features"].shape
    rows, images = arguments["rois"], shape[0]
    if isinstance(rows, list) and any(isinstance(entry, np.ndarray) for entry in rows):
        filled = [entry for entry in rows if len(entry)]
        rows = np.concatenate(filled) if filled else np.empty((0, 4))
        rows = np.insert(floats(rows), 0, 0, axis=1)
    rows = floats(np.asarray(rows).reshape(-1, 5))
    return not can_be_pooled(rows, images, spec_of(call.function, arguments))


def _refused(call: Call, error: Refusal, arguments: dict[str, Any]) -> str:
    kind, text = error
    failure = FailureError(f"{kind.__name__}: {text}")
    if kind is ra.BackendUnavailableError:
        if call.odd.keys() & {"backend", "name"} and "backend" in text:
            return "refused"
        raise failure
    if issubclass(kind, MemoryError) and call.odd.keys() & {"output_size", "crop_size"}:
        return "too large a result"
    if kind not in (ValueError, TypeError):
        raise failure
    at_fault = set(call.odd)
    if not at_fault:
        if not has_to_be_refused(call, arguments):
            raise failure
        at_fault = {"rois"}
    else:
        at_fault |= {"rois"} & call.arguments.keys()  # which may be bad as well
    for name in tuple(at_fault):
        at_fault |= COUPLED.get(name, set())
    if not any(re.search(rf"\b{name}\b", text) for name in at_fault):
        raise failure
    return "refused"


def _check_surroundings(out: Made, before: tuple[Any, ...]) -> None:
    """Expect that nothing but ``out`` itself was written in the memory around it."""
    array, memory = out
    inside = np.zeros(memory.nbytes, bool)
    first = array.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
    steps = np.meshgrid(
        *(np.arange(n) * stride for n, stride in zip(array.shape, array.strides, strict=True)),
        np.arange(array.itemsize),
        sparse=True,
    )
    inside[first + sum(steps)] = True
    was, now = (np.frombuffer(contents, np.uint8) for contents in (before[4], memory.tobytes()))
    if (now[~inside] != was[~inside]).any():
        raise FailureError("memory beside out was written")
