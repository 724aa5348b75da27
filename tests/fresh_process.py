"""Code that needs a process of its own: it forks, meets limits or reads the environment."""

import os
import subprocess
import sys
import textwrap

LARGE_CALL = """
    import os, signal, zlib, numpy as np, roialign_cy as ra

    features = np.random.default_rng(0).standard_normal((2, 64, 64, 64))
    rois = [[k % 2, k % 7, k % 11, 30 + k % 13, 25 + k % 17] for k in range(99)]

    def call():
        return zlib.crc32(ra.roi_align(features, rois, 7, num_threads=4).tobytes())

"""
"""A call that is large enough for threads, to be followed by code that makes it."""


def run(code, **environment):
    """What a new interpreter prints, as words, in an environment with only these settings."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OMP_", "ROIALIGN"))
    }
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=120,  # two orders above what it takes: a deadlock must not hang the suite
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.split()
