"""crop_and_resize: printed numbers, naive loops, gradients, odd boxes, refusals."""

import math

import numpy as np
import pytest

import roialign_cy as ra
from tests.fuzz.ways import registered, ways

NAN, INF = math.nan, math.inf
BACKENDS = pytest.mark.parametrize("name", ["cpu", "reference"])
METHODS = pytest.mark.parametrize("method", ["bilinear", "nearest"])
SMALL = np.array([[1.0, 2], [3, 4]]).reshape(1, 2, 2, 1)
LARGE = np.arange(1.0, 10).reshape(1, 3, 3, 1)


# TensorFlow, core/kernels/image/crop_and_resize_op_test.cc.
@BACKENDS
@pytest.mark.parametrize(
    ("image", "boxes", "size", "options", "expected"),
    [
        (SMALL, [[0, 0, 1, 1]], 3, {}, [[1, 1.5, 2, 2, 2.5, 3, 3, 3.5, 4]]),
        (SMALL, [[1, 1, 0, 0]], 3, {}, [[4, 3.5, 3, 3, 2.5, 2, 2, 1.5, 1]]),
        (
            SMALL,
            [[-1, -1, 1, 1]],
            3,
            {"extrapolation_value": 7},
            [[7, 7, 7, 7, 1, 2, 7, 3, 4]],
        ),
        (LARGE, [[0, 0, 1, 1], [0, 0, 0.5, 0.5]], 2, {}, [[1, 3, 7, 9], [1, 2, 4, 5]]),
        (SMALL, [[0, 0, 1, 1]], 3, {"method": "nearest"}, [[1, 2, 2, 3, 4, 4, 3, 4, 4]]),
        (SMALL, [[0, 0, 1, 1]], 1, {}, [[2.5]]),
    ],
)
def test_numbers_of_tensorflow(image, boxes, size, options, expected, name):
    crops = ra.crop_and_resize(image, boxes, [0] * len(boxes), size, backend=name, **options)
    np.testing.assert_array_equal(crops.reshape(len(boxes), -1), expected)


def positions(low, high, count, size):
    if count == 1:
        return [0.5 * (low + high) * (size - 1)]
    steps = [low * (size - 1) + i * (high - low) * (size - 1) / (count - 1) for i in range(count)]
    return [*steps[:-1], high * (size - 1)]


def naive(images, boxes, indices, size, method, value):
    """Crop pixel by pixel, by TensorFlow's definition."""
    _, height, width, channels = images.shape
    crops = np.empty((len(boxes), *size, channels))
    for k, (y1, x1, y2, x2) in enumerate(boxes):
        image = images[indices[k]].astype(np.float64)
        for i, y in enumerate(positions(y1, y2, size[0], height)):
            for j, x in enumerate(positions(x1, x2, size[1], width)):
                if not (0 <= y <= height - 1 and 0 <= x <= width - 1):
                    crops[k, i, j] = value
                elif method == "nearest":
                    crops[k, i, j] = image[math.floor(y + 0.5), math.floor(x + 0.5)]
                else:
                    top, left = math.floor(y), math.floor(x)
                    rows, cols = [top, math.ceil(y)], [left, math.ceil(x)]
                    upper, lower = (
                        image[r, cols[0]] * (1 - (x - left)) + image[r, cols[1]] * (x - left)
                        for r in rows
                    )
                    crops[k, i, j] = upper * (1 - (y - top)) + lower * (y - top)
    return crops


def random_call(seed):
    rng = np.random.default_rng(seed)
    n, h, w, c = (int(number) for number in rng.integers(1, [4, 12, 12, 20]))
    boxes = rng.uniform(-0.5, 1.5, (12, 4))
    boxes[:3] = np.round(4 * boxes[:3]) / 4
    boxes[3] = 0, 0, 1, 1
    boxes[4, 2:] = boxes[4, :2]
    boxes[5] += 4
    indices = rng.integers(0, n, 12)
    size = tuple(int(number) for number in rng.integers(1, 8, 2))
    return rng.standard_normal((n, h, w, c)), boxes, indices, size


