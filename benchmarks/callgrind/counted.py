"""What runs under valgrind: prepares calls and has each counted once.

``python -m benchmarks.callgrind.counted LIBRARY CASE...``, where LIBRARY is the compiled
`requests.c`. For each case that cannot be run it prints a line ``CASE: reason``.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable, Sequence

from ..cases import CASES, LACKING

WARM_UP_CALLS = 16
"""By then caches are filled and Python (3.11 on) has specialised the bytecode of a call."""


def main(arguments: Sequence[str]) -> None:
    """Count the named cases."""
    library, *names = arguments
    requests = ctypes.PyDLL(library)
    if not requests.is_counting_possible():
        raise SystemExit("this program counts only under valgrind")
    for name in names:
        case = CASES[name].to_count()
        try:
            call = case.prepare().run
            call()
        except LACKING as error:
            print(f"{name}: {error!r}", flush=True)  # noqa: T201
            continue
        _count(requests, call, name)


def _count(requests: ctypes.PyDLL, call: Callable[[], object], name: str) -> None:
    for _ in range(WARM_UP_CALLS):
        call()
    title = name.encode()
    gc.collect()
    gc.disable()
    requests.start_counting()
    call()
    requests.stop_counting(title)
    gc.enable()


if __name__ == "__main__":
    main(sys.argv[1:])
