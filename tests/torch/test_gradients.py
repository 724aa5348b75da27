"""Gradients of `roialign_cy.torch`, and gradients of these: right, or an error."""

import pytest

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch", reason="needs the extra 'peers'")

from torch.autograd import forward_ad, grad, gradcheck, gradgradcheck  # noqa: E402

from roialign_cy.torch import _direct, _operators, roi_align  # noqa: E402

from .cases import GEOMETRY, boxes_per_image, maps, rois  # noqa: E402  it needs torch, too

f64 = torch.float64


@pytest.fixture(params=["direct", "dispatched"], autouse=True)
def way(request, monkeypatch):
    """The way to the kernels and their derivatives: without the dispatcher, or through it."""
    if request.param == "dispatched":
        monkeypatch.setattr(_direct, "is_plain", lambda tensors: False)


def boxes_to_derive():
    """Boxes without their indices, which are no coordinates."""
    return [entry.requires_grad_() for entry in boxes_per_image(f64)]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"sampling_ratio": 2, "aligned": True},
        {"sampling_ratio": 2},
        {"aligned": True},
        {"aligned": True, "mode": "max"},
        {"convention": "document"},
    ],
    ids=str,
)
def test_gradcheck_by_maps_and_boxes(options, channels_last):
    input = maps(f64, channels_last=channels_last, requires_grad=True)

    def function(input, *boxes):
        return roi_align(input, boxes, (3, 4), 0.5, **options)

    assert gradcheck(function, (input, *boxes_to_derive()))


def test_gradcheck_by_boxes_as_rows():
    def function(sides):
        indices = rois(f64)[:, :1]
        return roi_align(maps(f64), torch.cat([indices, sides], dim=1), 3, 0.5, 2, True)

    assert gradcheck(function, (rois(f64)[:, 1:].requires_grad_(),))


def test_batch_indices_have_the_gradient_zero():
    boxes = rois(f64).requires_grad_()
    roi_align(maps(f64), boxes, 3, 0.5, 2, True).square().sum().backward()
    assert torch.all(boxes.grad[:, 0] == 0)
    assert torch.all(boxes.grad[:, 1:] != 0)


def test_gradient_by_boxes_has_their_dtype():
    boxes = rois(torch.float32).requires_grad_()
    (by_boxes,) = grad(roi_align(maps(f64), boxes, 3).sum(), boxes)
    assert by_boxes.dtype == torch.float32


@pytest.mark.parametrize("wrt", ["input", "boxes"])
def test_only_the_gradient_that_is_asked_for_is_computed(wrt, monkeypatch):
    tensors = {"input": maps(), "boxes": rois()}
    tensors[wrt].requires_grad_()
    other = {"input": "box_gradient", "boxes": "feature_gradient"}[wrt]
    monkeypatch.setattr(_operators.upright, other, None)
    roi_align(**tensors, output_size=3).sum().backward()
    assert tensors[wrt].grad.abs().sum() > 0


# Gradients of gradients


@pytest.mark.parametrize("channels_last", [False, True])
def test_gradgradcheck_by_maps_and_grad_output(channels_last):
    input = maps(f64, channels_last=channels_last, requires_grad=True)
    # The gradient of the mean does not depend on the maps: its derivative by them is zero.
    assert gradgradcheck(lambda input: roi_align(input, rois(f64), (3, 4), 0.5, 2), (input,))


def test_gradgradcheck_of_a_nonlinear_function():
    input = maps(f64, requires_grad=True)
    assert gradgradcheck(
        lambda input: roi_align(input.square(), rois(f64), 3, 0.5, 2).sin(), (input,)
    )


def test_gradient_by_maps_can_be_derived_by_boxes():
    def by_maps(grad_output, sides):
        boxes = torch.cat([rois(f64)[:, :1], sides], dim=1)
        return _operators.feature_gradient(grad_output, boxes, None, (2, 2, 6, 7), *GEOMETRY)

    grad_output = maps(f64, (4, 2, 3, 4), requires_grad=True)
    assert gradcheck(by_maps, (grad_output, rois(f64)[:, 1:].requires_grad_()))


def test_mixed_second_derivative_is_that_of_differences():
    """The maps' gradient by the boxes, where the boxes are parameters as in a training step."""

    def penalty(boxes):
        input = maps(f64, requires_grad=True)
        pooled = roi_align(input, boxes, 3, 0.5, 2, True)
        (by_maps,) = grad(pooled.sum(), input, create_graph=True)
        return by_maps.square().sum()

    assert gradcheck(lambda *boxes: penalty(boxes), boxes_to_derive())


def test_gradient_by_boxes_cannot_be_derived_again():
    for name in "input", "boxes":
        tensors = {"input": maps(f64), "boxes": rois(f64)}
        tensors["input"].requires_grad_()
        tensors["boxes"].requires_grad_()
        pooled = roi_align(**tensors, output_size=3)
        (by_boxes,) = grad(pooled.square().sum(), tensors["boxes"], create_graph=True)
        with pytest.raises(
            RuntimeError, match="with respect to the boxes cannot be differentiated"
        ):
            grad(by_boxes.sum(), tensors[name])


def test_nothing_is_left_out_where_both_require_a_gradient():
    input, boxes = maps(f64, requires_grad=True), rois(f64).requires_grad_()
    pooled = roi_align(input, boxes, 3)
    gradients = grad(pooled.square().sum(), (input, boxes), create_graph=True)
    with pytest.raises(RuntimeError, match="with respect to the boxes cannot be differentiated"):
        sum(one.sum() for one in gradients).backward()


def test_gradient_of_the_maximum_cannot_be_derived_again():
    input = maps(f64, requires_grad=True)
    pooled = roi_align(input, rois(f64), 3, mode="max")
    (by_maps,) = grad(pooled.square().sum(), input, create_graph=True)
    with pytest.raises(RuntimeError, match="maximum cannot be differentiated again"):
        by_maps.sum().backward()


def test_maximum_of_weighted_neighbours_has_no_gradient():
    pooled = roi_align(maps(requires_grad=True), rois(), 3, convention="onnx", mode="max")
    with pytest.raises(ValueError, match="max_weighted"):
        pooled.sum().backward()


# Forward mode, which there is none of: an error, not a derivative of zero


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's own use of it
def test_no_forward_mode_over_the_gradient():
    input = maps(f64, requires_grad=True)
    for boxes in rois(f64), rois(f64).requires_grad_():
        pooled = roi_align(input, boxes, 3)
        with forward_ad.dual_level():
            grad_output = forward_ad.make_dual(torch.ones_like(pooled), torch.ones_like(pooled))
            with pytest.raises(NotImplementedError, match="forward mode"):
                grad(pooled, input, grad_output)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's own use of it
def test_no_forward_mode_over_the_gradient_of_the_gradient():
    input = maps(f64, requires_grad=True)
    grad_output = torch.ones(4, 2, 3, 3, dtype=f64, requires_grad=True)
    (by_maps,) = grad(roi_align(input, rois(f64), 3), input, grad_output, create_graph=True)
    with forward_ad.dual_level():
        weights = forward_ad.make_dual(torch.ones_like(input), torch.ones_like(input))
        with pytest.raises(NotImplementedError, match="forward mode"):
            grad(by_maps, grad_output, weights)


def test_expanded_gradients_are_taken_as_they_are():
    input = maps(f64, requires_grad=True)
    roi_align(input, rois(f64), 3).sum().backward()  # a gradient of strides 0
    (expected,) = grad(roi_align(input, rois(f64), 3), input, torch.ones(4, 2, 3, 3, dtype=f64))
    assert torch.equal(input.grad, expected)