@BACKENDS
@METHODS
def test_naive_loops(method, name):
    for seed in range(40):
        images, boxes, indices, size = random_call(seed)
        value = [0.0, -3.5, 1e9][seed % 3]
        expected = naive(images, boxes, indices, size, method, value)
        options = {"method": method, "extrapolation_value": value, "backend": name}
        crops = ra.crop_and_resize(images, boxes, indices, size, **options)
        np.testing.assert_allclose(crops, expected, rtol=0, atol=1e-9)
        turned = ra.crop_and_resize(
            np.moveaxis(images, -1, 1), boxes, indices, size, layout="NCHW", **options
        )
        np.testing.assert_array_equal(np.moveaxis(turned, 1, -1), crops)


@pytest.mark.parametrize("dtype", ["uint8", "bool", "int16", "float16", "float32", "float64"])
@METHODS
def test_types(dtype, method):
    for seed in range(10):
        images, boxes, indices, size = random_call(seed)
        images = (40 * images).astype(dtype)
        options = {"method": method, "extrapolation_value": -1}
        crops = ra.crop_and_resize(images, boxes, indices, size, **options)
        assert crops.dtype == (dtype if dtype.startswith("float") else "float32")
        expected = naive(images, boxes, indices, size, method, -1)
        tolerance = {"float16": 2e-1, "float64": 1e-9}.get(dtype, 1e-4)
        np.testing.assert_allclose(crops, expected, rtol=0, atol=tolerance)
        wide = images.astype(crops.dtype)
        np.testing.assert_array_equal(
            crops, ra.crop_and_resize(wide, boxes, indices, size, **options)
        )


# 31 / 223 times 223 is more than 31 in float64, and so on.
@pytest.mark.parametrize("height", [2, 32, 54, 58, 63, 115, 116])
def test_a_whole_image_has_its_last_row(height, backend):
    column = np.arange(float(height)).reshape(1, height, 1, 1)
    for rows in (2, 50, 99, 224):
        for box in ([0, 0, 1, 0], [1, 0, 0, 0], [-0.3, 0, 1, 0]):
            crop = ra.crop_and_resize(
                column, [box], [0], (rows, 1), extrapolation_value=NAN, backend=backend
            ).ravel()
            if box[0] == 1:
                crop = crop[::-1]
            assert crop[-1] == height - 1
            assert np.isnan(crop[0]) == (box[0] < 0)


@BACKENDS
@METHODS
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_the_gradient_with_respect_to_images_is_the_adjoint(layout, method, name):
    for seed in range(20):
        images, boxes, indices, size = random_call(seed)
        if layout == "NCHW":
            images = np.moveaxis(images, -1, 1)
        options = {"method": method, "layout": layout, "backend": name}
        crops = ra.crop_and_resize(images, boxes, indices, size, **options)
        grads = np.random.default_rng(seed).standard_normal(crops.shape)
        by_images = ra.crop_and_resize_backward(grads, boxes, indices, images.shape, **options)
        total = (grads * crops).sum()
        assert (by_images * images).sum() == pytest.approx(total, rel=1e-11, abs=1e-10)


@BACKENDS
@pytest.mark.parametrize("size", [(3, 4), (1, 2), (1, 1)])
def test_the_gradient_with_respect_to_boxes_is_that_of_finite_differences(size, name):
    rng = np.random.default_rng(2)
    images = rng.standard_normal((2, 6, 7, 3))
    boxes, indices = rng.uniform(-0.3, 1.3, (20, 4)), rng.integers(0, 2, 20)
    grads = rng.standard_normal((20, *size, 3))
    by_boxes = ra.crop_and_resize_backward(
        grads, boxes, indices, images.shape, images=images, wrt="boxes", backend=name
    )
    for side in range(4):
        step = np.zeros(4)
        step[side] = 1e-7
        up, down = (
            ra.crop_and_resize(images, boxes + sign * step, indices, size, backend=name)
            for sign in (1, -1)
        )
        numeric = ((up - down) * grads).sum(axis=(1, 2, 3)) / 2e-7
        np.testing.assert_allclose(by_boxes[:, side], numeric, rtol=0, atol=1e-5)


