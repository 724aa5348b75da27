"""`assign_levels`: the rules of three projects, to the bit of their arithmetic."""

import math

import numpy as np
import pytest

import roialign_cy as ra

RULES = ("torchvision", "detectron2", "mmdet")
SCALES = [1 / 4, 1 / 8, 1 / 16, 1 / 32]


def squares(sides, dtype=np.float32):
    """Boxes (K, 5) with those sides, whose areas are exact enough to be their squares."""
    boxes = np.zeros((len(sides), 5), dtype)
    boxes[:, 3] = boxes[:, 4] = sides
    return boxes


def around(side, steps, dtype):
    """The numbers of a dtype on both sides of ``side``, so many each."""
    integer = np.dtype(f"i{np.dtype(dtype).itemsize}")
    bits = dtype(side).view(integer) + np.arange(-steps, steps + 1, dtype=integer)
    return bits.view(dtype)


def by_hand(box, rule, scales, size=224, level=4):
    """The level of one box (K, 5), a step at a time in its own dtype."""
    number = type(box[1])
    if number is np.float16:
        number = np.float32
    x1, y1, x2, y2 = (number(side) for side in box[1:])
    area = (x2 - x1) * (y2 - y1)
    if not area > 0:
        return 0
    root = np.sqrt(area)
    if rule == "mmdet":
        k = number(math.log2(root / number(size / 4) + number(1e-6)))
    elif rule == "detectron2":
        k = number(level) + number(math.log2(root / number(size) + number(1e-8)))
    else:
        k = number(level) + number(math.log2(root / number(size))) + number(1e-6)
    first = 0 if rule == "mmdet" else round(-math.log2(scales[0]))
    return min(max(math.floor(k), first), first + len(scales) - 1) - first


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rules_by_hand_at_every_boundary(rule, dtype):
    sides = np.concatenate(
        [around(s * 2**-e, 40, dtype) for s in (56, 112, 224, 448, 896) for e in (0, 1e-6, 2e-6)]
    )
    boxes = squares(sides, dtype)
    expected = [by_hand(box, rule, SCALES) for box in boxes]
    assert ra.assign_levels(boxes, SCALES, level_rule=rule).tolist() == expected
    assert set(expected) == {0, 1, 2, 3}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rules_by_hand_of_any_boxes(rule, dtype):
    boxes = np.random.default_rng(0).uniform(-700, 1400, (500, 5)).astype(dtype)
    boxes[::3, 3:] = boxes[::3, 1:3] + boxes[::3, 3:] / 4
    scales, options = [1 / 2, 1 / 4, 1 / 8], {"canonical_size": 160}
    if rule != "mmdet":
        options["canonical_level"] = 3
    expected = [by_hand(box, rule, scales, 160, options.get("canonical_level", 4)) for box in boxes]
    result = ra.assign_levels(boxes, scales, level_rule=rule, **options)
    assert result.tolist() == expected
    assert set(expected) == {0, 1, 2}


# A side in float32 just below 224, by so many of its steps (1.5e-5), and the map that each rule
# gives: where the three part.
@pytest.mark.parametrize(
    ("steps", "torchvision", "detectron2", "mmdet"),
    [(0, 2, 2, 2), (1, 2, 2, 2), (2, 2, 1, 2), (4, 2, 1, 1), (12, 1, 1, 1)],
)
def test_the_rules_differ_below_a_boundary(steps, torchvision, detectron2, mmdet):
    box = squares(around(224, steps, np.float32)[:1])
    found = [int(ra.assign_levels(box, SCALES, level_rule=rule)[0]) for rule in RULES]
    assert found == [torchvision, detectron2, mmdet]


def test_detectron2s_epsilon_is_added_before_the_logarithm():
    # At a seventh of the canonical size a step of float32 is small enough for 1e-8 to show.
    box, scales = squares([np.nextafter(np.float32(28), np.float32(0))]), [1, 1 / 2, 1 / 4]
    assert by_hand(box[0], "detectron2", scales) == 1
    assert ra.assign_levels(box, scales, level_rule="detectron2").tolist() == [1]


