"""What runs under valgrind: prepares calls and has each counted once.

``counted.py LIBRARY MODULE:FUNCTION NAME...``, where LIBRARY is the compiled `requests.c` and the
function makes a call of a name. For each that cannot be run it prints a line ``NAME: reason``.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Sequence
from importlib import import_module

LACKING = (AttributeError, NotImplementedError)
WARM_UP_CALLS = 16
"""By then caches are filled and Python (3.11 on) has specialised the bytecode of a call."""


def main(arguments: Sequence[str]) -> None:
    """Count the calls of those names."""
    library, maker, *names = arguments
    requests = ctypes.PyDLL(library)
    if not requests.is_counting_possible():
        raise SystemExit("this program counts only under valgrind")
    module, _, function = maker.partition(":")
    make = getattr(import_module(module), function)
    calls = {}
    for name in names:
        try:
            calls[name] = make(name)
            for _ in range(WARM_UP_CALLS):
                calls[name]()
        except LACKING as error:
            print(f"{name}: {error!r}", flush=True)  # noqa: T201
            calls.pop(name, None)
    gc.collect()
    gc.disable()
    titles = {name: name.encode() for name in calls}
    requests.start_instrumentation()  # after all warming up, which it would slow down
    for name, call in calls.items():
        requests.start_counting()
        call()
        requests.stop_counting(titles[name])


if __name__ == "__main__":
    main(sys.argv[1:])
