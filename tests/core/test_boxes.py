"""Box formats: what people have, as rows of ``[batch_index, x1, y1, x2, y2]``."""

import numpy as np
import pytest

import roialign_cy as ra
from roialign_cy import boxes
from roialign_cy._rois import normalise_rois

FLOATS = [np.float16, np.float32, np.float64]
FROM_SIZES = pytest.mark.parametrize(
    "convert",
    [boxes.from_xywh, lambda rows: boxes.from_document(rows, 512)],
    ids=["from_xywh", "from_document"],
)


def ramp(images, rows=8, cols=10):
    """Maps on which every cell and image has its own value."""
    return np.arange(images * rows * cols, dtype=np.float64).reshape(images, 1, rows, cols)


# Corner and size


def test_document_box_is_turned_over():
    # The document's own box: 200 x 145 with its top left corner at (296, 320) of a 512 plane.
    rows = boxes.from_document([[296, 320, 200, 145], [0, 512, 1, 2]], height=512)
    assert rows.tolist() == [[0, 296, 192, 496, 337], [0, 0, 0, 1, 2]]


def test_document_box_and_its_mirror_image_are_the_same():
    x, y, width, height = 3.25, 9.5, 4.0, 2.5
    upright = boxes.from_document([[x, y, width, height]], height=12.0)
    assert upright.tolist() == boxes.from_xywh([[x, 12.0 - y, width, height]], images=0).tolist()


@pytest.mark.parametrize(
    ("convert", "given", "corners"),
    [
        (boxes.from_xyxy, [[10, 20, 40, 60], [1, 2, 1, 2]], [[10, 20, 40, 60], [1, 2, 1, 2]]),
        (boxes.from_xywh, [[10, 20, 30, 40], [1, 2, 0, 0]], [[10, 20, 40, 60], [1, 2, 1, 2]]),
        (boxes.from_cxcywh, [[25, 40, 30, 40], [1, 2, 0, 1]], [[10, 20, 40, 60], [1, 1.5, 1, 2.5]]),
        (
            lambda rows, **images: boxes.from_normalised(rows, (480, 640), **images),
            [[0.25, 0.5, 0.75, 1], [0, 0, 0.5, 0.125]],
            [[160, 240, 480, 480], [0, 0, 320, 60]],
        ),
    ],
    ids=["xyxy", "xywh", "cxcywh", "normalised"],
)
def test_every_form_with_every_way_to_say_which_image(convert, given, corners):
    assert convert(given).tolist() == corners
    rows = [[1, *corners[0]], [3, *corners[1]]]
    assert convert(given, images=[1, 3]).tolist() == rows
    assert convert(given, images=np.array([1, 3], np.uint8)).tolist() == rows
    assert convert(given, counts=[0, 1, 0, 1]).tolist() == rows
    assert convert([[], given[:1], np.empty((0, 4)), given[1:]]).tolist() == rows
    assert convert(given, images=2).tolist() == [[2, *corner] for corner in corners]

    maps = ramp(4, 600, 700)
    expected = ra.roi_align(maps, np.array(rows, float), 2)
    lists = [[], convert(given[:1]), [], convert(given[1:])]
    np.testing.assert_array_equal(ra.roi_align(maps, lists, 2), expected)


@pytest.mark.parametrize(
    ("images", "error", "text"),
    [
        ({"images": [0]}, ValueError, r"images must be an index, or one for each of 2 .* \(1,\)"),
        ({"images": [[0, 0]]}, ValueError, "images must be an index, or one for each of 2"),
        ({"images": [0, -1]}, ValueError, "images must not be negative, got -1"),
        ({"images": [0.0, 1.0]}, TypeError, "images must be integers, got dtype float64"),
        ({"images": [True, False]}, TypeError, "images must be integers, got dtype bool"),
        ({"images": [[0], [1, 2]]}, ValueError, "images must be integers"),
        ({"counts": [1]}, ValueError, r"counts must be a number .* 2 in all, got \[1\]"),
        ({"counts": 2}, ValueError, "counts must be a number of boxes for each image"),
        ({"counts": [3, -1]}, ValueError, "counts must not be negative"),
        ({"counts": ["2"]}, TypeError, "counts must be integers"),
        ({"images": 0, "counts": [2]}, ValueError, "counts must be left out where images"),
    ],
)
def test_images_that_are_none_are_refused(images, error, text):
    with pytest.raises(error, match=f"^{text}"):
        boxes.from_xywh([[1, 2, 3, 4]] * 2, **images)


