"""`roialign_cy.dask`: the bits of one call, however the maps are cut and whoever computes."""

import doctest
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import roialign_cy as ra

dask = pytest.importorskip("dask", reason="needs the extra 'dask'")
da = pytest.importorskip("dask.array", reason="needs the extra 'dask'")

import roialign_cy.dask as roialign_dask  # noqa: E402
from roialign_cy.dask import multiscale_roi_align, roi_align  # noqa: E402

MMCV = {"output_size": (3, 2), "convention": "mmcv", "spatial_scale": 0.5}


def inputs(counts=(3, 0, 7, 1, 20), dtype=np.float32):
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((len(counts), 10, 20, 24)).astype(dtype)
    boxes = []
    for count in counts:
        corners = rng.uniform(-5, 40, (count, 2))
        boxes.append(np.hstack([corners, corners + rng.uniform(0, 30, (count, 2))]))
    return maps, boxes


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("chunks", [(1, 10, 20, 24), (2, 3, 7, 24), (5, 10, 20, 5), (5, 1, 1, 1)])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_bits_are_those_of_one_call(layout, chunks, scheduler):
    maps, boxes = inputs()
    if layout == "NHWC":
        maps = maps.transpose(0, 2, 3, 1)
        chunks = tuple(chunks[axis] for axis in (0, 2, 3, 1))
    expected = ra.roi_align(maps, boxes, **MMCV, layout=layout)
    pooled = roi_align(da.from_array(maps, chunks), boxes, **MMCV, layout=layout)
    assert pooled.shape == expected.shape
    assert pooled.dtype == expected.dtype
    result = pooled.compute(scheduler=scheduler)
    np.testing.assert_array_equal(result, expected, strict=True)


def test_chunks_are_those_of_images_and_channels():
    maps, boxes = inputs()
    lazy = da.from_array(maps, (2, 3, 7, 24))
    assert roi_align(lazy, boxes, **MMCV).chunks == ((3, 8, 20), (3, 3, 3, 1), (3,), (2,))
    nhwc = da.from_array(maps.transpose(0, 2, 3, 1), (2, 7, 24, 3))
    pooled = roi_align(nhwc, boxes, **MMCV, layout="NHWC")
    assert pooled.chunks == ((3, 8, 20), (3,), (2,), (3, 3, 3, 1))


def test_nothing_is_computed_before_it_is_asked_for():
    _, boxes = inputs()
    maps = da.map_blocks(lambda: 1 / 0, chunks=((1,) * 5, (10,), (20,), (24,)), dtype=np.float32)
    pooled = roi_align(maps, boxes, **MMCV)
    with pytest.raises(ZeroDivisionError):
        pooled.compute()


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
def test_dtypes(dtype):
    maps, boxes = inputs(dtype=dtype)
    pooled = roi_align(da.from_array(maps, (2, 3, 20, 24)), boxes, **MMCV)
    expected = ra.roi_align(maps, boxes, **MMCV)
    assert pooled.dtype == expected.dtype
    np.testing.assert_array_equal(pooled.compute(), expected, strict=True)


def test_dtypes_of_boxes_are_promoted_as_in_one_call():
    # 7.0000005 cells are 8 samples in float64 and 7 in float32, of whole images' boxes.
    maps, _ = inputs((1, 1))
    boxes = [np.array([[0, 0, 7.0000002, 7]]), np.array([[0, 0, 3, 3]], np.float32)]
    options = {"output_size": 1, "convention": "torchvision"}
    expected = ra.roi_align(maps, boxes, **options)
    alone = ra.roi_align(maps[:1], [boxes[0].astype(np.float32)], **options)
    assert not np.array_equal(alone, expected[:1])
    for make in (lambda entry: entry, dask.delayed):
        lazy = [make(entry.astype(np.float32) if index else entry) for index, entry
                in enumerate(boxes)]  # fmt: skip
        pooled = roi_align(da.from_array(maps, (1, 10, 20, 24)), lazy, **options)
        np.testing.assert_array_equal(pooled.compute(), expected)


def test_lazy_boxes():
    maps, boxes = inputs()
    lazy = da.from_array(maps, (2, 10, 20, 24))
    expected = ra.roi_align(maps, boxes, **MMCV)
    delayed = roi_align(lazy, [dask.delayed(entry) for entry in boxes], **MMCV)
    assert np.isnan(delayed.chunks[0]).all()
    np.testing.assert_array_equal(delayed.compute(), expected)
    mixed = [da.from_array(boxes[0]), [], *boxes[2:]]
    known = roi_align(lazy, mixed, **MMCV)
    assert known.chunks[0] == (3, 8, 20)
    np.testing.assert_array_equal(known.compute(), expected)


