"""What backends may use of the library, and that ours need no more."""

import ast
from pathlib import Path

import numpy as np
import pytest

from roialign_cy import _arrays
from roialign_cy._spec import make_spec
from roialign_cy.backends import kit

ROOT = Path(__file__).parents[2]
OUTSIDE = sorted((ROOT / "gpu" / "src").rglob("*.py")) + sorted((ROOT / "docs/plugin").glob("*.py"))


def spec_of(layout):
    return make_spec((2, 3), "detectron2", 1.0, 2, None, layout, None)


def imported(source):
    """Dotted names that a module imports of the library."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def of_library(source):
    return {name for name in imported(source) if name.partition(".")[0] == "roialign_cy"}


def test_private_imports_are_found():
    source = "import roialign_cy._a\nfrom roialign_cy import _b, boxes\nfrom . import _own\n"
    assert of_library(source) == {"roialign_cy._a", "roialign_cy._b", "roialign_cy.boxes"}


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: path.name)
def test_backends_outside_import_nothing_private(path):
    assert not [name for name in of_library(path.read_text("utf-8")) if "._" in name]


def test_there_are_backends_outside():
    uses = {name for path in OUTSIDE for name in of_library(path.read_text("utf-8"))}
    assert "roialign_cy.backends.kit" in uses


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_views_are_turned_and_back(layout):
    spec = spec_of(layout)
    given = np.ones((2, 3, 4, 5))
    maps = kit.as_nchw(given, spec)
    assert maps.shape == _arrays.nchw_shape(given.shape, spec)
    assert np.shares_memory(maps, given)
    back = kit.as_given(maps, spec)
    assert (back.shape, back.strides) == (given.shape, given.strides)
    assert _arrays.given_shape(maps.shape, spec) == given.shape
    for other in None, np.ones((3, 4)):
        assert kit.as_nchw(other, spec) is kit.as_given(other, spec) is other


@pytest.mark.parametrize("make", [np.empty, np.zeros])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_new_maps_lie_as_the_layout_says(layout, make):
    maps = kit.new_maps((2, 3, 4, 5), np.dtype(">f4"), spec_of(layout), make)
    assert (maps.shape, maps.dtype) == ((2, 3, 4, 5), np.dtype(np.float32))
    assert kit.as_given(maps, spec_of(layout)).flags.c_contiguous


class OnDevice:
    """An array of which CUDA's array interface alone is known."""

    def __init__(self, array, is_read_only=False):
        self.__cuda_array_interface__ = {
            **array.__array_interface__,
            "data": (array.ctypes.data if array.size else 0, is_read_only),
            "stream": 1,
        }


def test_memory_of_a_device_is_checked_by_its_interface():
    memory = np.zeros(24, np.float32)
    out, apart, inside = memory[:12].reshape(3, 4), memory[12:], memory[10:]
    _arrays.check_memory(OnDevice(out), features=OnDevice(apart), rois=None)
    _arrays.check_memory(OnDevice(out[:0]), features=OnDevice(memory[:0]))
    with pytest.raises(ValueError, match="out must not overlap features"):
        _arrays.check_memory(OnDevice(out), features=OnDevice(inside))
    with pytest.raises(ValueError, match="out must be writeable"):
        _arrays.check_memory(OnDevice(out, is_read_only=True))


def test_nothing_is_known_of_other_memory():
    _arrays.check_memory(object(), features=object())
