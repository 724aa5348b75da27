"""Names that are picked from a list, and the one error text for those that are not in it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(map(repr, names))
