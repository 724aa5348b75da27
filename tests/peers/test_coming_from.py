"""Every row of docs/coming_from.md: the two calls give the same.

The libraries that are not installed here are written down below, by torchvision's operators.
"""

import functools
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import roialign_cy as ra

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch", reason="needs the extra 'peers'")
torchvision = pytest.importorskip("torchvision", reason="needs the extra 'peers'")
for package in ("onnx", "onnxruntime"):
    pytest.importorskip(package, reason="needs the extra 'peers'")
from torchvision import ops  # noqa: E402
from torchvision.models.detection import roi_heads  # noqa: E402

from tests.onnx_node import node  # noqa: E402

PAGE = (Path(__file__).parents[2] / "docs" / "coming_from.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
ROW = re.compile(r"^\| (`.*`.*) \| `(.*)` \|$", re.MULTILINE)

RNG = np.random.default_rng(3)
CORNERS = np.float32([[10.3, 8.1, 200.7, 150.2], [64.9, 32.5, 128.3, 120.6], [150, 20, 282, 160]])
INPUTS = {
    "x": RNG.standard_normal((2, 3, 12, 20), dtype=np.float32),
    "boxes": [CORNERS[:2], CORNERS[2:]],
    "rois": np.column_stack([np.float32([0, 0, 1]), CORNERS]),
    "corners": CORNERS / 4,
    "images": np.array([0, 0, 1]),
    "given": RNG.uniform(1, 50, (4, 4)).astype(np.float32),
    "masks": RNG.random((3, 28, 28), dtype=np.float32),
    "bits": RNG.random((3, 40, 72)) > 0.5,
    "pyramid": [RNG.standard_normal((2, 3, h, 2 * h), dtype=np.float32) for h in (24, 12)],
    "rotated": np.float32(
        [[0, 100, 80, 90, 60, 0.5], [1, 120, 90, 120, 40, 30], [1, 99, 85, 64, 64, -2]]
    ),
    "photographs": RNG.random((2, 12, 15, 3), dtype=np.float32),
    "normalized": np.float32([[0.1, 0.2, 0.6, 0.7], [0.9, 0.1, 0.3, 1.2], [-0.1, 0, 0.5, 0.4]]),
    "indices": np.int32([0, 1, 1]),
    "grad": RNG.standard_normal((3, 3, 7, 7), dtype=np.float32),
}


def as_tensors(values):
    if isinstance(values, list):
        return [as_tensors(one) for one in values]
    return torch.from_numpy(values.copy())


def rows_of(title):
    rows = ROW.findall(SECTIONS[title])
    assert len(rows) == SECTIONS[title].count("\n| `")  # none is overlooked
    return rows


def theirs_and_ours(left, right, names):
    theirs = eval(left, dict(names))
    ours = eval(right, {"ra": ra, **INPUTS})
    return np.asarray(theirs), ours


def agree(theirs, ours):
    assert theirs.shape == ours.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(("left", "right"), rows_of("torchvision"))
def test_torchvision(left, right):
    names = {name: as_tensors(values) for name, values in INPUTS.items()}
    names |= {"ops": ops, "roi_heads": roi_heads, "sizes": [(192, 320)] * 2}
    names["maps"] = dict(zip("01", names["pyramid"], strict=True))
    found = re.fullmatch(r"`x\.grad` after `(.*)\.backward\(grad\)`", left)
    if found:
        names["x"].requires_grad_()
        eval(found[1], names).backward(names["grad"])
        left = "`x.grad`"
    agree(*theirs_and_ours(left.strip("`"), right, names))


class Pooling:
    """`ROIAlign` as Detectron2 has it, which is torchvision's."""

    def __init__(self, size, scale, ratio=0, aligned=True):
        self.arguments = size, scale, ratio, aligned

    def __call__(self, x, rois):
        return ops.roi_align(x, rois, *self.arguments)


class Pooler:
    """`ROIPooler`: each box from its level, by the rule that Detectron2 documents."""

    def __init__(self, size, scales, ratio, pooler_type):
        assert pooler_type == "ROIAlignV2"
        self.pools = [Pooling(size, scale, ratio) for scale in scales]
        self.finest = -np.log2(scales[0])

    def level(self, side):
        return torch.floor(4 + torch.log2(side / 224)) - self.finest

    def __call__(self, maps, boxes):
        sides = torch.cat(boxes)
        image = torch.repeat_interleave(torch.arange(len(boxes)), torch.tensor([*map(len, boxes)]))
        return self.pool(maps, torch.column_stack([image.float(), sides]))

    def pool(self, maps, rois):
        x1, y1, x2, y2 = rois.T[1:]
        levels = self.level(((x2 - x1) * (y2 - y1)).sqrt()).clamp(0, len(maps) - 1).int()
        pairs = zip(levels, rois[:, None], strict=True)
        return torch.cat([self.pools[level](maps[level], roi) for level, roi in pairs])


class Rotated:
    """`ROIAlignRotated`, of samples inside the map."""

    def __init__(self, size, scale, ratio, clockwise=False, degrees=True):
        self.arguments = size, scale, ratio, clockwise, degrees

    def __call__(self, x, rois):
        size, scale, ratio, clockwise, degrees = self.arguments
        shares = (torch.arange(size * ratio) + 0.5) / (size * ratio) - 0.5
        images, cx, cy, width, height, angle = rois.T[:, :, None, None]
        angle = (torch.deg2rad(angle) if degrees else angle) * (-1 if clockwise else 1)
        across, down = shares * width * scale, shares[:, None] * height * scale
        at_x = cx * scale - 0.5 + down * angle.sin() + across * angle.cos()
        at_y = cy * scale - 0.5 + down * angle.cos() - across * angle.sin()
        high, wide = x.shape[2:]
        grid = torch.stack([2 * at_x / (wide - 1) - 1, 2 * at_y / (high - 1) - 1], dim=-1)
        maps = x[images.flatten().long()]
        samples = torch.nn.functional.grid_sample(maps, grid, align_corners=True)
        return torch.nn.functional.avg_pool2d(samples, ratio)


class BitMasks:
    def __init__(self, bits):
        self.bits = bits

    def crop_and_resize(self, corners, size):
        rois = torch.column_stack([torch.arange(len(corners)).float(), corners])
        return ops.roi_align(self.bits.float()[:, None], rois, size, aligned=True)[:, 0] >= 0.5


def paste(masks, boxes, size, threshold):
    """Detectron2's pasting: masks sampled at the centres of pixels."""
    y, x = torch.meshgrid(*(torch.arange(side) + 0.5 for side in size), indexing="ij")
    x1, y1, x2, y2 = (side[:, None, None] for side in boxes.T)
    grid = torch.stack([(x - x1) / (x2 - x1), (y - y1) / (y2 - y1)], dim=-1) * 2 - 1
    values = torch.nn.functional.grid_sample(masks[:, None], grid, align_corners=False)
    return values[:, 0] >= threshold


@pytest.mark.parametrize(("left", "right"), rows_of("Detectron2"))
def test_detectron2(left, right):
    names = {name: as_tensors(values) for name, values in INPUTS.items()}
    mode = SimpleNamespace(XYWH_ABS="xywh", XYXY_ABS="xyxy", convert=ops.box_convert)
    names |= {
        "ROIAlign": Pooling, "ROIAlignRotated": Rotated, "ROIPooler": Pooler,
        "Boxes": lambda corners: corners,
        "BitMasks": BitMasks, "paste_masks_in_image": paste, "BoxMode": mode,
    }  # fmt: skip
    agree(*theirs_and_ours(left.strip("`"), right, names))


class MmcvPooling:
    """`RoIAlign` as mmcv has it: the mean is torchvision's, the maximum over the same samples."""

    def __init__(self, output_size, spatial_scale=1.0, sampling_ratio=0, pool_mode="avg",
                 aligned=True):  # fmt: skip
        self.arguments = output_size, spatial_scale, sampling_ratio, pool_mode, aligned

    def __call__(self, x, rois):
        size, scale, ratio, mode, aligned = self.arguments
        if mode == "avg":
            return ops.roi_align(x, rois, size, scale, ratio, aligned)
        samples = ops.roi_align(x, rois, size * ratio, scale, 1, aligned)
        return torch.nn.functional.max_pool2d(samples, ratio)


def precise(size, scale):
    """`PrRoIPool`: of boxes inside the map, the limit of many samples."""
    return lambda x, rois: ops.roi_align(x.double(), rois.double(), size, scale, 300)


class Extractor(Pooler):
    """mmdet's `SingleRoIExtractor`."""

    def __init__(self, layer, out_channels, strides):
        assert layer.pop("type") == "RoIAlign"
        self.pools = [MmcvPooling(spatial_scale=1 / stride, **layer) for stride in strides]

    def level(self, side):
        return torch.floor(torch.log2(side / 56))

    def __call__(self, maps, rois):
        return self.pool(maps, rois)


@pytest.mark.parametrize(("left", "right"), rows_of("mmcv and mmdet"))
def test_mmcv(left, right):
    names = {name: as_tensors(values) for name, values in INPUTS.items()}
    names |= {
        "RoIAlign": MmcvPooling, "RoIPool": ops.RoIPool, "PrRoIPool": precise,
        "RoIAlignRotated": functools.partial(Rotated, degrees=False),
        "SingleRoIExtractor": Extractor, "bbox2roi": ops._utils.convert_boxes_to_roi_format,
    }  # fmt: skip
    agree(*theirs_and_ours(left.strip("`"), right, names))


@pytest.mark.parametrize(("left", "right"), rows_of("ONNX"))
def test_onnx(left, right):
    call, of, opset = left.partition(" of opset ")
    names = {
        **INPUTS,
        "RoiAlign": node("RoiAlign", int(opset) if of else 16),
        "MaxRoiPool": node("MaxRoiPool", 16),
    }
    agree(*theirs_and_ours(call.strip("`"), right, names))


def crop_and_resize(images, boxes, box_indices, crop_size, **attributes):
    """TensorFlow's, as ONNX Runtime has it: channels first, and a mode for the method."""
    mode = attributes.pop("method", "bilinear")
    run = node("CropAndResize", 1, "com.microsoft")
    maps = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    crops = run(maps, boxes, box_indices, np.int32(crop_size), mode=mode, **attributes)
    return crops.transpose(0, 2, 3, 1)


@pytest.mark.parametrize(("left", "right"), rows_of("TensorFlow"))
def test_tensorflow(left, right):
    tf = SimpleNamespace(image=SimpleNamespace(crop_and_resize=crop_and_resize))
    agree(*theirs_and_ours(left.strip("`"), right, {**INPUTS, "tf": tf}))
