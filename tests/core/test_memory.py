"""Memory beyond input and output is bounded, whatever the size of the map."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

import roialign_cy as ra

MIB = 1 << 20
THREADS = 2
SCRATCH = 32 * MIB  # of each thread
TABLES = 24 * MIB  # a batch of boxes' tables, and the rest of the process

# A map of 1 GiB whose pages are never written: reading them takes no memory of the process, so
# that what its peak grows by is the library's own.
PROGRAM = """
import resource
import numpy as np
import roialign_cy as ra

features = np.zeros({shape}, np.float32)
rng = np.random.default_rng(0)
corner = rng.uniform(0, 1000, (60, 2))
rois = np.concatenate([np.zeros((60, 1)), corner, corner + rng.uniform(20, 3000, (60, 2))], axis=1)
options = dict({options}, num_threads={threads})
ra.roi_align(features[..., :8, :8] if {small} else features[:, :8, :8], rois[:4], 7, **options)
out = np.zeros({out}, np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ra.roi_align(features, rois, 7, out=out, **options)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
@pytest.mark.parametrize(
    "options",
    [
        {"convention": "detectron2"},
        {"convention": "detectron2", "sampling_ratio": 2},
        {"convention": "document"},
        {"convention": "detectron2", "layout": "NHWC"},
    ],
    ids=["adaptive", "two samples", "document", "NHWC"],
)
def test_scratch_memory_stays_within_its_budget_on_a_huge_map(options):
    is_nchw = options.get("layout", "NCHW") == "NCHW"
    program = PROGRAM.format(
        shape=(1, 16, 4000, 4000) if is_nchw else (1, 4000, 4000, 16),
        out=(60, 16, 7, 7) if is_nchw else (60, 7, 7, 16),
        options=options,
        threads=THREADS,
        small=is_nchw,
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True
    )
    assert int(done.stdout) * 1024 <= THREADS * SCRATCH + TABLES


BROADCAST = """
import resource
import numpy as np
import roialign_cy as ra

features = np.broadcast_to(np.ones((1, 1, 4, 4), np.float32), (1, 40_000, 4, 4))
out = np.zeros((1, 40_000, 1, 64), np.float32)
options = dict(convention="detectron2", num_threads=1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ra.roi_align(features, np.array([[0, 0, 0, 4, 4.0]]), (1, 64), out=out, **options)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
def test_scratch_memory_stays_within_its_budget_on_a_map_that_is_broadcast():
    # All its channels lie in one cell, and there is no end to them.
    done = subprocess.run(
        [sys.executable, "-c", BROADCAST], capture_output=True, text=True, timeout=300, check=True
    )
    assert int(done.stdout) * 1024 <= SCRATCH + TABLES


EDGES = {  # shape of the maps, of the output, boxes
    "roi_align": {
        "two boxes on a tall, wide map": (
            (1, 3, 4000, 4000),
            (7, 7),
            [[0, 1, 2, 3990, 3980], [0, 100, 50, 2000, 3999]],
        ),
        "one section as wide as a wide map": ((1, 1, 4, 100_000), (1, 1), [[0, 0, 0, 99_999, 3]]),
        "a box of many rows and one column": (
            (1, 4, 1_000_000, 1),
            (1, 1),
            [[0, 0, 100, 1, 200_000]],
        ),
        "many sections": ((1, 1, 64, 64), (1000, 1000), [[0, 1, 2, 60, 61]]),
        "many sections along x": ((1, 1, 4, 64), (1, 100_000), [[0, 1, 0, 60, 3]]),
    },
    "roi_align_rotated": {
        "two boxes on a tall, wide map": (
            (1, 3, 2000, 2000),
            (7, 7),
            [[0, 1000, 1000, 1900, 1800, 5], [0, 500, 900, 700, 1900, 80]],
        ),
        "one section on all of a map": ((1, 1, 1500, 1500), (1, 1), [[0, 750, 750, 1500, 1500, 0]]),
        "many sections": ((1, 1, 64, 64), (1000, 1000), [[0, 32, 32, 60, 61, 30]]),
    },
}
EDGE = """
import resource
import numpy as np
import roialign_cy as ra

shape, size, rois = {edge}
options = dict(convention="detectron2", mode={mode!r}, num_threads=1)
pool = getattr(ra, "{name}")
differentiate = getattr(ra, "{name}_backward")
small = np.array([[0, 1, 1, 6, 6.0, 0][: len(rois[0])]])

def call(shape, size, rois):
    maps, grads = np.zeros(shape, np.float32), np.zeros((len(rois), shape[1], *size), np.float32)
    grads[...] = 0  # so that its pages are there
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if {wrt!r} is None:
        pool(maps, rois, size, out=grads, **options)
        result = 0
    else:
        result = differentiate(
            grads, rois, shape, features=maps, wrt={wrt!r}, **options
        ).nbytes
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 - result

call((1, 1, 8, 8), (7, 7), small)
print(call(shape, size, np.array(rois, float)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
@pytest.mark.parametrize(
    ("name", "edge"),
    [(name, edge) for name, edges in EDGES.items() for edge in edges],
)
@pytest.mark.parametrize("wrt", [None, "features", "rois"])
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_scratch_memory_does_not_grow_with_an_area(mode, wrt, name, edge):
    program = EDGE.format(name=name, edge=EDGES[name][edge], mode=mode, wrt=wrt)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True
    )
    assert int(done.stdout) <= SCRATCH + TABLES


def test_a_gradient_by_two_byte_features_takes_nothing_where_there_is_no_box():
    shape = 4, 64, 100, 100
    out = np.ones(shape, np.float16)
    grads, no_boxes = np.zeros((0, 64, 2, 2), np.float16), np.zeros((0, 5))
    tracemalloc.start()
    try:
        ra.roi_align_backward(grads, no_boxes, shape, convention="detectron2", out=out)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not out.any()
    assert peak < out.nbytes / 100
