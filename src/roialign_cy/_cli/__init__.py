"""The entry point of the ``roialign`` command, for installations with and without its extra."""

from __future__ import annotations

import os
import sys

_EXTRAS = {"PIL": "cli", "click": "cli", "matplotlib": "demo", "rich": "cli", "zarr": "cli"}
"""The extra that brings each package that the command imports."""


def main() -> None:
    """Run the command, or say what to install where its extra is missing."""
    try:
        # Only here: the command itself cannot even be defined without the extra.
        from .commands import roialign

        roialign(prog_name="roialign")
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        sys.exit(f'roialign needs {package}: pip install "roialign_cy[{_EXTRAS[package]}]"')
    except (OSError, UnicodeEncodeError) as error:
        if getattr(error, "filename", None) is not None:
            raise
        # What cannot be printed stays in Python's buffer, and would not go out at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(f"Error: cannot write to the standard output: {getattr(error, 'strerror', error)}")
