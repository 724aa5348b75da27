"""Pytest plugin: ``-p host.plugin`` runs CuPy on the host for the whole session.

``ROIALIGN_HOST_CC`` is the compute capability (75, 90, 120; 90 if unset). A test fails
whose kernels race, access misaligned memory or cannot be run. On a real device, leave it out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from . import Machine, install

MACHINE: Machine = install(int(os.environ.get("ROIALIGN_HOST_CC", "90")))


@pytest.fixture(autouse=True)
def _clean_launches() -> Iterator[None]:
    yield
    MACHINE.check()