@BACKENDS
def test_slopes_on_cells_are_those_to_the_right(name):
    ramp = np.array([0.0, 1, 4, 9]).reshape(1, 1, 4, 1)
    for at, expected in ((0, 1), (1, 3), (2, 5), (2.5, 5), (3, 0), (-0.5, 0), (3.5, 0)):
        box = [[0, at / 3, 0, at / 3]]
        by_boxes = ra.crop_and_resize_backward(
            np.ones((1, 1, 1, 1)), box, [0], ramp.shape, images=ramp, wrt="boxes", backend=name
        )
        np.testing.assert_allclose(by_boxes, [[0, 1.5 * expected, 0, 1.5 * expected]], atol=1e-12)


def test_both_gradients_and_what_they_are_written_to():
    images, boxes, indices, size = random_call(3)
    boxes = boxes.astype(np.float32)
    grads = np.random.default_rng(0).standard_normal((12, *size, images.shape[3]))
    arguments = grads, boxes, indices, images.shape
    by_boxes, by_images = ra.crop_and_resize_backward(
        *arguments, images=images, wrt=("boxes", "images")
    )
    assert (by_boxes.dtype, by_boxes.shape) == (np.float32, (12, 4))
    for wrt, expected in (("boxes", by_boxes), ("images", by_images)):
        out = np.full_like(expected, 7)
        assert ra.crop_and_resize_backward(*arguments, images=images, wrt=wrt, out=out) is out
        np.testing.assert_array_equal(out, expected)


@METHODS
@pytest.mark.parametrize("channels", [1, 3, 4, 17])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_same_bits_by_every_way(dtype, channels, method):
    rng = np.random.default_rng(channels)
    images = (255 * rng.random((2, 40, 53, channels))).astype(dtype)
    boxes, indices = rng.uniform(-0.2, 1.2, (30, 4)), rng.integers(0, 2, 30)
    options = {"method": method, "extrapolation_value": 3}
    crops = ra.crop_and_resize(images, boxes, indices, (20, 9), **options)
    planes = np.ascontiguousarray(np.moveaxis(images, -1, 1))
    with registered():
        for way in ways().values():
            other = ra.crop_and_resize(images, boxes, indices, (20, 9), **options, **way)
            np.testing.assert_array_equal(other.view("i4"), crops.view("i4"))
            other = ra.crop_and_resize(
                planes, boxes, indices, (20, 9), layout="NCHW", **options, **way
            )
            np.testing.assert_array_equal(np.moveaxis(other, 1, -1), crops)


# Odd calls


@BACKENDS
@METHODS
@pytest.mark.parametrize("value", [0, NAN, INF, -INF, 1e300, np.float32(2)])
def test_any_float_extrapolates(value, method, name):
    out = np.zeros((1, 3, 3, 1), np.float16)
    options = {"method": method, "extrapolation_value": value, "backend": name}
    ra.crop_and_resize(SMALL.astype(np.float16), [[-1, -1, 1, 1]], [0], 3, out=out, **options)
    with np.errstate(over="ignore"):
        v = np.float16(value)
    np.testing.assert_array_equal(out.ravel(), [v, v, v, v, 1, 2, v, 3, 4])


@BACKENDS
def test_what_is_outside_along_one_axis_is_outside(name):
    boxes = [[2, 0, 3, 1], [0, -2, 1, -1], [-3, -3, -2, -2], [5, 0, -4, 1], [1e300, 0, -1e300, 1]]
    crops = ra.crop_and_resize(SMALL, boxes, [0] * 5, 2, extrapolation_value=NAN, backend=name)
    assert np.isnan(crops).all()
    crop = ra.crop_and_resize(SMALL, boxes[-1:], [0], 1, extrapolation_value=NAN, backend=name)
    assert crop == 1.5  # row 0 is in the middle of a box that is as large above as below