@pytest.mark.parametrize("kinds", [*product([da.from_array, dask.delayed, np.array], repeat=3)])
def test_lazy_boxes_of_several_kinds_stay_in_order(kinds):
    maps, boxes = inputs((2, 2, 2))
    lazy = [kind(entry) for kind, entry in zip(kinds, boxes, strict=True)]
    pooled = roi_align(da.from_array(maps), lazy, **MMCV)
    np.testing.assert_array_equal(pooled.compute(), ra.roi_align(maps, boxes, **MMCV))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_names_are_the_same_for_the_same_call(layout):
    maps, boxes = inputs((1, 2))
    lazy = da.from_array(maps, (1, 10, 20, 24))
    if layout == "NHWC":
        lazy = lazy.transpose(0, 2, 3, 1)
    later = [dask.delayed(boxes[0], pure=True), da.from_array(boxes[1])]
    for entries in (boxes, later):
        one, same = (roi_align(lazy, entries, **MMCV, layout=layout) for _ in range(2))
        assert one.name == same.name
        if entries is boxes:  # Dask's own task that finishes lazy ones is another each time
            assert set(one.dask) == set(same.dask)
        other = roi_align(lazy, entries, **(MMCV | {"spatial_scale": 0.25}), layout=layout)
        assert one.name != other.name


def of_unknown_size(axis):
    maps = da.ones((2, 3, 8, 9))
    return maps[(slice(None),) * axis + (da.from_array(np.ones(maps.shape[axis], bool)),)]


def test_an_unknown_number_of_channels():
    pooled = roi_align(of_unknown_size(1), [[[0, 0, 3, 3]], []], 2)
    assert pooled.compute().shape == (1, 3, 2, 2)


def test_no_boxes_and_no_images():
    maps, _ = inputs((0, 0))
    assert roi_align(da.from_array(maps), [[], []], 7).compute().shape == (0, 10, 7, 7)
    assert roi_align(da.from_array(maps[:0]), [], 7).compute().shape == (0, 10, 7, 7)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"features": np.ones((1, 1, 4, 4))}, TypeError, "features must be a Dask array"),
        ({"features": da.ones((1, 4, 4))}, ValueError, "four axes"),
        ({"features": da.ones((1, 1, 4, 4), dtype=int)}, TypeError, "astype"),
        ({"features": of_unknown_size(0)}, ValueError,
            r"known number of images: call compute_chunk_sizes\(\)"),
        ({"features": of_unknown_size(2)}, ValueError, "maps of a known size"),
        ({"features": of_unknown_size(3)}, ValueError, "maps of a known size"),
        ({"features": da.ones((2, 1, 4, 4)), "rois_per_image": [da.ones(()), []]}, ValueError,
            r"rois_per_image\[0\] .* \(K, 4\), got \(\)"),
        ({"features": da.ones((2, 1, 4, 4)), "rois_per_image": [da.ones((1, 4)), 5]}, ValueError,
            r"rois_per_image\[1\] .* \(K, 4\), got \(\)"),
        ({"rois_per_image": np.ones((1, 1, 4))}, ValueError,
            r"^rois_per_image must have the shape \(K, 5\), got \(1, 1, 4\)"),
        ({"rois_per_image": np.ones((1, 4))}, ValueError, r"^rois_per_image .*\[rois_per_image\]$"),
        ({"rois_per_image": da.ones((1, 5))}, TypeError,
            "^rois_per_image must be known, or a list with the lazy boxes of each image, got A"),
        ({"rois_per_image": dask.delayed([])}, TypeError, "^rois_per_image must be known"),
        ({"rois_per_image": [[1, 0, 0, 1, 1]]}, ValueError,
            r"^rois_per_image\[0, 0\] must be the index of an image"),
        ({"rois_per_image": [[0, 0, 0, 1, np.inf]]}, ValueError,
            r"^rois_per_image\[0\] must be finite"),
        ({"rois_per_image": [np.ma.ones((1, 4))]}, TypeError, r"^rois_per_image\[0\] .* a mask"),
        ({"rois_per_image": np.ma.ones((1, 5))}, TypeError, r"^rois_per_image .* a mask"),
        ({"features": da.ma.masked_equal(da.ones((1, 1, 4, 4)), 1)}, TypeError,
            "^features must be without a mask"),
        ({"sampling_ratio": -2}, ValueError, "sampling_ratio"),
        ({"rois_per_image": [[], []]}, ValueError, "expected 1, got 2"),
        ({"rois_per_image": [[[0, 0, 1, np.nan]]]}, ValueError,
            r"^rois_per_image\[0\]\[0\] must be finite"),
        ({"rois_per_image": [[[0, 0, 1]]]}, ValueError, r"rois_per_image\[0\] .* \(K, 4\)"),
        ({"rois_per_image": [[0, 0, 1, 1]]}, ValueError, r"^rois_per_image .*, got \(1, 4\)"),
        ({"output_size": 0}, ValueError, "output_size"),
        ({"num_threads": 0}, ValueError, "num_threads"),
        ({"mode": "mean"}, ValueError, "mode must be one of"),
    ],
)  # fmt: skip
def test_bad_arguments(change, error, text):
    arguments = {"features": da.ones((1, 1, 4, 4)), "rois_per_image": [[]], "output_size": 2}
    with pytest.raises(error, match=text):
        roi_align(**(arguments | change))


