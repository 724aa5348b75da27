"""The picture of one box under several conventions and RoI Pooling."""

import numpy as np
import pytest

import roialign_cy as ra
from roialign_cy.backends import _registry

pytest.importorskip("matplotlib", reason="the extra 'plot' is not installed")

FEATURES = np.random.default_rng(0).random((2, 3, 9, 12)).astype(np.float32)
ROIS = np.array([[0, 1, 1, 5, 5], [1, 2.4, 3.2, 17.4, 11.1]], np.float32)
CALL = {"rois": ROIS, "output_size": (2, 3), "spatial_scale": 0.5}


def drawn_values(axes):
    """The numbers written on an output, in rows."""
    numbers = [float(text.get_text()) for text in axes.texts]
    return np.reshape(numbers, axes.images[0].get_array().shape)


@pytest.mark.parametrize("coordinates", ["document", "array"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_outputs_are_those_of_the_calls(layout, coordinates):
    names = ("mmcv", ra.Convention(pixel_offset=0.25, mode="max"), "onnx-10")
    features = FEATURES if layout == "NCHW" else np.moveaxis(FEATURES, 1, -1)
    figure = ra.compare_conventions(
        features, **CALL, conventions=names, roi=1, channel=2, layout=layout,
        coordinates=coordinates,
    )  # fmt: skip
    figure.canvas.draw()
    lower = figure.axes[1::2]
    expected = [ra.roi_align(FEATURES, **CALL, convention=name)[1, 2] for name in names]
    expected.append(ra.roi_pool(FEATURES, **CALL)[1, 2])
    assert len(lower) == len(expected)
    for axes, output in zip(lower, expected, strict=True):
        np.testing.assert_allclose(axes.images[0].get_array(), output, rtol=1e-6)
        np.testing.assert_allclose(drawn_values(axes), output, rtol=0, atol=0.0051)
    assert [axes.get_title() for axes in figure.axes[::2]] == [
        "mmcv: avg of 2 x 3 points",
        "offset 0.25, centered: max of 2 x 3 points",
        "onnx-10: avg of 2 x 3 points",
        "roi_pool: max of up to 3 x 3 cells",
    ]


@pytest.mark.parametrize("coordinates", ["document", "array"])
def test_boxes_are_where_they_are_given_and_where_they_are_read(coordinates):
    figure = ra.compare_conventions(
        FEATURES, **CALL, conventions=("torchvision", "detectron2"), roi=1, coordinates=coordinates
    )
    legacy, aligned, whole = (
        [patch.get_bbox() for patch in axes.patches] for axes in figure.axes[::2]
    )
    *_, box, given = aligned
    np.testing.assert_allclose(box.extents, given.extents, atol=1e-6)
    half = [0.5, -0.5] if coordinates == "document" else [0.5, 0.5]
    *_, box, given = legacy
    np.testing.assert_allclose(box.extents, given.extents + 2 * half, atol=1e-6)
    # 1.2 .. 8.7 by 1.6 .. 5.55 becomes cells 1 .. 9 by 2 .. 6.
    *_, box, given_again = whole
    np.testing.assert_array_equal(given_again.extents, given.extents)
    sides = [[1, 9 - 7], [10, 9 - 2]] if coordinates == "document" else [[0.5, 1.5], [9.5, 6.5]]
    np.testing.assert_allclose([box.min, box.max], sides, atol=1e-6)


@pytest.mark.parametrize("given", ["roi_pool", ra.CONVENTIONS["roi_pool"]])
def test_roi_pooling_comes_once_and_where_it_is_named(given):
    figure = ra.compare_conventions(
        FEATURES, **CALL, conventions=(given, "prroi", "mmcv"), mode="max", sampling_ratio=2
    )
    assert [axes.get_title() for axes in figure.axes[::2]] == [
        "roi_pool: max of up to 2 x 1 cells",
        "prroi: avg of up to 3 x 3 cells",
        "mmcv: max of 2 x 2 points",
    ]
    expected = ra.roi_align(FEATURES, **CALL, convention="prroi")[0, 0]
    np.testing.assert_allclose(figure.axes[3].images[0].get_array(), expected, rtol=1e-6)


def test_a_convention_that_has_a_name_is_titled_by_it():
    figure = ra.compare_conventions(FEATURES, **CALL, conventions=(ra.CONVENTIONS["torchvision"],))
    assert figure.axes[0].get_title() == "torchvision: avg of 1 x 1 points"


def test_rois_as_a_list_and_a_figure_of_the_caller():
    from matplotlib.figure import Figure

    given = Figure()
    boxes = [ROIS[:1, 1:], ROIS[1:, 1:]]
    figure = ra.compare_conventions(FEATURES, boxes, 2, roi=1, figure=given)
    assert figure is given
    assert len(figure.axes) == 8


def test_a_backend_in_force_is_not_asked(monkeypatch):
    monkeypatch.setattr(_registry, "_registered", {})  # gone after this test

    class Plugin:
        name = "align-only"
        api_version = ra.backends.API_VERSION
        array_types = ("numpy:ndarray",)
        unavailable_reason = cannot_run = lambda self, *_: None
        roi_align = feature_gradient = box_gradient = None

    ra.backends.register(Plugin())
    with ra.backends.use("align-only"):
        figure = ra.compare_conventions(FEATURES, **CALL)
    assert len(figure.axes) == 8


def test_refusals():
    with pytest.raises(ValueError, match="conventions must name one or more"):
        ra.compare_conventions(FEATURES, **CALL, conventions=())
    for one in "document", ra.CONVENTIONS["document"], None, 7:
        with pytest.raises(TypeError, match="conventions must be a tuple"):
            ra.compare_conventions(FEATURES, **CALL, conventions=one)
    with pytest.raises(ValueError, match=r"^conventions must be one of .* did you mean 'mmcv'"):
        ra.compare_conventions(FEATURES, **CALL, conventions=("mmvc",))
    with pytest.raises(ValueError, match="roi must be in"):
        ra.compare_conventions(FEATURES, **CALL, roi=2)