@pytest.mark.parametrize("name", ["images", "counts"])
def test_images_beside_a_list_for_each_are_refused(name):
    with pytest.raises(ValueError, match=f"^{name} must be left out where boxes are a list"):
        boxes.from_xywh([[[1, 2, 3, 4]]], **{name: [1]})


def test_converted_index_of_an_image_is_exact_in_every_dtype():
    box = np.ones((1, 4), np.float16)
    assert boxes.from_xywh(box, images=2999).tolist() == [[2999, 1, 1, 2, 2]]
    assert boxes.from_xywh(box, images=2000).dtype == np.float16
    assert boxes.from_xywh(box, counts=[0] * 2999 + [1])[0, 0] == 2999


@pytest.mark.parametrize("size", [5, (1, 2, 3), ("1", 2), (np.nan, 1), None, (1j, 1)], ids=repr)
def test_size_that_is_no_two_numbers_is_refused(size):
    with pytest.raises((TypeError, ValueError), match=r"^size must be \(height, width\)"):
        boxes.from_normalised([[0, 0, 1, 1]], size)


@FROM_SIZES
@pytest.mark.parametrize("dtype", FLOATS)
def test_sizes_keep_their_dtype(convert, dtype):
    rows = convert(np.array([[1, 2, 3, 4]], dtype))
    assert rows.dtype == dtype
    assert rows.dtype.isnative


@pytest.mark.parametrize("height", [512, 512.0, np.float64(512), np.int64(512)], ids=repr)
def test_height_of_any_type_keeps_the_boxes_dtype(height):
    assert boxes.from_document(np.ones((1, 4), np.float32), height).dtype == np.float32


@FROM_SIZES
@pytest.mark.parametrize("dtype", FLOATS)
def test_sum_beyond_the_dtype_is_infinite_without_a_warning(convert, dtype):
    most = np.finfo(dtype).max
    assert np.isinf(convert(np.array([[most, -most, most, most]], dtype))[0, -2])


def test_height_beyond_the_dtype_is_infinite_without_a_warning():
    rows = boxes.from_document(np.ones((1, 4), np.float32), height=1e300)
    assert np.isinf(rows[0, [2, 4]]).all()


@FROM_SIZES
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_integer_sizes_become_float64(convert, dtype):
    # As uint8, x + width would wrap around.
    rows = convert(np.array([[200, 200, 100, 100]], dtype))
    assert rows.dtype == np.float64
    assert rows[0, -2] == 300


@FROM_SIZES
@pytest.mark.parametrize("empty", [[], np.empty((0, 4), np.float32), np.empty((0, 4), int)])
def test_no_sizes_give_no_rows(convert, empty):
    assert convert(empty).shape == (0, 4 if convert is boxes.from_xywh else 5)


@FROM_SIZES
def test_sizes_are_not_modified(convert):
    given = np.array([[1.0, 2.0, 3.0, 4.0]])
    given.flags.writeable = False
    rows = convert(given)
    assert given.tolist() == [[1, 2, 3, 4]]
    assert not np.shares_memory(rows, given)


@FROM_SIZES
@pytest.mark.parametrize("dtype", [">f4", ">i8"])
def test_sizes_of_foreign_byte_order_are_numbers(convert, dtype):
    rows = convert(np.array([[1, 2, 3, 4]], dtype))
    assert rows.dtype.isnative
    assert rows.tolist() == convert([[1, 2, 3, 4]]).tolist()


@FROM_SIZES
@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 5), (2, 2, 4), ()])
def test_sizes_of_another_shape_are_refused(convert, shape):
    with pytest.raises(ValueError, match=r"^boxes must have the shape \(K, 4\), got"):
        convert(np.ones(shape))


BAD_NUMBERS = pytest.mark.parametrize(
    ("numbers", "error"),
    [
        ([[True, True, False, True]], TypeError),
        ([[1j, 2, 3, 4]], TypeError),
        ([["1", "2", "3", "4"]], TypeError),
        ([[None] * 4], TypeError),
        (None, TypeError),
        ([[1, 2, 3, 4], [1, 2]], ValueError),
    ],
    ids=["bool", "complex", "str", "object", "None", "ragged"],
)


@FROM_SIZES
@BAD_NUMBERS
def test_sizes_that_are_no_numbers_are_refused(convert, numbers, error):
    with pytest.raises(error, match=r"^boxes must be"):
        convert(numbers)


