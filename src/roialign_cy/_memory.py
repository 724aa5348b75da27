"""How much memory of large results is retained for later ones."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ._choices import require_integer
from ._core import memory

SHARE = 32
"""By default as much is retained as this share of the machine's memory."""


def set_retained_memory(max_bytes: int | None) -> None:
    """Set how much memory of large results is retained for later ones when they are freed.

    Parameters
    ----------
    max_bytes : int or None
        0 gives all that is retained back to the system, and retains nothing from now on. None
        returns to the default: on Linux and macOS, which take retained memory back when they run
        short of it, a thirty-second part of the memory that this process may use; elsewhere 0.

    Raises
    ------
    TypeError, ValueError
        If it is not an integer, or below 0.

    Notes
    -----
    The system clears every page that it gives to a process, which for a result of 4 MiB or more
    can take as long as pooling. Such results own their memory, like all arrays; where they are
    freed, it is kept for the next ones that need about as much. Results that are written to
    ``out``, or made under a memory handler of the caller's own (NumPy's NEP 49), are not concerned.

    Examples
    --------
    >>> import roialign_cy as ra
    >>> ra.set_retained_memory(0)
    >>> ra.set_retained_memory(None)
    """
    if max_bytes is None:
        memory.set_limit(_usable_memory() // SHARE if memory.is_reclaimed() else 0)
        return
    memory.set_limit(min(require_integer("max_bytes", max_bytes, 0), sys.maxsize))


def _usable_memory(cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that the machine has, or that the cgroup allows, by either version of its interface."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            sizes.append(int((cgroups / name).read_text()))
        except (OSError, ValueError):  # ValueError: "max", no limit
            continue
    return min(sizes)


set_retained_memory(None)
