"""Several maps in one call: what each map alone gives, written where it belongs."""

import tracemalloc
from itertools import product

import numpy as np
import pytest

import roialign_cy as ra
from roialign_cy.backends import reference

SCALES = (1 / 2, 1 / 4, 1 / 8)
SHAPES = ((2, 3, 16, 20), (2, 3, 8, 10), (2, 3, 4, 5))
LEVELS = np.array([1, 0, 2, 0, 2, 1, 0])
CASES = [
    (convention, mode)
    for convention, mode in product(ra.CONVENTIONS, ("avg", "max", "max_weighted"))
    if (convention, mode) in {("roi_pool", "max"), ("prroi", "avg")}
    or convention not in ("roi_pool", "prroi")
]


@pytest.fixture
def backend(backend):
    """One that takes several maps: both of the library's do, a plugin need not."""
    if not getattr(ra.backends.get(backend), "takes_levels", False):
        pytest.skip("it takes one map a call")
    return backend


def noise(shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def pyramid(dtype=np.float32, layout="NCHW"):
    maps = [noise(shape, dtype, seed) for seed, shape in enumerate(SHAPES)]
    return (
        [np.ascontiguousarray(m.transpose(0, 2, 3, 1)) for m in maps] if is_last(layout) else maps
    )


def is_last(layout):
    return layout == "NHWC"


def shapes(layout):
    return [(n, h, w, c) if is_last(layout) else (n, c, h, w) for n, c, h, w in SHAPES]


def boxes(dtype=np.float64):
    rng = np.random.default_rng(3)
    corners = rng.uniform(-4, 26, (len(LEVELS), 2))
    sizes = [[11.3, 7.9]] * np.geomspace(0.5, 4, len(LEVELS))[:, None]
    rois = np.hstack([rng.integers(0, 2, (len(LEVELS), 1)), corners, corners + sizes])
    rois[3, 3:] = rois[3, 1:3]  # without extent
    return rois.astype(dtype)


def one_by_one(maps, rois, levels, scales, output_size, **options):
    """The same by a call for each map, put in order afterwards."""
    pooled = [
        ra.roi_align(array, rois[levels == level], output_size, spatial_scale=scale, **options)
        for level, (array, scale) in enumerate(zip(maps, scales, strict=True))
    ]
    result = np.empty((len(rois), *pooled[0].shape[1:]), pooled[0].dtype)
    for level, values in enumerate(pooled):
        result[levels == level] = values
    return result


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(("convention", "mode"), CASES)
def test_bits_are_those_of_a_call_for_each_map(backend, convention, mode, layout):
    maps, rois = pyramid(layout=layout), boxes()
    options = {"convention": convention, "mode": mode, "layout": layout, "backend": backend}
    pooled = ra.multiscale_roi_align(
        maps, rois, (2, 3), spatial_scales=SCALES, levels=LEVELS, **options
    )
    expected = one_by_one(maps, rois, LEVELS, SCALES, (2, 3), **options)
    assert (pooled.dtype, pooled.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(pooled, expected)
    assert pooled.flags.c_contiguous


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("rois_dtype", [np.float16, np.float32, np.float64, np.int32])
def test_every_dtype_goes_into_memory_of_the_callers(backend, dtype, rois_dtype, layout):
    maps, rois = pyramid(dtype, layout), boxes(rois_dtype)
    options = {"convention": "detectron2", "layout": layout, "backend": backend}
    expected = one_by_one(maps, rois, LEVELS, SCALES, 3, **options)
    room = np.full((len(rois) + 2, *expected.shape[1:]), np.nan, dtype)[::-1]
    out = room[1:-1]
    swapped = [array.astype(array.dtype.newbyteorder()) for array in maps]
    swapped[1] = maps[1]
    result = ra.multiscale_roi_align(
        swapped, rois, 3, spatial_scales=SCALES, levels=LEVELS, out=out, **options
    )
    assert result is out
    np.testing.assert_array_equal(out, expected)
    assert np.isnan(room[[0, -1]]).all()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    ("convention", "mode"),
    [case for case in CASES if case[1] != "max_weighted" and "onnx" not in case[0]],
)
def test_gradients_are_those_of_a_call_for_each_map(backend, convention, mode, layout):
    maps, rois = pyramid(layout=layout), boxes()
    options = {"convention": convention, "mode": mode, "layout": layout, "backend": backend}
    pooled = ra.multiscale_roi_align(
        maps, rois, (2, 3), spatial_scales=SCALES, levels=LEVELS, **options
    )
    grads = noise(pooled.shape, seed=9)
    wrt = ("features",) if convention == "roi_pool" else ("rois", "features")
    results = ra.multiscale_roi_align_backward(
        grads,
        rois,
        shapes(layout),
        features=maps,
        wrt=wrt,
        spatial_scales=SCALES,
        levels=LEVELS,
        **options,
    )
    by_maps, by_rois = results[-1], results[0]
    assert [array.shape for array in by_maps] == shapes(layout)
    for level, (array, scale) in enumerate(zip(maps, SCALES, strict=True)):
        mine = level == LEVELS
        expected = ra.roi_align_backward(
            grads[mine],
            rois[mine],
            array.shape,
            features=array,
            wrt=wrt,
            spatial_scale=scale,
            **options,
        )
        np.testing.assert_array_equal(by_maps[level], expected[-1])
        assert by_maps[level].any()
        if "rois" in wrt:
            np.testing.assert_array_equal(by_rois[mine], expected[0])


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_gradients_go_into_memory_of_the_callers(backend, dtype, layout):
    maps, rois = pyramid(dtype, layout), boxes(np.float32)
    fixed = {"spatial_scales": SCALES, "levels": np.zeros(len(rois), int), "layout": layout}
    options = {**fixed, "convention": "detectron2", "backend": backend}
    grads = noise(ra.multiscale_roi_align(maps, rois, 3, **options).shape, dtype, 9)
    expected = ra.multiscale_roi_align_backward(grads, rois, shapes(layout), **options)
    out = [np.full_like(array, np.nan) for array in expected]
    result = ra.multiscale_roi_align_backward(grads, rois, shapes(layout), out=out, **options)
    assert result is out
    for array, wanted in zip(out, expected, strict=True):
        np.testing.assert_array_equal(array, wanted)
    assert expected[0].any()
    assert not expected[1].any()  # without a box
    options |= {"features": maps, "wrt": "rois"}
    expected = ra.multiscale_roi_align_backward(grads, rois, shapes(layout), **options)
    out = np.full((len(rois), 4), np.nan, np.float32)[:, ::-1]
    ra.multiscale_roi_align_backward(grads, rois, shapes(layout), out=out, **options)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("rule", ["torchvision", "detectron2", "mmdet"])
def test_the_rule_chooses_as_assign_levels_does(rule):
    maps, rois = pyramid(), boxes(np.float32)
    chosen = {"level_rule": rule, "canonical_size": 20}
    if rule != "mmdet":
        chosen["canonical_level"] = 3
    levels = ra.assign_levels(rois, SCALES, **chosen)
    assert set(levels) >= {0, 1}
    pooled = ra.multiscale_roi_align(maps, rois, 2, spatial_scales=SCALES, **chosen)
    by_hand = ra.multiscale_roi_align(maps, rois, 2, spatial_scales=SCALES, levels=levels)
    np.testing.assert_array_equal(pooled, by_hand)
    gradients = [
        ra.multiscale_roi_align_backward(
            noise(pooled.shape), rois, SHAPES, features=maps, spatial_scales=SCALES, **how
        )
        for how in (chosen, {"levels": levels})
    ]
    for array, wanted in zip(*gradients, strict=True):
        np.testing.assert_array_equal(array, wanted)


def test_boxes_per_image_are_in_the_order_of_the_list():
    maps, rois = pyramid(), boxes()
    rois = rois[rois[:, 0].argsort(kind="stable")]
    per_image = [rois[rois[:, 0] == image, 1:] for image in range(2)]
    options = {"spatial_scales": SCALES, "canonical_size": 60}
    np.testing.assert_array_equal(
        ra.multiscale_roi_align(maps, per_image, 2, **options),
        ra.multiscale_roi_align(maps, rois, 2, **options),
    )


def test_scales_may_be_any_where_levels_are_given(backend):
    maps, rois, scales = pyramid()[::2], boxes(), (0.37, 0.9)
    levels = LEVELS.astype(np.uint8) % 2
    options = {"convention": "torchvision", "backend": backend}
    np.testing.assert_array_equal(
        ra.multiscale_roi_align(maps, rois, 2, spatial_scales=scales, levels=levels, **options),
        one_by_one(maps, rois, levels, scales, 2, **options),
    )


def test_one_map_is_a_plain_call(backend):
    array, rois = pyramid()[0], boxes()
    options = {"convention": "mmcv", "backend": backend}
    np.testing.assert_array_equal(
        ra.multiscale_roi_align([array], rois, 2, spatial_scales=[0.5], **options),
        ra.roi_align(array, rois, 2, spatial_scale=0.5, **options),
    )


def test_no_boxes(backend):
    # Detectron2's ROIPooler of no images gives (0, C, 14, 14).
    options = {"spatial_scales": SCALES, "backend": backend}
    pooled = ra.multiscale_roi_align(pyramid(), np.empty((0, 5)), 14, **options)
    assert pooled.shape == (0, 3, 14, 14)
    by_maps, by_rois = ra.multiscale_roi_align_backward(
        pooled, [[], []], SHAPES, features=pyramid(), wrt=("features", "rois"), **options
    )
    assert [array.shape for array in by_maps] == list(SHAPES)
    assert not any(array.any() for array in by_maps)
    assert by_rois.shape == (0, 4)


def test_an_empty_map_gives_zeros_to_its_boxes(backend):
    maps, rois = pyramid(), boxes()
    maps[1] = maps[1][:, :, :0]
    options = {"spatial_scales": SCALES, "levels": LEVELS, "backend": backend}
    pooled = ra.multiscale_roi_align(maps, rois, 2, convention="detectron2", **options)
    assert not pooled[LEVELS == 1].any()
    assert pooled[LEVELS == 0].any()


def test_openvinos_feature_extractor(backend):
    # experimental_detectron_roi_feature_extractor.cpp: one map, sampling ratio 2, not aligned.
    array = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3)
    rois = [[0, 0, 1, 2, 3], [0, 4, 5, 6, 7]]
    pooled = ra.multiscale_roi_align(
        [array],
        rois,
        3,
        spatial_scales=[1 / 4],
        convention="torchvision",
        sampling_ratio=2,
        backend=backend,
    )
    first = [1.416667, 1.75, 2.083333, 2.416667, 2.75, 3.083333, 3.166667, 3.5, 3.833333]
    second = [4.166667, 4.5, 4.833333, 4.166667, 4.5, 4.833333, 2.083333, 2.25, 2.416667]
    np.testing.assert_allclose(pooled[0, 0].ravel(), first, atol=2e-6)
    np.testing.assert_allclose(pooled[1, 0].ravel(), second, atol=2e-6)
    assert pooled[0, 1, [0, 2], [0, 2]] == pytest.approx([7.416667, 9.833334], abs=2e-6)
    assert pooled[1, 1, 0, 0] == pytest.approx(10.16667, abs=5e-6)