@pytest.mark.parametrize(
    ("height", "error"),
    [
        ("512", TypeError),
        (None, TypeError),
        ([512], TypeError),
        (np.nan, ValueError),
        (np.inf, ValueError),
    ],
    ids=repr,
)
def test_height_that_is_no_finite_number_is_refused(height, error):
    with pytest.raises(error, match="height must be"):
        boxes.from_document([[1, 2, 3, 4]], height)


# One entry per image


@pytest.mark.parametrize("entries", ["", b"", {}, set(), 3, None], ids=repr)
def test_entries_without_an_order_are_refused(entries):
    with pytest.raises(TypeError, match=r"^boxes must be a sequence"):
        boxes.from_list(entries)


def test_entries_become_rows_of_their_image():
    rows = boxes.from_list([[[0, 1, 2, 3], [4, 5, 6, 7]], [], [[8, 9, 10, 11]]])
    assert rows.tolist() == [[0, 0, 1, 2, 3], [0, 4, 5, 6, 7], [2, 8, 9, 10, 11]]


def test_no_entries_give_no_rows():
    assert boxes.from_list([]).shape == (0, 5)
    assert boxes.from_list([[], []]).shape == (0, 5)


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        ((np.float16, np.float16), np.float16),
        ((np.float16, np.float32), np.float32),
        ((np.float32, np.float64), np.float64),
        ((np.float32, np.int8), np.float64),
        ((np.int32, np.int64), np.float64),
        ((">f4", "<f4"), np.float32),
    ],
    ids=str,
)
def test_entries_are_promoted_to_one_dtype(dtypes, expected):
    rows = boxes.from_list([np.ones((1, 4), dtype) for dtype in dtypes])
    assert rows.dtype == expected
    assert rows.dtype.isnative


@pytest.mark.parametrize(
    "empty", [[], np.empty(0), np.empty((0, 4)), np.empty((0, 4), int)], ids=repr
)
def test_empty_entry_does_not_widen_the_dtype(empty):
    rows = boxes.from_list([np.ones((2, 4), np.float32), empty])
    assert (rows.dtype, rows.shape) == (np.float32, (2, 5))


def test_index_of_an_image_is_exact_in_every_dtype():
    # float16 counts to 2048: 2999 would become 3000.
    images = 3000
    entries = [np.empty((0, 4), np.float16)] * (images - 1) + [np.ones((1, 4), np.float16)]
    assert boxes.from_list(entries)[:, 0].tolist() == [images - 1]
    assert boxes.from_list(entries[-2048:]).dtype == np.float16

    features = np.arange(images, dtype=np.float32)[:, None, None, None] + np.zeros((1, 3, 3))
    pooled = ra.roi_align(features.astype(np.float32), entries, 1)
    assert pooled.tolist() == [[[[images - 1]]]]


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 5), (1, 2, 4)])
def test_entry_of_another_shape_is_refused_by_its_index(shape):
    with pytest.raises(ValueError, match=r"^boxes\[1\] must have the shape \(K, 4\), got"):
        boxes.from_list([np.ones((1, 4)), np.ones(shape)])


@BAD_NUMBERS
def test_entry_that_is_no_numbers_is_refused_by_its_index(numbers, error):
    with pytest.raises(error, match=r"^boxes\[1\] must be"):
        boxes.from_list([np.ones((1, 4)), numbers])


def test_what_is_no_list_is_refused():
    with pytest.raises(TypeError, match=r"^boxes must be"):
        boxes.from_list(5)


# COCO's

COCO = {
    "images": [{"id": 724, "file_name": "a"}, {"id": "139"}, {"id": 5}],
    "annotations": [
        {"image_id": 5, "bbox": [10, 20, 30, 40], "segmentation": []},
        {"image_id": 724, "bbox": (1.5, 2, 0, 0)},
        {"image_id": 5, "bbox": np.array([0, 0, 1, 1], np.float32), "score": 0.5},
    ],
}
CORNERS = [[10, 20, 40, 60], [1.5, 2, 1.5, 2], [0, 0, 1, 1]]


def test_coco_file_gives_rows_of_the_images_as_it_lists_them():
    rows = boxes.from_coco(COCO)
    assert rows.tolist() == [[2, *CORNERS[0]], [0, *CORNERS[1]], [2, *CORNERS[2]]]


