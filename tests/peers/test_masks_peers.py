"""`paste_masks` against torchvision's, Detectron2's on torch's `grid_sample`, and pycocotools."""

import numpy as np
import pytest

import roialign_cy as ra

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch", reason="needs the extra 'peers'")
pytest.importorskip("torchvision", reason="needs the extra 'peers'")
coco = pytest.importorskip("pycocotools.mask", reason="needs the extra 'peers'")

from torchvision.models.detection.roi_heads import paste_masks_in_image  # noqa: E402

SIZE = (83, 131)
NEAR_THRESHOLD = 1e-5


def smooth_masks(count, cells, seed=0):
    """Masks as networks give them, in which a pixel's value says little about its neighbours'."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, 5, 5, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=cells, mode="bicubic").clamp(0, 1)


def some_boxes(count, seed=0):
    """Boxes in the image and across its borders; none is outside, where torchvision raises."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(0, 1, (count, 2)) * SIZE[::-1]
    extent = np.exp(rng.uniform(1, 5.5, (count, 2)))
    return torch.from_numpy(np.concatenate([centre - extent / 2, centre + extent / 2], axis=1))


def detectron2s(masks, boxes):
    """Its definition: the grid of pixel centres in the box, read with zeros around the mask."""
    grid = []
    for axis in 0, 1:
        near, far = boxes[:, axis, None], boxes[:, axis + 2, None]
        centres = torch.arange(SIZE[1 - axis], dtype=boxes.dtype) + 0.5
        grid.append((centres - near) / (far - near) * 2 - 1)
    shape = len(boxes), *SIZE
    x, y = grid[0][:, None, :].expand(shape), grid[1][:, :, None].expand(shape)
    grid = torch.stack([x, y], dim=3).to(masks.dtype)
    return torch.nn.functional.grid_sample(masks, grid, align_corners=False)


def torchvisions(masks, boxes):
    return paste_masks_in_image(masks, boxes, SIZE)


THEIRS = {"detectron2": detectron2s, "torchvision": torchvisions}


@pytest.mark.parametrize("cells", [14, 28])
@pytest.mark.parametrize("boxes_dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("convention", THEIRS)
def test_every_pixel_is_theirs(convention, dtype, boxes_dtype, cells):
    masks, boxes = smooth_masks(100, cells).to(dtype), some_boxes(100).to(boxes_dtype)
    theirs = THEIRS[convention](masks, boxes)[:, 0].numpy()
    arrays = masks.numpy(), boxes.numpy(), SIZE
    values = ra.paste_masks(*arrays, threshold=None, convention=convention)
    np.testing.assert_allclose(values, theirs, rtol=0, atol=NEAR_THRESHOLD)
    flags = ra.paste_masks(*arrays, convention=convention)
    is_clear = np.abs(theirs - 0.5) > NEAR_THRESHOLD
    assert is_clear.mean() > 0.99
    np.testing.assert_array_equal(flags[is_clear], (theirs >= 0.5)[is_clear])


def test_boxes_of_halves_become_torchvisions_integers():
    masks, boxes = smooth_masks(300, 28), some_boxes(300).half()
    theirs = torchvisions(masks, boxes)[:, 0].numpy()
    values = ra.paste_masks(
        masks.numpy(), boxes.numpy(), SIZE, threshold=None, convention="torchvision"
    )
    np.testing.assert_allclose(values, theirs, rtol=0, atol=NEAR_THRESHOLD)


@pytest.mark.parametrize("convention", THEIRS)
def test_run_lengths_are_pycocotools_byte_for_byte(convention):
    masks, boxes = smooth_masks(200, 28).numpy(), some_boxes(200).numpy()
    masks[:20] = 1
    dense = ra.paste_masks(masks, boxes, SIZE, convention=convention)
    theirs = coco.encode(np.asfortranarray(dense.transpose(1, 2, 0).astype(np.uint8)))
    ours = ra.paste_masks(masks, boxes, SIZE, convention=convention, format="rle")
    assert ours == theirs
