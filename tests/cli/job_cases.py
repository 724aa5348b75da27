"""Random jobs, their files, and what one call makes of them."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import roialign_cy as ra
from roialign_cy import _jobs
from tests.allowed import allowed

CONVENTIONS = [*ra.CONVENTIONS]
NEEDS_ZARR = "needs the extra 'cli'"
DTYPES = ["float16", "float32", "float64", ">f4"]


def random_job(seed: int):
    """Maps, boxes and options of a small job, of anything a call takes."""
    rng = np.random.default_rng(seed)
    n, c = rng.integers(1, 6), rng.integers(1, 40)
    h, w = rng.integers(1, 70, 2)
    layout = rng.choice(["NCHW", "NHWC"])
    shape = (n, c, h, w) if layout == "NCHW" else (n, h, w, c)
    maps = rng.standard_normal(shape).astype(rng.choice(DTYPES))
    scale = float(rng.choice([1, 0.25, 1.7]))
    boxes = rng.integers(0, 60)
    corners = rng.uniform(-0.3, 1.1, (boxes, 2)) * [w, h] / scale
    sizes = rng.choice([0.05, 0.3, 1.5], (boxes, 1)) * rng.uniform(-0.1, 1, (boxes, 2)) * [w, h]
    rois = np.hstack([rng.integers(0, n, (boxes, 1)), corners, corners + sizes / scale])
    options = {
        "output_size": tuple(rng.integers(1, 8, 2).tolist()),
        "convention": str(rng.choice(CONVENTIONS)),
        "spatial_scale": scale,
        "sampling_ratio": [None, 2, (1, 3)][rng.integers(3)],
        "mode": [None, "avg", "max"][rng.integers(3)],
        "layout": str(layout),
        "num_threads": None,
    }
    return maps, rois.astype(rng.choice(["float32", "float64"])), allowed(options)


def save(path: Path, maps: np.ndarray) -> Path:
    """Write maps to a file of the kind that its name says."""
    if path.suffix == ".zarr":
        zarr = pytest.importorskip("zarr", reason=NEEDS_ZARR)
        chunks = tuple(max(size // 2, 1) for size in maps.shape)
        zarr.create_array(path, data=maps, chunks=chunks)
    elif path.suffix == ".npz":
        np.savez_compressed(path, maps)
    else:
        np.save(path, maps)
    return path


def load(path: Path) -> np.ndarray:
    """Read a result."""
    if path.suffix == ".zarr":
        return pytest.importorskip("zarr", reason=NEEDS_ZARR).open_array(path, mode="r")[...]
    return np.load(path)


@contextmanager
def open_job(maps: Path, rois: Path, options: dict, memory_bytes: int, backend: str | None = None):
    """Open files as a job."""
    boxes = _jobs.read_boxes(rois)
    options = {**options}
    scales = (options.pop("spatial_scale"),)
    with _jobs.open_features(maps, options["layout"], None, 1 << 20) as features:
        yield _jobs.Job((features,), boxes, options, scales, None, backend, memory_bytes)
