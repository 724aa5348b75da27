"""Maps of integers, booleans and bfloat16: the bits of converting them first, without doing so."""

import ml_dtypes
import numpy as np
import pytest

import roialign_cy as ra
from roialign_cy._core import variants
from roialign_cy.backends.cpu import CpuBackend, Overrides

pytestmark = pytest.mark.usefixtures("own_registry")

INTEGERS = ["?", "u1", "i1", "u2", "i2", ">u2", ">i2"]
FLOATS = ["float16", "float32", "float64"]
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def maps_of(dtype, channels=3):
    """Two maps with values from all over the dtype's range."""
    rng = np.random.default_rng(0)
    if dtype == "float16":
        return rng.standard_normal((2, channels, 40, 50)).astype(dtype)
    values = rng.integers(0, 1 << 16, (2, channels, 40, 50))
    return (values % 2 if dtype == "?" else values).astype(dtype)


def boxes(count=20):
    rng = np.random.default_rng(1)
    near = rng.uniform(-5, 35, (count, 2))
    return np.column_stack(
        [rng.integers(0, 2, count), near, near + rng.uniform(-2, 40, (count, 2))]
    )


def as_stored(maps, layout):
    """The maps in that layout, from which a view in the other one is taken."""
    return np.ascontiguousarray(np.moveaxis(maps, 1, -1)) if layout == "NHWC" else maps


def assert_same_bits(found, expected):
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found.view("u1"), expected.view("u1"))


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("result", [None, *FLOATS])
@pytest.mark.parametrize(
    ("by", "channels", "layout"),
    [("cpu", c, layout) for c in (1, 3, 20) for layout in ("NCHW", "NHWC")]
    + [("reference", 3, "NHWC")],
)
def test_integers_are_pooled_as_if_they_had_been_converted(by, layout, channels, result, dtype):
    maps = as_stored(maps_of(dtype, channels), layout)
    working = "float64" if result == "float64" else "float32"
    for mode in ("avg", "max", "max_weighted"):
        options = {"convention": "onnx", "mode": mode, "backend": by}
        options |= {"layout": layout, "sampling_ratio": 2}
        expected = ra.roi_align(maps.astype(working), boxes(), (7, 5), **options)
        out = None if result is None else np.empty(expected.shape, result)
        found = ra.roi_align(maps, boxes(), (7, 5), out=out, **options)
        with np.errstate(over="ignore"):
            assert_same_bits(found, expected.astype(result or "float32"))


@pytest.mark.parametrize("dtype", [*INTEGERS, "float16"])
@pytest.mark.parametrize("variant", variants.promised())
@pytest.mark.parametrize("scratch_bytes", [None, 5000])
@pytest.mark.parametrize("order", ["tiled", "planar"])
def test_every_way_through_the_core_reads_all_types(order, scratch_bytes, variant, dtype):
    overrides = Overrides(order, scratch_bytes=scratch_bytes)
    ra.backends.register(CpuBackend("this way", variant, overrides))
    for maps in (maps_of(dtype), maps_of(dtype)[:, ::-1, ::2, 1::3]):
        for mode in ("avg", "max"):
            options = {"mode": mode, "convention": "detectron2", "backend": "this way"}
            found = ra.roi_align(maps, boxes(), 7, **options)
            expected = ra.roi_align(maps.astype("float32"), boxes(), 7, **options)
            with np.errstate(over="ignore"):
                assert_same_bits(found, expected.astype(found.dtype))


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("grads", FLOATS)
@pytest.mark.parametrize("by", ["cpu", "reference"])
def test_gradients_read_integer_features(by, grads, dtype):
    maps = maps_of(dtype)
    gradient = np.random.default_rng(2).standard_normal((20, 3, 7, 5)).astype(grads)
    options = {"wrt": ("features", "rois"), "mode": "max", "backend": by}
    converted = maps.astype("float64" if grads == "float64" else "float32")
    wide = gradient.astype(converted.dtype)
    found = ra.roi_align_backward(gradient, boxes(), maps.shape, features=maps, **options)
    expected = ra.roi_align_backward(wide, boxes(), maps.shape, features=converted, **options)
    assert_same_bits(found[0], expected[0].astype(grads))
    assert_same_bits(found[1], expected[1])


