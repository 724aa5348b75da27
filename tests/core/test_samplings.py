"""Samplings that leave less to choose: what a convention with one of them, and a call, refuse."""

import numpy as np
import pytest

import roialign_cy as ra

ALLOWED = {
    "cells": {"pixel_offset": 0.0, "mode": "max"},
    "integral": {"border": "zero"},
    "corners": {},
    "nearest": {},
}
REFUSED = {
    "min_size": 1.0,
    "sampling_ratio": 2,
    "mode": "max",
    "max_rule": "max_weighted",
    "border": "zero",
}
OTHERWISE = {"cells": {"pixel_offset": 0.5, "mode": "avg"}, "integral": {"border": "clamp"}}


@pytest.mark.parametrize(
    ("sampling", "field", "value"),
    [
        (sampling, field, value)
        for sampling in ALLOWED
        for field, value in (REFUSED | OTHERWISE.get(sampling, {})).items()
    ],
)
def test_a_convention_has_no_other_choices(sampling, field, value):
    allowed = {"sampling": sampling} | ALLOWED[sampling]
    ra.Convention(**allowed)
    with pytest.raises(ValueError, match=rf"^{field} must be .* with sampling {sampling!r}"):
        ra.Convention(**allowed | {field: value})


def test_whole_cells_have_one_convention():
    assert ra.Convention(sampling="cells", **ALLOWED["cells"]) == ra.CONVENTIONS["roi_pool"]


@pytest.mark.parametrize(
    "changes",
    [
        *({"sampling_ratio": ratio} for ratio in (2, (1, 0), (0, 1))),
        *({"mode": mode} for mode in ("avg", "max", "max_weighted")),
    ],
    ids=str,
)
@pytest.mark.parametrize(("convention", "mode"), [("roi_pool", "max"), ("prroi", "avg")])
def test_a_call_has_no_ratio_and_one_mode(convention, mode, changes):
    def pool(**options):
        ra.roi_align(np.ones((1, 1, 4, 4)), [[0, 0, 0, 1, 1]], 2, convention=convention, **options)

    if changes == {"mode": mode}:
        for ratio in (None, 0, -1):
            pool(sampling_ratio=ratio, mode=mode)
        return
    wanted = {"sampling_ratio": "None or 0", "mode": repr(mode)}
    (field,) = changes
    with pytest.raises(ValueError, match=f"{field} must be {wanted[field]}"):
        pool(**changes)