@pytest.mark.parametrize("rule", RULES)
def test_boxes_of_the_object_detection_api(rule):
    # TensorFlow's, spatial_transform_ops_test.py: levels 2, 3, 3, 4, 5 of P2 .. P5.
    boxes = squares([111, 113, 223, 225, 449])
    assert ra.assign_levels(boxes, SCALES, level_rule=rule).tolist() == [0, 1, 1, 2, 3]


@pytest.mark.parametrize("rule", RULES)
def test_boxes_without_an_area_go_to_the_finest(rule):
    boxes = [[0, 5, 5, 5, 5], [0, 5, 5, 800, 5], [0, 800, 5, 5, 800], [0, 0, 0, -0.0, 9]]
    assert ra.assign_levels(boxes, SCALES, level_rule=rule).tolist() == [0] * 4


@pytest.mark.parametrize("rule", RULES)
def test_an_area_beyond_every_float_goes_to_the_coarsest(rule):
    boxes = np.array([[0, -3e38, -3e38, 3e38, 3e38]])
    for dtype in np.float32, np.float64:
        with np.errstate(all="raise"):
            assert ra.assign_levels(boxes.astype(dtype), SCALES, level_rule=rule).tolist() == [3]


def test_a_box_reversed_twice_has_its_area():
    assert ra.assign_levels([[0, 448, 448, 0, 0]], SCALES).tolist() == [3]


def test_halves_do_not_overflow():
    assert ra.assign_levels(squares([300], np.float16), SCALES).tolist() == [2]
    assert ra.assign_levels(squares([60000], np.float16), SCALES).tolist() == [3]


def test_integers_are_float64():
    side = 2**26 - 1  # as a float32 it were 2**26
    boxes = np.array([[0, 0, 0, side, side]])
    for dtype, level in (np.int64, 1), (np.float64, 1), (np.float32, 2):
        found = ra.assign_levels(
            boxes.astype(dtype), SCALES, level_rule="detectron2", canonical_size=2**26
        )
        assert found.tolist() == [level]


def test_levels_are_counted_from_the_first_map():
    sides = [30, 100, 300, 900]
    assert ra.assign_levels(squares(sides), [2, 1, 0.5]).tolist() == [2, 2, 2, 2]
    assert ra.assign_levels(squares(sides), [1 / 16, 1 / 32, 1 / 64]).tolist() == [0, 0, 0, 2]
    mmdet = ra.assign_levels(squares(sides), [1 / 16, 1 / 32, 1 / 64], level_rule="mmdet")
    assert mmdet.tolist() == [0, 0, 2, 2]


def test_boxes_may_be_a_list_per_image():
    per_image = [squares([30, 300])[:, 1:], [], squares([900])[:, 1:]]
    assert ra.assign_levels(per_image, SCALES).tolist() == [0, 2, 3]
    for none in [], np.empty((0, 5)), [[], []]:
        assert ra.assign_levels(none, SCALES).shape == (0,)


@pytest.mark.parametrize(
    ("scales", "options", "error", "message"),
    [
        ([1 / 4, 1 / 16], {}, ValueError, "each half the one before, .* give levels"),
        ([1 / 8, 1 / 4], {}, ValueError, "each half the one before"),
        ([0.3, 0.15], {}, ValueError, "spatial_scales must be powers of two"),
        ([0.3], {}, ValueError, "spatial_scales must be powers of two"),
        ([], {}, ValueError, "spatial_scales must be those of one map or more"),
        (0.25, {}, TypeError, "spatial_scales must be a sequence"),
        ("ab", {}, TypeError, "spatial_scales must be a sequence"),
        ([1, "a"], {}, TypeError, r"spatial_scales\[1\] must be a number"),
        ([1, -0.5], {}, ValueError, r"spatial_scales\[1\] must be > 0"),
        (SCALES, {"level_rule": "mmdet2"}, ValueError, "did you mean 'mmdet'"),
        (SCALES, {"canonical_size": 0}, ValueError, "canonical_size must be > 0"),
        (SCALES, {"canonical_size": math.inf}, ValueError, "canonical_size must be finite"),
        (SCALES, {"canonical_level": "4"}, TypeError, "canonical_level must be a number"),
        (
            SCALES,
            {"canonical_level": 5, "level_rule": "mmdet"},
            ValueError,
            "canonical_level must be 4 with level_rule 'mmdet'",
        ),
    ],
)
def test_impossible_rules_are_refused(scales, options, error, message):
    with pytest.raises(error, match=message):
        ra.assign_levels(squares([30]), scales, **options)