def test_the_object_detection_apis_constant_maps(backend):
    # spatial_transform_ops_test.py: maps that are their level, of an image of 640 pixels.
    maps = [np.full((1, 1, 640 >> k, 640 >> k), k, np.float32) for k in (2, 3, 4, 5)]
    rois = [[0, 0, 0, side, side] for side in (111, 113, 223, 225, 449)]
    scales = [2.0**-k for k in (2, 3, 4, 5)]
    for convention in "document", "detectron2", "torchvision":
        pooled = ra.multiscale_roi_align(
            maps, rois, 1, spatial_scales=scales, convention=convention, backend=backend
        )
        np.testing.assert_allclose(pooled.ravel(), [2, 3, 3, 4, 5], rtol=1e-6)


def test_no_bit_depends_on_threads():
    maps = [noise((2, 40, 64 >> k, 48 >> k), seed=k) for k in range(3)]
    rng = np.random.default_rng(5)
    corners = rng.uniform(0, 90, (400, 2))
    rois = np.hstack(
        [rng.integers(0, 2, (400, 1)), corners, corners + rng.uniform(1, 90, (400, 2))]
    )
    options = {"spatial_scales": SCALES, "canonical_size": 60, "convention": "detectron2"}
    pooled = [ra.multiscale_roi_align(maps, rois, 7, num_threads=n, **options) for n in (1, 2)]
    np.testing.assert_array_equal(*pooled)
    shapes = [array.shape for array in maps]
    by_maps = [
        ra.multiscale_roi_align_backward(pooled[0], rois, shapes, num_threads=n, **options)
        for n in (1, 2)
    ]
    for one, two in zip(*by_maps, strict=True):
        np.testing.assert_array_equal(one, two)


