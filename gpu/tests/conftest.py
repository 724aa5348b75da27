"""Tests run on the host layer, except with ``-m gpu``: then on a real device."""

from __future__ import annotations

from pathlib import Path

import pytest

NEED_THE_HOST_LAYER = {
    f"test_{name}.py"
    for name in ("compare_harness", "host", "instructions", "launches", "mutants", "streams")
}


def pytest_configure(config: pytest.Config) -> None:
    # Before test modules are imported, since they import cupy.
    if not _is_on_device(config):
        config.pluginmanager.import_plugin("host.plugin")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    # Importing them would put the host layer in place.
    return True if _is_on_device(config) and collection_path.name in NEED_THE_HOST_LAYER else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    from roialign_cy_gpu import BACKEND

    if _is_on_device(session.config) and not session.config.option.collectonly:
        reason = BACKEND.unavailable_reason()
        if reason is not None:
            pytest.exit(f"-m gpu needs a device: {reason}", pytest.ExitCode.USAGE_ERROR)


def _is_on_device(config: pytest.Config) -> bool:
    return config.getoption("markexpr") == "gpu"
