"""Checks of single arguments: names that are picked from a list, and bounds of integers."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Iterable
from typing import Any


def require_choice(argument: str, value: object, known: Iterable[str]) -> None:
    """Raise ValueError (TypeError if ``value`` is no string) unless ``value`` is in ``known``."""
    known = tuple(known)
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be one of {_listed(known)}, got {value!r}")
    if value not in known:
        folded = {name.casefold(): name for name in known}
        near = difflib.get_close_matches(value.casefold(), folded, n=1)
        hint = f"; did you mean {folded[near[0]]!r}?" if near else ""
        raise ValueError(f"{argument} must be one of {_listed(known)}, got {value!r}{hint}")


def require_integer(argument: str, value: Any, least: int) -> int:
    """``value``, where it is not None, as an int; raise unless it is one of at least ``least``."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{argument} must be an integer or None, got {value!r}") from None
    if number < least:
        raise ValueError(f"{argument} must be at least {least}, got {value!r}")
    return number


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(map(repr, names))
