"""A job of many steps gives the bits of one call, from every kind of file to every other."""

import os

import numpy as np
import pytest

import roialign_cy as ra
from roialign_cy import _jobs
from roialign_cy._arrays import nchw_shape
from roialign_cy._jobs.plan import Plan
from roialign_cy._spec import make_spec

from .job_cases import load, open_job, random_job, save


@pytest.fixture(autouse=True)
def do_not_wait_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.mark.parametrize("kind", [".npy", ".npz", ".zarr"])
@pytest.mark.parametrize("seed", range(30))
def test_random_jobs_equal_one_call(tmp_path, seed, kind):
    maps, rois, options = random_job(seed)
    np.save(tmp_path / "rois.npy", rois)
    out = tmp_path / ("out.zarr" if kind == ".zarr" else "out.npy")
    # Down to steps of one box and one channel; of Zarr, where each takes a while, not as far.
    memory = int(10 ** np.random.default_rng(seed).uniform(4 if kind == ".zarr" else 2, 7))
    path = save(tmp_path / f"maps{kind}", maps)
    with open_job(path, tmp_path / "rois.npy", options, memory) as job:
        _jobs.pool(job, out)
    expected = ra.roi_align(maps, rois, **options)
    np.testing.assert_array_equal(load(out), expected, strict=True)
    assert {file.name for file in tmp_path.iterdir()} == {path.name, out.name, "rois.npy"}


def test_random_jobs_have_many_steps_and_few():
    counts = []
    for seed in range(30):
        memory = int(10 ** np.random.default_rng(seed).uniform(2, 7))
        counts.append(len(plan_of(*random_job(seed), memory, copies=False)))
    assert sum(count > 5 for count in counts) >= 10
    assert sum(count == 1 for count in counts) >= 3


def plan_of(maps, rois, options, memory, copies):
    spec = make_spec(**options)
    return Plan(rois, nchw_shape(maps.shape, spec), maps.dtype.itemsize, spec, memory, copies)


@pytest.mark.parametrize("kind", [".npy", ".zarr"])
@pytest.mark.parametrize("dtype", [">f8", "<f8"])
def test_a_box_so_large_that_its_samples_are_rounded(tmp_path, kind, dtype):
    """Which rows it reads is what the core says: an estimate beside it went wrong by several."""
    maps = np.random.default_rng(1).standard_normal((1, 1, 40, 4)).astype(dtype)
    rois = np.array([[0, 0, -6.276489656797912e16, 4, 28.741201858061704]])
    np.save(tmp_path / "rois.npy", rois)
    options = {"output_size": (64, 1), "convention": "mmcv", "mode": "max", "layout": "NCHW"}
    options |= {"spatial_scale": 1.0, "sampling_ratio": None, "num_threads": None}
    path = save(tmp_path / f"maps{kind}", maps)
    with open_job(path, tmp_path / "rois.npy", options, 1 << 20) as job:
        _jobs.pool(job, tmp_path / "out.npy")
    np.testing.assert_array_equal(load(tmp_path / "out.npy"), ra.roi_align(maps, rois, **options))


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_every_box_and_channel_is_in_one_step(seed, copies):
    maps, rois, options = random_job(seed)
    plan = plan_of(maps, rois, options, 10_000, copies)
    channels = plan.shape[1]
    seen = np.zeros((len(rois), channels), int)
    for index in range(len(plan)):
        step = plan[index]
        assert (np.diff(step.boxes) > 0).all()
        seen[step.boxes, step.channels] += 1
        images = rois[step.boxes, 0]
        assert (images.min(), images.max() + 1) == (step.first_image, step.last_image)
        assert {span.image for span in step.spans} == set(images)
    assert (seen == 1).all()
    rows, cols = plan.spec.output_size
    assert sum(map(plan.cost, range(len(plan)))) == seen.size * rows * cols


@pytest.mark.parametrize("copies", [False, True])
def test_a_step_stays_within_its_budget(copies):
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 900, (500, 2))
    rois = np.hstack(
        [rng.integers(0, 3, (500, 1)), corners, corners + rng.uniform(0, 60, (500, 2))]
    )
    options = dict.fromkeys(("sampling_ratio", "mode", "num_threads"))
    options |= {"output_size": 7, "convention": "mmcv", "spatial_scale": 1.0, "layout": "NCHW"}
    maps = np.broadcast_to(np.float32(0), (3, 64, 1000, 1000))
    budget = 20 << 20
    plan = plan_of(maps, rois, options, budget, copies)
    assert len(plan) > 20
    for index in range(len(plan)):
        step = plan[index]
        channels = step.channels.stop - step.channels.start
        read = sum(span.bottom - span.top for span in step.spans) * 1000 * 4 * channels
        assert read * (1 + copies) <= budget // 2
        assert len(step.boxes) * channels * 49 * 4 <= budget // 2
    # And makes use of it: boxes that lie apart on a map of small rows come in few steps.
    assert len(plan_of(maps[..., :10], rois, options, budget, copies)) < 20


@pytest.mark.parametrize("seed", range(30))
def test_boxes_read_nothing_beside_the_spans_of_their_step(seed):
    maps, rois, options = random_job(seed)
    expected = ra.roi_align(maps, rois, **options)
    for step in map(plan_of(maps, rois, options, 30_000, True).__getitem__, range(3)):
        masked = np.full_like(maps, np.nan)
        for image, top, bottom in step.spans:
            rows = (image, slice(None), slice(top, bottom))
            if options["layout"] == "NHWC":
                rows = (image, slice(top, bottom))
            masked[rows] = maps[rows]
        pooled = ra.roi_align(masked, rois[step.boxes], **options)
        np.testing.assert_array_equal(pooled, expected[step.boxes])
