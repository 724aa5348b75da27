"""A process that holds one version of the library and runs its calls on demand.

``python -m benchmarks.gate.worker``: one request a line, one answer a line. ``prepare CASE``
answers with the reason if the version lacks it, ``run CASE`` with nothing, ``disturbance`` with
the two counts of `benchmarks.compare.disturbance`.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

from ..cases import CASES, LACKING
from ..compare import disturbance


def serve() -> None:
    """Answer until there is no more request."""
    calls: dict[str, Callable[[], Any]] = {}
    gc.disable()
    for line in sys.stdin:
        request, _, name = line.strip().partition(" ")
        answer = ""
        if request == "prepare":
            try:
                calls[name] = CASES[name].prepare().run
                calls[name]()
            except LACKING as error:
                answer = repr(error)
        elif request == "run":
            calls[name]()
        else:
            answer = " ".join(map(repr, disturbance.so_far()))
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
