"""RoI Pooling: numbers worked by hand, agreement of the backends, odd inputs, refusals."""

import tracemalloc

import numpy as np
import pytest

import roialign_cy as ra

FEATURES = np.arange(64, dtype=np.float32).reshape(1, 1, 8, 8)  # cell (y, x) is 8 * y + x
NAN, INF = np.nan, np.inf


def pool(box, output_size=1, features=FEATURES, rois_dtype=None, **options):
    """Pool one box of image 0 on both backends, which must agree, as a convention too."""
    rois = np.array([[0, *box]], rois_dtype)
    reference = ra.roi_pool(features, rois, output_size, backend="reference", **options)
    cpu = ra.roi_pool(features, rois, output_size, **options)
    np.testing.assert_array_equal(cpu, reference)
    options["convention"] = "roi_pool"
    np.testing.assert_array_equal(ra.roi_align(features, rois, output_size, **options), cpu)
    return cpu[0, 0].tolist()


# By hand


@pytest.mark.parametrize(
    ("box", "output_size", "expected"),
    [
        # Rounds to x and y 1 .. 3: three cells. Halves of 1.5 cells are cells 1, 2 and 2, 3.
        ((0.6, 0.6, 3.4, 3.4), 2, [[18, 19], [26, 27]]),
        ((1, 1, 3, 3), 3, [[9, 10, 11], [17, 18, 19], [25, 26, 27]]),
        ((1, 1, 3, 3), 1, [[27]]),
        # Halves go away from 0, not to the even neighbour.
        ((0.5, 0, 0.5, 0), 1, [[1]]),
        ((2.5, 0, 2.5, 0), 1, [[3]]),
        ((-0.5, 0, -0.5, 0), 1, [[0]]),  # to -1, outside
        ((-0.49, 0, -0.49, 0), 1, [[0]]),
        ((0.49999999999999994, 0, 0.49999999999999994, 0), 1, [[0]]),  # + 0.5 would be 1
        # Both ends belong to the box: one of no size is a cell, and so is one that is reversed.
        ((5, 2, 5, 2), 1, [[21]]),
        ((5, 2, 5, 2), 2, [[21, 21], [21, 21]]),
        ((5, 2, 1, 1), 2, [[21, 21], [21, 21]]),
        # 5 columns in 3 sections: 0..1, 1..3, 3..4.
        ((0, 0, 4, 0), (1, 3), [[1, 3, 4]]),
        # Partly outside: the second column of sections is beyond the map.
        ((6, 6, 9, 7), (1, 2), [[63, 0]]),
        ((-4, -4, -2, -2), 1, [[0]]),
        ((9, 9, 12, 12), 2, [[0, 0], [0, 0]]),
        ((-1e30, -1e30, 1e30, 1e30), 1, [[63]]),
        ((-1e300, -1e300, 1e300, 1e300), (1, 2), [[0, 63]]),  # 0 is where halves meet
        # As long as a box can be: a third of it, times three, overflows.
        ((-np.finfo(float).max, 0, 7, 0), (1, 3), [[0, 0, 0]]),
    ],
)
def test_by_hand(box, output_size, expected):
    assert pool(box, output_size) == expected


def test_scale_comes_before_rounding():
    assert pool((16, 0, 40, 0), spatial_scale=1 / 16) == [[3]]  # 1 .. 2.5, which is 3


def test_the_documents_box_is_cut_to_whole_cells():
    # Its 9.25 .. 15.5 by 6 .. 10.53 (y down) become columns 9 .. 16 and rows 6 .. 11: 8 x 6
    # cells. The first section is columns 9, 10, 11 and rows 6, 7; the second from column 11 on.
    features = np.zeros((1, 1, 16, 16))
    features[0, 0, 6:8, 9:12] = [[0.1, 0.2, 0.3], [1.0, 0.7, 0.2]]
    rois = ra.boxes.from_document([[296, 320, 200, 145]], height=512)
    pooled = ra.roi_pool(features, rois, 3, spatial_scale=1 / 32)[0, 0]
    assert pooled[0].tolist() == [1.0, 0.3, 0.0]  # RoI Align's first is 0.51