def test_bad_lazy_boxes():
    bad = dask.delayed([[0, 0, 2, 2], [0, 0, 1, np.nan]])
    pooled = roi_align(da.ones((2, 1, 4, 4)), [[[0, 0, 1, 1]], bad], 2)
    with pytest.raises(ValueError, match=r"^rois_per_image\[1\]\[1\] must be finite"):
        pooled.compute()
    for entry in np.ma.ones((1, 4)), [0, 0, 0, 1, 1]:  # a row with an index is no entry
        pooled = roi_align(da.ones((1, 1, 4, 4)), [dask.delayed(entry)], 2)
        with pytest.raises((TypeError, ValueError), match=r"^rois_per_image\[0\] must"):
            pooled.compute()


# Rows with the index of their image


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("form", [np.asarray, np.ndarray.tolist])
def test_rows_with_an_index_give_the_bits_of_one_call(form, layout):
    maps, boxes = inputs()
    if layout == "NHWC":
        maps = maps.transpose(0, 2, 3, 1)
    lazy = da.from_array(maps, (2, *maps.shape[1:]))
    rows = ra.boxes.from_list(boxes)
    pooled = roi_align(lazy, form(rows), **MMCV, layout=layout)
    assert pooled.chunks[0] == (3, 8, 20)
    expected = ra.roi_align(maps, rows, **MMCV, layout=layout)
    np.testing.assert_array_equal(pooled.compute(), expected, strict=True)

    mixed = rows[np.random.default_rng(1).permutation(len(rows))]
    pooled = roi_align(lazy, form(mixed), **MMCV, layout=layout)
    assert pooled.shape == expected.shape
    expected = ra.roi_align(maps, mixed, **MMCV, layout=layout)
    np.testing.assert_array_equal(pooled.compute(), expected, strict=True)


@pytest.mark.parametrize("none", [[], np.empty((0, 5)), np.empty((0, 4)), np.array([])], ids=repr)
def test_rows_of_nothing(none):
    assert roi_align(da.ones((2, 1, 4, 4)), none, 7).compute().shape == (0, 1, 7, 7)


def test_ratio_of_minus_one_is_that_of_zero():
    maps, boxes = inputs()
    lazy = da.from_array(maps, (1, 10, 20, 24))
    one, other = (roi_align(lazy, boxes, **MMCV, sampling_ratio=ratio) for ratio in (-1, 0))
    np.testing.assert_array_equal(one.compute(), other.compute())


# Several maps


PYRAMID = {"output_size": (3, 2), "convention": "detectron2", "spatial_scales": (1 / 4, 1 / 8)}


def pyramid(counts=(3, 0, 7, 1, 20)):
    """Two levels, and boxes that are for either."""
    rng = np.random.default_rng(1)
    maps = [
        rng.standard_normal((len(counts), 10, *size), np.float32) for size in ((40, 48), (20, 24))
    ]
    boxes = []
    for count in counts:
        corners = rng.uniform(-20, 150, (count, 2))
        sizes = rng.choice([40, 200], (count, 1)) * rng.uniform(0.5, 1, (count, 2))
        boxes.append(np.hstack([corners, corners + sizes]))
    return maps, boxes


