"""Other projects' RoI Align as backends, for comparisons; the library itself never loads them."""

from __future__ import annotations

from importlib import import_module

from ._base import Peer

__all__ = ["NAMES", "OTHERS", "Peer", "register_all"]

OTHERS = ("torchvision", "onnxruntime", "openvino")
"""Whose RoI Align this library is held to."""
NAMES = (*OTHERS, "roialign_torch")
"""The last is this library's own adapter for torch, called in the ways of a peer."""


def register_all() -> None:
    """Make all peers known to `roialign_cy.backends`; the missing ones with their reason."""
    from roialign_cy import backends

    for name in NAMES:
        backends.register(import_module(f"{__name__}.{name}").BACKEND)
