"""Random calls of every kind: as the reference answers them, and as mathematics has it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ..conventions import find_convention
from . import checks
from .calls import CONVENTIONS, WRT, Call, Cell, cells, cells_below, random_calls

LAYOUTS = ("NCHW", "NHWC")
BELOW = list(cells_below("roi_align", *WRT))
OTHER_TYPES = [cell for cell in BELOW if not cell.maps]


def counted(fields: Iterable[Cell]) -> list[Any]:
    """Fields with samples counted in either way: the call's own, and the convention's."""
    return [
        pytest.param(cell, own_count, id=f"{cell}-{'own' if own_count else 'fixed'}")
        for cell in fields
        for own_count in ((False, True) if cell.operator == "RoI Align" else (True,))
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("cell", "own_count"), counted([*cells("roi_align", *WRT), *OTHER_TYPES]))
def test_result_is_that_of_the_reference(
    cell: Cell, own_count: bool, layout: str, backend: str
) -> None:
    if backend == "reference":
        pytest.skip("compared with itself")
    if cell.dtype == "bfloat16":
        pytest.importorskip("ml_dtypes", reason="bfloat16 is of the package ml_dtypes")
    for call in random_calls(cell, own_count):
        checks.AGREES[cell.operation](replace(call, layout=layout), backend)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("cell", [cell for cell in BELOW if cell.maps], ids=str)
def test_several_maps_give_what_each_gives_alone(cell: Cell, layout: str, backend: str) -> None:
    for call in random_calls(cell, own_count=True):
        checks.several_maps_agree(replace(call, layout=layout), backend, cell.operation)


def of_mode(mode: str, *operations: str) -> list[Cell]:
    """Fields of that mode, in float64."""
    return [cell for cell in cells(*operations) if (cell.mode, cell.dtype) == (mode, "float64")]


@pytest.mark.parametrize("cell", of_mode("avg", "roi_align"), ids=str)
def test_mean_is_linear_in_the_features(cell: Cell, backend: str) -> None:
    for call in random_calls(cell, own_count=False):
        checks.mean_is_linear(call, backend, factor=-1.7, other=1)


@pytest.mark.parametrize("cell", of_mode("avg", "feature_gradient"), ids=str)
def test_gradient_of_the_mean_is_its_adjoint(cell: Cell, backend: str) -> None:
    for call in random_calls(cell, own_count=False):
        checks.feature_gradient_is_the_adjoint(call, backend)


SLOPES = Call(
    seed=0,
    shape=(2, 3, 5, 4),
    dtype="float64",
    rois=np.array(
        [
            [0, 1.3, 2.1, 7.2, 8.9],
            [1, -6.4, -5.3, 4.9, 6.6],  # partly outside
            [1, 3.2, 3.7, 4.1, 5.1],  # widened where the convention does that
            [0, 7.7, 6.1, 2.3, 1.2],  # reversed
        ]
    ),
    output_size=(3, 2),
    spatial_scale=0.5,
)


@pytest.mark.parametrize(
    ("cell", "own_count"), counted(of_mode("avg", *WRT) + of_mode("max", *WRT))
)
def test_gradients_are_the_slopes_of_the_forward_pass(
    cell: Cell, own_count: bool, backend: str
) -> None:
    ratio = None if own_count else (3, 2)
    call = replace(
        SLOPES, convention=CONVENTIONS[cell.convention], mode=cell.mode, sampling_ratio=ratio
    )
    checks.gradient_is_the_slope(call, backend, WRT[cell.operation])


def inside(cell: Cell, own_count: bool) -> Call:
    """A call whose every sample, and every cell that it reads, lies on the map."""
    offset = find_convention(CONVENTIONS[cell.convention]).pixel_offset
    boxes = np.array([[0, 0, 6, 4], [1, 0.5, 4, 3.25], [2.125, 0, 5, 1], [5, 3, 6, 4]])
    return Call(
        seed=0,
        shape=(2, 17, 5, 7),
        dtype=cell.dtype,
        rois=np.column_stack([[0, 1, 1, 0], boxes + offset]),
        output_size=(2, 3),
        convention=CONVENTIONS[cell.convention],
        mode="max" if cell.mode == "max_weighted" else cell.mode,
        sampling_ratio=None if own_count or cell.operator != "RoI Align" else 2,
    )


@pytest.mark.parametrize(("cell", "own_count"), counted(cells("roi_align")))
def test_map_and_boxes_may_be_shifted_together(cell: Cell, own_count: bool, backend: str) -> None:
    checks.map_and_boxes_may_be_shifted(inside(cell, own_count), backend, left=3, above=1)


@pytest.mark.parametrize(
    ("cell", "own_count"),
    counted(cell for cell in cells("roi_align") if cell.mode != "max_weighted"),
)
def test_constant_map_gives_its_constant(cell: Cell, own_count: bool, backend: str) -> None:
    checks.constant_map_gives_its_constant(inside(cell, own_count), backend, 0.75)


# The rules of docs/writing_a_backend.rst


def strided(array: Any) -> Any:
    wide = np.empty((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::-2] = array
    return wide[..., ::-2]


def unaligned(array: Any) -> Any:
    memory = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    memory[...] = array
    return memory


def byte_swapped(array: Any) -> Any:
    return array.astype(array.dtype.newbyteorder())


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


SINGLE = [cell for cell in cells("roi_align", *WRT) if cell.dtype == "float32"]


def one_call(cell: Cell) -> Call:
    return random_calls(cell, own_count=False)[0]


@pytest.mark.parametrize("place", [strided, unaligned, byte_swapped, read_only])
@pytest.mark.parametrize("cell", SINGLE, ids=str)
def test_arrays_may_lie_anyhow(cell: Cell, place: Any, backend: str) -> None:
    call = replace(one_call(cell), place=place)
    result = call.compute(cell.operation, backend)
    assert result.dtype.isnative
    checks.AGREES[cell.operation](call, backend)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("cell", SINGLE, ids=str)
def test_out_is_filled_and_returned(cell: Cell, layout: str, backend: str) -> None:
    call = replace(one_call(cell), layout=layout)
    plain = call.compute(cell.operation, backend)
    wide = np.full((*plain.shape[:-1], 2 * plain.shape[-1]), 7, plain.dtype)
    out = wide[..., ::-2]
    returned = call.compute(cell.operation, backend, out=out)
    assert np.shares_memory(returned, wide)
    np.testing.assert_array_equal(out, plain)
    assert (wide[..., ::2] == 7).all()


EMPTY = [
    ((0, 3, 4, 5), 0),
    ((2, 3, 4, 5), 0),
    ((2, 0, 4, 5), 2),
    ((2, 3, 0, 5), 2),
    ((2, 3, 4, 0), 2),
]


@pytest.mark.parametrize(("shape", "boxes"), EMPTY)
@pytest.mark.parametrize("cell", SINGLE, ids=str)
def test_empty_arrays(
    cell: Cell, shape: tuple[int, int, int, int], boxes: int, backend: str
) -> None:
    rois = np.array([[1.0, 0, 0, 4, 4]] * boxes).reshape(-1, 5)
    call = replace(one_call(cell), shape=shape, rois=rois, spatial_scale=1.0)
    checks.AGREES[cell.operation](call, backend)
    assert not call.compute(cell.operation, backend).any()


@pytest.mark.parametrize("cell", SINGLE, ids=str)
def test_result_does_not_depend_on_threads(cell: Cell, backend: str) -> None:
    rng = np.random.default_rng(0)
    boxes = np.column_stack([np.arange(16) % 2, rng.uniform(-5, 30, (16, 4))])
    call = replace(one_call(cell), shape=(2, 16, 24, 28), rois=boxes, spatial_scale=1.0)
    results = [
        replace(call, num_threads=number).compute(cell.operation, backend) for number in (1, 2, 7)
    ]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize(
    "cell", [cell for cell in SINGLE if cell.operation == "roi_align"], ids=str
)
def test_cell_of_no_weight_is_not_read(cell: Cell, backend: str) -> None:
    offset = find_convention(CONVENTIONS[cell.convention]).pixel_offset
    is_point = cell.operator == "RoI Align"  # on a cell, next to others of no weight
    call = replace(
        inside(cell, own_count=False),
        sampling_ratio=1 if is_point else None,
        rois=np.array([[1, 1, 1, 3, 3]]) + offset * np.array([0, 1, 1, 1, 1]),
        output_size=(1, 1),
    )
    features = np.full(call.shape, np.nan, np.float32)
    read = (1, slice(None), *((2, 2) if is_point else (slice(1, 4), slice(1, 4))))
    features[read] = 2
    np.testing.assert_allclose(call.pool(backend, features), 2, rtol=1e-6)
    features[1, 3, 2, 2] = np.nan
    is_nan = np.isnan(call.pool(backend, features))[0, :, 0, 0]
    assert np.flatnonzero(is_nan).tolist() == [3]
