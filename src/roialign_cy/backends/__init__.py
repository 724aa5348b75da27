"""The backends that can compute RoI Align: built in, installed as plugins, or registered.

A backend is an object with the members of `Backend`. Plugins announce theirs through an entry
point in the group ``roialign_cy.backends``, which names the object; it is imported when it is
first needed. A backend that cannot be used stays listed, with its reason, and raises only when
it is asked for. What its authors may use of the library is in `kit`.
"""

from __future__ import annotations

from . import kit
from ._protocol import API_VERSION, Backend, BackendUnavailableError
from ._registry import available, get, names, register, unavailable_reason, use

__all__ = [
    "API_VERSION",
    "Backend",
    "BackendUnavailableError",
    "available",
    "get",
    "kit",
    "names",
    "register",
    "unavailable_reason",
    "use",
]
