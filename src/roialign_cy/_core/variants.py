"""Which of the compiled kernel variants runs: the best that the build and the machine have."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from types import ModuleType

from .._choices import require_choice
from . import cpuinfo

ENVIRONMENT_VARIABLE = "ROIALIGN_CPU"


def promised() -> tuple[str, ...]:
    """Variants that the build made and this machine can run, slowest first."""
    return cpuinfo.supported_variants()


def chosen() -> str:
    """The variant that calls run on: the best one, or what ``ROIALIGN_CPU`` forces.

    Raises
    ------
    ValueError
        If the environment forces a variant that is unknown, not built or not supported.
    """
    forced = os.environ.get(ENVIRONMENT_VARIABLE)
    if not forced:
        return promised()[-1]
    require_choice(ENVIRONMENT_VARIABLE, forced, promised())
    return forced


@cache
def load(variant: str, working_type: str) -> ModuleType:
    """The kernels of a variant that compute in ``"float32"`` or ``"float64"``."""
    return import_module(f"{__package__}.kernels.{variant}_{working_type}")
