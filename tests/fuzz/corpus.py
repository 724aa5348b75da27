"""The calls that coverage chose, kept as lines of text: their bytes in base 64."""

from __future__ import annotations

from base64 import b64decode, b64encode
from pathlib import Path

PATH = Path(__file__).with_name("corpus.txt")


def load() -> list[bytes]:
    """Read the calls that are kept."""
    return [b64decode(line) for line in PATH.read_text().splitlines()]


def save(calls: list[bytes]) -> None:
    """Keep these calls."""
    lines = sorted({b64encode(call).decode() for call in calls})
    PATH.write_text("".join(f"{line}\n" for line in lines))
