"""`paste_masks` against a naive float64 twin: values, conventions, formats, odd input, refusals."""

import math
import subprocess
import sys
from hashlib import blake2b

import numpy as np
import pytest

import roialign_cy as ra
from tests.fuzz.naive_masks import naive

CONVENTIONS = ("detectron2", "torchvision")
DTYPES = ("float16", "float32", "float64")
SIZE = (37, 53)
TOLERANCE = {"float16": 1e-3, "float32": 1e-6, "float64": 1e-13}


def soft_masks(count, cells=7, dtype="float32", seed=0):
    return np.random.default_rng(seed).random((count, cells, cells)).astype(dtype)


def boxes_around(size, count, seed=0):
    """Boxes within an image, across its borders, and far larger."""
    rng = np.random.default_rng(seed)
    height, width = size
    centre = rng.uniform(-0.2, 1.2, (count, 2)) * (width, height)
    extent = np.exp(rng.uniform(-2, 6, (count, 2)))
    return np.concatenate([centre - extent / 2, centre + extent / 2], axis=1)


def run_lengths(image):
    """COCO's counts of an image, not compressed."""
    flat = image.ravel(order="F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    begins = [0] if flat.size and flat[0] else []
    return np.diff([*begins, 0, *ends, flat.size]).tolist()


def decoded(text):
    """Counts of COCO's compressed form: five bits a character, differences from the fourth on."""
    counts, shift, value = [], 0, 0
    for character in text:
        bits = character - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            shift = value = 0
    return counts


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_values_are_those_of_the_definition(convention, dtype):
    for cells in 1, 2, 7, 28:
        masks, boxes = soft_masks(40, cells, dtype), boxes_around(SIZE, 40, cells)
        values = ra.paste_masks(masks, boxes, SIZE, threshold=None, convention=convention)
        assert values.dtype == dtype
        expected = naive(masks, boxes, SIZE, convention)
        assert (expected > 0.5).mean() > 0.02
        np.testing.assert_allclose(values, expected, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("boxes_dtype", [*DTYPES, "int16", "uint64"])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_boxes_count_in_their_own_dtype(convention, boxes_dtype):
    corner = np.random.default_rng(0).uniform(0, 20, (60, 2))
    boxes = np.concatenate([corner, corner + 9.3], axis=1).astype(boxes_dtype)
    as_computed = boxes if boxes.dtype.kind == "f" else boxes.astype(np.float64)
    masks = soft_masks(60, dtype="float64")
    values = ra.paste_masks(masks, boxes, SIZE, threshold=None, convention=convention)
    expected = naive(masks, as_computed, SIZE, convention)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-13)


def test_torchvisions_integers_are_those_of_the_boxes_dtype():
    rng = np.random.default_rng(0)
    near = rng.integers(0, 40, (2000, 2))
    boxes = np.concatenate([near, near + rng.integers(1, 41, (2000, 2))], axis=1) / 3
    single = boxes.astype(np.float32)
    masks = np.ones((2000, 28, 28), np.float32)
    options = {"image_size": (60, 60), "convention": "torchvision", "format": "crops"}
    first = [ra.paste_masks(masks, box, **options) for box in (single, single.astype(np.float64))]
    differ = [k for k, (one, other) in enumerate(zip(*first, strict=True)) if one[1] != other[1]]
    assert differ
    for k in differ:
        flags = naive(masks[k : k + 1], single[k : k + 1], (60, 60), "torchvision")[0] > 0
        assert first[0][k][1] == (np.flatnonzero(flags.any(1))[0], np.flatnonzero(flags.any(0))[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threshold", [0.5, 0.1, 1 / 3, np.float32(0.7), 1, 1e-7, 7])
def test_a_pixel_is_set_where_its_value_reaches_the_threshold(dtype, threshold):
    masks, boxes = soft_masks(30, 5, dtype), boxes_around(SIZE, 30)
    masks[:10] = masks[:10].round(1)
    boxes[:10] = [3, 4, 23, 24]  # quarters of the way between cells
    for convention in CONVENTIONS:
        values = ra.paste_masks(masks, boxes, SIZE, threshold=None, convention=convention)
        flags = ra.paste_masks(masks, boxes, SIZE, threshold=threshold, convention=convention)
        np.testing.assert_array_equal(flags, values >= values.dtype.type(threshold))


@pytest.mark.parametrize("threshold", [0.5, None])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_crops_are_the_smallest_parts_that_masks_reach(convention, threshold):
    boxes = boxes_around(SIZE, 60)
    boxes[:20] = np.round(boxes[:20])
    options = {"threshold": threshold, "convention": convention}
    masks = soft_masks(60) + 0.5
    dense = ra.paste_masks(masks, boxes, SIZE, **options)
    reached = ra.paste_masks(np.ones_like(masks), boxes, SIZE, **{**options, "threshold": None}) > 0
    for image, mask, (crop, (y, x)) in zip(
        dense, reached, ra.paste_masks(masks, boxes, SIZE, format="crops", **options), strict=True
    ):
        assert crop.dtype == dense.dtype
        rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if rows.size == 0:
            assert (crop.shape, y, x) == ((0, 0), 0, 0)
            continue
        assert (y, x, *crop.shape) == (rows[0], cols[0], np.ptp(rows) + 1, np.ptp(cols) + 1)
        np.testing.assert_array_equal(crop, image[y : y + len(crop), x : x + crop.shape[1]])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_run_lengths_are_those_of_the_images(convention, dtype):
    masks, boxes = soft_masks(60, 6, dtype), boxes_around(SIZE, 60)
    masks[::3] = 1
    boxes[0], boxes[3] = [-50, -50, 100, 100], [-50, 10, 100, 20]  # all ones; whole rows
    boxes[6], boxes[9] = [10, -50, 20, 100], [5, 3, 2, 8]  # whole columns; nothing
    for size in SIZE, (1, 53), (37, 1), (1, 1):
        dense = ra.paste_masks(masks, boxes, size, convention=convention)
        for image, code in zip(
            dense,
            ra.paste_masks(masks, boxes, size, convention=convention, format="rle"),
            strict=True,
        ):
            assert code["size"] == list(size)
            assert decoded(code["counts"]) == run_lengths(image)


def test_long_runs_are_encoded_whole():
    size = (70000, 70000)
    (code,) = ra.paste_masks(np.ones((1, 1, 1)), [[69998, 69998, 70000, 70000]], size, format="rle")
    last = 70000 * 70000
    assert decoded(code["counts"]) == [last - 70002, 2, 69998, 2]


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_largest_images_have_run_lengths(convention):
    size = (1, sys.maxsize)
    boxes = [[3, 0, 5, 1], [3, 0, 2, 1]]
    codes = ra.paste_masks(np.ones((2, 1, 1)), boxes, size, convention=convention, format="rle")
    first, count, last = decoded(codes[0]["counts"])
    assert first + count + last == sys.maxsize
    assert count < 9
    assert decoded(codes[1]["counts"]) == [sys.maxsize]


@pytest.mark.parametrize("format", ["dense", "crops", "rle"])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_bits_do_not_depend_on_the_number_of_threads(convention, format):
    size = (400, 300)  # more than a band of rows, and enough pixels for threads
    masks, boxes = soft_masks(9, 11), boxes_around(size, 9)
    boxes[0] = [-3, -3, 310, 450]
    results = [
        ra.paste_masks(masks, boxes, size, convention=convention, format=format, num_threads=n)
        for n in (1, 2, 3)
    ]
    if format == "crops":
        results = [[(crop.tobytes(), at) for crop, at in result] for result in results]
    for result in results[1:]:
        np.testing.assert_equal(result, results[0])


HASHES = {
    ("detectron2", "float16"): "d1eed53a1eb1f7de",
    ("detectron2", "float32"): "544ee3d69312a2fe",
    ("detectron2", "float64"): "a1ff432142510853",
    ("torchvision", "float16"): "39990f5afa5c615c",
    ("torchvision", "float32"): "7160e8af7f01bb16",
    ("torchvision", "float64"): "dae15b27ae59bcf3",
}


@pytest.mark.parametrize(("convention", "dtype"), HASHES)
def test_bits_are_those_of_every_machine(convention, dtype):
    raw = np.random.PCG64(0).random_raw(40 * (81 + 4)) >> 11
    masks = (raw[: 40 * 81] * 2.0**-53).reshape(40, 9, 9).astype(dtype)
    corners = (raw[40 * 81 :] * 2.0**-53).reshape(40, 4) * 60 - 10
    boxes = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:]], axis=1)
    options = {"image_size": SIZE, "convention": convention}
    values = ra.paste_masks(masks, boxes, threshold=None, **options)
    codes = ra.paste_masks(masks, boxes, format="rle", **options)
    little = values.astype(values.dtype.newbyteorder("<")).tobytes()
    digest = blake2b(little + b"".join(code["counts"] for code in codes), digest_size=8)
    assert digest.hexdigest() == HASHES[convention, dtype]


