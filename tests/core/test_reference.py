"""The oracle, held to numbers that can be computed by hand."""

import numpy as np
import pytest

from roialign_cy._spec import make_spec
from roialign_cy.backends import kit
from roialign_cy.backends.reference import BACKEND, box_axes, neighbours, slope
from roialign_cy.conventions import Convention

# Coordinates are cell indices: no offset, no least size.
PLAIN = Convention(pixel_offset=0.0)
NAN = np.nan


def spec_of(output_size, convention=PLAIN, **options):
    defaults = {
        "spatial_scale": 1.0,
        "sampling_ratio": None,
        "mode": None,
        "layout": "NCHW",
        "num_threads": None,
    }
    return make_spec(output_size, convention, **(defaults | options))


def pool(features, rois, output_size, convention=PLAIN, *, out=None, **options):
    spec = spec_of(output_size, convention, **options)
    maps = kit.as_nchw(np.asarray(features), spec)
    rois = np.asarray(rois, dtype=float)
    result = BACKEND.roi_align((maps,), rois, None, spec, kit.as_nchw(out, spec))
    return kit.as_given(result, spec)


def gradients(grad_output, features, rois, output_size, convention=PLAIN, **options):
    spec = spec_of(output_size, convention, **options)
    maps = kit.as_nchw(np.asarray(features), spec)
    grad_output, rois = (
        given if isinstance(given, np.ndarray) else np.asarray(given, dtype=float)
        for given in (grad_output, rois)
    )
    grads = kit.as_nchw(grad_output, spec)
    (by_features,) = BACKEND.feature_gradient(grads, rois, None, (maps.shape,), spec, (maps,), None)
    by_rois = BACKEND.box_gradient(grads, rois, None, (maps,), spec, None)
    return kit.as_given(by_features, spec), by_rois


def as_map(*rows):
    return np.array([[rows]], dtype=float)


def value_at(features, x, y, mode="avg"):
    """The value of one channel at one point, through a box that is this point."""
    return pool(features, [[0, x, y, x, y]], 1, sampling_ratio=1, mode=mode)[0, 0, 0, 0]


def positions(axis):
    return [[axis.position(p, i) for i in range(axis.samples)] for p in range(axis.sections)]


# Samples


def test_centered_samples_lie_in_the_middle_of_equal_parts():
    rows, cols = box_axes(np.array([0, 1, 10, 5, 16.0]), spec_of((1, 2), sampling_ratio=(3, 2)))
    assert positions(rows) == [[11, 13, 15]]
    assert positions(cols) == [[1.5, 2.5], [3.5, 4.5]]


def test_interior_samples_lie_on_the_lines_between_equal_parts():
    interior = Convention(pixel_offset=0.0, sampling="interior", mode="max")
    rows, cols = box_axes(np.array([0, 1, 10, 5, 22.0]), spec_of((3, 1), interior))
    assert positions(rows) == [
        pytest.approx([10 + 4 / 3, 10 + 8 / 3], abs=1e-15),
        pytest.approx([14 + 4 / 3, 14 + 8 / 3], abs=1e-15),
        pytest.approx([18 + 4 / 3, 18 + 8 / 3], abs=1e-15),
    ]
    assert positions(cols) == [[3]]


def test_offset_applies_after_the_scale():
    _, cols = box_axes(np.array([0, 4, 0, 8, 4.0]), spec_of(1, "detectron2", spatial_scale=0.25))
    assert positions(cols) == [[1.0]]


def test_narrow_box_is_widened_at_its_far_side():
    rows, cols = box_axes(np.array([0, 2, 3, 2.5, 1.0]), spec_of(1, "torchvision"))
    assert (positions(rows), positions(cols)) == ([[3.5]], [[2.5]])


def test_adaptive_count_is_about_one_per_cell_and_axis():
    rows, cols = box_axes(np.array([0, 0, 0, 7, 6.1]), spec_of((2, 3)))
    assert (rows.samples, cols.samples) == (4, 3)


