"""Empty, huge, reversed, strided and non-finite inputs, on every backend."""

import time

import numpy as np
import pytest

import roialign_cy as ra

MODES = pytest.mark.parametrize("mode", ["avg", "max", "max_weighted"])
LAYOUTS = pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
DTYPES = pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
INF, NAN = np.inf, np.nan
# Coordinates are cell indices and a box's size is what it says.
PLAIN = ra.Convention(pixel_offset=0.0)
TOLERANCE = {np.float16: 2e-3, np.float32: 2e-6, np.float64: 1e-12}


def noise(*shape, dtype=np.float64):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(dtype)


def pool(features, boxes, output_size=1, *, convention=PLAIN, **options):
    """Pool boxes ``[x1, y1, x2, y2]`` of image 0."""
    rois = np.pad(np.asarray(boxes), ((0, 0), (1, 0)))
    return ra.roi_align(features, rois, output_size, convention=convention, **options)


def pool_row(cells, x1, x2, backend, **options):
    """Pool one section of a map of one row, from x1 to x2."""
    features = np.array([[[cells]]], float)
    return pool(features, [[x1, 0, x2, 0]], **{"backend": backend} | options).item()


def assert_as_reference(features, boxes, output_size, **options):
    """Expect what the reference gives, to the precision of the dtype."""
    pooled = pool(features, boxes, output_size, **options)
    expected = pool(features, boxes, output_size, **options | {"backend": "reference"})
    assert (pooled.dtype, pooled.shape) == (expected.dtype, expected.shape)
    atol = TOLERANCE[features.dtype.type] * np.abs(features, dtype=np.float64).max()
    np.testing.assert_allclose(pooled, expected, rtol=0, atol=atol)
    return pooled


# Nothing


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (0, 3, 4, 5), (2, 3, 0, 5), (2, 0, 4, 5)], ids=str)
@LAYOUTS
@DTYPES
def test_no_boxes_give_no_output(shape, layout, dtype, backend):
    features = np.zeros(shape, dtype)
    if layout == "NHWC":
        features = np.moveaxis(features, 1, -1)
    output = pool(features, np.empty((0, 4)), (6, 7), layout=layout, backend=backend)
    channels = shape[1]
    assert output.shape == ((0, channels, 6, 7) if layout == "NCHW" else (0, 6, 7, channels))
    assert output.dtype == dtype


@MODES
def test_no_channels_give_no_output(mode, backend):
    output = pool(np.zeros((2, 0, 4, 5)), [[0, 0, 3, 3]], (6, 7), mode=mode, backend=backend)
    assert output.shape == (1, 0, 6, 7)


@pytest.mark.parametrize("shape", [(1, 3, 0, 5), (1, 3, 5, 0), (1, 3, 0, 0)], ids=str)
@MODES
def test_map_without_cells_gives_zeros(shape, mode, backend):
    out = np.full((1, 3, 2, 4), 7.0)
    pool(np.zeros(shape), [[0, 0, 3, 3]], (2, 4), mode=mode, out=out, backend=backend)
    assert (out == 0).all()


@pytest.mark.parametrize(
    "box", [(-9, 0, -2, 3), (9, 0, 12, 3), (0, -9, 3, -2), (0, 9, 3, 12), (1e8, 1e8, 2e8, 2e8)]
)
@pytest.mark.parametrize("sampling_ratio", [0, 2])
@MODES
def test_box_outside_the_map_gives_zeros(box, sampling_ratio, mode, backend):
    # Also where every cell is negative: what is outside counts as 0 in the maximum, too.
    out = np.full((1, 20, 2, 2), 7.0)
    options = {"mode": mode, "sampling_ratio": sampling_ratio, "backend": backend}
    pool(np.full((1, 20, 4, 5), -3.0), [box], 2, out=out, **options)
    assert (out == 0).all()


@pytest.mark.parametrize(
    "box", [(1, 1, 1, 3), (1, 1, 3, 1), (2, 2, 2, 2), (3, 1, 1, 3), (1, 3, 3, 1), (3, 3, 1, 1)]
)
@MODES
@pytest.mark.parametrize("channels", [3, 20])
def test_adaptive_section_without_extent_has_no_samples_and_is_zero(channels, box, mode, backend):
    out = np.full((1, channels, 2, 2), 7.0)
    pool(np.full((1, channels, 4, 5), -3.0), [box], 2, mode=mode, out=out, backend=backend)
    assert (out == 0).all()


