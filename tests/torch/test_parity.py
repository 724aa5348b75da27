"""`roialign_cy.torch` against torchvision: the same, but for the table in docs/torch.md."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch", reason="needs the extra 'peers'")
torchvision = pytest.importorskip("torchvision", reason="needs the extra 'peers'")

from torchvision.models.detection.roi_heads import paste_masks_in_image  # noqa: E402

import roialign_cy.torch as ours  # noqa: E402

from .cases import boxes_per_image, maps, rois  # noqa: E402  it needs torch, too

theirs = torchvision.ops
DOCUMENT = Path(__file__).parents[2] / "docs" / "torch.md"


def close(one, other, **tolerance):
    """Equal in all but rounding: shape, dtype and values."""
    torch.testing.assert_close(one, other, **tolerance)


# The same


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("sampling_ratio", [-1, 0, 2])
@pytest.mark.parametrize("boxes", [rois, boxes_per_image])
def test_values(boxes, sampling_ratio, aligned, dtype):
    arguments = maps(dtype), boxes(dtype), (3, 4), 0.5, sampling_ratio, aligned
    close(ours.roi_align(*arguments), theirs.roi_align(*arguments))


def test_defaults():
    close(ours.roi_align(maps(), rois(), 3), theirs.roi_align(maps(), rois(), 3))


def test_module():
    arguments = [3, 4], 0.5, 2
    for options in {}, {"aligned": True}:
        pools = [side.RoIAlign(*arguments, **options) for side in (ours, theirs)]
        close(*(pool(maps(), boxes_per_image()) for pool in pools))
    assert repr(ours.RoIAlign(3, 0.5, 2, True)) == repr(theirs.RoIAlign(3, 0.5, 2, True))


@pytest.mark.parametrize("aligned", [False, True])
def test_gradient_by_the_maps(aligned):
    gradients = []
    for side in ours, theirs:
        input = maps(requires_grad=True)
        side.roi_align(input, rois(), 3, 0.5, 2, aligned).square().sum().backward()
        gradients.append(input.grad)
    close(*gradients)


@pytest.mark.parametrize(
    "boxes",
    [
        torch.empty(0, 5),
        [torch.empty(0, 4)] * 2,
        [torch.empty(0, 4), torch.tensor([[1.0, 1.0, 3.0, 3.0]])],
        (torch.tensor([[1.0, 1.0, 3.0, 3.0]]),) * 2,
        torch.tensor([[0, 2.0, 3.0, 2.0, 3.0]]),  # of no size
        torch.tensor([[0, 5.0, 4.0, 2.0, 1.0]]),  # reversed
        torch.tensor([[0, 100.0, 100.0, 120.0, 130.0], [1, -90.0, 0.0, -70.0, 5.0]]),  # outside
    ],
    ids=["none", "none of any", "none of one", "tuple", "empty", "reversed", "outside"],
)
@pytest.mark.parametrize("sampling_ratio", [-1, 2])
@pytest.mark.parametrize("aligned", [False, True])
def test_odd_boxes(boxes, sampling_ratio, aligned):
    results = []
    for side in ours, theirs:
        input = maps(requires_grad=True)
        pooled = side.roi_align(input, boxes, 3, 0.5, sampling_ratio, aligned)
        pooled.sum().backward()
        results.append((pooled.detach(), input.grad))
    close(*results)


def test_no_channels():
    arguments = maps(shape=(2, 0, 6, 7)), rois(), 3
    close(ours.roi_align(*arguments), theirs.roi_align(*arguments))


@pytest.mark.parametrize("type_of_autocast", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64], ids=str
)
@pytest.mark.parametrize("boxes", [rois, boxes_per_image])
def test_autocast(boxes, dtype, type_of_autocast):
    results = []
    for side in ours, theirs:
        input = maps(dtype, requires_grad=True)
        boxes_here = boxes(torch.float64 if dtype == torch.float64 else torch.float32)
        with torch.autocast("cpu", type_of_autocast):
            pooled = side.roi_align(input, boxes_here, 3, 0.5, 2)
        pooled.sum().backward()
        results.append((pooled.detach(), input.grad))
    close(*results)
    assert results[0][0].dtype == dtype


def test_autocast_of_boxes_in_halves():
    with torch.autocast("cpu", torch.bfloat16):
        arguments = maps(torch.bfloat16), rois(torch.bfloat16), 3, 0.5, 2
        close(ours.roi_align(*arguments), theirs.roi_align(*arguments))


@pytest.mark.parametrize("boxes", [rois, boxes_per_image])
def test_bfloat16_is_computed_in_float32_and_rounded_once(boxes):
    halves = maps(torch.bfloat16, requires_grad=True)
    wide = halves.detach().float().requires_grad_()
    for dtype in torch.float32, torch.bfloat16:
        given = boxes(dtype)
        same = [one.float() for one in given] if isinstance(given, list) else given.float()
        pooled, expected = ours.roi_align(halves, given, 3), ours.roi_align(wide, same, 3)
        close(pooled.detach(), expected.detach().bfloat16())
    by_halves, by_wide = (
        torch.autograd.grad(result.float().sum(), of)[0]
        for result, of in ((pooled, halves), (expected, wide))
    )
    close(by_halves, by_wide.bfloat16())
    with pytest.raises(RuntimeError, match="BFloat16"):
        theirs.roi_align(halves, rois(torch.bfloat16), 3)


def test_boxes_in_bfloat16_are_refused_beside_other_maps():
    way_out = r"got torch.bfloat16: convert it with .float\(\), or call under torch.autocast$"
    for boxes in rois(torch.bfloat16), boxes_per_image(torch.bfloat16):
        with pytest.raises(TypeError, match="^boxes must be floats or integers, " + way_out):
            ours.roi_align(maps(), boxes, 3)


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16], ids=str
)
def test_integers_are_pooled_as_floats(dtype):
    integers = (maps() * 10).to(torch.int16).abs().to(dtype)
    boxes = rois().requires_grad_()
    pooled = ours.roi_align(integers, boxes, 3)
    expected = ours.roi_align(integers.float(), boxes, 3)
    close(pooled, expected)
    close(*(torch.autograd.grad(one.sum(), boxes)[0] for one in (pooled, expected)))
    compiled = torch.compile(ours.roi_align, backend="eager", fullgraph=True)
    close(compiled(integers, boxes.detach(), 3), expected.detach())
    with torch.autocast("cpu", torch.bfloat16):
        pooled = ours.roi_align(integers, boxes, 3)
    close(pooled, expected)
    assert pooled.requires_grad
    with pytest.raises(TypeError, match=r"^input must be float16, float32 or float64"):
        ours.roi_align(integers.int(), boxes, 3)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float16])
def test_more_images_than_the_boxes_type_can_count(dtype):
    images = 4000 if dtype.is_floating_point else 300
    boxes = [torch.tensor([[1, 1, 3, 3]], dtype=dtype)] * images
    input = maps(shape=(images, 1, 4, 4))
    expected = theirs.roi_align(input, [entry.float() for entry in boxes], 2)
    close(ours.roi_align(input, boxes, 2), expected)


def test_arrays_are_refused():
    with pytest.raises(TypeError, match="input must be a tensor, got ndarray"):
        ours.roi_align(maps().numpy(), rois(), 3)
    with pytest.raises(TypeError, match="boxes must be a tensor or a list of tensors, got ndarray"):
        ours.roi_align(maps(), rois().numpy(), 3)


def test_integer_maps_are_refused():
    with pytest.raises(TypeError, match=r"input must be float16, float32 or float64"):
        ours.roi_align(maps().int(), rois(), 3)
    with pytest.raises(RuntimeError):
        theirs.roi_align(maps().int(), rois().int(), 3)


# Deliberately not the same: a test for each row of the document's table, named by its first cell


ROWS = []


def row(text):
    ROWS.append(text)
    return lambda test: test


@row("batch index that is no image's, or no integer")
@pytest.mark.parametrize("index", [-1.0, 0.5, 2.0, 1e9])
def test_bad_batch_index(index):
    boxes = rois()
    boxes[1, 0] = index
    with pytest.raises(ValueError, match=r"boxes\[1, 0\] must be the index of an image"):
        ours.roi_align(maps(), boxes, 3)


@row("NaN or infinite box")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_box_that_is_not_finite(value):
    boxes = rois()
    boxes[2, 3] = value
    with pytest.raises(ValueError, match=r"boxes\[2\] must be finite"):
        ours.roi_align(maps(), boxes, 3)


@row("map of height or width 0")
@pytest.mark.parametrize("shape", [(2, 2, 0, 7), (2, 2, 6, 0)])
def test_empty_map(shape):
    assert torch.equal(ours.roi_align(maps(shape=shape), rois(), 3), torch.zeros(4, 2, 3, 3))


@row("box reversed along one axis, adaptive samples, `aligned=True`")
def test_box_reversed_along_one_axis():
    arguments = maps(), torch.tensor([[0, 5.0, 1.0, 2.0, 4.0]]), 3, 1.0, -1, True
    assert torch.equal(ours.roi_align(*arguments), torch.zeros(1, 2, 3, 3))
    with pytest.raises(ValueError, match="vector"):
        theirs.roi_align(*arguments)


@row("boxes of another dtype than the maps, or of integers")
@pytest.mark.parametrize("dtype", [torch.float64, torch.int64])
def test_boxes_of_another_dtype(dtype):
    boxes = rois().round()
    expected = theirs.roi_align(maps(), boxes, 3, 1.0, 2)
    close(ours.roi_align(maps(), boxes.to(dtype), 3, 1.0, 2), expected)
    with pytest.raises(RuntimeError, match="same type"):
        theirs.roi_align(maps(), boxes.to(dtype), 3, 1.0, 2)


@row("float16 outside of autocast")
def test_float16():
    arguments = maps(torch.float16), rois(torch.float16), 3, 0.5, 2
    exact = ours.roi_align(maps(torch.float16).double(), rois(torch.float16), *arguments[2:])
    error = (ours.roi_align(*arguments).double() - exact).abs().max()
    their_error = (theirs.roi_align(*arguments).double() - exact).abs().max()
    assert error <= torch.finfo(torch.float16).eps * exact.abs().max() / 2
    assert their_error > 2 * error


@row("NaN in a cell that no sample reads")
def test_nan_that_is_not_read():
    input = maps()
    input[:, :, 0, 0] = float("nan")
    outside = torch.tensor([[0, 100.0, 100.0, 120.0, 130.0]])
    assert torch.equal(ours.roi_align(input, outside, 3), torch.zeros(1, 2, 3, 3))
    assert theirs.roi_align(input, outside, 3).isnan().any()


@row("box whose extent has no exact sample count, adaptive samples")
def test_box_of_too_many_samples():
    boxes = torch.tensor([[0, -1e30, -1e30, 1e30, 1e30]])
    with pytest.raises(ValueError, match="sampling_ratio"):
        ours.roi_align(maps(), boxes, 3)


@row("empty list of boxes")
def test_empty_list():
    assert ours.roi_align(maps(), [], 3).shape == (0, 2, 3, 3)
    with pytest.raises(ValueError, match="non-empty list"):
        theirs.roi_align(maps(), [], 3)


@row("list of another length than the batch")
def test_list_of_another_length():
    boxes = boxes_per_image()
    for entries in boxes[:1], [*boxes, boxes[0]], (boxes[0],) * 3:
        text = f"^boxes must have one entry per image: expected 2, got {len(entries)}$"
        with pytest.raises(ValueError, match=text):
            ours.roi_align(maps(), entries, 3)
    # Of which it takes the boxes as those of the first image.
    pooled = theirs.roi_align(maps(), boxes[:1], 3)
    close(pooled, theirs.roi_align(maps(), [boxes[0], torch.empty(0, 4)], 3))


@row("no boxes, in a tensor of shape (0,) or (0, 4)")
@pytest.mark.parametrize("shape", [(0,), (0, 4)])
def test_no_boxes_of_another_shape(shape):
    boxes = torch.empty(shape, requires_grad=True)
    pooled = ours.roi_align(maps(), boxes, 3)
    assert pooled.shape == (0, 2, 3, 3)
    pooled.sum().backward()
    assert boxes.grad.shape == shape
    assert ours.roi_align(maps(), [boxes.detach()] * 2, 3).shape == (0, 2, 3, 3)
    with pytest.raises((AssertionError, IndexError)):
        theirs.roi_align(maps(), boxes, 3)


@row("torchvision's `BoundingBoxes` of another format than XYXY")
def test_bounding_boxes_of_another_format():
    from torchvision.tv_tensors import BoundingBoxes

    def given(form):
        return BoundingBoxes(torch.tensor([[1.0, 1.0, 3.0, 3.0]]), format=form, canvas_size=(6, 7))

    arguments = maps()[:1], [given("XYXY")], 3
    close(ours.roi_align(*arguments), theirs.roi_align(*arguments))
    for form in "XYWH", "CXCYWH":
        for boxes, name in ([given(form)], r"boxes\[0\]"), (given(form), "boxes"):
            text = f"^{name} must be corners x1, y1, x2, y2, got boxes of the format {form}$"
            with pytest.raises(ValueError, match=text):
                ours.roi_align(maps()[:1], boxes, 3)
    assert theirs.roi_align(maps()[:1], [given("XYWH")], 3).shape == (1, 2, 3, 3)


@row("`output_size` below 1")
def test_output_size_of_zero():
    with pytest.raises(ValueError, match="output_size must be at least 1 x 1"):
        ours.roi_align(maps(), rois(), 0)
    assert theirs.roi_align(maps(), rois(), 0).shape == (4, 2, 0, 0)


@row("`spatial_scale` or `mode` that is none, `output_size` beyond every size")
@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"spatial_scale": None}, TypeError, "spatial_scale must be a number, got None"),
        ({"spatial_scale": (1.0, 1.0)}, TypeError, "spatial_scale must be a number, got "),
        ({"spatial_scale": "1"}, TypeError, "spatial_scale must be a number, got '1'"),
        ({"spatial_scale": 10**400}, ValueError, "spatial_scale must be finite"),
        ({"mode": 1}, TypeError, "mode must be one of 'avg', 'max', 'max_weighted', got 1"),
        ({"output_size": 10**30}, ValueError, "output_size must be the size of an array"),
        ({"output_size": None}, TypeError, "output_size must be an integer or a pair"),
        ({"sampling_ratio": 10**30}, ValueError, "sampling_ratio must be in 0 .. 4096"),
        ({"sampling_ratio": None}, TypeError, "sampling_ratio must be an integer or a pair"),
    ],
    ids=str,
)
def test_options_of_another_type(options, error, text):
    # torch's own message names the operator, not the function, and prints its schema.
    arguments = {"input": maps(), "boxes": rois(), "output_size": 3} | options
    with pytest.raises(error, match="^" + re.escape(text)) as info:
        ours.roi_align(**arguments)
    assert "\n" not in str(info.value)
    if "mode" not in options:
        with pytest.raises((RuntimeError, TypeError)):
            theirs.roi_align(**arguments)


@row("`spatial_scale` of 0 or less, or not finite")
@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf")])
def test_impossible_scale(scale):
    with pytest.raises(ValueError, match="spatial_scale must be"):
        ours.roi_align(maps(), rois(), 3, scale)
    if scale <= 0:
        assert theirs.roi_align(maps(), rois(), 3, scale).shape == (4, 2, 3, 3)


@row("boxes of another shape, or no tensors")
@pytest.mark.parametrize(
    "boxes", [torch.zeros(1, 4), torch.zeros(5), [torch.zeros(1, 5)], "boxes"], ids=str
)
def test_boxes_of_another_shape(boxes):
    with pytest.raises((ValueError, TypeError), match="boxes"):
        ours.roi_align(maps(), boxes, 3)
    with pytest.raises((AssertionError, IndexError)):
        theirs.roi_align(maps(), boxes, 3)


@row("quantized maps")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")  # deprecated
def test_quantized_maps():
    input = torch.quantize_per_tensor(maps(), 0.1, 0, torch.quint8)[:1]
    boxes = torch.quantize_per_tensor(rois()[:1], 0.1, 0, torch.quint8)
    with pytest.raises(NotImplementedError):
        ours.roi_align(input, boxes, 3)
    assert theirs.roi_align(input, boxes, 3).is_quantized


@row("`sampling_ratio` above 4096")
def test_sampling_ratio_above_the_cap():
    arguments = maps(), torch.tensor([[0, 1.0, 1.0, 2.0, 2.0]]), 1, 1.0, 4097
    assert theirs.roi_align(*arguments).shape == (1, 2, 1, 1)
    with pytest.raises(ValueError, match=r"sampling_ratio must be in 0 .. 4096"):
        ours.roi_align(*arguments)
    with ours.patch_torchvision(), pytest.raises(ValueError, match="sampling_ratio must be in"):
        theirs.roi_align(*arguments)


@row("channels-last maps")
def test_channels_last():
    arguments = maps(channels_last=True), rois(), 3
    assert ours.roi_align(*arguments).is_contiguous(memory_format=torch.channels_last)
    assert theirs.roi_align(*arguments).is_contiguous()


@row("boxes that require a gradient")
def test_boxes_that_require_a_gradient():
    gradients = []
    for side in ours, theirs:
        input, boxes = maps(requires_grad=True), rois().requires_grad_()
        side.roi_align(input, boxes, 3).sum().backward()
        gradients.append(boxes.grad)
    assert gradients[0].abs().sum() > 0
    assert gradients[1] is None


@row("gradient of a gradient")
def test_gradient_of_a_gradient():
    def norm_of_gradient(side):
        input = maps(requires_grad=True)
        pooled = side.roi_align(input.square(), rois(), 3)
        (gradient,) = torch.autograd.grad(pooled.square().sum(), input, create_graph=True)
        gradient.square().sum().backward()
        return input.grad.abs().sum()

    assert norm_of_gradient(ours) > 0
    with pytest.raises(RuntimeError, match="double backwards on roi_align"):
        norm_of_gradient(theirs)


@row("forward-mode derivative")
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's own use of it
def test_forward_mode():
    with pytest.raises(NotImplementedError, match="forward mode"):
        torch.func.jvp(lambda input: ours.roi_align(input, rois(), 3), (maps(),), (maps(),))
    _, tangent = torch.func.jvp(
        lambda input: theirs.roi_align(input, rois(), 3), (maps(),), (maps(),)
    )
    assert tangent.abs().sum() == 0  # which is wrong


@row("`torch.func.grad`, `vjp`, `jacrev`")
def test_transforms_of_functions():
    for side in ours, theirs:
        for transform in torch.func.grad, torch.func.jacrev:
            with pytest.raises(RuntimeError, match="functorch transforms"):
                transform(lambda input, side=side: side.roi_align(input, rois(), 3).sum())(maps())


def pasted(box, paste, size=(30, 40), **options):
    return paste(torch.ones(1, 1, 28, 28, **options), torch.tensor([box]), size)


@row("pasted masks, box reversed or of no width or height")
def test_pasted_boxes_without_an_area():
    for box in [10.0, 9.0, 10.0, 19.0], [10.0, 9.0, 20.0, 9.0], [10.5, 9.0, 10.25, 19.0]:
        assert pasted(box, paste_masks_in_image).any()
        assert not pasted(box, ours.paste_masks_in_image).any()


@row("pasted masks, box outside the image")
def test_pasted_boxes_outside():
    box = [60.0, 9.0, 90.0, 19.0]
    with pytest.raises(RuntimeError):
        pasted(box, paste_masks_in_image)
    assert not pasted(box, ours.paste_masks_in_image).any()


@row("pasted masks, NaN or infinite box")
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_pasted_boxes_that_are_not_finite(bad):
    with pytest.raises(ValueError, match=r"boxes\[0\] must be finite"):
        pasted([1.0, 1.0, bad, 9.0], ours.paste_masks_in_image)


@row("pasted masks that require a gradient")
def test_gradients_of_pasted_masks():
    box = [3.0, 9.0, 15.0, 19.0]
    assert pasted(box, paste_masks_in_image, requires_grad=True).requires_grad
    with pytest.raises(RuntimeError, match="no gradient"):
        pasted(box, ours.paste_masks_in_image, requires_grad=True).sum().backward()


@row("`torch.jit.script`")
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_scripting():
    script = torch.jit.script(theirs.RoIAlign(3, 0.5, 2))
    close(script(maps(), rois()), theirs.roi_align(maps(), rois(), 3, 0.5, 2))
    with pytest.raises(RuntimeError):
        torch.jit.script(ours.RoIAlign(3, 0.5, 2))


def test_every_row_of_the_table_has_a_test():
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    table = lines[lines.index(next(line for line in lines if line.startswith("| case |"))) + 2 :]
    cells = [line.split(" | ")[0].removeprefix("| ") for line in table if line.startswith("|")]
    assert cells == ROWS
