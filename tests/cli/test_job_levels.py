"""`roialign pool` and `compare` of several maps: the levels of a pyramid."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("click", reason="the extra 'cli' is not installed")
pytest.importorskip("rich", reason="the extra 'cli' is not installed")

import roialign_cy as ra
from roialign_cy import _jobs

from .job_cases import NEEDS_ZARR, load
from .job_commands import assert_refused, interrupted, names, pool, run

SCALES = (1 / 4, 1 / 8, 1 / 16)
FILES = ("p2.npy", "p3.npy", "p4.npy")
PYRAMID = (*FILES, "rois.npy", "-o", "out.npy")
EACH_SCALE = tuple(text for scale in SCALES for text in ("--spatial-scale", scale))
OPTIONS = ("--convention", "detectron2", "--output-size", "7x5", *EACH_SCALE)


@pytest.fixture(autouse=True)
def maps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    maps = [rng.standard_normal((2, 20, 96 >> k, 120 >> k), np.float32) for k in range(3)]
    for name, array in zip(FILES, maps, strict=True):
        np.save(name, array)
    return maps


@pytest.fixture(autouse=True)
def rois(maps):
    rng = np.random.default_rng(1)
    corners = rng.uniform(-20, 400, (60, 2))
    sizes = rng.choice([20, 90, 200, 400], (60, 1)) * rng.uniform(0.5, 1, (60, 2))
    rois = np.hstack([rng.integers(0, 2, (60, 1)), corners, corners + sizes])
    np.save("rois.npy", rois)
    return rois


def expected(maps, rois, **options):
    options = {"spatial_scales": SCALES, "convention": "detectron2"} | options
    return ra.multiscale_roi_align(maps, rois, (7, 5), **options)


@pytest.mark.parametrize("memory", ["1", "256"])
@pytest.mark.parametrize("suffix", [".npy", ".zarr"])
def test_it_has_the_bits_of_one_call(maps, rois, suffix, memory):
    files = list(FILES)
    if suffix == ".zarr":
        zarr = pytest.importorskip("zarr", reason=NEEDS_ZARR)
        files[0] = "p2.zarr"
        zarr.create_array("p2.zarr", data=maps[0], chunks=(1, 8, 96, 120))
    done = pool(*files, "rois.npy", "-o", f"out{suffix}", "--memory", memory, *OPTIONS)
    assert f"out{suffix}: 60 x 20 x 7 x 5, float32" in done.stdout
    np.testing.assert_array_equal(load(Path(f"out{suffix}")), expected(maps, rois))


def test_the_boxes_are_of_several_levels(rois):
    assert set(ra.assign_levels(rois, SCALES)) == {0, 1, 2}


def test_the_rule_is_the_calls(maps, rois):
    rule = {"level_rule": "mmdet", "canonical_size": 150.0}
    pool(*PYRAMID, *OPTIONS, "--level-rule", "mmdet", "--canonical-size", "150")
    np.testing.assert_array_equal(np.load("out.npy"), expected(maps, rois, **rule))
    pool(*PYRAMID, *OPTIONS, "--canonical-level", "2.5", "--overwrite")
    np.testing.assert_array_equal(np.load("out.npy"), expected(maps, rois, canonical_level=2.5))


def test_levels_of_the_callers_own(maps, rois):
    levels = np.arange(len(rois)) % 3
    np.save("levels.npy", levels)
    scales = (0.3, 0.2, 0.1)
    each = [text for scale in scales for text in ("--spatial-scale", scale)]
    pool(*PYRAMID, *OPTIONS[:4], *each, "--levels", "levels.npy")
    own = expected(maps, rois, spatial_scales=scales, levels=levels)
    np.testing.assert_array_equal(np.load("out.npy"), own)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_run_of_several_maps_goes_on(maps, rois, layout):
    if layout == "NHWC":
        for name, array in zip(FILES, maps, strict=True):
            np.save(name, array.transpose(0, 2, 3, 1))
    # Small boxes make few steps: their sections take the memory.
    steps = (*PYRAMID, *OPTIONS[:2], "--output-size", "48", *EACH_SCALE, "--layout", layout)
    interrupted(*steps, "--memory", "1", after=4)
    result = run("pool", *steps, "--memory", "1", "--resume", "--canonical-size", "90")
    assert_refused(result, "differs in levels")
    pool(*steps, "--memory", "1", "--resume")
    if layout == "NHWC":
        maps = [array.transpose(0, 2, 3, 1) for array in maps]
    own = ra.multiscale_roi_align(
        maps, rois, 48, spatial_scales=SCALES, convention="detectron2", layout=layout
    )
    np.testing.assert_array_equal(np.load("out.npy"), own)
    assert names() == {*FILES, "out.npy"}


def test_steps_are_bounded(maps, rois):
    """No step reads more of its map, or writes more, than half of what it may."""
    with pytest.MonkeyPatch.context() as patch:
        sizes = []
        call = _jobs.Job.call

        def note(self, features, rois, *more):
            pooled = call(self, features, rois, *more)
            sizes.append(pooled.nbytes)
            return pooled

        patch.setattr(_jobs.Job, "call", note)
        pool(*PYRAMID, *OPTIONS[:2], "--output-size", "48", *EACH_SCALE, "--memory", "1")
    assert len(sizes) > 6
    assert max(sizes) <= 1 << 19


def test_it_names_the_maps_that_a_hint_is_about():
    boxes = np.array([[0, 0, 0, 50, 50], [0, 20_000, 20_000, 20_100, 20_100]])
    np.save("rois.npy", boxes)
    result = pool(*PYRAMID, *OPTIONS)
    assert "rois.npy: p2.npy: 1 of 2 boxes" in result.stderr


def test_compare_takes_several_maps():
    result = run("compare", *FILES, "rois.npy", *OPTIONS, "--rounds", "1")
    assert result.exit_code == 0, result.output
    assert "cpu" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((*PYRAMID, "--spatial-scale", "1"), "--spatial-scale must be given once for each of 3"),
        (("p2.npy", "rois.npy", "-o", "out.npy", *EACH_SCALE), "for each of 1 FEATURES, got 3"),
        ((*PYRAMID, "--spatial-scale", ".3", *EACH_SCALE[:4]), "must be powers of two"),
        ((*PYRAMID, *OPTIONS, "--canonical-size", "0"), "canonical_size must be > 0"),
        ((*PYRAMID, *OPTIONS, "--levels", "rois.npy"), "levels must be integers"),
        ((*PYRAMID, *OPTIONS, "--levels", "none.npy"), "none.npy"),
    ],
)
def test_what_is_wrong_with_the_levels_is_said(arguments, text):
    result = run("pool", *arguments)
    assert result.exit_code == 2
    assert text in result.stderr
    assert names() == {*FILES}


@pytest.mark.parametrize("swapped", [0, 1])
def test_maps_may_differ_in_byte_order(maps, rois, swapped):
    np.save(FILES[swapped], maps[swapped].astype(">f4"))
    pool(*PYRAMID, *OPTIONS)
    np.testing.assert_array_equal(np.load("out.npy"), expected(maps, rois))


@pytest.mark.parametrize(
    "other", [np.zeros((2, 19, 9, 9), "f4"), np.zeros((1, 20, 9, 9), "f4"), np.zeros((2, 20, 9, 9))]
)
def test_maps_must_be_alike(other):
    np.save("p3.npy", other)
    result = run("pool", *PYRAMID, *OPTIONS)
    assert_refused(result, "'p3.npy' must have the images, channels and dtype of 'p2.npy'")


@pytest.mark.parametrize("name", FILES)
def test_no_map_is_written_over(name):
    result = run("pool", *FILES, "rois.npy", "-o", name, *OPTIONS, "--overwrite")
    assert_refused(result, "is one of the inputs")