@MODES
@pytest.mark.parametrize("convention", [PLAIN, "torchvision", "document"])
def test_box_without_size_reads_its_point(mode, convention, backend):
    features = noise(1, 20, 4, 5)
    for box in [2, 2, 2, 2], [2.25, 1.5, 2.25, 1.5], [-0.5, 3.5, -0.5, 3.5]:
        options = {"mode": mode, "sampling_ratio": 2, "convention": convention}
        output = assert_as_reference(features, [box], 2, backend=backend, **options)
        assert output.any()


# Reversed


@pytest.mark.parametrize("sampling_ratio", [1, 3])
@MODES
def test_reversed_box_is_the_box_with_its_sections_reversed(sampling_ratio, mode, backend):
    # In eighths, so that both run over the very same samples.
    features = noise(1, 20, 8, 8)
    options = {"mode": mode, "sampling_ratio": sampling_ratio, "backend": backend}
    forwards = pool(features, [[1.5, 0.75, 5.5, 6.75]], 4, **options)
    for box, flip in [
        ([5.5, 0.75, 1.5, 6.75], np.s_[..., ::-1]),
        ([1.5, 6.75, 5.5, 0.75], np.s_[..., ::-1, :]),
        ([5.5, 6.75, 1.5, 0.75], np.s_[..., ::-1, ::-1]),
    ]:
        backwards = pool(features, [box], 4, **options)
        np.testing.assert_allclose(backwards, forwards[flip], rtol=0, atol=1e-14)


@pytest.mark.parametrize("convention", [PLAIN, "document", "detectron2", "onnx"])
@MODES
def test_reversed_box_that_hangs_out_of_the_map(convention, mode, backend):
    features = noise(1, 20, 6, 7)
    boxes = [[9, 8, -4, -3], [9, -3, -4, 8], [3, 12, -20, -1], [1e4, 3, -1e4, 2]]
    options = {"convention": convention, "mode": mode, "sampling_ratio": (3, 2)}
    assert_as_reference(features, boxes, (3, 2), backend=backend, **options)


# Huge and tiny


@pytest.mark.parametrize("box", [[-5e8, -5e8, 5e8, 5e8], [-16e3, -16e3, 16e3, 16e3]], ids=str)
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_adaptive_box_of_1e9_cells_is_answered_in_10_ms(box, mode):
    features = noise(1, 16, 64, 64, dtype=np.float32)
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        pool(features, [box], 7, mode=mode, backend="cpu")
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.01


@pytest.mark.parametrize("extent", [1e3, 1e6, 1e9, 1e12])
@MODES
def test_huge_adaptive_box(extent, mode, backend):
    features = noise(1, 5, 4, 5)
    boxes = [[-extent, -extent, 2 * extent, extent], [1, 1, extent, 2], [-extent, 0, 3, extent]]
    output = pool(features, boxes, 2, mode=mode, backend=backend)
    expected = pool(features, boxes, 2, mode=mode, backend="reference")
    np.testing.assert_allclose(output, expected, rtol=1e-9)  # a mean is next to nothing here
    assert (output != 0).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("extent", [1e15, 1e30, 1e300])
@MODES
def test_huge_box_with_a_fixed_ratio(extent, mode, backend):
    features = noise(1, 5, 4, 5)
    boxes = [[-extent, -extent, extent, extent], [2, 2, extent, 2], [extent, 1, -extent, 2]]
    options = {"mode": mode, "sampling_ratio": (1, 3), "backend": backend}
    assert_as_reference(features, boxes, 3, **options)


def test_adaptive_box_beyond_exact_counts_is_refused(backend):
    with pytest.raises(ValueError, match=r"rois\[1\].* give a sampling_ratio"):
        pool(noise(1, 1, 4, 4), [[0, 0, 1, 1], [0, 0, 1e30, 1e30]], 7, backend=backend)


@DTYPES
@MODES
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_denormal_coordinates(dtype, mode, sampling_ratio, backend):
    features = noise(1, 20, 4, 5, dtype=dtype)
    tiny, small = 5e-324, 1e-310
    boxes = [
        [tiny, small, tiny, small],
        [-tiny, -small, tiny, small],
        [0, 0, 3, tiny],
        [tiny, 1, 3, 2],
        [small, 1e-38, 1e-40, 2],
        [-1 - tiny, 0, 1e-45, 1],
    ]
    options = {"mode": mode, "sampling_ratio": sampling_ratio, "backend": backend}
    assert_as_reference(features, boxes, 2, **options)
    assert_as_reference(features, np.array(boxes, np.float32), 2, **options)


