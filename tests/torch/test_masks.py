"""Masks and other poolings in `roialign_cy.torch`, by themselves and under torchvision's models."""

import pytest

import roialign_cy as ra

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch", reason="needs the extra 'peers'")
torchvision = pytest.importorskip("torchvision", reason="needs the extra 'peers'")

from torchvision.models.detection import roi_heads, transform  # noqa: E402

import roialign_cy.torch as ours  # noqa: E402
from roialign_cy.torch import _masks, patch_torchvision  # noqa: E402

from .cases import boxes_per_image, maps, rois  # noqa: E402  it needs torch, too

SIZE = (40, 50)


def masks_and_boxes(dtype=torch.float32):
    masks = torch.rand(5, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor(
        [[3, 4, 20, 30], [-9, -5, 12, 60], [30, 20, 70, 25], [1, 1, 3, 2], [-9, -9, 60, 50]]
    )
    return masks.to(dtype), boxes + torch.tensor([0.37, 0.21, 0.83, 0.59])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("boxes_dtype", [torch.float32, torch.float64, torch.int64])
def test_pasting_is_torchvisions(boxes_dtype, dtype):
    masks, boxes = masks_and_boxes(dtype)
    boxes = boxes.to(boxes_dtype)
    result = ours.paste_masks_in_image(masks, boxes, SIZE)
    torch.testing.assert_close(
        result, roi_heads.paste_masks_in_image(masks, boxes, SIZE), rtol=0, atol=1e-5
    )
    none = ours.paste_masks_in_image(masks[:0], boxes[:0], SIZE)
    assert none.shape == (0, 1, *SIZE)


def test_pasting_is_that_of_arrays():
    masks, boxes = masks_and_boxes()
    expected = ra.paste_masks(
        masks.numpy(), boxes.numpy(), SIZE, threshold=None, convention="torchvision"
    )
    for same in masks, masks.mT.contiguous().mT:
        result = ours.paste_masks_in_image(same, boxes, SIZE)
        assert torch.equal(result[:, 0], torch.from_numpy(expected))


def test_pasting_keeps_torchs_rules():
    masks, boxes = masks_and_boxes()
    torch.library.opcheck(torch.ops.roialign_cy.paste_masks.default, (masks, boxes, SIZE))
    masks.requires_grad_()
    with pytest.raises(RuntimeError, match=r"no gradient: paste under torch\.no_grad"):
        ours.paste_masks_in_image(masks, boxes, SIZE).sum().backward()


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"padding": 2}, ValueError, "padding must be 1"),
        ({"masks": torch.ones(1, 1, 3, 3).bfloat16()}, TypeError, r"masks .*bfloat16: convert"),
        ({"masks": torch.ones(1, 3, 3)}, ValueError, r"masks must have the shape \(N, 1, M, M\)"),
        ({"boxes": torch.full((1, 4), torch.nan)}, ValueError, r"boxes\[0\] must be finite"),
        ({"masks": None}, TypeError, "masks must be a tensor, got NoneType"),
        ({"boxes": [[0, 0, 1, 1]]}, TypeError, "boxes must be a tensor, got list"),
        ({"img_shape": (5.5, 5)}, TypeError, "img_shape must be an integer or a pair"),
        ({"img_shape": 5}, TypeError, "img_shape must be a pair"),
        ({"img_shape": (5, -1)}, ValueError, "img_shape must not be negative"),
    ],
)
def test_bad_input_is_refused_by_name(arguments, error, text):
    call = {"masks": torch.ones(1, 1, 3, 3), "boxes": torch.ones(1, 4), "img_shape": SIZE}
    with pytest.raises(error, match=text):
        ours.paste_masks_in_image(**{**call, **arguments})


def test_the_size_of_an_image_may_be_a_tensor():
    masks, boxes = masks_and_boxes()
    pasted = ours.paste_masks_in_image(masks, boxes, torch.tensor(SIZE))
    assert torch.equal(pasted, ours.paste_masks_in_image(masks, boxes, SIZE))


def test_the_size_of_an_image_may_change_in_an_exported_graph():
    class Paste(torch.nn.Module):
        def forward(self, masks, boxes, image):
            return ours.paste_masks_in_image(masks, boxes, image.shape)

    masks, boxes = masks_and_boxes()
    sides = {0: torch.export.Dim("height"), 1: torch.export.Dim("width")}
    exported = torch.export.export(
        Paste(), (masks, boxes, torch.ones(SIZE)), dynamic_shapes=(None, None, sides)
    )
    pasted = exported.module()(masks, boxes, torch.ones(30, 40))
    assert torch.equal(pasted, ours.paste_masks_in_image(masks, boxes, (30, 40)))


@pytest.mark.parametrize("form", [rois, boxes_per_image])
def test_roi_pool_is_torchvisions(form):
    input, other = maps(requires_grad=True), maps(requires_grad=True)
    result = ours.roi_pool(input, form(), (3, 2), 0.5)
    expected = torchvision.ops.roi_pool(other, form(), (3, 2), 0.5)
    torch.testing.assert_close(result, expected, rtol=0, atol=0)
    for pooled in result, expected:
        pooled.square().sum().backward()
    torch.testing.assert_close(input.grad, other.grad)


def test_boxes_of_roi_pool_get_no_gradient():
    for boxes in rois().requires_grad_(), [box.requires_grad_() for box in boxes_per_image()]:
        ours.roi_pool(maps(requires_grad=True), boxes, 2, 0.5).sum().backward()
        assert all(box.grad is None for box in ([boxes] if torch.is_tensor(boxes) else boxes))


