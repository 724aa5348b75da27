"""Names in annotations are those that calls take; what is printed of objects fits a screen."""

from typing import get_args

import numpy as np
import pytest

import roialign_cy as ra
from roialign_cy import typing


def explained(size=2, **options):
    features = np.arange(64.0).reshape(1, 1, 8, 8)
    return ra.explain(features, [[0, 1, 1, 5, 6]], size, **options)


def test_conventions_are_those_of_the_annotation():
    assert get_args(typing.ConventionName) == tuple(ra.CONVENTIONS)


@pytest.mark.parametrize("convention", ra.CONVENTIONS.values())
def test_convention_prints_as_it_could_be_written(convention):
    assert eval(repr(convention), {"Convention": ra.Convention}) == convention


def test_convention_prints_what_is_not_the_default():
    assert repr(ra.Convention()) == "Convention()"
    assert repr(ra.Convention(0, sampling_ratio=2)) == (
        "Convention(pixel_offset=0.0, sampling_ratio=(2, 2))"
    )


def test_notebook_shows_every_field_of_a_convention():
    shown = ra.Convention(0.0)._repr_html_()
    assert shown.count("<tr>") == 8
    assert "<th>pixel_offset</th><td>0.0</td>" in shown


def test_explanation_prints_box_and_output():
    assert repr(explained()) == (
        "Box [1, 7], 4 x 5 cells, y up; image 0, channel 0: max of 1 x 1 points\n"
        "[[15.5 17.5]\n [35.5 37.5]]"
    )


@pytest.mark.parametrize("size", [1, 40])
@pytest.mark.parametrize("convention", ["detectron2", "roi_pool", "prroi"])
def test_explanation_fits_a_screen(size, convention):
    lines = repr(explained(size, convention=convention)).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100


def test_notebook_shows_the_output_over_its_formulas():
    shown = explained()._repr_html_()
    assert shown.count("<td") == 4
    assert '<td title="output(2,2) = max(37.5) = 37.5">37.5</td>' in shown
    assert explained(17, sampling_ratio=1)._repr_html_().startswith("<pre>Box [1, 7]")
