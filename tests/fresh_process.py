"""Code that needs a process of its own: it forks, meets limits or reads the environment."""

import os
import subprocess
import sys
import textwrap

import pytest
from threadpoolctl import threadpool_info

import roialign_cy._core.runtime  # noqa: F401  # which loads its OpenMP, for the next to see

IS_SANITIZED = "asan" in os.environ.get("LD_PRELOAD", "")
"""Whether AddressSanitizer runs, which reserves terabytes of addresses and keeps what is freed."""

needs_libgomp = pytest.mark.skipif(
    any(library["prefix"] == "libomp" for library in threadpool_info()),
    reason="promised for GNU's OpenMP alone: LLVM's ends the process, or warns",
)

LARGE_CALL = """
    import os, signal, zlib, numpy as np, roialign_cy as ra

    features = np.random.default_rng(0).standard_normal((2, 64, 64, 64))
    rois = [[k % 2, k % 7, k % 11, 30 + k % 13, 25 + k % 17] for k in range(99)]

    def call():
        return zlib.crc32(ra.roi_align(features, rois, 7, num_threads=4).tobytes())

"""
"""A call that is large enough for threads, to be followed by code that makes it."""

ALL_CALLS = """
    import os, signal, threading, zlib
    import numpy as np, roialign_cy as ra

    features = np.random.default_rng(0).standard_normal((2, 64, 64, 64), np.float32)
    rois = [[k % 2, k % 7, k % 11, 30 + k % 13, 25 + k % 17] for k in range(99)]
    grads = np.ones((99, 64, 7, 7), np.float32)
    options = {"convention": "detectron2", "num_threads": 1}

    def crc(result):
        return zlib.crc32(result.tobytes())

    def backward(wrt, **more):
        return crc(ra.roi_align_backward(
            grads, rois, features.shape, features=features, wrt=wrt, **options, **more))

    def calls():
        yield lambda: crc(ra.roi_align(features, rois, 7, **options))
        yield lambda: crc(ra.roi_align(features[:, :2], rois, 7, **options | {"mode": "max"}))
        yield lambda: crc(ra.roi_pool(features, rois, 7, num_threads=options["num_threads"]))
        yield lambda: backward("features")
        yield lambda: backward("features", mode="max")
        yield lambda: backward("rois")

    def all_calls(num_threads):
        options["num_threads"] = num_threads
        return [call() for call in calls()]

    expected = all_calls(1)
"""
"""Every kind of call, each large enough for threads, and what they give on one."""


def run(code, **environment):
    """What a new interpreter prints, as words, in an environment with only these settings.

    Unless they say otherwise, teams are of full size on a busy machine, too.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OMP_", "ROIALIGN"))
    }
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=inherited | {"ROIALIGN_IGNORE_LOAD": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=120,  # two orders above what it takes: a deadlock must not hang the suite
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.split()
