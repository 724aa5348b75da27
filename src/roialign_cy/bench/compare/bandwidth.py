"""The memory limit: how fast this machine copies, with so many threads, in this very run."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

ARRAY_BYTES = 256 << 20
"""Far beyond the last cache, so that every byte comes from memory and goes there."""


class CopyBandwidth:
    """The best copy between two arrays that exist beforehand, for several thread counts.

    Attributes
    ----------
    best : dict
        Thread count -> bytes read plus bytes written per second.
    """

    def __init__(self, thread_counts: Iterable[int], array_bytes: int = ARRAY_BYTES) -> None:
        self.best = dict.fromkeys(thread_counts, 0.0)
        self._pools = {n: ThreadPoolExecutor(n) for n in self.best}
        # Filled, so that no page is met for the first time inside the clock.
        self._source = np.ones(array_bytes, np.uint8)
        self._target = np.zeros(array_bytes, np.uint8)
        self._target[:] = 1

    def sample(self) -> None:
        """Copy once with each thread count and keep the best; to be called throughout a run."""
        for threads, pool in self._pools.items():
            sources = np.array_split(self._source, threads)
            targets = np.array_split(self._target, threads)
            start = time.perf_counter()
            list(pool.map(np.copyto, targets, sources))  # np.copyto releases the GIL
            elapsed = time.perf_counter() - start
            moved = self._source.nbytes + self._target.nbytes
            self.best[threads] = max(self.best[threads], moved / elapsed)

    def close(self) -> None:
        """End the threads."""
        for pool in self._pools.values():
            pool.shutdown()
