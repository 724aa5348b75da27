"""Which of the compiled kernel variants runs: the best that the build and the machine have."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from types import ModuleType

from .._choices import require_choice
from . import runtime

ENVIRONMENT_VARIABLE = "ROIALIGN_CPU"


def promised() -> tuple[str, ...]:
    """Variants that the build made and this machine can run, slowest first."""
    return runtime.supported_variants()


def chosen() -> str:
    """The variant that calls run on: the best one, or what ``ROIALIGN_CPU`` forces.

    Raises
    ------
    ValueError
        If the environment forces a variant that is unknown, not built or not supported, or if
        the build has none for this machine.
    """
    forced = os.environ.get(ENVIRONMENT_VARIABLE)
    if not promised():
        raise ValueError(
            f"this machine runs none of the CPU variants of this build, which was made with "
            f"ROIALIGN_BUILD={runtime.partial_build()}"
        )
    if not forced:
        return promised()[-1]
    require_choice(ENVIRONMENT_VARIABLE, forced, promised())
    return forced


@cache
def load(variant: str, working_type: str) -> ModuleType:
    """The kernels of a variant that compute in ``"float32"`` or ``"float64"``."""
    if working_type not in runtime.built_types():
        raise ImportError(
            f"this build has no {working_type} kernels: it was made with "
            f"ROIALIGN_BUILD={runtime.partial_build()}"
        )
    return import_module(f"{__package__}.kernels.{variant}_{working_type}")