def test_prroi_pool_is_that_of_arrays_with_both_gradients():
    input, boxes = maps(torch.float64, requires_grad=True), rois(torch.float64).requires_grad_()
    result = ours.prroi_pool(input, boxes, (3, 4), 0.5)
    arrays = input.detach().numpy(), boxes.detach().numpy()
    expected = ra.roi_align(*arrays, (3, 4), spatial_scale=0.5, convention="prroi")
    assert torch.equal(result.detach(), torch.from_numpy(expected))
    assert torch.autograd.gradcheck(
        lambda input, sides: ours.prroi_pool(
            input, torch.cat([rois(torch.float64)[:, :1], sides], 1), (3, 4), 0.5
        ),
        (input, boxes[:, 1:]),
    )


# Under torchvision


def project(masks, boxes, indices):
    return roi_heads.project_masks_on_boxes(masks, boxes, indices, 7)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.float32])
def test_targets_are_torchvisions(dtype):
    generator = torch.Generator().manual_seed(0)
    masks = (torch.rand(4, *SIZE, generator=generator) > 0.4).to(dtype)
    boxes = masks_and_boxes()[1].repeat(3, 1)
    indices = torch.tensor([0, 3, 1, 0, 3] * 3)
    with patch_torchvision():
        pooled = torchvision.ops.roi_align(
            masks[:, None].float(), torch.cat([indices[:, None], boxes], 1), 7
        )
        result = project(masks, boxes, indices)
        none = project(masks, boxes[:0], indices[:0])
        no_masks = project(masks[:0], boxes[:0], indices[:0])
    assert torch.equal(result, pooled[:, 0])
    torch.testing.assert_close(result, project(masks, boxes, indices))
    assert none.shape == no_masks.shape == (0, 7, 7)


@pytest.fixture
def calls(monkeypatch):
    """Names of the library's functions that are called."""
    names = []

    def counted(function, *args, _on_cpu=ours._bridge.on_cpu, **options):
        names.append(getattr(function, "func", function).__name__)
        return _on_cpu(function, *args, **options)

    monkeypatch.setattr(_masks._bridge, "on_cpu", counted)
    monkeypatch.setitem(ours._kernels.BRIDGES, "cpu", counted)
    return names


def test_functions_are_replaced_and_restored_exactly(calls):
    modules = (
        (roi_heads, "paste_masks_in_image"),
        (transform, "paste_masks_in_image"),
        (roi_heads, "project_masks_on_boxes"),
        (torchvision.ops, "roi_pool"),
    )
    before = [getattr(module, name) for module, name in modules]
    masks, boxes = masks_and_boxes()
    first, second = patch_torchvision(), patch_torchvision()
    for patch, is_patched in (None, True), (first, True), (second, False), (second, False):
        if patch is not None:
            patch.__exit__(None, None, None)
        calls.clear()
        transform.paste_masks_in_image(masks, boxes, SIZE)
        torchvision.ops.roi_pool(maps(), rois(), 2)
        torchvision.ops.RoIPool(2, 1.0)(maps(), rois())
        assert calls == (["paste", "roi_align", "roi_align"] if is_patched else [])
    assert [getattr(module, name) for module, name in modules] == before


def test_what_somebody_else_put_there_stays(monkeypatch):
    with patch_torchvision():
        monkeypatch.setattr(transform, "paste_masks_in_image", len)
    assert transform.paste_masks_in_image is len


def test_calls_that_are_not_for_us_are_torchvisions(calls):
    masks, boxes = masks_and_boxes()
    theirs = roi_heads.paste_masks_in_image
    for arguments in (
        (masks.bfloat16(), boxes, SIZE),
        (masks, boxes, SIZE, 2),
        (masks.clone().requires_grad_(), boxes, SIZE),
    ):
        with patch_torchvision():
            result = roi_heads.paste_masks_in_image(*arguments)
        assert torch.equal(result, theirs(*arguments))
    assert result.requires_grad
    with patch_torchvision():
        torchvision.ops.roi_pool(maps(), rois(), 2)
    assert calls == ["roi_align"]


class Pasting(torch.nn.Module):
    def forward(self, masks, boxes):
        return roi_heads.paste_masks_in_image(masks, boxes, (40, 50))


class Pooling(torch.nn.Module):
    def forward(self, input, boxes):
        return torchvision.ops.roi_pool(input, boxes, (3, 4))


MODULES = {
    "pasting": (Pasting(), masks_and_boxes()),
    "pooling": (Pooling(), (maps(), rois())),
    "RoIPool": (torchvision.ops.RoIPool(3, 1.0), (maps(), rois())),
}


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize(("module", "arguments"), MODULES.values(), ids=MODULES)
def test_scripts_of_patched_functions_are_torchvisions(module, arguments, calls):
    expected = module(*arguments)
    with patch_torchvision():
        script = torch.jit.script(module)
        torch.testing.assert_close(script(*arguments), expected, rtol=0, atol=1e-5)
    assert calls == []


@pytest.mark.parametrize(("module", "arguments"), MODULES.values(), ids=MODULES)
def test_patched_functions_are_compiled_whole(module, arguments, calls):
    torch._dynamo.reset()
    expected = module(*arguments)
    with patch_torchvision():
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(*arguments), expected, rtol=0, atol=1e-5)
    assert len(calls) == 1
    torch._dynamo.reset()