@BACKENDS
def test_a_border_is_a_part_of_the_image_and_nothing_beyond_is(name):
    line = np.array([2.0, 4]).reshape(1, 1, 2, 1)
    for x, expected in ((0, 2), (1, 4), (np.nextafter(1, 2), 9), (-1e-300, 9), (-0.0, 2)):
        crop = ra.crop_and_resize(line, [[0, x, 0, x]], [0], 1, extrapolation_value=9, backend=name)
        assert crop.item() == expected


@BACKENDS
def test_nearest_of_just_below_the_middle_is_the_lower(name):
    line = np.array([2.0, 4]).reshape(1, 1, 2, 1)
    for x, expected in ((0.5, 4), (np.nextafter(0.5, 0), 2)):
        crop = ra.crop_and_resize(line, [[0, x, 0, x]], [0], 1, method="nearest", backend=name)
        assert crop.item() == expected


@BACKENDS
def test_an_image_of_one_row_is_read_wherever_its_box_is(name):
    line = np.array([2.0, 4]).reshape(1, 1, 2, 1)
    assert ra.crop_and_resize(line, [[5, 0, -3, 1]], [0], (2, 1), backend=name).tolist() == [
        [[[3]], [[3]]]
    ]


@BACKENDS
@pytest.mark.parametrize("shape", [(1, 0, 3, 2), (1, 3, 0, 2), (1, 3, 3, 0), (1, 0, 0, 1)])
def test_empty_images(shape, name):
    images, box = np.ones(shape, np.float32), [[0, 0, 1, 1]]
    crops = ra.crop_and_resize(images, box, [0], 2, extrapolation_value=5, backend=name)
    assert crops.shape == (1, 2, 2, shape[3])
    assert (crops == 5).all()
    by_images, by_boxes = ra.crop_and_resize_backward(
        crops, box, [0], shape, images=images, wrt=("images", "boxes"), backend=name
    )
    assert by_images.shape == shape
    np.testing.assert_array_equal(by_boxes, [[0, 0, 0, 0]])


@BACKENDS
@pytest.mark.parametrize("boxes", [[], np.empty((0, 4), np.float32)])
def test_no_boxes(boxes, name):
    images = np.ones((0, 5, 6, 3), np.uint8)
    crops = ra.crop_and_resize(images, boxes, [], (2, 4), extrapolation_value=5, backend=name)
    assert (crops.shape, crops.dtype) == ((0, 2, 4, 3), np.float32)
    by_images = ra.crop_and_resize_backward(crops, boxes, [], images.shape, backend=name)
    assert by_images.shape == images.shape


# Refusals

PHOTOGRAPH = np.zeros((2, 5, 6, 3), np.uint8)
BOXES = np.array([[0, 0, 1, 1], [0.2, 0.1, 0.5, 0.7]])


def crop(**changes):
    arguments = {"images": PHOTOGRAPH, "boxes": BOXES, "box_indices": [0, 1], "crop_size": 2}
    return ra.crop_and_resize(**arguments | changes)


def backward(**changes):
    arguments = {
        "grad_output": np.zeros((2, 3, 3, 3), np.float32),
        "boxes": BOXES,
        "box_indices": [0, 1],
        "image_shape": PHOTOGRAPH.shape,
        "images": PHOTOGRAPH,
    }
    return ra.crop_and_resize_backward(**arguments | changes)


