"""Where the choices come from that make up a call: from bytes, or from hypothesis.

There is one primitive, a number below a bound, and 0 is always the plainest choice: bytes that run
out, and hypothesis where it shrinks, leave everything else of a call plain.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st


class Source(ABC):
    """Makes choices."""

    @abstractmethod
    def below(self, bound: int) -> int:
        """Choose an integer in 0 .. bound - 1."""

    def pick(self, options: Sequence[Any]) -> Any:
        """Choose one of them; the first is the plainest."""
        return options[self.below(len(options))]

    def chance(self, percent: int) -> bool:
        """Say yes so often."""
        return self.below(100) >= 100 - percent

    def fraction(self) -> float:
        """Choose a number in [0, 1)."""
        return self.below(1 << 16) / (1 << 16)


class Bytes(Source):
    """Choices read off a string of bytes, then zeros: quick, and the same for ever."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.used = 0
        """How many bytes have been read off."""

    def below(self, bound: int) -> int:
        size = 1 if bound <= 1 << 8 else 2 if bound <= 1 << 16 else 8
        chosen = int.from_bytes(self._data[self.used : self.used + size], "little")
        self.used += size
        return chosen % bound


class Drawn(Source):
    """Choices that hypothesis makes, and shrinks where they lead to a failure."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def below(self, bound: int) -> int:
        return self._data.draw(st.integers(0, bound - 1))
