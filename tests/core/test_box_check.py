"""`boxes.check`: what is probably a mistake, and silence where nothing is."""

import numpy as np
import pytest

import roialign_cy as ra
from roialign_cy import _box_check, boxes
from roialign_cy.conventions import MODE_OF_SAMPLING

SHAPE = (2, 3, 40, 50)
SCALE = 1 / 16


def in_pixels(count=300, seed=0):
    """Boxes of an image of 640 x 800 pixels, as a detector gives them."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, [700, 540], (count, 2))
    sizes = rng.uniform(20, [300, 300], (count, 2))
    sides = np.hstack([corners, np.minimum(corners + sizes, [800, 640])])
    return np.hstack([rng.integers(0, 2, (count, 1)), sides])


def only(found, *texts):
    """Expect a hint for each text, in this order, and no other."""
    assert len(found.hints) == len(texts), found
    for hint, text in zip(found.hints, texts, strict=True):
        assert text in hint


def test_good_boxes_have_no_hint():
    found = boxes.check(in_pixels(), SHAPE, SCALE)
    assert (found.total, found.outside, found.reversed, found.hints) == (300, 0, 0, ())
    assert repr(found) == "300 boxes: none stands out"
    rois = in_pixels(20)
    lists = [rois[rois[:, 0] == image, 1:] for image in range(2)]
    assert boxes.check(lists, SHAPE, SCALE) == boxes.check(rois, SHAPE, SCALE)


@pytest.mark.parametrize("none", [[], [[], []], np.empty((0, 4))], ids=repr)
def test_no_boxes_have_no_hint(none):
    assert boxes.check(none, SHAPE).hints == ()
    assert repr(boxes.check(none, SHAPE)) == "0 boxes: none stands out"


def test_forgotten_scale_is_guessed():
    found = boxes.check(in_pixels(), SHAPE)
    assert found.outside > 290
    only(found, f"{found.outside} of 300 boxes are outside the map of 40 x 50 cells and pool")
    assert found.hints[0].endswith("is spatial_scale, 1, rather 1/16?")
    assert boxes.check(in_pixels(), SHAPE, 1 / 4).hints[0].endswith("1/4, rather 1/16?")


def test_scale_of_boxes_that_are_cells_already():
    rois = in_pixels() * [1, SCALE, SCALE, SCALE, SCALE]
    found = boxes.check(rois, SHAPE, SCALE)
    assert found.below_one_cell > 150
    only(found, "are narrower or lower than a cell: is spatial_scale, 1/16, too small?")


def test_corner_and_size():
    rois = in_pixels()
    rois[:, 3:] -= rois[:, 1:3]
    found = boxes.check(rois, SHAPE, SCALE)
    assert found.like_xywh == 300
    assert found.reversed > 200
    only(found, "x, y, width, height (boxes.from_xywh)", f"{found.reversed} of 300 boxes are rev")
    assert "x1, x2" not in found.hints[0]


def test_sides_along_x_before_those_along_y():
    found = boxes.check(in_pixels()[:, [0, 1, 3, 2, 4]], SHAPE, SCALE)
    assert found.like_xxyy == 300
    only(found, "boxes look like x1, x2, y1, y2 (rois[:, [0, 1, 3, 2, 4]])", "are reversed")


def test_normalised():
    rois = in_pixels() / [1, 800, 640, 800, 640]
    for scale in SCALE, 1:
        found = boxes.check(rois, SHAPE, scale)
        assert found.like_normalised == found.below_one_cell == 300
        only(found, "boxes look normalised, from 0 to 1: boxes.from_normalised")
    # On a map of a cell or two they may be meant.
    assert boxes.check(rois, (2, 3, 1, 1)).hints != found.hints


def test_index_of_the_image_last():
    found = boxes.check(in_pixels()[:, [1, 2, 3, 4, 0]], SHAPE, SCALE)
    assert found.like_index_last == found.without_image == 300
    only(found, "last column; it is the first: rois[:, [4, 0, 1, 2, 3]]")


@pytest.mark.parametrize(
    ("shape", "layout", "other"),
    [((2, 640, 800, 3), "NCHW", "NHWC"), ((2, 3, 640, 800), "NHWC", "NCHW")],
)
def test_map_of_another_layout(shape, layout, other):
    found = boxes.check(in_pixels(), shape, layout=layout)
    assert found.map_like_other_layout
    assert f"channels are elsewhere: layout={other!r}" in found.hints[0]
    assert "spatial_scale" not in " ".join(found.hints)
    assert boxes.check(in_pixels(), shape, layout=other).hints == ()


def test_what_roi_align_refuses():
    rois = in_pixels(5)
    rois[0, 2], rois[1, 4], rois[2, 0], rois[3, 0] = np.nan, np.inf, 2, 0.5
    found = boxes.check(rois, SHAPE, SCALE)
    assert (found.not_finite, found.without_image) == (2, 2)
    only(found, "refuses 2 that are not finite and 2 without the index of an image")
    assert "2 not finite, 2 without an image" in repr(found)


@pytest.mark.parametrize("convention", ra.CONVENTIONS)
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_boxes_that_count_as_outside_pool_to_zeros(convention, scale):
    # All around the map, close to its border.
    rng = np.random.default_rng(1)
    centres = rng.uniform(-4, 13, (4000, 2)) / scale
    sizes = rng.choice([-1, 1], (4000, 2)) * rng.exponential(1, (4000, 2)) / scale
    rois = np.hstack([np.zeros((4000, 1)), centres, centres + sizes])
    maps = np.ones((1, 1, 9, 8), np.float32)
    chosen = [row for row in rois if boxes.check(row[np.newaxis], maps.shape, scale).outside]
    assert 500 < len(chosen) < 3500
    has_samples = ra.CONVENTIONS[convention].sampling not in MODE_OF_SAMPLING
    for ratio in (0, 2) if has_samples else (0,):
        options = {"convention": convention, "spatial_scale": scale, "sampling_ratio": ratio}
        assert not ra.roi_align(maps, np.array(chosen), 3, **options).any()


def test_batches_of_boxes_are_summed(monkeypatch):
    rois = np.concatenate([in_pixels(), in_pixels()[:, [0, 3, 4, 1, 2]]])
    expected = boxes.check(rois, SHAPE)
    monkeypatch.setattr(_box_check, "BOXES_AT_A_TIME", 7)
    assert boxes.check(rois, SHAPE) == expected


@pytest.mark.parametrize("far", [1e300, 1.7e308, 6e4])
def test_boxes_of_any_size_are_counted(far):
    rois = np.array([[0, 0, 0, far, far], [0, -far, -far, far, far], [0, far, far, -far, 0]])
    for dtype in np.float64, np.float16:
        with np.errstate(over="ignore"):
            found = boxes.check(rois.astype(dtype), SHAPE, 1e5)
        assert found.total == 3


@pytest.mark.parametrize("shape", [(0, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 1)])
def test_maps_of_nothing(shape):
    assert boxes.check([[0, 1, 1, 4, 4]], shape).total == 1


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"rois": np.ones((2, 6))}, ValueError, r"rois must have the shape \(K, 5\)"),
        ({"rois": [[], [], []]}, ValueError, "rois must have one entry per image"),
        ({"shape": (40, 50)}, ValueError, "shape must be four integers"),
        ({"spatial_scale": 0}, ValueError, "spatial_scale must be > 0"),
        ({"layout": "HWC"}, ValueError, "layout must be one of"),
    ],
)
def test_bad_arguments_are_named(changes, error, text):
    with pytest.raises(error, match=f"^{text}"):
        boxes.check(**{"rois": in_pixels(), "shape": SHAPE} | changes)


def test_result_does_not_change():
    found = boxes.check(in_pixels(), SHAPE)
    with pytest.raises(AttributeError):
        found.total = 0
    assert found.hints[0] in repr(found)
