"""How far a job is, in a file beside its unfinished output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Progress:
    """A file of lines: first what the job is, then after each checkpoint how many steps are done.

    Lines are only ever added, so that a run which is killed at any moment leaves the lines before
    whole; a last one without its end does not count. A line that a crash of the system takes away
    costs the work since the one before.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, facts: dict[str, Any]) -> None:
        """Write what the job is: nothing of it is done yet."""
        self._write("w", json.dumps(facts))

    def record(self, steps: int) -> None:
        """Write that so many steps are done and on the disk."""
        self._write("a", str(steps))

    def read(self) -> tuple[dict[str, Any], int] | None:
        """What the job is and how many of its steps are done; None if nothing was begun."""
        try:
            lines = self.path.read_text(encoding="utf-8").split("\n")[:-1]
            facts, *steps = map(json.loads, lines)
        except (FileNotFoundError, ValueError):
            return None
        return facts, steps[-1] if steps else 0

    def end(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)

    def _write(self, mode: str, line: str) -> None:
        with self.path.open(mode, encoding="utf-8") as file:
            file.write(line + "\n")