def test_negative_values_and_infinities():
    assert pool((0, 0, 1, 1), features=-1 - FEATURES) == [[-1]]
    assert pool((0, 0, 1, 1), features=np.full_like(FEATURES, -INF)) == [[-INF]]
    assert pool((0, 0, 1, 1), features=np.full_like(FEATURES, INF)) == [[INF]]


@pytest.mark.parametrize("name", ["cpu", "reference"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_zeros_of_either_sign_become_positive(dtype, name):
    features = np.full((1, 20, 3, 3), -0.0, dtype)
    pooled = ra.roi_pool(features, [[0, 0, 0, 2, 2]], 2, backend=name)
    assert not np.signbit(pooled).any()


@pytest.mark.parametrize("at", [(0, 0), (1, 1), (0, 1)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_nan_in_a_section_makes_it_nan(at, dtype):
    features = np.ones((1, 1, 4, 4), dtype)
    features[0, 0][at] = NAN
    pooled = np.array(pool((0, 0, 3, 3), 2, features))
    assert np.isnan(pooled[0, 0])
    np.testing.assert_array_equal(pooled.ravel()[1:], 1)


# Gradients


def gradient(features, rois, output_size, grad_output, **options):
    """By the features, on both backends, which must agree."""
    options |= {"features": features, "convention": "roi_pool"}
    reference, cpu = (
        ra.roi_align_backward(grad_output, rois, features.shape, backend=name, **options)
        for name in ("reference", "cpu")
    )
    np.testing.assert_allclose(cpu, reference, rtol=1e-12, atol=1e-12)
    return cpu


def test_the_gradient_goes_to_the_first_of_the_largest_cells_in_row_order():
    features = np.array([[1.0, 3, 3], [3, 2, 0], [NAN, 0, NAN]])[np.newaxis, np.newaxis]
    grads = np.full((1, 1, 1, 1), 5.0)
    first = gradient(features, [[0, 0, 0, 2, 1]], 1, grads)
    assert first[0, 0].tolist() == [[0, 5, 0], [0, 0, 0], [0, 0, 0]]
    of_nan = gradient(features, [[0, 0, 0, 2, 2]], 1, grads)
    assert of_nan[0, 0].tolist() == [[0, 0, 0], [0, 0, 0], [5, 0, 0]]


@pytest.mark.parametrize("cells", [1, 3, 4, 6, 7, 30])
def test_the_gradient_of_sections_of_any_number_of_columns(cells):
    rng = np.random.default_rng(cells)
    features = rng.integers(0, 5, (1, 19, 9, 2 * cells)).astype(np.float32)
    grads = rng.standard_normal((1, 19, 2, 2), dtype=np.float32)
    box = [[0, 0, 0, 2 * cells - 1, 7]]
    options = {"convention": "roi_pool", "features": features}
    by_cpu, by_reference = (
        ra.roi_align_backward(grads, box, features.shape, backend=name, **options)
        for name in ("cpu", "reference")
    )
    np.testing.assert_array_equal(by_cpu, by_reference)
    assert np.count_nonzero(by_cpu) == grads.size


def test_sections_without_cells_have_no_gradient_and_shared_cells_sum_theirs():
    features = np.arange(5.0).reshape(1, 1, 1, 5)
    grads = np.array([1.0, 10, 100]).reshape(1, 1, 1, 3)
    shared = gradient(features, [[0, 0, 0, 3, 0]], (1, 3), grads)  # cells 0 1, 1 2, 2 3
    assert shared.ravel().tolist() == [0, 1, 10, 100, 0]
    shared = gradient(-features, [[0, 0, 0, 3, 0]], (1, 3), grads)
    assert shared.ravel().tolist() == [1, 10, 100, 0, 0]
    both = gradient(-features, [[0, 0, 0, 0, 0]], (1, 3), grads)
    assert both.ravel().tolist() == [111, 0, 0, 0, 0]
    beyond = gradient(features, [[0, 4, 0, 6, 0]], (1, 3), grads)
    assert beyond.ravel().tolist() == [0, 0, 0, 0, 1]


# Agreement


@pytest.mark.parametrize("rois_dtype", ["float16", "float32", "float64", "int32"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_backends_threads_and_layouts_give_the_same_bits(dtype, rois_dtype):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        n, c, h, w = rng.integers(1, [4, 6, 20, 20])
        features = rng.standard_normal((n, c, h, w)).astype(dtype)
        boxes = rng.uniform(-9, 30, (20, 4))
        if seed % 2:
            boxes = np.round(2 * boxes) / 2
        rois = np.column_stack([rng.integers(0, n, 20), boxes]).astype(rois_dtype)
        size = tuple(int(number) for number in rng.integers(1, 9, 2))
        options = {"output_size": size, "spatial_scale": float(rng.choice([1, 0.3, 1.7]))}
        expected = ra.roi_pool(features, rois, backend="reference", **options)
        assert expected.dtype == dtype
        for num_threads in (1, 2, 5):
            pooled = ra.roi_pool(features, rois, num_threads=num_threads, **options)
            np.testing.assert_array_equal(pooled, expected)
        for name in ("cpu", "reference"):
            last = np.ascontiguousarray(np.moveaxis(features, 1, -1))
            pooled = ra.roi_pool(last, rois, layout="NHWC", backend=name, **options)
            np.testing.assert_array_equal(np.moveaxis(pooled, -1, 1), expected)


@pytest.mark.parametrize("name", ["cpu", "reference"])
def test_any_memory_layout(name):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((2, 3, 6, 7)).astype(np.float32)
    rois = [[0, 0, 0, 5, 5], [1, 1, 2, 6, 4]]
    expected = ra.roi_pool(features, rois, 2, backend=name)
    wide = np.zeros((2, 3, 12, 14), np.float32)
    wide[:, :, ::2, ::-2] = features
    unaligned = np.zeros(features.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(2, 3, 6, 7)
    unaligned[...] = features
    read_only = features.copy()
    read_only.flags.writeable = False
    for awkward in (wide[:, :, ::2, ::-2], unaligned, features.astype(">f4"), read_only):
        pooled = ra.roi_pool(awkward, rois, 2, backend=name)
        np.testing.assert_array_equal(pooled, expected)
        assert pooled.dtype == np.float32
        assert pooled.dtype.isnative


def test_a_map_that_cannot_be_read_is_copied_one_image_at_a_time():
    features = np.zeros((8, 1, 512, 512), ">f4")
    rois = [[image, 0, 0, 9, 9] for image in range(8)]
    ra.roi_pool(features, rois[:1], 2)  # what is imported and cached
    tracemalloc.start()
    ra.roi_pool(features, rois, 2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * features[0].nbytes


@pytest.mark.parametrize("name", ["cpu", "reference"])
def test_out_is_filled(name):
    expected = ra.roi_pool(FEATURES, [[0, 0, 0, 5, 5]], 2)
    strided = np.full((1, 1, 2, 4), 9, np.float32)[..., ::2]
    unaligned = np.zeros(17, np.uint8)[1:].view(np.float32).reshape(1, 1, 2, 2)
    for out in (np.empty((1, 1, 2, 2), np.float32), strided, unaligned):
        assert ra.roi_pool(FEATURES, [[0, 0, 0, 5, 5]], 2, backend=name, out=out) is out
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("name", ["cpu", "reference"])
@pytest.mark.parametrize("shape", [(1, 0, 4, 4), (1, 2, 0, 4), (1, 2, 4, 0)])
def test_empty_maps(shape, name):
    pooled = ra.roi_pool(np.ones(shape, np.float32), [[0, 0, 0, 2, 2]], 2, backend=name)
    assert pooled.shape == (1, shape[1], 2, 2)
    assert not pooled.any()


@pytest.mark.parametrize("name", ["cpu", "reference"])
def test_no_boxes(name):
    assert ra.roi_pool(FEATURES, np.empty((0, 5)), 2, backend=name).shape == (0, 1, 2, 2)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_boxes_at_the_ends_of_their_type(dtype):
    most = np.finfo(dtype).max
    boxes = [(-most / 2, -most / 2, most / 2, most / 2), (0, 0, most, most), (-most, -most, 0, 0)]
    for box in boxes:
        rois = np.array([[0, *box]], dtype)
        expected = ra.roi_pool(FEATURES, rois, (2, 3), backend="reference")
        np.testing.assert_array_equal(ra.roi_pool(FEATURES, rois, (2, 3)), expected)


@pytest.mark.parametrize("sections", [2048, 2049, 70_000])  # exact, inexact, infinite in float16
def test_more_sections_than_the_boxes_type_can_count(sections):
    boxes = np.array([[0, 1, 1, 7, 7]], np.float16)
    pooled = np.array(pool(boxes[0, 1:], (sections, 1), rois_dtype=np.float16))[:, 0]
    if sections > 2048:
        # Of 7 rows, section p has those that p / sections and (p + 1) / sections of them touch.
        last = -(-7 * np.arange(1, sections + 1) // sections)
        np.testing.assert_array_equal(pooled, 8 * last + 7)


# Refusals


@pytest.mark.parametrize("name", ["cpu", "reference"])
@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"rois": [[0, NAN, 0, 1, 1]]}, ValueError, r"rois\[0\] must be finite"),
        ({"rois": [[0, 0, 0, 1, 1], [0, 0, INF, 1, 1]]}, ValueError, r"rois\[1\] must be finite"),
        ({"rois": [[1, 0, 0, 1, 1]]}, ValueError, "index of an image"),
        ({"rois": [[-1, 0, 0, 1, 1]]}, ValueError, "index of an image"),
        ({"rois": [[0.5, 0, 0, 1, 1]]}, ValueError, "index of an image"),
        ({"rois": [[NAN, 0, 0, 1, 1]]}, ValueError, "index of an image"),
        ({"rois": [[0, -1.7e308, 0, 1.7e308, 1]]}, ValueError, "finite extent"),
        ({"rois": [[0, 0, 1, 1]]}, ValueError, "shape"),
        ({"features": FEATURES.astype(np.int32)}, TypeError, "astype"),
        ({"features": FEATURES[0]}, ValueError, "four axes"),
        ({"output_size": 0}, ValueError, "output_size"),
        ({"output_size": 1.5}, TypeError, "output_size"),
        ({"spatial_scale": 0}, ValueError, "spatial_scale"),
        ({"layout": "NCWH"}, ValueError, "did you mean 'NCHW'"),
        ({"num_threads": 0}, ValueError, "num_threads"),
        ({"out": np.empty((1, 1, 2, 2))}, ValueError, "dtype"),
        ({"out": np.empty((1, 1, 2, 3), np.float32)}, ValueError, "shape"),
        ({"out": FEATURES[:, :, :2, :2]}, ValueError, "overlap"),
    ],
)
def test_refusals(changes, error, match, name):
    call = {
        "features": FEATURES,
        "rois": [[0, 0, 0, 3, 3]],
        "output_size": 2,
        "out": np.full((1, 1, 2, 2), 7, np.float32),
    }
    call |= {"backend": name} | changes
    before = np.array(call["out"])
    with pytest.raises(error, match=match):
        ra.roi_pool(**call)
    np.testing.assert_array_equal(call["out"], before)


@pytest.mark.parametrize("wrt", ["rois", ("features", "rois")])
def test_rounded_boxes_have_no_gradient(wrt):
    with pytest.raises(ValueError, match=r"^wrt must be 'features'"):
        ra.roi_align_backward(
            np.ones((1, 1, 2, 2), np.float32),
            [[0, 0, 0, 3, 3]],
            FEATURES.shape,
            features=FEATURES,
            wrt=wrt,
            convention="roi_pool",
        )


def test_a_box_as_large_as_numbers_are_is_explained_without_a_warning():
    roi = [[0, 0.68, -8.988465674311579e307, 0.8125, -0.5]]
    options = {"spatial_scale": 2, "convention": "roi_pool"}
    found = ra.explain(FEATURES, roi, 3, **options)
    pooled = ra.roi_align(FEATURES[:, :1], roi, 3, **options)
    np.testing.assert_array_equal(found.output, pooled[0, 0])