# Arrays of every kind


@pytest.mark.parametrize("dtype", DTYPES)
def test_masks_are_read_as_they_lie(dtype):
    masks, boxes = soft_masks(12, 5, dtype), boxes_around(SIZE, 12)
    expected = ra.paste_masks(masks, boxes, SIZE, threshold=None)
    room = np.zeros(masks.nbytes + 1, np.uint8)
    unaligned = room[1:].view(dtype).reshape(masks.shape)
    unaligned[...] = masks
    kept = masks.copy()
    for same in (
        masks[:, None],
        np.asfortranarray(masks),
        masks[:, ::-1, ::-1].copy()[:, ::-1, ::-1],
        masks.astype(masks.dtype.newbyteorder()),
        unaligned,
    ):
        np.testing.assert_array_equal(
            ra.paste_masks(same, boxes, SIZE, threshold=None), expected, strict=True
        )
    np.testing.assert_array_equal(masks, kept)


@pytest.mark.parametrize("threshold", [0.5, None])
def test_out_of_any_strides_is_filled(threshold):
    masks, boxes = soft_masks(5), boxes_around(SIZE, 5)
    expected = ra.paste_masks(masks, boxes, SIZE, threshold=threshold)
    height, width = SIZE
    room = np.full((5, 2 * height, 3 * width), 1, expected.dtype)
    offset = np.ones(expected.nbytes + 1, np.uint8)[1:].view(expected.dtype)
    for out in (
        np.ones_like(expected),
        room[:, ::2, ::3],
        room[:, ::-2, ::-3],
        np.ones((width, height, 5), expected.dtype).T,
        offset.reshape(expected.shape),
    ):
        result = ra.paste_masks(masks, boxes, SIZE, threshold=threshold, out=out)
        assert result is out
        np.testing.assert_array_equal(out, expected)
    assert (room[:, 1::2] == 1).any()


