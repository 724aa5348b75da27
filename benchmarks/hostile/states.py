"""States of a process that a call is made in."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

GIB = 1 << 30
MEMORY = 2 * GIB
"""Address space that a call may take beyond what the process has."""
NOBODY = 65534


def limit_memory(allowed: int) -> None:
    """Refuse more address space than the process has now and ``allowed`` bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + allowed, most))


def allow_memory() -> None:
    """Lift the limit again."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def refuse_threads() -> None:
    """Let the system refuse every further thread and process."""
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    if os.geteuid() == 0:  # whom that limit does not bind
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def fork_and_leave() -> None:
    """Go on in a child; this process ends as the child does."""
    child = os.fork()
    if child == 0:
        return
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code)


STATES: dict[str, Callable[[], None]] = {
    "plain": lambda: limit_memory(MEMORY),
    "little memory": lambda: limit_memory(64 << 20),
    "forked": fork_and_leave,
    "no threads": refuse_threads,
}
"""Name -> what puts the process into that state."""