def test_neither_maps_nor_results_are_copied():
    maps = [np.zeros((1, 64, 128 >> k, 128 >> k), np.float32) for k in range(3)]
    rois = np.tile([[0, 5, 5, 60, 60], [0, 5, 5, 160, 160]], (200, 1)).astype(float)
    options = {"spatial_scales": SCALES, "canonical_size": 60, "convention": "detectron2"}
    out = np.empty((400, 64, 7, 7), np.float32)
    by_maps = [np.empty_like(array) for array in maps]
    shapes = [array.shape for array in maps]
    tracemalloc.start()
    try:
        ra.multiscale_roi_align(maps, rois, 7, out=out, **options)
        ra.multiscale_roi_align_backward(out, rois, shapes, out=by_maps, **options)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < out.nbytes / 10
    assert peak < by_maps[0].nbytes / 10


@pytest.mark.parametrize("name", ["cpu", "reference"])
def test_the_librarys_own_backends_take_several_maps(name):
    assert ra.backends.get(name).takes_levels


class OneMap(reference.ReferenceBackend):
    name = "one map"
    takes_levels = False


@pytest.mark.usefixtures("own_registry")
def test_a_backend_of_one_map_says_so():
    ra.backends.register(OneMap())
    array, rois = pyramid()[0], boxes()
    options = {"backend": "one map", "levels": LEVELS, "spatial_scales": SCALES}
    with pytest.raises(ra.BackendUnavailableError, match="it takes one map a call"):
        ra.multiscale_roi_align(pyramid(), rois, 2, **options)
    pooled = ra.roi_align(array, rois, 2, backend="one map")
    grads = noise((len(rois), 3, 2, 2))
    with pytest.raises(ra.BackendUnavailableError, match="it takes one map a call"):
        ra.multiscale_roi_align_backward(grads, rois, SHAPES, features=pyramid(), **options)
    alone = ra.multiscale_roi_align([array], rois, 2, spatial_scales=[1], backend="one map")
    np.testing.assert_array_equal(alone, pooled)


