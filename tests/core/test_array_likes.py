"""Arrays that mean more than the numbers in their memory: refused, so that nothing gets lost."""

import enum

import numpy as np
import pytest

import roialign_cy as ra

MAPS = np.random.default_rng(0).standard_normal((2, 3, 6, 8)).astype(np.float32)
ROIS = np.array([[0, 1, 1, 5, 4], [1, 0, 2, 7, 3]], np.float32)
GRADS = np.ones((2, 3, 2, 2), np.float32)


class Quantity(np.ndarray):
    """With arithmetic of its own, as arrays with units have it."""

    def __array_ufunc__(self, *args, **kwargs):
        raise AssertionError("nobody may compute with it")


def masked(array):
    return np.ma.masked_array(array, array == array.flat[0])


def of_units(array):
    return array.view(Quantity)


MORE = pytest.mark.parametrize(
    ("more", "text"),
    [
        (masked, r"must be without a mask, .*\.filled\(0\)"),
        (np.ma.masked_array, r"must be without a mask"),  # whose mask is empty: no surprise later
        (of_units, r"must be plain numbers, got \S*test_array_likes\.Quantity, .*\.view\("),
    ],
    ids=["masked", "mask of nothing", "units"],
)


def entries(more):
    return [more(ROIS[:1, 1:]), ROIS[1:, 1:]]


def rows(more):
    return [ROIS[0], more(ROIS[1])]


def entries_of_rows(more):
    return [[], [ROIS[0, 1:], more(ROIS[1, 1:])]]


@MORE
@pytest.mark.parametrize("name", [None, "reference"])
@pytest.mark.parametrize("function", [ra.roi_align, ra.roi_pool])
def test_of_a_forward_call(function, name, more, text):
    out = more(np.full((2, 3, 2, 2), 7, np.float32))
    for argument, changes in {
        "features": {"features": more(MAPS)},
        "rois": {"rois": more(ROIS)},
        r"rois\[0\]": {"rois": entries(more)},
        "rois ": {"rois": rows(more)},
        r"rois\[1\]": {"rois": entries_of_rows(more)},
        "out": {"out": out},
    }.items():
        arguments = {"features": MAPS, "rois": ROIS, "output_size": 2} | changes
        with pytest.raises(TypeError, match=f"^{argument.strip()} {text}"):
            function(**arguments, backend=name)
    assert (np.asarray(out) == 7).all()


@MORE
def test_of_a_gradient(more, text):
    for name, changes in {
        "grad_output": {"grad_output": more(GRADS)},
        "features": {"features": more(MAPS)},
        "rois": {"rois": more(ROIS)},
        "out": {"out": more(np.empty_like(MAPS))},
    }.items():
        arguments = {"grad_output": GRADS, "rois": ROIS, "input_shape": MAPS.shape} | changes
        with pytest.raises(TypeError, match=f"^{name} {text}"):
            ra.roi_align_backward(**arguments, convention="detectron2")
    by_rois = {"features": MAPS, "wrt": "rois", "out": more(np.empty((2, 4), np.float32))}
    with pytest.raises(TypeError, match=f"^out {text}"):
        ra.roi_align_backward(GRADS, ROIS, MAPS.shape, convention="detectron2", **by_rois)


@MORE
def test_of_an_explanation_and_a_check(more, text):
    with pytest.raises(TypeError, match=f"^features {text}"):
        ra.explain(more(MAPS), ROIS, 2)
    with pytest.raises(TypeError, match=f"^rois {text}"):
        ra.explain(MAPS, more(ROIS), 2)
    with pytest.raises(TypeError, match=f"^rois {text}"):
        ra.boxes.check(more(ROIS), MAPS.shape)


@MORE
@pytest.mark.parametrize(
    "convert",
    [
        ra.boxes.from_xyxy,
        ra.boxes.from_xywh,
        ra.boxes.from_cxcywh,
        lambda boxes: ra.boxes.from_normalised(boxes, (5, 5)),
        lambda boxes: ra.boxes.from_document(boxes, 5),
    ],
)
def test_of_a_converter(convert, more, text):
    with pytest.raises(TypeError, match=f"^boxes {text}"):
        convert(more(ROIS[:, 1:]))
    with pytest.raises(TypeError, match=rf"^boxes\[0\] {text}"):
        ra.boxes.from_list(entries(more))