def test_boxes_must_be_finite():
    with pytest.raises(ValueError, match=r"rois\[1\] must be finite"):
        ra.assign_levels(squares([30, np.nan]), SCALES)


@pytest.mark.parametrize(
    ("rule", "box", "lines"),
    [
        (
            "torchvision",
            np.array([0, 0, 0, 112, 224], np.float32),
            [
                "A = (112.0 - 0.0) × (224.0 - 0.0) = 25088.0",
                "k = floor(4 + log2(√A / 224) + 1e-6) = floor(3.500001) = 3",
                "features[1], of the scale 0.125",
            ],
        ),
        (
            "detectron2",
            np.array([0, 10, 10, 20, 20.0]),
            [
                "A = (20.0 - 10.0) × (20.0 - 10.0) = 100.0",
                "k = floor(4 + log2(√A / 224 + 1e-8)) = floor(-0.4854265040065888) = -1",
                "the levels are 2 .. 5: the nearest is 2",
                "features[0], of the scale 0.25",
            ],
        ),
        (
            "mmdet",
            np.array([0, 0, 0, 900, 900], np.float32),
            [
                "A = (900.0 - 0.0) × (900.0 - 0.0) = 810000.0",
                "k = floor(log2(√A / 56 + 1e-6)) = floor(4.0064263) = 4",
                "the levels are 0 .. 3: the nearest is 3",
                "features[3], of the scale 0.03125",
            ],
        ),
        (
            "mmdet",
            np.array([0, 9, 0, 5, 7.0]),
            [
                "A = (5.0 - 9.0) × (7.0 - 0.0) = -28.0",
                "without an area: the finest map",
                "features[0], of the scale 0.25",
            ],
        ),
    ],
)
def test_why_a_box_has_its_level(rule, box, lines):
    boxes = np.stack([box * 0, box])
    explanation = ra.explain_level(boxes, SCALES, roi=1, level_rule=rule)
    assert explanation.splitlines() == lines


def test_only_boxes_that_exist_are_explained():
    with pytest.raises(ValueError, match=r"roi must be in 0 .. 1 - 1, got 1"):
        ra.explain_level(squares([30]), SCALES, roi=1)


@pytest.mark.peers
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_torchvisions_own_mapper(dtype):
    torch = pytest.importorskip("torch", reason="needs the extra 'peers'")
    poolers = pytest.importorskip("torchvision.ops.poolers", reason="needs the extra 'peers'")
    sides = [
        around(size * 2**-place, 5000 if dtype is not np.float16 else 100, dtype)
        for size in (56, 112, 224, 448, 896)
        for place in (0, 1e-6)
    ]
    boxes = squares(np.concatenate(sides), dtype)
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 800, (5000, 2))
    anywhere = np.hstack([np.zeros((5000, 1)), corners, corners + rng.uniform(0, 900, (5000, 2))])
    boxes = np.vstack([boxes, anywhere.astype(dtype)])
    mapper = poolers.LevelMapper(2, 5, 224, 4)
    theirs = mapper([torch.from_numpy(boxes[:, 1:])]).numpy()
    np.testing.assert_array_equal(ra.assign_levels(boxes, SCALES), theirs)
    assert set(theirs) == {0, 1, 2, 3}
