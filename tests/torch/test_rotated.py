"""Rotated boxes in torch: what the library gives, gradients, tracing, refusals."""

import numpy as np
import pytest

import roialign_cy as ra

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch", reason="needs the extra 'peers'")

from roialign_cy.torch import RoIAlignRotated, _rotated, roi_align_rotated  # noqa: E402

from .cases import maps  # noqa: E402  it needs torch, too

GEOMETRY = (0.5, [2, 2], "avg", 0.5, None, "clamp", "degrees", False)
MAXIMUM = (*GEOMETRY[:2], "max", *GEOMETRY[3:])
OPERATORS = _rotated._rotated_pooling


def rois(dtype=torch.float64):
    """Boxes of two images: within the map at scale 0.5, and across its border."""
    return torch.tensor(
        [
            [0, 5.37, 6.21, 4.83, 6.47, 31],
            [1, 6.17, 5.73, 15.91, 7.37, -110],
            [0, 12.71, 9.13, 5.29, 3.67, 200],
        ],
        dtype=dtype,
    )


def per_image(boxes):
    return [boxes[boxes[:, 0] == image, 1:] for image in range(2)]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.uint8])
@pytest.mark.parametrize(
    "options",
    [{}, {"mode": "max"}, {"convention": "mmcv", "clockwise": True}, {"sampling_ratio": 2}],
    ids=str,
)
def test_it_is_what_the_library_gives(options, dtype, channels_last):
    input = (maps(torch.float64) * 40 + 100).to(dtype)
    if channels_last:
        input = input.contiguous(memory_format=torch.channels_last)
    boxes = rois()
    expected = ra.roi_align_rotated(
        input.contiguous().numpy(), boxes.numpy(), (3, 4), spatial_scale=0.5, **options
    )
    output = roi_align_rotated(input, boxes, (3, 4), 0.5, **options)
    np.testing.assert_array_equal(output.numpy(), expected)
    assert output.is_contiguous(memory_format=torch.channels_last) == channels_last
    ratio = options.get("sampling_ratio", -1)
    rest = {key: value for key, value in options.items() if key != "sampling_ratio"}
    assert torch.equal(RoIAlignRotated((3, 4), 0.5, ratio, **rest)(input, boxes), output)


def test_lists_halves_and_autocast():
    input, boxes = maps(), rois(torch.float32)
    order = [0, 2, 1]
    expected = roi_align_rotated(input, boxes[order], 3, 0.5)
    assert torch.equal(roi_align_rotated(input, per_image(boxes), 3, 0.5), expected)
    half = input.bfloat16()
    output = roi_align_rotated(half, boxes, 3, 0.5)
    assert torch.equal(output, roi_align_rotated(half.float(), boxes, 3, 0.5).bfloat16())
    integers = input.mul(9).byte()
    pooled = roi_align_rotated(integers, boxes, 3, 0.5)
    with torch.autocast("cpu"):
        assert torch.equal(roi_align_rotated(half, boxes, 3, 0.5), output)
        assert torch.equal(roi_align_rotated(integers, boxes, 3, 0.5), pooled)


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_gradients_by_finite_differences(mode):
    input = maps(torch.float64, requires_grad=True)
    boxes = [entry.requires_grad_() for entry in per_image(rois())]

    def function(input, *boxes):
        return roi_align_rotated(input, boxes, (3, 2), 0.5, 2, mode=mode)

    torch.autograd.gradcheck(function, (input, *boxes))
    if mode == "avg":
        boxes = [entry.detach() for entry in boxes]
        torch.autograd.gradgradcheck(lambda input: function(input, *boxes), (input,))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("geometry", [GEOMETRY, MAXIMUM], ids=["avg", "max"])
def test_opcheck(geometry):
    input, boxes = maps(torch.float64, requires_grad=True), rois().requires_grad_()
    torch.library.opcheck(OPERATORS.pool.overload, (input, boxes, (3, 4), *geometry))
    grad = torch.ones(3, 2, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        arguments = (grad, boxes.detach(), input.detach())
        torch.library.opcheck(
            OPERATORS.feature_gradient.overload, (*arguments, input.shape, *geometry)
        )
        torch.library.opcheck(OPERATORS.box_gradient.overload, (*arguments, *geometry))


def test_compiled_is_eager():
    torch._dynamo.reset()
    input, boxes = maps(), per_image(rois(torch.float32))

    def function(input, boxes):
        return roi_align_rotated(input, boxes, (3, 4), 0.5, 2, convention="mmcv")

    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(input, boxes), function(input, boxes))
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("boxes", "text"),
    [
        (torch.zeros(2, 5), r"boxes must have the shape \(K, 6\)"),
        (torch.tensor([[0, 1, 1, -2, 2, 0.0]]), r"boxes\[0\] must have a width"),
        ([torch.zeros(1, 5), torch.zeros(1, 4)], r"boxes\[1\] must have the shape \(K, 5\)"),
        ([torch.zeros(1, 5), torch.tensor([[1, 1, 2, 2, torch.nan]])], r"boxes\[1\]\[0\] must be"),
    ],
)
def test_refusals_name_the_boxes(boxes, text):
    with pytest.raises(ValueError, match=text):
        roi_align_rotated(maps(), boxes, 2)