@pytest.mark.parametrize(("dtype", "count"), [(np.float16, 1), (np.float32, 1), (np.float64, 2)])
def test_adaptive_count_rounds_in_the_type_of_the_box(dtype, count):
    # float32(28.1) / 4 - float32(0.1) / 4 is a little more than 7, which only float64 can tell.
    box = np.array([0, 0.1, 0, 28.1, 28], dtype=np.float32).astype(dtype)
    _, cols = box_axes(box, spec_of(7, "detectron2", spatial_scale=0.25))
    assert cols.samples == count


def test_adaptive_count_takes_the_sides_apart_before_it_subtracts():
    # 70.4 * 0.1 - 0.5 - (0.4 * 0.1 - 0.5) is a little more than (70.4 - 0.4) * 0.1 = 7.
    _, cols = box_axes(np.array([0, 0.4, 0, 70.4, 1]), spec_of(7, "detectron2", spatial_scale=0.1))
    assert cols.samples == 2


def test_positions_round_in_the_order_that_decides_at_the_border():
    # Section 1 of 3, sample 1 of 3: exactly the border at 4, then just beyond the one at -1. In
    # another order of operations the first one is beyond and the second one is not.
    _, cols = box_axes(np.array([0, -5.3, 0, 13.3, 1]), spec_of(3, sampling_ratio=3))
    assert cols.position(1, 1) == 4
    _, cols = box_axes(np.array([0, -5.8, 0, 3.8, 1]), spec_of(3, sampling_ratio=3))
    assert cols.position(1, 1) == np.nextafter(-1, -2)


# Borders of the map


def test_neighbours_share_a_coordinate_between_two_cells():
    assert neighbours(1.25, 4) == ((1, 0.75), (2, 0.25))
    assert neighbours(2.0, 4) == ((2, 1.0),)


@pytest.mark.parametrize("position", [-1.0, -0.5, 0.0])
def test_position_up_to_one_cell_before_the_map_reads_the_first_cell(position):
    assert neighbours(position, 4) == ((0, 1.0),)


@pytest.mark.parametrize("position", [3.0, 3.5, 4.0])
def test_position_up_to_one_cell_after_the_map_reads_the_last_cell(position):
    assert neighbours(position, 4) == ((3, 1.0),)


@pytest.mark.parametrize("position", [np.nextafter(-1.0, -2.0), np.nextafter(4.0, 5.0)])
def test_position_beyond_the_border_reads_nothing(position):
    assert neighbours(position, 4) == ()


def test_point_outside_the_map_counts_as_zero_in_the_mean():
    # Samples at -1.5 (outside), -0.5, 0.5 and 1.5 of a row 2, 4.
    assert pool(as_map([2, 4]), [[0, -2, 0, 2, 0]], 1, sampling_ratio=(1, 4)) == (2 + 3 + 4) / 4


# Boxes


def test_section_is_the_mean_of_its_bilinear_samples():
    features = as_map([0, 1, 2, 3], [10, 11, 12, 13], [20, 21, 22, 23])
    output = pool(features, [[0, 0, 0, 2, 2]], (2, 1), sampling_ratio=2)
    np.testing.assert_allclose(output[0, 0], [[5 + 1], [15 + 1]], rtol=0, atol=1e-14)


def test_reversed_box_runs_its_samples_backwards():
    features = np.arange(64.0).reshape(1, 1, 8, 8)
    backwards = pool(features, [[0, 5, 5, 1, 1]], 2, "detectron2", sampling_ratio=2)
    np.testing.assert_allclose(backwards[0, 0], [[31.5, 29.5], [15.5, 13.5]], rtol=0, atol=1e-13)


def test_huge_adaptive_box_costs_no_more_than_the_map():
    # 1e9 samples an axis, on the half cells of a map of 4: -0.5 .. 3.5 are five of them.
    box = [0, -5e8, -5e8, 5e8, 5e8]
    output = pool(np.full((1, 1, 4, 4), 2.0), [box], 1)
    np.testing.assert_allclose(output, 2 * 25 / 1e18, rtol=1e-15, atol=0)
    assert pool(np.full((1, 1, 4, 4), 2.0), [box], 1, mode="max") == 2
    assert pool(np.full((1, 1, 4, 4), -2.0), [box], 1, mode="max") == 0


