"""How many threads a call may use."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from .._choices import require_integer
from . import runtime

MOST_THREADS = 32 * (os.cpu_count() or 1)
"""With more, as by ``OMP_NUM_THREADS=1000000``, a call would be busy starting them."""

_set_by_user: int | None = None
_is_forked_child = False


def set_num_threads(num_threads: int | None) -> None:
    """Set the most threads that calls without a ``num_threads`` of their own use.

    Parameters
    ----------
    num_threads : int or None
        At least 1; None returns to the default, which is the first of
        ``ROIALIGN_NUM_THREADS``, ``OMP_NUM_THREADS`` and the CPUs that this process may use.
        Whatever it is, a call starts no more than OpenMP would, which ``OMP_NUM_THREADS`` limits,
        and on a busy machine no more than there are CPUs that other processes leave free.

    Raises
    ------
    TypeError, ValueError
        If it is not a positive integer.

    Examples
    --------
    >>> import roialign_cy as ra
    >>> ra.set_num_threads(2)
    >>> ra.set_num_threads(None)
    """
    global _set_by_user
    _set_by_user = check_num_threads(num_threads)


def check_num_threads(num_threads: int | None) -> int | None:
    """``num_threads`` as an int of at least 1, or None."""
    return None if num_threads is None else require_integer("num_threads", num_threads, 1)


def get_num_threads() -> int:
    """How many threads a call without ``num_threads`` may use.

    Returns
    -------
    int
        At least 1, no more than OpenMP would start now (which threadpoolctl can lower), and no
        more than 32 for each CPU of the machine. 1 in a process that was forked: OpenMP's threads
        do not survive a fork. What other processes are doing is not counted in: a call that
        finds the machine busy starts fewer.
    """
    return effective_num_threads(None)


def effective_num_threads(num_threads: int | None) -> int:
    """The number of threads of a call: the caller's upper bound, under all the others."""
    if _is_forked_child:
        return 1
    if num_threads is None:
        num_threads = _set_by_user or _default_num_threads()
    return runtime.team_size(num_threads, MOST_THREADS)


@cache
def _default_num_threads() -> int:
    """Read once: a call should not ask the system."""
    for variable in ("ROIALIGN_NUM_THREADS", "OMP_NUM_THREADS"):
        # OMP_NUM_THREADS may be a list, one number per nesting level.
        value = os.environ.get(variable, "").split(",")[0].strip()
        if value.isascii() and value.isdigit() and int(value) > 0:
            return int(value)
    return usable_cpus()


def usable_cpus() -> int:
    """CPUs that this process may use, by its affinity and its cgroup's quota."""
    cpus = runtime.openmp_cpus()
    quota = _cgroup_quota()
    return cpus if quota is None else max(1, min(cpus, int(quota)))


def _cgroup_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """CPUs' worth of time that the cgroup allows, by version 2 of the interface, then 1."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    try:
        cpus = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max": no limit
        return None
    return cpus if cpus > 0 else None


def _after_fork_in_child() -> None:
    # libgomp hangs in a forked child that starts a team after its parent has had one.
    global _is_forked_child
    _is_forked_child = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
