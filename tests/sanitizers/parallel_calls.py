"""Every parallel way through the core, for ThreadSanitizer: see .ci/sanitize."""

import itertools
import sys

import numpy as np

import roialign_cy as ra
from roialign_cy._core import variants
from roialign_cy.backends.cpu import CpuBackend, Overrides

THREADS = 4
RNG = np.random.default_rng(0)
BOXES = 130  # enough for threads to make their tables
CORNERS = RNG.uniform(-5, 30, (BOXES, 2))
ROIS = np.column_stack(
    [RNG.integers(0, 2, BOXES), CORNERS, CORNERS + RNG.uniform(0, 25, (BOXES, 2))]
).astype(np.float32)


def maps(dtype, channels, layout):
    shape = (2, channels, 32, 30) if layout == "NCHW" else (2, 32, 30, channels)
    return RNG.standard_normal(shape).astype(dtype)


def calls(backend):
    """Make the calls on a backend; gives how many."""
    number = 0
    for dtype, channels, layout, convention, mode in itertools.product(
        (np.float32, np.float64, np.float16),
        (2, 20),
        ("NCHW", "NHWC"),
        ("document", "detectron2"),
        ("avg", "max", "max_weighted"),
    ):
        features = maps(dtype, channels, layout)
        options = {"convention": convention, "mode": mode, "layout": layout}
        options |= {"backend": backend, "num_threads": THREADS}
        pooled = ra.roi_align(features, ROIS, (3, 4), **options)
        number += 1
        if mode != "max_weighted":
            wrt = ("features", "rois")
            ra.roi_align_backward(
                pooled, ROIS, features.shape, features=features, wrt=wrt, **options
            )
            number += len(wrt)
    ra.roi_pool(maps(np.float32, 20, "NCHW"), ROIS, 7, num_threads=THREADS)
    return number + 1


total = 0
for variant in variants.promised():
    for order, splits in itertools.product(("tiled", "planar"), (None, 3)):
        name = f"{variant}, {order}, {splits}"
        overrides = Overrides(order=order, parallel=True, splits=splits)
        ra.backends.register(CpuBackend(name, variant, overrides))
        total += calls(name)
sys.stdout.write(f"{total} calls\n")