def test_coordinates_may_be_negative_zero(backend):
    features = noise(1, 3, 4, 5)
    options = {"sampling_ratio": 2, "backend": backend}
    output = pool(features, [[-0.0, -0.0, 2, -0.0]], 2, **options)
    np.testing.assert_array_equal(output, pool(features, [[0.0, 0.0, 2, 0.0]], 2, **options))


@pytest.mark.parametrize("channels", [3, 20])
@pytest.mark.parametrize("length", [30_000, 300_000])
@pytest.mark.parametrize("is_tall", [False, True], ids=["wide", "tall"])
def test_map_too_long_to_be_worked_on_at_once(is_tall, length, channels):
    # A ramp: its mean over a box is its value in the middle, its maximum that at the far end.
    features = np.broadcast_to(np.arange(length, dtype=np.float32), (1, channels, 2, length))
    box = [0.5, 100, 0.5, length - 200] if is_tall else [100, 0.5, length - 200, 0.5]
    if is_tall:
        features = features.transpose(0, 1, 3, 2)
    options = {"sampling_ratio": 4096, "backend": "cpu"}
    mean = pool(features, [box], mode="avg", **options)
    np.testing.assert_allclose(mean[0, :, 0, 0], [(length - 100) / 2] * channels, rtol=1e-6)
    largest = pool(features, [box], mode="max", **options)
    last_sample = 100 + (length - 300) * (1 - 0.5 / 4096)
    np.testing.assert_allclose(largest[0, :, 0, 0], [last_sample] * channels, rtol=1e-6)


@DTYPES
def test_adaptive_count_rounds_in_the_dtype_of_the_boxes(dtype, backend):
    # As float16 this scale is 1 + 2**-10, so that 7 cells need two samples each in 7 sections;
    # by way of float32 it would be 1 and need one.
    scale = 1 + 2**-11 + 2**-30
    boxes = np.array([[0, 0, 7, 7]], dtype)
    features = noise(1, 3, 8, 8)
    assert_as_reference(features, boxes, 7, mode="max", spatial_scale=scale, backend=backend)


# Strides, byte orders, alignment


def strided(name, features):
    """The same numbers as another kind of array."""
    n, c, h, w = features.shape
    if name == "sliced":
        array = np.full((2 * n, c + 2, 3 * h, w + 5), NAN, features.dtype)
        array = array[::2, 1:-1, ::3, 2:-3]
    elif name == "backwards":
        array = np.empty(features.shape, features.dtype)[::-1, ::-1, ::-1, ::-1]
    elif name == "transposed":
        array = np.empty((w, h, c, n), features.dtype).T
    elif name == "channels last":
        array = np.empty((n, h, w, c), features.dtype).transpose(0, 3, 1, 2)
    elif name == "some channels last":
        array = np.full((n, h, 2 * w, c + 3), NAN, features.dtype)[:, ::-1, ::2, 2:-1]
        array = array.transpose(0, 3, 1, 2)
    elif name == "byte-swapped":
        array = np.empty(features.shape, features.dtype.newbyteorder())
    elif name == "unaligned":
        memory = np.empty(features.nbytes + 1, np.uint8)
        array = memory[1:].view(features.dtype).reshape(features.shape)
        assert not array.flags.aligned
    elif name == "field of a record":
        record = np.dtype([("flag", "u1"), ("value", features.dtype)])
        array = np.empty(features.shape, record)["value"]
        assert not array.flags.aligned
    elif name == "read-only":
        array = features.copy()
    array[...] = features
    array.flags.writeable = False
    return array


KINDS = [
    "sliced",
    "backwards",
    "transposed",
    "channels last",
    "some channels last",
    "byte-swapped",
    "unaligned",
    "field of a record",
    "read-only",
]
BOXES = [[0, 0, 4, 3], [1.3, -2.2, 7.7, 3.4], [2.2, 1.1, 2.9, 1.2], [4, 3, 1, 1]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [2, 16, 21])
@LAYOUTS
@DTYPES
def test_features_of_any_kind_give_the_same_bits(kind, channels, layout, dtype, backend):
    features = noise(2, channels, 4, 5, dtype=dtype)
    if layout == "NHWC":
        features = np.ascontiguousarray(np.moveaxis(features, 1, -1))
    array = strided(kind, features)
    before = array.tobytes()
    rois = np.insert(np.array(BOXES * 2), 0, [0] * 4 + [1] * 4, axis=1)
    options = {"sampling_ratio": 2, "layout": layout, "backend": backend}
    output = ra.roi_align(array, rois, (3, 2), **options)
    np.testing.assert_array_equal(output, ra.roi_align(features, rois, (3, 2), **options))
    assert array.tobytes() == before
    assert type(output) is np.ndarray
    assert output.dtype == dtype
    assert output.dtype.isnative
    assert output.flags.c_contiguous
    assert output.flags.writeable


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
@LAYOUTS
def test_broadcast_features_give_the_same_bits(axis, layout, backend):
    shape = [2, 20, 4, 5] if layout == "NCHW" else [2, 4, 5, 20]
    one = shape.copy()
    one[axis] = 1
    features = np.broadcast_to(noise(*one, dtype=np.float32), shape)
    assert features.strides[axis] == 0
    rois = np.insert(np.array(BOXES), 0, [0, 1, 0, 1], axis=1)
    options = {"layout": layout, "sampling_ratio": 2, "backend": backend}
    output = ra.roi_align(features, rois, 2, **options)
    np.testing.assert_array_equal(output, ra.roi_align(features.copy(), rois, 2, **options))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "channels" not in kind])