GOOD = {
    "features": pyramid(),
    "rois": boxes(),
    "output_size": 2,
    "spatial_scales": SCALES,
    "levels": LEVELS,
}
DTYPES = [array.astype(np.float64 if k == 1 else np.float32) for k, array in enumerate(pyramid())]


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"features": pyramid()[0]}, TypeError, "features must be a list .* got ndarray"),
        ({"features": pyramid()[:2]}, ValueError, "each of the 3 spatial_scales, got 2"),
        ({"features": DTYPES}, TypeError, r"features\[1\] must have the dtype of features\[0\]"),
        (
            {"features": [*pyramid()[:2], pyramid()[2][:, :2]]},
            ValueError,
            r"features\[2\] must have the images and channels of features\[0\], \(2, 3\)",
        ),
        (
            {"features": [*pyramid()[:2], pyramid()[2][0]]},
            ValueError,
            r"features\[2\] must have four axes",
        ),
        (
            {"features": [*pyramid()[:2], pyramid()[2].tolist()]},
            TypeError,
            r"features\[2\] must be a NumPy array, got list",
        ),
        (
            {"features": [array.astype(int) for array in pyramid()]},
            TypeError,
            r"features\[0\] must be float16",
        ),
        ({"levels": LEVELS[1:]}, ValueError, r"levels must have an entry per box, .* \(7,\)"),
        ({"levels": LEVELS + 0.5}, TypeError, "levels must be integers, got dtype float64"),
        ({"levels": [[1], [1, 2]]}, ValueError, "levels must be an array of integers"),
        ({"levels": LEVELS > 0}, TypeError, "levels must be integers, got dtype bool"),
        ({"levels": LEVELS + 1}, ValueError, r"levels\[2\] must be the index of a map, in 0 .. 2"),
        ({"levels": LEVELS - 1}, ValueError, r"levels\[1\] must be .* got -1"),
        ({"levels": None, "spatial_scales": (1, 2, 3)}, ValueError, "each half the one before"),
        ({"levels": np.ma.masked_equal(LEVELS, 1)}, TypeError, "levels must be without a mask"),
        ({"out": np.empty((7, 3, 2, 2))}, ValueError, "out must have the dtype float32"),
        ({"out": [1]}, TypeError, "out must be a NumPy array, got list"),
    ],
)
def test_bad_arguments_are_named(wrong, error, message):
    with pytest.raises(error, match=message):
        ra.multiscale_roi_align(**GOOD | wrong)


