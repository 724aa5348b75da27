"""The same of calls with tensors: any value passes for one where torch is not installed."""
# pyright: reportUnnecessaryTypeIgnoreComment=true
# Where torch is missing, tests/torch is found in its place.
# pyright: reportAttributeAccessIssue=false

from typing import assert_type

from torch import Tensor

from roialign_cy import torch as rt


def pooling(maps: Tensor, boxes: Tensor) -> None:
    assert_type(rt.roi_align(maps, [boxes, boxes], 7, aligned=True), Tensor)
    assert_type(rt.roi_align_rotated(maps, boxes, (7, 9), clockwise=True, mode="max"), Tensor)
    assert_type(rt.roi_pool(maps, boxes, 7), Tensor)
    assert_type(rt.prroi_pool(maps, boxes, 7), Tensor)
    assert_type(rt.paste_masks_in_image(maps, boxes, (480, 640)), Tensor)

    rt.roi_align(maps, boxes, 7, mode="mean")  # type: ignore[arg-type]
    rt.roi_align(maps, boxes, 7, convention="pytorch")  # type: ignore[arg-type]
    rt.roi_align_rotated(maps, boxes, 7, convention="pytorch")  # type: ignore[arg-type]
    rt.roi_align_rotated(maps, boxes, 7.0)  # type: ignore[arg-type]
    rt.RoIAlignRotated(7, 1 / 16, mode="mean")  # type: ignore[arg-type]