@pytest.mark.parametrize("chunks", [((1, 10), (1, 10)), ((2, 3), (5, 10)), ((5, 4), (3, 6))])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_bits_of_several_maps_are_those_of_one_call(layout, chunks):
    maps, boxes = pyramid()
    assert set(ra.assign_levels(boxes, PYRAMID["spatial_scales"])) == {0, 1}
    if layout == "NHWC":
        maps = [array.transpose(0, 2, 3, 1) for array in maps]
    lazy = [
        da.from_array(array, (n, c, 7, 8) if layout == "NCHW" else (n, 7, 8, c))
        for array, (n, c) in zip(maps, chunks, strict=True)
    ]
    expected = ra.multiscale_roi_align(maps, boxes, **PYRAMID, layout=layout)
    pooled = multiscale_roi_align(lazy, boxes, **PYRAMID, layout=layout)
    assert (pooled.shape, pooled.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(pooled.compute(), expected, strict=True)
    later = multiscale_roi_align(lazy, [dask.delayed(e) for e in boxes], **PYRAMID, layout=layout)
    np.testing.assert_array_equal(later.compute(), expected, strict=True)


@pytest.mark.parametrize("is_lazy", [False, True])
def test_levels_of_the_callers_own(is_lazy):
    maps, boxes = pyramid()
    lazy = [da.from_array(array, (2, 5, -1, -1)) for array in maps]
    levels = np.arange(31) % 2
    scales = {"spatial_scales": (0.3, 0.2)}
    rows = boxes if not is_lazy else [da.from_array(entry) for entry in boxes]
    pooled = multiscale_roi_align(lazy, rows, **PYRAMID | scales, levels=levels)
    expected = ra.multiscale_roi_align(maps, boxes, **PYRAMID | scales, levels=levels)
    np.testing.assert_array_equal(pooled.compute(), expected)


def test_levels_of_rows_in_any_order():
    maps, boxes = pyramid()
    rng = np.random.default_rng(2)
    rows = np.vstack([np.insert(entry, 0, image, axis=1) for image, entry in enumerate(boxes)])
    rng.shuffle(rows)
    levels = rng.integers(0, 2, len(rows))
    lazy = [da.from_array(array, (2, 10, -1, -1)) for array in maps]
    for given in (None, levels):
        pooled = multiscale_roi_align(lazy, rows, **PYRAMID, levels=given)
        expected = ra.multiscale_roi_align(maps, rows, **PYRAMID, levels=given)
        np.testing.assert_array_equal(pooled.compute(), expected)


def test_the_rule_is_the_calls():
    maps, boxes = pyramid()
    lazy = [da.from_array(array) for array in maps]
    rule = {"level_rule": "mmdet", "canonical_size": 300}
    pooled = multiscale_roi_align(lazy, boxes, **PYRAMID, **rule)
    expected = ra.multiscale_roi_align(maps, boxes, **PYRAMID, **rule)
    np.testing.assert_array_equal(pooled.compute(), expected)
    assert not np.array_equal(expected, ra.multiscale_roi_align(maps, boxes, **PYRAMID))


def test_one_map_is_a_pyramid_too():
    maps, boxes = pyramid()
    options = PYRAMID | {"spatial_scales": (1 / 4,)}
    pooled = multiscale_roi_align([da.from_array(maps[0])], boxes, **options)
    expected = ra.multiscale_roi_align(maps[:1], boxes, **options)
    np.testing.assert_array_equal(pooled.compute(), expected)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"features": None}, TypeError, "features must be a list with an array for each map"),
        ({"features": []}, ValueError, "features must have an entry for each of the 2"),
        ({"coarse": np.zeros((5, 10, 20, 24))}, TypeError, r"features\[1\] must be a Dask array"),
        (
            {"coarse": da.zeros((5, 9, 20, 24), dtype="f4")},
            ValueError,
            r"features\[1\] must have the",
        ),
        (
            {"coarse": da.zeros((4, 10, 20, 24), dtype="f4")},
            ValueError,
            r"features\[1\] must have th",
        ),
        ({"coarse": da.zeros((5, 10, 20, 24))}, TypeError, r"features\[1\] must have the dtype of"),
        ({"spatial_scales": (0.3, 0.2)}, ValueError, "spatial_scales must be powers of two"),
        ({"levels": [0, 1]}, ValueError, "levels must have an entry per box"),
        ({"levels": np.full(31, 2)}, ValueError, r"levels\[0\] must be the index of a map"),
        ({"canonical_size": -1}, ValueError, "canonical_size must be > 0"),
    ],
)
def test_bad_arguments_of_several_maps(change, error, text):
    maps, boxes = pyramid()
    fine, coarse = map(da.from_array, maps)
    arguments = {"features": [fine, change.pop("coarse", coarse)]} | PYRAMID | change
    with pytest.raises(error, match=f"^{text}"):
        multiscale_roi_align(arguments.pop("features"), boxes, **arguments)