@DTYPES
def test_boxes_of_any_kind_give_the_same_bits(kind, dtype, backend):
    features = noise(1, 3, 4, 5)
    rois = np.pad(np.array(BOXES, dtype), ((0, 0), (1, 0)))
    array = strided(kind, rois[None, None])[0, 0]
    before = array.tobytes()
    output = ra.roi_align(features, array, 2, convention="torchvision", backend=backend)
    expected = ra.roi_align(features, rois, 2, convention="torchvision", backend=backend)
    np.testing.assert_array_equal(output, expected)
    assert array.tobytes() == before


def test_memory_mapped_features(tmp_path, backend):
    features = noise(1, 3, 4, 5, dtype=np.float32)
    np.save(tmp_path / "map.npy", features)
    mapped = np.load(tmp_path / "map.npy", mmap_mode="r")
    output = pool(mapped, BOXES, 2, sampling_ratio=2, backend=backend)
    assert type(output) is np.ndarray
    np.testing.assert_array_equal(
        output, pool(features, BOXES, 2, sampling_ratio=2, backend=backend)
    )


def test_memory_mapped_out_is_filled(tmp_path, backend):
    features = noise(1, 3, 4, 5, dtype=np.float32)
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", np.float32, (4, 3, 2, 2))
    assert pool(features, BOXES, 2, sampling_ratio=2, out=out, backend=backend) is out
    expected = pool(features, BOXES, 2, sampling_ratio=2, backend=backend)
    np.testing.assert_array_equal(out, expected)


# NaN, infinity, overflow


@MODES
@LAYOUTS
@pytest.mark.parametrize("channels", [1, 20])
@pytest.mark.parametrize("poison", [NAN, INF, -INF])
def test_cell_that_is_not_read_does_not_leak(poison, channels, layout, mode, backend):
    # Samples on whole rows and columns, next to cells of weight zero; of image 1 and one channel.
    features = np.full((3, channels, 6, 6), poison)
    features[1, -1, 1:4:2, 1:4:2] = 2
    options = {"mode": mode, "sampling_ratio": 1, "layout": layout, "backend": backend}
    if layout == "NHWC":
        features = np.moveaxis(features, 1, -1)
    output = ra.roi_align(features, [[1, 0, 0, 4, 4]], 2, convention=PLAIN, **options)
    output = output[..., -1] if layout == "NHWC" else output[:, -1]
    assert (output == 2).all()


@MODES
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_nan_that_is_read_is_the_result(place, mode, backend):
    # Four samples: whatever comes before or after it, larger or smaller.
    for others in 1.0, -1.0:
        cells = [others] * 4
        cells[place] = NAN
        ratio = {"sampling_ratio": (1, 4), "mode": mode}
        assert np.isnan(pool_row(cells, -0.5, 3.5, backend, **ratio))
        assert np.isnan(pool_row(cells, 3.5, -0.5, backend, **ratio))
        assert np.isnan(pool_row(cells, -2.5, 5.5, backend, **ratio | {"sampling_ratio": (1, 8)}))


@MODES
def test_nan_stays_in_its_channel(mode, backend):
    features = noise(1, 40, 4, 5)
    features[0, 17] = NAN
    output = pool(features, [[0, 0, 3, 3], [-3, -3, 8, 8]], 2, mode=mode, backend=backend)
    assert np.isnan(output[:, 17]).all()
    assert np.isfinite(np.delete(output, 17, axis=1)).all()