def test_coco_annotations_and_results_give_rows_of_the_images_that_are_given():
    listed = COCO["annotations"]
    for images in [5, "139", 724], COCO["images"][::-1], (id for id in (5, "139", 724)):
        rows = boxes.from_coco(listed, images)
        assert rows.tolist() == [[0, *CORNERS[0]], [2, *CORNERS[1]], [0, *CORNERS[2]]]
    assert boxes.from_coco(COCO, [5, 724]).tolist()[1] == [1, *CORNERS[1]]


def test_coco_annotations_alone_can_be_an_element_of_a_list():
    assert boxes.from_coco(COCO["annotations"]).tolist() == CORNERS
    assert boxes.from_coco([]).shape == (0, 4)
    assert boxes.from_coco([], images=[1]).shape == (0, 5)


GOOD = COCO["annotations"][0]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (({"images": []},), ValueError, "annotations must have 'annotations'"),
        (({"annotations": []},), ValueError, "annotations must have 'images'"),
        ((5,), TypeError, "annotations must be a sequence or a mapping, got 5"),
        (("file.json",), TypeError, "annotations must be a sequence or a mapping, got 'file.json'"),
        (([GOOD, 5],), ValueError, r"annotations\[1\] must have a bbox of four numbers, got 5"),
        (([GOOD, {}],), ValueError, r"annotations\[1\] must have a bbox"),
        (([GOOD | {"bbox": "1234"}],), ValueError, r"annotations\[0\] must have a bbox"),
        (([GOOD | {"bbox": [1, 2, 3, True]}],), ValueError, r"annotations\[0\] must have a bbox"),
        (([GOOD | {"bbox": [1, 2, 3]}],), ValueError, r"annotations\[0\] must have a bbox"),
        (([GOOD | {"bbox": [1, 2, 3, None]}],), ValueError, r"annotations\[0\] must have a bbox"),
        (([GOOD], [7]), ValueError, r"annotations\[0\] must have an image_id .* got 5"),
        (([{"bbox": [1, 2, 3, 4]}], [7]), ValueError, r"annotations\[0\] must .* got None"),
        (([GOOD | {"image_id": []}], [7]), ValueError, r"annotations\[0\] must .* got \[\]"),
        (([GOOD], [5, 5]), ValueError, r"images\[1\] must have an id of its own, got 5 again"),
        (([GOOD], [{"name": 5}]), TypeError, r"images\[0\] must be an id or have one"),
        (([GOOD], [[5]]), TypeError, r"images\[0\] must be an id or have one"),
    ],
)
def test_what_is_none_of_cocos_is_refused_by_its_place(arguments, error, text):
    with pytest.raises(error, match=f"^{text}"):
        boxes.from_coco(*arguments)


# As the argument of a call


@pytest.mark.parametrize(
    "rois",
    [
        [[0, 1, 1, 4, 5], [1, 2, 0, 7, 3]],
        ((0, 1, 1, 4, 5), (1, 2, 0, 7, 3)),
        [np.array([0, 1, 1, 4, 5]), np.array([1, 2, 0, 7, 3], np.float32)],
        [[np.array(number) for number in row] for row in ([0, 1, 1, 4, 5], [1, 2, 0, 7, 3])],
        [[[1, 1, 4, 5]], [[2, 0, 7, 3]]],
        ([(1, 1, 4, 5)], [(2, 0, 7, 3)]),
        [np.array([[1, 1, 4, 5]]), [[2, 0, 7, 3]]],
        [[np.array([1, 1, 4, 5])], np.array([[2, 0, 7, 3]], np.float16)],
    ],
    ids=[
        "rows",
        "tuples",
        "1-D arrays",
        "rows of 0-D arrays",
        "entries",
        "entries in tuples",
        "arrays and entries",
        "arrays of arrays",
    ],
)
def test_every_format_names_the_same_boxes(rois):
    expected = np.array([[0, 1, 1, 4, 5], [1, 2, 0, 7, 3]])
    assert normalise_rois(rois, 2).tolist() == expected.tolist()
    pooled = ra.roi_align(ramp(2), rois, 2)
    np.testing.assert_array_equal(pooled, ra.roi_align(ramp(2), expected.astype(float), 2))


@pytest.mark.parametrize(
    "rois",
    [
        [],
        (),
        [[], []],
        [np.empty((0, 4)), []],
        [np.empty(0), np.empty(0)],
        [np.empty((0, 4))] * 2,
        np.empty((0, 5)),
        np.empty((0, 5), int),
        np.empty((0, 4), np.float32),
        np.array([]),
    ],
    ids=repr,
)
def test_every_kind_of_nothing_is_no_boxes(rois):
    assert normalise_rois(rois, 2).shape == (0, 5)
    assert ra.roi_align(ramp(2), rois, (3, 4)).shape == (0, 1, 3, 4)