def test_block_of_a_level_of_another_shape_is_refused():
    maps, boxes = pyramid((1, 2))
    wrong = blocks((1, 10, 19, 24), told=(1, 10, 20, 24))
    pooled = multiscale_roi_align(
        [da.from_array(maps[0], (1, 10, -1, -1)), wrong], boxes, **PYRAMID
    )
    with pytest.raises(
        ValueError, match=r"^features\[1\] must have blocks of .* \(1, 10, 20, 24\)"
    ):
        pooled.compute()


# Blocks that are not what Dask was told


def blocks(shape, dtype=np.float32, told=(1, 3, 8, 9)):
    """Two blocks, of a shape and dtype that may be others than Dask is told."""
    chunks = ((told[0],) * 2, *((size,) for size in told[1:]))
    return da.map_blocks(lambda: np.ones(shape, dtype), chunks=chunks, dtype=np.float32)


@pytest.mark.parametrize(
    "shape",
    [(1, 3, 8, 5), (1, 3, 4, 9), (1, 2, 8, 9), (2, 3, 8, 9), (0, 3, 8, 9), (3, 8, 9)],
    ids=str,
)
def test_block_of_another_shape_is_refused(shape):
    boxes = [[[0, 0, 3, 3]]] * 2
    assert roi_align(blocks((1, 3, 8, 9)), boxes, 2).compute().shape == (2, 3, 2, 2)
    text = r"^features must have blocks of the shapes that their chunks say: \(1, 3, 8, 9\)"
    with pytest.raises(ValueError, match=text) as info:
        roi_align(blocks(shape), boxes, 2).compute()
    assert f"got {shape}" in str(info.value)


def test_block_of_another_dtype_is_refused():
    with pytest.raises(ValueError, match=r"^features must have blocks of .* float32, got float64"):
        roi_align(blocks((1, 3, 8, 9), np.float64), [[[0, 0, 3, 3]]] * 2, 2).compute()


def test_lazy_boxes_of_another_number_are_refused():
    boxes = da.map_blocks(lambda: np.ones((3, 4)), chunks=((2,), (4,)), dtype=float)
    pooled = roi_align(da.ones((2, 1, 4, 4)), [[], boxes], 2)
    with pytest.raises(ValueError, match=r"^rois_per_image\[1\] must have as many .*: 2, got 3"):
        pooled.compute()


@pytest.mark.parametrize("given", [None, 3])
def test_threads_of_a_task(monkeypatch, given):
    maps, boxes = inputs()
    seen = []

    def call(features, rois, **options):
        seen.append(options["num_threads"])
        return call_itself(features, rois, **options)

    call_itself = ra.roi_align
    monkeypatch.setattr(ra, "roi_align", call)
    monkeypatch.setattr(ra, "get_num_threads", lambda: 8)
    pooled = roi_align(da.from_array(maps, (1, 10, 20, 24)), boxes, **MMCV, num_threads=given)
    pooled.compute(scheduler="synchronous")
    assert seen == [given or 8] * 5
    seen.clear()
    with dask.config.set(num_workers=4):
        pooled.compute(scheduler="threads")
    assert seen == [given or 2] * 5


def test_threads_of_a_worker(monkeypatch):
    distributed = pytest.importorskip("distributed", reason="needs the extra 'dask'")

    class Worker:
        class state:
            nthreads = 3

    monkeypatch.setattr(distributed, "get_worker", Worker)
    monkeypatch.setattr(ra, "get_num_threads", lambda: 8)
    assert roialign_dask.share_of_threads() == 2
    monkeypatch.setattr(ra, "get_num_threads", lambda: 1)
    assert roialign_dask.share_of_threads() == 1


def test_docstring():
    assert doctest.testmod(roialign_dask).failed == 0


def test_the_cluster_example(tmp_path):
    """Three processes, one of which is killed."""
    for package in ("distributed", "skimage", "zarr"):
        pytest.importorskip(package, reason="needs the extra 'dask' and scikit-image")
    program = Path(__file__).parents[2] / "examples" / "dask_cluster.py"
    command = [sys.executable, program, "--maps", "12", "--boxes", "200"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the same bits as one call") == 3
    assert "3 workers, one killed" in done.stdout


def test_the_page(tmp_path, monkeypatch, capsys):
    for package in ("skimage", "zarr"):
        pytest.importorskip(package, reason="needs the extra 'dask' and scikit-image")
    page = (Path(__file__).parents[2] / "docs" / "dask.md").read_text()
    (program,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(program, {})
    printed = re.findall(r"print\(.*\)  # (.*)", program)
    assert len(printed) == 2
    assert capsys.readouterr().out.splitlines() == printed
