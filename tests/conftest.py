"""What tests share. The fixture ``backend``, every implementation here, is the kit's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

# Read at import, here and in processes that tests start: teams have the size that tests ask for.
os.environ["ROIALIGN_IGNORE_LOAD"] = "1"

from roialign_cy.backends import _registry

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["roialign_cy.testing.plugin"]


def pytest_report_header() -> str | None:
    from roialign_cy._core import runtime

    partial = runtime.partial_build()
    return f"a partial build: ROIALIGN_BUILD={partial}" if partial else None


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is gone after it."""
    monkeypatch.setattr(_registry, "_registered", dict(_registry._registered))
    yield
    _registry._resolve.cache_clear()
