"""What this installation is made of and what it will use."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from . import backends
from ._core import runtime, threads, variants

try:
    __version__ = version("roialign_cy")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"


def config() -> dict[str, Any]:
    """What `show_config` shows, as plain data."""
    try:
        variant = variants.chosen()
    except ValueError as error:
        variant = str(error)
    return {
        "version": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cpu": {
            "variant": variant,
            "built": list(runtime.built_variants()),
            "usable": list(variants.promised()),
        },
        "openmp": runtime.has_openmp(),
        "threads": threads.get_num_threads(),
        "backends": {name: backends.unavailable_reason(name) for name in backends.names()},
    }


def show_config() -> None:
    """Print the version, the CPU variant, the number of threads and the backends.

    Examples
    --------
    >>> import roialign_cy as ra
    >>> ra.show_config()  # doctest: +ELLIPSIS
    roialign_cy ...
    """
    facts = config()
    cpu = facts["cpu"]
    variants_text = f"built: {', '.join(cpu['built'])}; usable here: {', '.join(cpu['usable'])}"
    lines = [
        f"roialign_cy {facts['version']} (Python {facts['python']}, NumPy {facts['numpy']})",
        f"CPU variant: {cpu['variant']} ({variants_text})",
        f"threads: {facts['threads']}" if facts["openmp"] else "threads: 1 (built without OpenMP)",
        *(f"backend {name}: {reason or 'available'}" for name, reason in facts["backends"].items()),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