# Odd input that has an answer


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_boxes_without_an_area_or_outside_paste_nothing(convention):
    height, width = SIZE
    boxes = [
        [10, 10, 10, 20],
        [10, 10, 20, 10],
        [20, 10, 10, 20],
        [10, 20, 20, 10],
        [20, 20, 10, 10],
        [width + 30, 5, width + 50, 20],
        [-60, 5, -30, 20],
        [5, height + 30, 20, height + 50],
        [1e30, 1e30, 2e30, 2e30],
    ]
    masks = np.ones((len(boxes), 4, 4), np.float32)
    assert not ra.paste_masks(masks, boxes, SIZE, convention=convention, threshold=None).any()
    for code in ra.paste_masks(masks, boxes, SIZE, convention=convention, format="rle"):
        assert decoded(code["counts"]) == [height * width]


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("far", [1e6, 1e12, 1e300])
def test_huge_boxes_cost_what_the_image_costs(convention, far):
    mask = np.full((1, 28, 28), 0.75)
    values = ra.paste_masks(
        mask, [[-far] * 2 + [far] * 2], SIZE, threshold=None, convention=convention
    )
    np.testing.assert_array_equal(values, 0.75)


def test_tiny_boxes_are_pasted():
    tiny = [[5.5 - 1e-9, 5.5 - 1e-9, 5.5 + 1e-9, 5.5 + 1e-9], [0.5, 0.5, 0.5 + 1e-300, 1]]
    values = ra.paste_masks(np.ones((2, 4, 4)), tiny[:1] * 2, SIZE, threshold=None)
    assert values[0].sum() == values[0, 5, 5] == 1
    assert np.isfinite(ra.paste_masks(np.ones((2, 4, 4)), tiny, SIZE, threshold=None)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_masks_of_ones_have_values_of_one(dtype):
    boxes = boxes_around(SIZE, 50)
    values = ra.paste_masks(np.ones((50, 9, 9), dtype), boxes, SIZE, threshold=None)
    assert values.max() == 1
    whole = ra.paste_masks(np.ones((1, 9, 9), dtype), [[-30, -40, 91, 83]], SIZE, threshold=None)
    assert (whole == 1).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_cell_of_weight_zero_is_not_read(bad):
    mask = np.full((1, 4, 4), 0.25, np.float32)
    mask[0, 1, 2] = bad
    values = ra.paste_masks(mask, [[2, 3, 6, 7]], (9, 9), threshold=None)
    expected = np.zeros((1, 9, 9), np.float32)
    expected[0, 3:7, 2:6] = mask[0]
    np.testing.assert_array_equal(values, expected)
    shifted = ra.paste_masks(mask, [[2.5, 3, 6.5, 7]], (9, 9), threshold=None)
    np.testing.assert_array_equal(
        ~np.isfinite(shifted), np.pad([[[1, 1]]], [(0, 0), (4, 4), (4, 3)])
    )


def test_all_nan_are_one():
    mask = np.zeros((1, 3, 3), np.float32)
    mask.view(np.uint32)[...] = 0xFFC01234
    mask[0, 0] = -np.inf, np.inf, -np.inf
    values = ra.paste_masks(mask, [[0, 0, 7, 7]], (7, 7), threshold=None)
    assert set(values[np.isnan(values)].view(np.uint32)) == {0x7FC00000}
    assert not ra.paste_masks(mask[:, 1:, 1:], [[0, 0, 7, 7]], (7, 7)).any()


@pytest.mark.parametrize(
    ("count", "cells", "size"), [(0, 4, SIZE), (3, 0, SIZE), (3, 4, (0, 5)), (2, 4, (5, 0))]
)
def test_empty_things_give_empty_results(count, cells, size):
    masks, boxes = np.ones((count, cells, cells)), np.tile([[0, 0, 9, 9]], (count, 1))
    for convention in CONVENTIONS:
        dense = ra.paste_masks(masks, boxes, size, convention=convention)
        assert dense.shape == (count, *size)
        assert not dense.any()
        rle = ra.paste_masks(masks, boxes, size, convention=convention, format="rle")
        assert [decoded(code["counts"]) for code in rle] == [[math.prod(size)]] * count
        crops = ra.paste_masks(masks, boxes, size, convention=convention, format="crops")
        assert [crop.shape for crop, _ in crops] == [(0, 0)] * count


# Refusals

ONE = np.ones((1, 2, 2), np.float32)
BOX = [[1, 1, 3, 3]]
READ_ONLY = np.zeros((1, *SIZE), bool)
READ_ONLY.flags.writeable = False
BAD_CALLS = {
    "masks are a list": (TypeError, "masks must be a NumPy array, got list", {"masks": [[[1.0]]]}),
    "of integers": (TypeError, r"masks .* got uint8: convert", {"masks": ONE.astype(np.uint8)}),
    "of long doubles": (TypeError, "masks must be float16", {"masks": ONE.astype(np.longdouble)}),
    "masked": (TypeError, "masks must be without a mask", {"masks": np.ma.masked_array(ONE)}),
    "not square": (ValueError, r"masks must have the shape \(N, M, M\)", {"masks": ONE[:, :1]}),
    "two channels": (ValueError, "masks must have", {"masks": np.ones((1, 2, 2, 2))}),
    "one mask alone": (ValueError, "masks must have", {"masks": ONE[0]}),
    "boxes of five": (
        ValueError,
        r"boxes must have the shape \(N, 4\)",
        {"boxes": [[0, 1, 1, 3, 3]]},
    ),
    "a box too many": (ValueError, "one row per mask: expected 1, got 2", {"boxes": BOX * 2}),
    "words": (TypeError, "boxes must be floats", {"boxes": [["a", "b", "c", "d"]]}),
    "NaN": (ValueError, r"boxes\[0\] must be finite", {"boxes": [[1, 1, np.nan, 3]]}),
    "infinite": (ValueError, r"boxes\[0\] must be finite", {"boxes": [[1, -np.inf, 3, 3]]}),
    "reversed, NaN": (ValueError, "must be finite", {"boxes": [[3, 1, 1, np.nan]]}),
    "overflow": (ValueError, r"boxes\[0\] must have a finite", {"boxes": [[-1e308, 0, 1e308, 9]]}),
    "size of one": (TypeError, "image_size must be a pair", {"image_size": 7}),
    "size of floats": (TypeError, "image_size", {"image_size": (3.0, 3)}),
    "size of three": (ValueError, "image_size", {"image_size": (3, 3, 3)}),
    "negative": (ValueError, "image_size must not be negative", {"image_size": (3, -3)}),
    "too large": (ValueError, "image_size must be the size", {"image_size": (2**40, 2**40)}),
    "too large for values": (
        ValueError,
        "image_size must give",
        {"image_size": (2**31, 2**31), "threshold": None},
    ),
    "threshold of 0": (ValueError, "threshold must be > 0", {"threshold": 0}),
    "of nothing in a half": (
        ValueError,
        "threshold must be > 0 in float16",
        {"threshold": 1e-9, "masks": ONE.astype(np.float16)},
    ),
    "threshold NaN": (ValueError, "threshold must be finite", {"threshold": np.nan}),
    "a word": (TypeError, "threshold must be a number", {"threshold": "0.5"}),
    "convention": (ValueError, "did you mean 'detectron2'", {"convention": "detectron"}),
    "format": (ValueError, "format must be one of 'dense'", {"format": "png"}),
    "values as run lengths": (ValueError, "threshold", {"format": "rle", "threshold": None}),
    "threads": (ValueError, "num_threads", {"num_threads": 0}),
    "out of a crop": (ValueError, "out must be None", {"format": "crops", "out": READ_ONLY}),
    "out of a list": (TypeError, "out must be a NumPy array", {"out": []}),
    "read-only": (ValueError, "out must be writeable", {"out": READ_ONLY}),
    "out of another shape": (ValueError, "out must have the shape", {"out": READ_ONLY[:, 1:]}),
    "of another dtype": (ValueError, "out must have the dtype bool", {"out": READ_ONLY.view("u1")}),
}


@pytest.mark.parametrize(("error", "text", "arguments"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_bad_input_is_refused_by_name(error, text, arguments):
    with pytest.raises(error, match=text):
        ra.paste_masks(**{"masks": ONE, "boxes": BOX, "image_size": SIZE, **arguments})


def test_float32_boxes_that_overflow_when_widened_are_refused():
    box = np.array([[-1.5e38, 0, 1.5e38, 9]], np.float32)
    assert ra.paste_masks(ONE, box, SIZE).any()
    box *= 2
    with pytest.raises(ValueError, match=r"boxes\[0\] must have a finite extent"):
        ra.paste_masks(ONE, box, SIZE, convention="torchvision")


def test_out_that_overlaps_is_refused_untouched():
    room = np.ones(4 * 4 * 4, np.float32)
    masks, out = room[:16].reshape(1, 4, 4), room[8:24].reshape(1, 4, 4)
    with pytest.raises(ValueError, match="out must not overlap masks"):
        ra.paste_masks(masks, BOX, (4, 4), threshold=None, out=out)
    assert (room == 1).all()


# Memory

PROGRAM = """
import resource
import numpy as np
import roialign_cy as ra

rng = np.random.default_rng(0)
masks = rng.random((300, 28, 28), np.float32)
corner = rng.uniform(0, 1500, (300, 2))
boxes = np.concatenate([corner, corner + rng.uniform(20, 1500, (300, 2))], axis=1)
ra.paste_masks(masks[:2], boxes[:2], (300, 400), format="rle", num_threads=2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
codes = ra.paste_masks(masks, boxes, (3000, 4000), format="rle", num_threads=2)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, len(codes))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
def test_run_lengths_never_hold_the_images():
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    grown, count = map(int, run.stdout.split())
    assert count == 300
    assert grown < 64 << 10  # KiB, where the images are 3.4 GiB