@MODES
def test_nan_in_a_neighbour_of_little_weight_counts(mode, backend):
    options = {"sampling_ratio": 1, "mode": mode}
    assert np.isnan(pool_row([1, NAN], 1e-30, 1e-30, backend, **options))
    assert pool_row([1, NAN], 0, 0, backend, **options) == 1
    assert pool_row([1, NAN], -0.5, -0.5, backend, **options) == 1
    assert pool_row([NAN, 1], 1.5, 1.5, backend, **options) == 1


@pytest.mark.parametrize(
    ("cells", "avg", "largest"),
    [([1, INF], INF, INF), ([1, -INF], -INF, 1), ([INF, -INF], NAN, INF), ([-INF] * 2, -INF, -INF)],
    ids=str,
)
def test_infinity_is_a_number(cells, avg, largest, backend):
    options = {"sampling_ratio": (1, 2)}
    assert pool_row(cells, -0.5, 1.5, backend, mode="max", **options) == largest
    np.testing.assert_equal(pool_row(cells, -0.5, 1.5, backend, mode="avg", **options), avg)


@MODES
@DTYPES
def test_largest_number_of_a_type_stays_itself(dtype, mode, backend):
    largest = np.finfo(dtype).max
    features = np.full((1, 20, 4, 4), largest, dtype)
    output = pool(features, [[1, 1, 3, 3]], 2, mode=mode, sampling_ratio=1, backend=backend)
    if mode != "max_weighted":
        assert (output == largest).all()
    assert np.isfinite(output).all()


def test_float16_rounds_to_nearest_even_and_to_infinity(backend):
    # Between neighbours of float16: ties go to the even one; denormals and infinity included.
    for low, high, expected in [
        (2048, 2050, 2048),
        (2050, 2052, 2052),
        (2**-24, 2**-23, 2**-23),
        (2**-23, 3 * 2**-24, 2**-23),
        (0, 2**-24, 0),
        (65472, 65504, 65472),
        (65504, INF, INF),
        (-65504, -INF, -INF),
    ]:
        features = np.array([[[[low, high]]]], np.float16)
        output = pool(features, [[0.5, 0, 0.5, 0]], sampling_ratio=1, mode="avg", backend=backend)
        assert output.item() == expected


def test_negative_zero_is_zero(backend):
    assert pool_row([-0.0, -0.0], 0.5, 0.5, backend, sampling_ratio=1) == 0
    assert pool_row([-0.0, 0.0], -0.5, 1.5, backend, sampling_ratio=(1, 2), mode="max") == 0


TINY = np.array([[5e-324, 5e-324, 2.5, 3], [1, 1, 1e-310, 4]])
HALF = np.full((1, 2, 6, 6), 6e-8, np.float16)
HALF_ROIS = np.array([[0, 6e-8, 6e-8, 2, 3]], np.float16)


@pytest.mark.parametrize(
    "call",
    {
        "pooled halves": lambda: ra.roi_align(HALF, HALF_ROIS, 2),
        "gradient of halves": lambda: ra.roi_align_backward(
            HALF[:, :, :2, :2], HALF_ROIS, HALF.shape, convention="mmcv"
        ),
        "gradient by boxes in halves": lambda: ra.roi_align_backward(
            HALF[:, :, :2, :2], HALF_ROIS, HALF.shape, features=HALF, wrt="rois", convention="mmcv"
        ),
        "levels": lambda: ra.multiscale_roi_align(
            [HALF, HALF], HALF_ROIS, 2, spatial_scales=[1, 1 / 2]
        ),
        "crops": lambda: ra.crop_and_resize(HALF, TINY, [0, 0], 3, extrapolation_value=1e-320),
        "gradient by crops": lambda: ra.crop_and_resize_backward(
            np.full((2, 3, 3, 1), 5e-324), TINY, [0, 0], (1, 6, 6, 1), wrt="boxes",
            images=np.full((1, 6, 6, 1), 5e-324),
        ),
        "masks": lambda: ra.paste_masks(
            np.ones((2, 4, 4), np.float16), TINY, (5, 6), threshold=1e-7
        ),
        "torchvision's masks": lambda: ra.paste_masks(
            np.ones((2, 4, 4), np.float32), TINY, (5, 6), convention="torchvision"
        ),
        "formats": lambda: ra.boxes.from_cxcywh(TINY[:, [2, 3, 0, 1]]),
        "check": lambda: ra.boxes.check([TINY], HALF.shape, 1 / 3).total,
    }.items(),
    ids=lambda item: item[0],
)  # fmt: skip
def test_the_callers_handling_of_rounding_errors_does_not_matter(call):
    with np.errstate(all="raise"):
        found = call[1]()
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(found, call[1]())
