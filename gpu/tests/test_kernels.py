"""What the kernels compile to: nothing odd, nothing spilled, registers within the budget."""

import re
import tomllib
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import nvrtc

REGISTERS = tomllib.loads(Path(__file__).with_name("budget.toml").read_text())["registers"]
VARIANTS = list(nvrtc.variants())

each_architecture = pytest.mark.parametrize("architecture", nvrtc.ARCHITECTURES)


@cache
def build(architecture):
    return nvrtc.build(nvrtc.one_program(VARIANTS), architecture)


@each_architecture
def test_compiles_without_warnings(architecture):
    figures, _, log = build(architecture)
    assert figures.keys() == {variant.name for variant in VARIANTS}
    assert log == ""


@each_architecture
def test_no_stack_and_no_spills(architecture):
    figures, _, _ = build(architecture)
    assert {name: f for name, f in figures.items() if f.stack or f.spills} == {}


@each_architecture
def test_registers_are_within_the_budget(architecture):
    figures, _, _ = build(architecture)
    over = {
        variant.name: figures[variant.name].registers
        for variant in VARIANTS
        if figures[variant.name].registers > REGISTERS[variant.family]
    }
    assert over == {}


def test_budget_is_tight_and_names_only_what_exists():
    used = {}
    for architecture, variant in product(nvrtc.ARCHITECTURES, VARIANTS):
        registers = build(architecture)[0][variant.name].registers
        used[variant.family] = max(used.get(variant.family, 0), registers)
    assert used.keys() == REGISTERS.keys()
    assert {family for family, limit in REGISTERS.items() if used[family] < limit - 48} == set()


@cache
def entries(architecture):
    """The PTX of every kernel by its name."""
    parts = re.split(r"\.visible \.entry (\w+)\(", build(architecture)[1])[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("like", [(75, 80, 90), (100, 120)])
def test_what_runs_on_the_host_stands_for_its_neighbours(like):
    # CI runs the kernels of sm_90 and of sm_120 on the host: NVRTC 12.9 has one generator of PTX
    # for the architectures up to 90, and another from 100 on.
    first, *others = map(entries, like)
    assert all(other == first for other in others)


@cache
def instructions():
    """The PTX instructions of every kernel by its name."""
    pattern = re.compile(r"^\s*(?:@!?%\w+\s+)?([a-z]\w*(?:\.\w+)+)\s", re.M)
    return {name: pattern.findall(body) for name, body in entries(90).items()}


each_kernel = pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)


@each_kernel
def test_no_atomics_and_no_cooperation(variant):
    # No two threads write to one place: results are the same every time.
    forbidden = ("atom", "red", "bar", "barrier", "shfl", "vote", "match")
    assert [i for i in instructions()[variant.name] if i.split(".")[0] in forbidden] == []


@each_kernel
def test_no_approximations_and_no_contraction(variant):
    listed = instructions()[variant.name]
    assert [i for i in listed if "approx" in i or "full" in i] == []
    # An integer's is fine; a float's would round other than the CPU does.
    assert [i for i in listed if i.startswith("fma")] == []


@each_kernel
def test_values_are_worked_on_in_the_working_type(variant):
    listed = instructions()[variant.name]
    arithmetic = [i for i in listed if i.split(".")[0] in ("add", "sub", "mul")]
    assert [i for i in arithmetic if i.endswith("f16")] == []
    per_output = variant.family.startswith(("pool", "argmax", "feature gradient", "readers"))
    if variant.dtype is not np.float64 and per_output:
        # All that needs double is in the tables.
        assert [i for i in listed if i.endswith("f64")] == []