@pytest.mark.parametrize("mode", ["avg", "max", "max_weighted"])
def test_adaptive_box_samples_what_a_fixed_ratio_samples(mode):
    # The same samples, once found from the borders of the map and once walked through.
    rng = np.random.default_rng(0)
    for _ in range(200):
        features = rng.standard_normal((1, 2, *rng.integers(1, 6, 2)))
        extent = 60 ** rng.uniform(0, 1, 2)
        near = 2 - extent * rng.uniform(0, 1, 2)
        box = np.array([[0, *near, *(near + extent)]])
        rows, cols = box_axes(box[0], spec_of(2))
        fixed = pool(features, box, 2, mode=mode, sampling_ratio=(rows.samples, cols.samples))
        assert (pool(features, box, 2, mode=mode) == fixed).all()


# NaN


@pytest.mark.parametrize("mode", ["avg", "max", "max_weighted"])
def test_nan_reaches_the_output_only_where_it_has_weight(mode):
    features = as_map([1, NAN], [2, 3])
    assert value_at(features, 0, 0, mode) == 1
    assert value_at(features, -0.5, 0, mode) == 1
    assert value_at(features, 0.5, 1, mode) == (1.5 if mode == "max_weighted" else 2.5)
    assert value_at(features, -1.5, 0, mode) == 0
    assert np.isnan(value_at(features, 0.25, 0.25, mode))
    assert np.isnan(value_at(features, 1.5, 0, mode))


def test_nan_counts_among_larger_and_smaller_samples():
    for row in [NAN, 1, 2], [1, NAN, 2], [1, 2, NAN]:
        for mode in "avg", "max", "max_weighted":
            box = [[0, -0.5, 0, 2.5, 0]]
            assert np.isnan(pool(as_map(row), box, 1, mode=mode, sampling_ratio=(1, 3)))


def test_fraction_that_float32_could_lose_has_no_weight():
    assert neighbours(2.0**-126, 4) == ((0, 1.0), (1, 2.0**-126))
    assert neighbours(np.nextafter(2.0**-126, 0.0), 4) == ((0, 1.0),)


# Maxima


def test_maximum_starts_from_the_first_sample():
    box = [[0, -0.5, 0, 1.5, 0]]
    assert pool(as_map([-3, -2]), box, 1, mode="max", sampling_ratio=(1, 2)) == -2


def test_point_outside_the_map_takes_part_in_the_maximum_as_zero():
    # Two of three samples, at -2, 0 and 2, are off the map.
    box = [[0, -3, 0, 3, 0]]
    assert pool(as_map([-3]), box, 1, mode="max", sampling_ratio=(1, 3)) == 0


def test_weighted_maximum_is_over_the_four_weighted_neighbours():
    features = as_map([1, 8], [2, -4])
    assert value_at(features, 0.25, 0.5, "max_weighted") == max(0.375, 1, 0.75, -0.5)
    assert value_at(-features, 0.25, 0.5, "max_weighted") == 0.5


def test_neighbour_without_weight_is_zero_in_the_weighted_maximum():
    assert value_at(as_map([-1, -1]), 0, 0, "max_weighted") == 0


def test_plain_maximum_under_onnx_is_the_weighted_one():
    features = np.random.default_rng(0).standard_normal((1, 1, 5, 5))
    box = [[0, 1, 1, 4, 4]]
    plain = pool(features, box, 2, "onnx", mode="max", sampling_ratio=2)
    assert (plain == pool(features, box, 2, "mmcv", mode="max_weighted", sampling_ratio=2)).all()
    assert (plain != pool(features, box, 2, "mmcv", mode="max", sampling_ratio=2)).any()


# Arrays