@pytest.mark.parametrize("call", [crop, backward])
@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        *(("boxes", [[0, 0, 1, 1], [0, odd, 1, 1]], ValueError) for odd in (NAN, INF, -INF)),
        ("boxes", [[0, 0, 1, 1], [1.7e308, 0, 1, 1]], ValueError),
        ("boxes", [[0, 0, 1, 1], [-5e307, 0, 5e307, 1]], ValueError),
        ("boxes", [[0, 0, 1, 1, 1]], ValueError),
        ("boxes", [0, 0, 1, 1], ValueError),
        ("boxes", [["0", "0", "1", "1"]], TypeError),
        ("boxes", np.ma.zeros((2, 4)), TypeError),
        ("box_indices", [0, 2], ValueError),
        ("box_indices", [0, -1], ValueError),
        ("box_indices", [0, 10**30], TypeError),
        ("box_indices", [0], ValueError),
        ("box_indices", 0, ValueError),
        ("box_indices", [[0, 1]], ValueError),
        ("box_indices", [0.0, 1.0], TypeError),
        ("box_indices", [True, False], TypeError),
        ("box_indices", None, TypeError),
        ("box_indices", [[0], [1, 2]], ValueError),
        ("images", PHOTOGRAPH[0], ValueError),
        ("images", PHOTOGRAPH.astype(np.int32), TypeError),
        ("images", PHOTOGRAPH.tolist(), TypeError),
        ("method", "bicubic", ValueError),
        ("method", None, TypeError),
        ("layout", "HWC", ValueError),
        ("num_threads", 0, ValueError),
        ("backend", "tensorflow", ValueError),
    ],
)
def test_refused_by_name(call, argument, value, error):
    out = np.full((2, 2, 2, 3) if call is crop else PHOTOGRAPH.shape, 7, np.float32)
    with pytest.raises(error, match=rf"^{argument}\b"):
        call(**{argument: value}, out=out)
    assert (out == 7).all()


@pytest.mark.parametrize(
    ("call", "argument", "value", "error"),
    [
        *((crop, "crop_size", size, ValueError) for size in (0, -1, (2, 0), (1, 2, 3), 2**62)),
        (crop, "crop_size", 2.0, TypeError),
        *((crop, "extrapolation_value", odd, TypeError) for odd in (None, "0", 1j, [0.0])),
        (crop, "extrapolation_value", 10**400, ValueError),
        (crop, "out", np.zeros((2, 2, 2, 3), np.uint8), ValueError),
        (crop, "out", np.zeros((2, 2, 2, 2), np.float32), ValueError),
        (crop, "out", [], TypeError),
        (backward, "image_shape", (2, 5, 6), ValueError),
        (backward, "image_shape", (2, 5, 6, -3), ValueError),
        (backward, "image_shape", None, TypeError),
        (backward, "grad_output", np.zeros((2, 3, 3, 3), np.uint8), TypeError),
        (backward, "grad_output", np.zeros((1, 3, 3, 3), np.float32), ValueError),
        (backward, "grad_output", np.zeros((2, 0, 3, 3), np.float32), ValueError),
        (backward, "images", PHOTOGRAPH[:, :-1], ValueError),
        (backward, "images", PHOTOGRAPH.astype(np.float64), TypeError),
        (backward, "wrt", "features", ValueError),
        (backward, "wrt", (), ValueError),
        (backward, "out", np.zeros(PHOTOGRAPH.shape), ValueError),
    ],
)
def test_refused_of_one_function(call, argument, value, error):
    with pytest.raises(error, match=rf"^{argument}\b"):
        call(**{argument: value})


def test_refused_combinations():
    with pytest.raises(ValueError, match=r"^images must be given for wrt 'boxes'"):
        backward(images=None, wrt="boxes")
    with pytest.raises(ValueError, match=r"^wrt must be 'images' with method 'nearest'"):
        backward(wrt=("images", "boxes"), method="nearest")
    out = np.zeros(PHOTOGRAPH.shape, np.float32)
    with pytest.raises(ValueError, match=r"^out must be None where wrt names several"):
        backward(wrt=("images", "boxes"), out=out)
    with pytest.raises(ValueError, match=r"^out must have the shape"):
        backward(wrt="boxes", out=out)
    with pytest.raises(ValueError, match=r"^out must not overlap images"):
        crop(images=out, out=out[:, :2, :2])
    with pytest.raises(ValueError, match=r"^out must not overlap boxes"):
        backward(wrt="boxes", out=BOXES)
