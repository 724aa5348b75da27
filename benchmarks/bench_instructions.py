"""Instructions of the kernels alone, on one thread: the same on every run and every machine."""

from __future__ import annotations

from . import callgrind
from .cases import CASES
from .gate.parts import KERNELS, PACKING, part_of
from .versions import count

VARIANTS = ("base", "v3")
"""Those that valgrind can run: it has no AVX-512."""


class Instructions:
    """The cases that the gate compares."""

    params = (VARIANTS, tuple(CASES))
    param_names = ("variant", "case")
    unit = "instructions"
    timeout = 300

    def setup(self, variant: str, case: str) -> None:
        """Skip where nothing can be counted."""
        reason = callgrind.unavailable_reason()
        if reason is not None:
            raise NotImplementedError(reason)

    def track_kernels(self, variant: str, case: str) -> float:
        """Instructions in the kernels' modules, packing included."""
        counts = count([case], variant=variant)
        if case in counts.absent:
            return float("nan")  # asv's word for an empty place; setup would count twice
        return sum(
            instructions
            for origin, instructions in counts.instructions[case].items()
            if part_of(origin) in (KERNELS, PACKING)
        )
