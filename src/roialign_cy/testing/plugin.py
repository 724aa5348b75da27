"""Pytest's side of the kit: the option, the fixture ``backend``, what is not offered, the table.

Loaded by name (``-p roialign_cy.testing.plugin``), since pytest asks a conftest.py that it finds by
``--pyargs`` for options only after it has refused them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

import roialign_cy as ra

from ..bench.contenders import register_object
from .calls import DTYPES, OTHER_DTYPES, SEVERAL, WRT, Cell, cells

# Not the tests alone, which pytest knows by their names where it collects them itself.
pytest.register_assert_rewrite(
    *(
        f"roialign_cy.testing.{name}"
        for name in ("checks", "test_calls", "test_conformance", "test_document")
    )
)

NAMES: pytest.StashKey[list[str]] = pytest.StashKey()
NOT_OFFERED = "not offered"
# Of `_api`: what it says of a call that `cannot_run` refuses.
_REFUSED = "cannot run this call: "


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption(
        "--roialign-backend",
        action="append",
        metavar="NAME",
        help="test this backend, an error if it is not available: reference, cpu (all of its "
        "variants), cpu[base], ..., a plugin, or MODULE:OBJECT; may be given again; all that are "
        "here by default",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Find the backends."""
    wanted = config.getoption("--roialign-backend") or ["reference", "cpu", *_plugins()]
    names = dict.fromkeys(name for each in wanted for name in _names(each))
    config.stash[NAMES] = list(names)  # each once: a project's configuration may name it, too


def pytest_report_header(config: pytest.Config) -> str:
    """Name the backends."""
    names: list[str] = config.stash[NAMES]
    return f"backends: {', '.join(names)}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that asks for a ``backend`` on all of them."""
    if "backend" in metafunc.fixturenames:
        names: list[str] = metafunc.config.stash[NAMES]
        metafunc.parametrize("backend", names, indirect=True)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    """Name of a backend, for ``roi_align(..., backend=backend)``."""
    name: str = request.param
    if name.startswith("cpu["):
        _register_cpu_variant(name)
    return name


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep what a test is about with its report, which may be made in another process."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    if isinstance(parameters.get("cell"), Cell):
        item.user_properties.append(("cell", (parameters["backend"], *parameters["cell"])))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """Distinguish what a backend does not offer from what it fails."""
    try:
        return (yield)
    except ra.BackendUnavailableError as error:
        _, refused, reason = str(error).partition(_REFUSED)
        if not refused or "backend" not in pyfuncitem.fixturenames:
            raise
        pytest.skip(f"{NOT_OFFERED}: {reason}")


def pytest_report_teststatus(report: Any) -> tuple[str, str, str] | None:
    """Report it under its own name, not as skipped."""
    return (NOT_OFFERED, "-", NOT_OFFERED.upper()) if _reason(report) else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a table of each backend, and what it does not offer."""
    results: defaultdict[str, defaultdict[Cell, Counter[str]]]
    results = defaultdict(lambda: defaultdict(Counter))
    reasons: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for outcome in ("passed", "failed", "error", NOT_OFFERED):
        for report in terminalreporter.stats.get(outcome, ()):
            if properties := dict(getattr(report, "user_properties", ())).get("cell"):
                name, *cell = properties
                results[name][Cell(*cell)][outcome] += 1
                if reason := _reason(report):
                    reasons[name][reason] += 1
    tables: defaultdict[str, list[str]] = defaultdict(list)  # variants mostly have one and the same
    for name, result in results.items():
        refusals = [f"not offered ({n}): {reason}" for reason, n in reasons[name].most_common()]
        tables["\n".join([*_table(result), *refusals])].append(name)
    for table, names in tables.items():
        terminalreporter.section(f"conformance of {', '.join(names)}")
        terminalreporter.write_line(table)


def _reason(report: Any) -> str | None:
    """Why what was tested is not offered; None for any other report."""
    if not report.skipped or not isinstance(report.longrepr, tuple):
        return None
    _, is_it, reason = report.longrepr[2].partition(f"{NOT_OFFERED}: ")
    return reason if is_it else None


def _table(results: dict[Cell, Counter[str]]) -> Iterator[str]:
    operations = ("roi_align", *WRT)
    row = "{:<11} {:<16} {:<13}" + "{:>8}" * len(DTYPES) * len(operations)
    titles = ("output", *(f"gradient: {wrt}" for wrt in WRT.values()))
    width = 8 * len(DTYPES)
    yield " " * 42 + "".join(f"  {title:-^{width - 2}}" for title in titles)
    yield row.format("operator", "convention", "mode", *DTYPES * len(operations))
    for convention, mode in dict.fromkeys(cell[:2] for cell in cells("roi_align")):
        fields = [Cell(convention, mode, dtype, each) for each in operations for dtype in DTYPES]
        texts = [_field(results.get(field, Counter())) for field in fields]
        yield row.format(fields[0].operator, convention, mode, *texts).rstrip()
    for label in (*OTHER_DTYPES, SEVERAL):
        texts = [
            _field(
                sum(
                    (
                        found
                        for cell, found in results.items()
                        if cell.operation == each and label in (cell.dtype, cell.maps)
                    ),
                    Counter(),
                )
            )
            for each in operations
        ]
        name = label if label == SEVERAL else f"maps of {label}"
        yield (f"{name:<42}" + "".join(f"{text:>{width}}" for text in texts)).rstrip()
    yield "4: passed 4 tests; 2/4: passed 2, 2 are not offered; no: not offered; FAIL: see above"


def _field(outcomes: Counter[str]) -> str:
    passed, refused = outcomes["passed"], outcomes[NOT_OFFERED]
    if outcomes["failed"] or outcomes["error"]:
        return "FAIL"
    if not passed:
        return "no" if refused else ""
    return f"{passed}/{passed + refused}" if refused else f"{passed}"


def _names(wanted: str) -> list[str]:
    """The backends that are meant by a name or by an object."""
    if wanted == "cpu" or wanted.startswith("cpu["):
        variants = _cpu_variants()
        if wanted not in ("cpu", *variants):
            raise pytest.UsageError(f"--roialign-backend: {wanted!r} is not among {variants}")
        return variants if wanted == "cpu" else [wanted]
    try:
        if ":" in wanted:
            wanted = register_object(wanted)
        ra.backends.get(wanted)
    except (ValueError, ra.BackendUnavailableError) as error:
        raise pytest.UsageError(f"--roialign-backend: {error}") from None
    return [wanted]


def _cpu_variants() -> list[str]:
    try:
        from .._core import variants
    except ImportError as error:
        raise pytest.UsageError(f"the compiled core does not import: {error}") from error
    return [f"cpu[{variant}]" for variant in variants.promised()]


def _plugins() -> list[str]:
    return [name for name in ra.backends.available() if name not in ("cpu", "reference")]


@cache
def _register_cpu_variant(name: str) -> None:
    # Here, not at collection: a variant that the build promised and that does not import is then
    # an error of every test that asks for it, and of no other.
    from ..backends.cpu import CpuBackend

    variant = name.removeprefix("cpu[").removesuffix("]")
    backend: Any = CpuBackend(name, variant=variant)
    ra.backends.register(backend)