def test_a_result_must_not_overlap_a_map():
    maps = [np.zeros((2, 3, 4, 5), np.float32), np.zeros((7, 3, 2, 2), np.float32)]
    with pytest.raises(ValueError, match=r"out must not overlap features\[1\]"):
        ra.multiscale_roi_align(
            maps, boxes(), 2, spatial_scales=SCALES[:2], out=maps[1].view(), levels=LEVELS % 2
        )


def test_a_bad_box_is_named_by_its_row_and_judged_at_its_own_scale():
    maps, rois = pyramid(), boxes()
    for row in 4, 1:  # the first of both, whatever its map
        rois[row, 3] = np.nan
        with pytest.raises(ValueError, match=rf"rois\[{row}\] must be finite"):
            ra.multiscale_roi_align(maps, rois, 2, spatial_scales=SCALES, levels=LEVELS)
        with pytest.raises(ValueError, match=rf"rois\[{row}\] must be finite"):
            ra.multiscale_roi_align(maps, rois, 2, spatial_scales=SCALES)
    large = np.array([[0, -6e4, -6e4, 6e4, 6e4]], np.float16)  # wider than a half at scale 1
    options = {"convention": "detectron2", "spatial_scales": (1, 1 / 2, 1 / 4)}
    ra.multiscale_roi_align(maps, large, 2, levels=[2], **options)
    with pytest.raises(ValueError, match=r"rois\[0\] must have a finite extent"):
        ra.multiscale_roi_align(maps, large, 2, levels=[0], **options)
    per_image = [boxes()[:1, 1:], [[0, 0, np.inf, 1]]]
    with pytest.raises(ValueError, match=r"rois\[1\]\[0\] must be finite"):
        ra.multiscale_roi_align(maps, per_image, 2, spatial_scales=SCALES)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"input_shapes": SHAPES[:2]}, ValueError, "input_shapes must have an entry for each"),
        (
            {"input_shapes": (*SHAPES[:2], (2, 4, 4, 5))},
            ValueError,
            r"input_shapes\[2\] must have the images and channels of input_shapes\[0\]",
        ),
        ({"input_shapes": (*SHAPES[:2], (2, 4))}, ValueError, r"input_shapes\[2\] must be four"),
        ({"mode": "max"}, ValueError, "features must be given for mode 'max'"),
        (
            {"features": pyramid(np.float64)},
            TypeError,
            r"features\[0\] must have the dtype of grad_output, float32",
        ),
        (
            {"features": pyramid()[::-1]},
            ValueError,
            r"features\[0\] must have the shape input_shapes\[0\]",
        ),
        (
            {"out": [np.zeros(shape, np.float32) for shape in SHAPES[::-1]]},
            ValueError,
            r"out\[0\] must have the shape \(2, 3, 16, 20\)",
        ),
        ({"out": [np.zeros(SHAPES[0], np.float32)]}, ValueError, "out must have an entry for each"),
        (
            {"out": [], "wrt": ("features", "rois"), "features": pyramid()},
            ValueError,
            "out must be None where wrt names several",
        ),
        ({"grad_output": noise((6, 3, 2, 2))}, ValueError, "grad_output must have the shape"),
        ({"convention": "onnx", "mode": "max"}, ValueError, "'max_weighted' has no gradient"),
    ],
)
def test_bad_arguments_of_a_gradient_are_named(wrong, error, message):
    good = {
        "grad_output": noise((7, 3, 2, 2)),
        "rois": boxes(),
        "input_shapes": SHAPES,
        "convention": "detectron2",
        "spatial_scales": SCALES,
        "levels": LEVELS,
    }
    with pytest.raises(error, match=message):
        ra.multiscale_roi_align_backward(**good | wrong)


def test_gradients_must_not_overlap_each_other():
    memory = np.zeros((2, 3, 16, 20), np.float32)
    out = [memory, memory[:, :, :8, :10], np.zeros(SHAPES[2], np.float32)]
    with pytest.raises(ValueError, match=r"out\[0\] must not overlap out\[1\]"):
        ra.multiscale_roi_align_backward(
            noise((7, 3, 2, 2)),
            boxes(),
            SHAPES,
            convention="detectron2",
            spatial_scales=SCALES,
            levels=LEVELS,
            out=out,
        )