# Those whose class only changes how they are written


class Named(np.ndarray):
    name = "of some map"


@pytest.mark.parametrize("kind", [Named, np.memmap, np.recarray], ids=lambda kind: kind.__name__)
def test_subclass_without_arithmetic_of_its_own_is_its_numbers(kind):
    expected = ra.roi_align(MAPS, ROIS, 2)
    out = np.empty_like(expected)
    result = ra.roi_align(MAPS.view(kind), ROIS.view(kind), 2, out=out.view(kind))
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_matrix_of_boxes_is_its_numbers():
    expected = ra.roi_align(MAPS, ROIS, 2)
    np.testing.assert_array_equal(ra.roi_align(MAPS, np.matrix(ROIS), 2), expected)
    lists = [np.matrix(ROIS[:1, 1:]), np.matrix(ROIS[1:, 1:])]
    np.testing.assert_array_equal(ra.roi_align(MAPS, lists, 2), expected)


# Of other libraries


class Lent:
    """Anything that NumPy makes an array of."""

    def __init__(self, give, **attributes):
        self.give = give
        self.__dict__ |= attributes

    def __array__(self, dtype=None, copy=None):
        return self.give()


class Format(enum.Enum):
    XYXY = 1
    XYWH = 2


def test_boxes_that_say_that_they_are_no_corners_are_refused():
    # torchvision's BoundingBoxes have a format; a table's may be anything.
    for form in Format.XYXY, "XYWH", np.zeros(3):
        boxes = Lent(lambda: ROIS, format=form)
        np.testing.assert_array_equal(ra.roi_align(MAPS, boxes, 2), ra.roi_align(MAPS, ROIS, 2))
    text = "must be corners x1, y1, x2, y2, got boxes of the format XYWH"
    with pytest.raises(ValueError, match=f"^rois {text}"):
        ra.roi_align(MAPS, Lent(lambda: ROIS, format=Format.XYWH), 2)
    entry = Lent(lambda: ROIS[:, 1:], format=Format.XYWH, ndim=2)
    with pytest.raises(ValueError, match=rf"^rois\[1\] {text}"):
        ra.roi_align(MAPS, [[], entry], 2)


def test_missing_value_is_refused():
    # What pandas gives for columns with NA.
    boxes = Lent(lambda: np.array([[0, 1, 1, None, 4]], object))
    with pytest.raises(TypeError, match=r"^rois must be .* got dtype object: is a value missing"):
        ra.roi_align(MAPS, boxes, 2)


@pytest.mark.parametrize("error", [RuntimeError, TypeError, ValueError])
def test_what_cannot_be_lent_is_refused_by_name(error):
    # torch raises a RuntimeError for a tensor that requires a gradient.
    def give():
        raise error("call .detach() first")

    kind = TypeError if error is RuntimeError else error
    with pytest.raises(kind, match=r"^rois must be an array of numbers: call \.detach\(\) first$"):
        ra.roi_align(MAPS, Lent(give), 2)


@pytest.mark.parametrize(
    ("module", "name", "advice"),
    [
        ("torch._tensor", "Tensor", r"roialign_cy\.torch has"),
        ("dask.array.core", "Array", r"roialign_cy\.dask has"),
        ("xarray.core.dataarray", "DataArray", r"convert it with numpy\.asarray"),
    ],
)
def test_maps_of_another_library_are_told_where_to_go(module, name, advice):
    maps = type(name, (), {"__module__": module})()
    kind = f"{module}.{name}".replace(".", r"\.")
    with pytest.raises(TypeError, match=rf"^features must be .* got {kind}: {advice}"):
        ra.roi_align(maps, ROIS, 2)
    with pytest.raises(TypeError, match=rf"^features of type {kind} cannot .*: {advice}"):
        ra.explain(maps, ROIS, 2)
    with pytest.raises(TypeError, match=rf"^grad_output must be .*: {advice}"):
        ra.roi_align_backward(maps, ROIS, MAPS.shape)
