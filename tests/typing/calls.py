"""Right and wrong calls for type checkers: a wrong one that passes is an ignore without use."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from typing import Any, Unpack, assert_type

import numpy as np
from numpy.typing import NDArray

import roialign_cy as ra
from roialign_cy.typing import Boxes, Layout, Mode, Options, Wrt

Floats = NDArray[np.floating]
Singles = NDArray[np.float32]
SCALES = [1 / 4, 1 / 8]


def one_map(maps: Singles, photos: NDArray[np.uint8], rois: Floats, any_array: Any) -> None:
    assert_type(ra.roi_align(maps, rois, 7), Singles)
    assert_type(ra.roi_align(maps, [[0, 1, 1, 3, 3]], (7, 7), mode="max"), Singles)
    assert_type(ra.roi_align(maps, [rois, rois], 7, spatial_scale=1 / 16, out=maps), Singles)
    assert_type(ra.roi_align(maps, rois, 7, convention=ra.Convention(border="zero")), Singles)
    assert_type(ra.roi_align(photos, rois, 224, layout="NHWC"), Singles)
    assert_type(ra.roi_pool(photos, rois, 7, num_threads=2), Singles)
    ra.roi_align(any_array, rois, 7)
    for name in ra.CONVENTIONS:
        ra.roi_align(maps, rois, 7, convention=name)

    ra.roi_align(maps, rois, 7, mode="mean")  # type: ignore[call-overload]
    ra.roi_align(maps, rois, 7, layout="CHW")  # type: ignore[call-overload]
    ra.roi_align(maps, rois, 7, convention="pytorch")  # type: ignore[call-overload]
    ra.roi_align(maps, rois, 7, backend=1)  # type: ignore[call-overload]
    ra.roi_align(maps, rois, 7, aligned=True)  # type: ignore[call-overload]
    ra.roi_align(maps, rois, 7.0)  # type: ignore[call-overload]
    ra.roi_align(maps, rois, (7, 7, 7))  # type: ignore[arg-type]
    ra.roi_align([[[[1.0]]]], rois, 7)  # type: ignore[call-overload]
    ra.roi_pool(maps, rois, 7, mode="avg")  # type: ignore[call-overload]
    ra.Convention(sampling="grid")  # type: ignore[arg-type]
    ra.Convention(border=None)  # type: ignore[arg-type]


def own_names(maps: Singles, rois: Boxes, mode: Mode, layout: Layout) -> None:
    assert_type(ra.roi_align(maps, rois, 7, mode=mode, layout=layout), Singles)


def own_options(maps: Singles, rois: Boxes, **options: Unpack[Options]) -> None:
    assert_type(ra.roi_align(maps, rois, 7, spatial_scale=1 / 16, **options), Singles)


def gradients(grads: Singles, photos: NDArray[np.uint8], rois: Floats, wrt: Wrt) -> None:
    back = ra.roi_align_backward
    shape = photos.shape
    assert_type(back(grads, rois, shape), Singles)
    assert_type(back(grads, rois, (1, 3, 8, 8), wrt="features", out=grads), Singles)
    assert_type(back(grads, rois, shape, features=photos, wrt="rois"), Floats)
    assert_type(back(grads, rois, shape, wrt=("features", "rois")), tuple[Floats, Floats])
    back(grads, rois, shape, wrt=wrt)

    back(grads, rois, shape, wrt="boxes")  # type: ignore[call-overload]
    back(grads, rois, shape, wrt=("features", "boxes"))  # type: ignore[arg-type]
    back(grads, rois, 8)  # type: ignore[call-overload]


def rotated_boxes(maps: Singles, photos: NDArray[np.uint8], rois: Floats, any_array: Any) -> None:
    pool = ra.roi_align_rotated
    assert_type(pool(maps, rois, 7), Singles)
    assert_type(pool(maps, [rois, rois], 7, clockwise=True, mode="max", out=maps), Singles)
    assert_type(pool(photos, rois, 7, convention="mmcv", layout="NHWC"), Singles)
    pool(any_array, rois, 7)

    back = ra.roi_align_rotated_backward
    shape = photos.shape
    assert_type(back(maps, rois, shape), Singles)
    assert_type(back(maps, rois, shape, features=photos, wrt="rois", clockwise=True), Floats)
    assert_type(back(maps, rois, shape, wrt=("rois", "features")), tuple[Floats, Floats])

    pool(maps, rois, 7, mode="mean")  # type: ignore[call-overload]
    pool(maps, rois, 7, clockwise="yes")  # type: ignore[call-overload]
    pool(maps, rois, 7, aligned=True)  # type: ignore[call-overload]
    back(maps, rois, shape, wrt="boxes")  # type: ignore[call-overload]
    back(maps, rois, shape, angle="radians")  # type: ignore[call-overload]


def crops(images: Singles, photos: NDArray[np.uint8], boxes: Floats, any_array: Any) -> None:
    crop = ra.crop_and_resize
    assert_type(crop(images, boxes, [0], 7), Singles)
    assert_type(crop(photos, [[0, 0, 1, 1]], [0], (7, 9), extrapolation_value=1.5), Singles)
    assert_type(crop(images, boxes, [0], 7, method="nearest", layout="NCHW", out=images), Singles)
    crop(any_array, boxes, [0], 7)

    back = ra.crop_and_resize_backward
    shape = images.shape
    assert_type(back(images, boxes, [0], shape), Singles)
    assert_type(back(images, boxes, [0], shape, images=photos, wrt="boxes"), Floats)
    assert_type(back(images, boxes, [0], shape, wrt=("images", "boxes")), tuple[Floats, Floats])

    crop(images, boxes, [0], 7, method="bicubic")  # type: ignore[call-overload]
    crop(images, boxes, [0], 7, mode="avg")  # type: ignore[call-overload]
    crop([[[[1.0]]]], boxes, [0], 7)  # type: ignore[call-overload]
    back(images, boxes, [0], shape, wrt="features")  # type: ignore[call-overload]
    back(images, boxes, [0], shape, extrapolation_value=1.0)  # type: ignore[call-overload]


def several_maps(maps: Singles, photos: NDArray[np.uint8], rois: Floats) -> None:
    pool = ra.multiscale_roi_align
    assert_type(pool([maps, maps], rois, 7, spatial_scales=SCALES), Singles)
    assert_type(pool([photos], rois, 7, spatial_scales=[1]), Singles)
    pool([maps, maps], rois, 7, spatial_scales=SCALES, level_rule="mmdet", levels=[0, 1])

    pool([maps], rois, 7, spatial_scales=[1], level_rule="fpn")  # type: ignore[call-overload]
    pool([maps], rois, 7, spatial_scale=1)  # type: ignore[call-overload]
    pool(maps, rois, 7, mode="mean", spatial_scales=[1])  # type: ignore[call-overload]
    ra.assign_levels(rois, SCALES, level_rule="fpn")  # type: ignore[arg-type]


def gradients_of_several_maps(grads: Singles, maps: list[Singles], rois: Floats) -> None:
    back = ra.multiscale_roi_align_backward
    shapes = [one.shape for one in maps]
    assert_type(back(grads, rois, shapes, spatial_scales=SCALES), list[Singles])
    assert_type(back(grads, rois, shapes, features=maps, wrt="rois", spatial_scales=SCALES), Floats)
    assert_type(
        back(grads, rois, shapes, wrt=("features", "rois"), spatial_scales=SCALES),
        tuple[list[Floats], Floats],
    )
    assert_type(
        back(grads, rois, shapes, wrt=("rois", "features"), spatial_scales=SCALES),
        tuple[Floats, list[Floats]],
    )

    back(grads, rois, shapes, wrt="maps", spatial_scales=SCALES)  # type: ignore[call-overload]


def masks(of_boxes: Singles, rois: Floats) -> None:
    paste = ra.paste_masks
    assert_type(paste(of_boxes, rois, (480, 640)), NDArray[np.bool])
    assert_type(paste(of_boxes, rois, (480, 640), threshold=None), Singles)
    assert_type(paste(of_boxes, rois, (480, 640), format="rle"), list[dict[str, Any]])
    assert_type(
        paste(of_boxes, rois, (480, 640), format="crops"),
        list[tuple[NDArray[Any], tuple[int, int]]],
    )

    paste(of_boxes, rois, (480, 640), format="coco")  # type: ignore[call-overload]
    paste(of_boxes, rois, (480, 640), convention="mmcv")  # type: ignore[call-overload]
    paste(of_boxes, rois, (480, 640), threshold=None, format="rle")  # type: ignore[call-overload]


def boxes_and_explanations(maps: Singles, rois: Floats) -> None:
    assert_type(ra.boxes.from_xywh([[1, 2, 3, 4]]), Floats)
    assert_type(ra.boxes.check(rois, maps.shape, layout="NHWC"), ra.boxes.BoxCheck)
    assert_type(ra.explain(maps, rois, 7, coordinates="array"), ra.Explanation)

    ra.boxes.check(rois, maps.shape, layout="CHW")  # type: ignore[arg-type]
    ra.explain(maps, rois, 7, coordinates="image")  # type: ignore[arg-type]
    ra.explain(maps, rois, 7, mode="mean")  # type: ignore[arg-type]