@pytest.mark.parametrize("by", ["cpu", "reference"])
@pytest.mark.parametrize("channels", [3, 20])
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_bfloat16_is_computed_in_float32_and_rounded_once(mode, channels, by):
    rng = np.random.default_rng(3)
    maps = rng.standard_normal((2, channels, 40, 50)).astype(BFLOAT16)
    maps[0, 0, :2] = [[np.nan], [np.inf]]
    grads = rng.standard_normal((20, channels, 7, 5)).astype(BFLOAT16)
    options = {"mode": mode, "convention": "detectron2", "backend": by}
    wide_maps, wide_grads = maps.astype("float32"), grads.astype("float32")
    pooled = ra.roi_align(maps, boxes(), (7, 5), **options)
    expected = ra.roi_align(wide_maps, boxes(), (7, 5), **options)
    assert_same_bits(pooled.view("u2"), expected.astype(BFLOAT16).view("u2"))
    options["wrt"] = ("features", "rois")
    found = ra.roi_align_backward(grads, boxes(), maps.shape, features=maps, **options)
    expected = ra.roi_align_backward(wide_grads, boxes(), maps.shape, features=wide_maps, **options)
    assert_same_bits(found[0].view("u2"), expected[0].astype(BFLOAT16).view("u2"))
    assert_same_bits(found[1], expected[1])


@pytest.mark.parametrize("dtype", ["i4", "u4", "i8", "c8", "O"])
def test_other_types_stay_refused(dtype):
    with pytest.raises(TypeError, match=r"^features must be float16, bfloat16, float32 or"):
        ra.roi_align(np.ones((1, 1, 4, 4), dtype), [[0, 0, 0, 2, 2]], 2)
    with pytest.raises(TypeError, match=r"^grad_output must be float16, bfloat16, float32 or"):
        ra.roi_align_backward(np.ones((1, 1, 2, 2), "u1"), [[0, 0, 0, 2, 2]], (1, 1, 4, 4))


def test_integers_are_not_pooled_to_integers():
    maps = np.ones((1, 1, 4, 4), np.uint8)
    out = np.empty((1, 1, 2, 2), np.uint8)
    with pytest.raises(ValueError, match=r"^out must have the dtype float32, got uint8"):
        ra.roi_align(maps, [[0, 0, 0, 2, 2]], 2, out=out)


@pytest.mark.parametrize("suffix", [".npy", ".zarr"])
def test_jobs_pool_integers(suffix, tmp_path, monkeypatch):
    pytest.importorskip("click", reason="needs the extra 'cli'")
    if suffix == ".zarr":
        zarr = pytest.importorskip("zarr", reason="needs the extra 'cli'")
    from tests.cli.job_commands import run

    monkeypatch.chdir(tmp_path)
    maps = maps_of("u1")
    if suffix == ".npy":
        np.save("maps.npy", maps)
    else:
        zarr.create_array("maps.zarr", data=maps, chunks=(1, 3, 20, 25))
    np.save("rois.npy", boxes())
    result = run("pool", f"maps{suffix}", "rois.npy", "-o", "out.npy")
    assert result.exit_code == 0, result.output
    assert_same_bits(np.load("out.npy"), ra.roi_align(maps.astype("f4"), boxes(), 7))


def test_dask_pools_integers():
    pytest.importorskip("dask", reason="needs the extra 'dask'")
    import dask.array as da

    from roialign_cy.dask import roi_align

    maps = maps_of("u1")
    pooled = roi_align(da.from_array(maps, chunks=(1, -1, -1, -1)), boxes(), 7)
    assert pooled.dtype == np.float32
    assert_same_bits(pooled.compute(), ra.roi_align(maps.astype("f4"), boxes(), 7))


def test_several_levels_of_integers():
    fine, coarse = maps_of("u1"), maps_of("u1")[:, :, ::2, ::2]
    options = {"spatial_scales": [1 / 4, 1 / 8], "convention": "detectron2"}
    rois = boxes() * [1, 4, 4, 4, 4]
    wide = [one.astype("f4") for one in (fine, coarse)]
    for backend in ("cpu", "reference"):
        found = ra.multiscale_roi_align([fine, coarse], rois, 7, backend=backend, **options)
        expected = ra.multiscale_roi_align(wide, rois, 7, backend=backend, **options)
        assert_same_bits(found, expected)


def test_integers_are_explained():
    maps = maps_of("u1")
    found = ra.explain(maps, boxes()[:1], 2, roi=0)
    np.testing.assert_array_equal(
        found.values, ra.explain(maps.astype("f4"), boxes()[:1], 2).values
    )
