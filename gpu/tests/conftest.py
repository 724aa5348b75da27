"""Tests run on the host layer, except with ``-m gpu``: then on a real device."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    # Before test modules are imported, since they import cupy.
    if config.getoption("markexpr") != "gpu":
        config.pluginmanager.import_plugin("host.plugin")