@pytest.mark.parametrize("dtype", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"])
def test_output_has_the_features_type_in_native_byte_order(dtype):
    output = pool(np.full((1, 1, 3, 3), 1.5, dtype=dtype), [[0, 0, 0, 2, 2]], 2)
    assert output.dtype == np.dtype(dtype).newbyteorder("=")
    assert output.dtype.isnative
    assert (output == 1.5).all()


def test_box_of_foreign_byte_order_is_read_as_numbers():
    box = np.array([[0, 0.1, 0, 28.1, 28]], dtype=np.float32)
    features = np.random.default_rng(0).standard_normal((1, 1, 8, 8))
    spec = spec_of(7, "detectron2", spatial_scale=0.25)
    swapped = BACKEND.roi_align((features,), box.astype(">f4"), None, spec, None)
    assert (swapped == BACKEND.roi_align((features,), box, None, spec, None)).all()


def test_overflow_becomes_infinity():
    out = np.empty((1, 1, 1, 1), dtype=np.float16)
    pool(np.full((1, 1, 2, 2), 1e30), [[0, 0, 0, 1, 1]], 1, out=out)
    assert np.isposinf(out)


def test_channels_last_is_the_same_numbers_transposed():
    features = np.random.default_rng(0).standard_normal((2, 3, 5, 6))
    box = [[1, 0.3, 0.2, 4.4, 4.1]]
    last = pool(np.moveaxis(features, 1, -1), box, (2, 3), layout="NHWC")
    assert last.flags.c_contiguous
    assert (np.moveaxis(last, -1, 1) == pool(features, box, (2, 3))).all()


def test_strided_out_is_filled_and_returned():
    features = np.random.default_rng(0).standard_normal((1, 2, 5, 5))
    box = [[0, 0, 0, 4, 4]]
    out = np.empty((1, 2, 6, 3))[:, :, ::2]
    assert pool(features, box, 3, out=out) is out
    assert (out == pool(features, box, 3)).all()


# Gradients


def test_slope_is_taken_from_the_right():
    assert slope(0.0, 4) == ((0, -1.0), (1, 1.0))
    assert slope(1.0, 4) == ((1, -1.0), (2, 1.0))
    assert slope(1.9, 4) == ((1, -1.0), (2, 1.0))


@pytest.mark.parametrize("position", [-2.0, -1.0, -0.1, 3.0, 3.5, 4.0, 5.0])
def test_slope_is_zero_where_the_position_is_clamped_or_outside(position):
    assert slope(position, 4) == ()


@pytest.mark.parametrize(
    ("box", "expected"),
    # Samples at -2 and 0, then at 0 and 2, and the latter with sections read from the far side.
    [([0, -3, 0, 1, 0], 0), ([0, -1, 0, 3, 0], 1), ([0, 3, 0, -1, 0], 0)],
)
def test_point_outside_the_map_takes_the_gradient_of_a_tie_it_leads(box, expected):
    by_features, _ = gradients([[[[1]]]], as_map([0]), [box], 1, mode="max", sampling_ratio=(1, 2))
    assert by_features == expected


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_gradients_have_the_types_of_grad_output_and_boxes(layout):
    grad_output = np.ones((1, 1, 1, 1), dtype=">f4")
    rois = np.array([[0, 0, 0, 2, 2]], dtype=">f2")
    features = np.ones((1, 1, 3, 3) if layout == "NCHW" else (1, 3, 3, 1), dtype=np.float16)
    by_features, by_rois = gradients(grad_output, features, rois, 1, layout=layout)
    assert (by_rois.dtype, by_rois.shape) == (np.float16, (1, 4))
    assert (by_features.dtype, by_features.shape) == (np.float32, features.shape)
    assert by_features.sum() == 1


def test_gradient_of_the_mean_needs_no_features_and_fills_out():
    out = np.full((1, 2, 2, 6), 7.0)[..., ::2]
    grads, rois = np.ones((1, 2, 1, 1)), np.array([[0, 1.0, 1.0, 1.0, 1.0]])
    spec = spec_of(1, sampling_ratio=1)
    (by_features,) = BACKEND.feature_gradient(
        grads, rois, None, ((1, 2, 2, 3),), spec, None, (out,)
    )
    assert by_features is out
    assert out.tolist() == [[[[0, 0, 0], [0, 1, 0]]] * 2]


def test_gradient_of_a_map_without_cells_is_zero():
    features = np.ones((1, 1, 0, 3))
    by_features, by_rois = gradients([[[[1]]]], features, [[0, 0, 0, 2, 2]], 1)
    assert by_features.shape == features.shape
    assert not by_rois.any()
