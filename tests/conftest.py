"""The ``backend`` fixture: one test, every implementation that this machine can run."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

import pytest

# Read at import, here and in processes that tests start: teams have the size that tests ask for.
os.environ["ROIALIGN_IGNORE_LOAD"] = "1"

import roialign_cy as ra
from roialign_cy.backends import _registry

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        metavar="NAME",
        help="run backend tests on this one only: reference, cpu (all of its variants), "
        "cpu[base], ..., or a plugin; an error if it is not available",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[NAMES] = _selected(config.getoption("--backend"))


def pytest_report_header(config: pytest.Config) -> list[str]:
    from roialign_cy._core import runtime

    lines = [f"backends: {', '.join(config.stash[NAMES])}"]
    if runtime.partial_build():
        lines.append(f"a partial build: ROIALIGN_BUILD={runtime.partial_build()}")
    return lines


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", metafunc.config.stash[NAMES], indirect=True)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    """Name of a backend, for ``roi_align(..., backend=backend)``."""
    if request.param.startswith("cpu["):
        _register_cpu_variant(request.param)
    return request.param


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is gone after it."""
    monkeypatch.setattr(_registry, "_registered", dict(_registry._registered))
    yield
    _registry._resolve.cache_clear()


def _selected(wanted: str | None) -> list[str]:
    if wanted is None:
        return ["reference", *_cpu_variants(), *_plugins()]
    if wanted == "cpu":
        return _cpu_variants()
    if wanted.startswith("cpu["):
        if wanted not in _cpu_variants():
            raise pytest.UsageError(f"--backend must be one of {_cpu_variants()}, got {wanted!r}")
        return [wanted]
    try:
        ra.backends.get(wanted)
    except (ValueError, ra.BackendUnavailableError) as error:
        raise pytest.UsageError(f"--backend: {error}") from None
    return [wanted]


def _cpu_variants() -> list[str]:
    try:
        from roialign_cy._core import variants
    except ImportError as error:
        raise pytest.UsageError(f"the compiled core does not import: {error}") from error
    return [f"cpu[{variant}]" for variant in variants.promised()]


def _plugins() -> list[str]:
    return [name for name in ra.backends.available() if name not in ("cpu", "reference")]


@cache
def _register_cpu_variant(name: str) -> None:
    # Here, not at collection: a variant that the build promised and that does not import is then
    # an error of every test that asks for it, and of no other.
    from roialign_cy.backends.cpu import CpuBackend

    variant = name.removeprefix("cpu[").removesuffix("]")
    ra.backends.register(CpuBackend(name, variant=variant))