@pytest.mark.parametrize("dtype", FLOATS)
def test_rows_keep_their_float_dtype_and_are_copied(dtype):
    # A copy, so that a thread that changes the caller's rows cannot get past the checks.
    rows = np.ones((2, 5), dtype)
    assert normalise_rois(rows, 2).dtype == dtype
    assert not np.shares_memory(normalise_rois(rows, 2), rows)
    assert normalise_rois(rows[:, ::-1], 2).dtype == dtype


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint64])
def test_integer_rows_become_float64(dtype):
    rows = np.array([[0, 1, 2, 3, 4]], dtype)
    assert normalise_rois(rows, 1).dtype == np.float64
    pooled = ra.roi_align(ramp(1), rows, 2)
    np.testing.assert_array_equal(pooled, ra.roi_align(ramp(1), rows.astype(float), 2))


@pytest.mark.parametrize("entries", [1, 3])
def test_list_of_another_length_than_the_batch_is_refused(entries):
    for entry in np.ones((1, 4)), []:
        with pytest.raises(ValueError, match=f"^rois must have one entry .* 2, got {entries}"):
            ra.roi_align(ramp(2), [entry] * entries, 2)


# Said by their places in lists


@pytest.mark.parametrize("shape", [(4,), (5,)])
def test_one_box_that_is_no_row_is_told_to_be_one(shape):
    with pytest.raises(ValueError, match=r"^rois must .* one box is a row, too: \[rois\]$"):
        ra.roi_align(ramp(1), np.ones(shape), 2)


def test_rows_without_an_image_are_told_of_the_column_and_the_list():
    rows = [[1, 1, 3, 3], [2, 2, 4, 4]]
    text = (
        r"^rois must have the shape \(K, 5\), got \(2, 4\): the first of five columns is the index"
    )
    with pytest.raises(ValueError, match=text + r".*: \[rois\]$"):
        ra.roi_align(ramp(1), rows, 2)
    assert ra.roi_align(ramp(1), [rows], 2).shape == (2, 1, 2, 2)
    with pytest.raises(ValueError, match=text + ".* an array for each image$"):
        ra.roi_align(ramp(2), rows, 2)


def test_entry_with_an_index_is_told_that_it_needs_none():
    with pytest.raises(ValueError, match=r"^rois\[1\] .* got \(1, 5\): without a column"):
        ra.roi_align(ramp(2), [[], np.ones((1, 5))], 2)
    for refuse in (
        lambda rows: ra.boxes.from_xywh(rows, images=0),
        lambda rows: ra.crop_and_resize(np.ones((1, 3, 3, 1)), rows, [0], 2),
    ):
        with pytest.raises(ValueError, match=r"^boxes must .* got \(1, 5\): without a column"):
            refuse(np.ones((1, 5)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_box_of_a_list_is_called_by_its_place_there(bad):
    entries = [[[0, 0, 1, 1]], [], [[0, 0, 2, 2], [0, 0, bad, 1]]]
    text = rf"^rois\[2\]\[1\] must be finite, got \[ ?0\. +0\. +{bad} +1\.\]$"
    with pytest.raises(ValueError, match=text):
        ra.roi_align(ramp(3), entries, 2)
    with pytest.raises(ValueError, match=r"^rois\[2\]\[1\] must be finite"):
        ra.roi_align_backward(np.ones((3, 1, 2, 2)), entries, (3, 1, 8, 10), mode="avg")
    with pytest.raises(ValueError, match=r"^rois\[2\] must be finite"):
        ra.roi_align(ramp(3), [[0, 0, 0, 1, 1], [1, 0, 0, 1, 1], [2, 0, 0, bad, 1]], 2)


@pytest.mark.parametrize(
    ("far", "text"), [(1e30, "an extent whose adaptive"), (1.7e308, "a finite extent")]
)
def test_extent_of_a_box_of_a_list_is_called_by_its_place_there(far, text):
    with pytest.raises(ValueError, match=rf"^rois\[1\]\[0\] must have {text}"):
        ra.roi_align(ramp(2), [[[0, 0, 1, 1]], [[-far, 0, far, 1]]], 2, convention="detectron2")
