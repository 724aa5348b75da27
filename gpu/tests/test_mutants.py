"""The checks notice mistakes: every mutant of the kernels dies, and nothing else does."""

from __future__ import annotations

import faulthandler
import os
import shutil
import sys
from pathlib import Path

import pytest
from cupy.cuda.compiler import CompileException

import roialign_cy_gpu
from host.plugin import MACHINE
from mutants import CHECKS, MUTANTS
from roialign_cy_gpu import _backward, _forward, _kernels, _tables

PACKAGE = Path(roialign_cy_gpu.__file__).parent

SURVIVED, NOTICED, BROKEN = range(3)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_check_passes_without_a_mistake(check):
    check()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.file}: {m.old} -> {m.new}")
def test_mutant_dies(mutant, tmp_path, monkeypatch):
    shutil.copytree(PACKAGE / "cuda", tmp_path / "cuda")
    file = tmp_path / "cuda" / f"{mutant.file}.cuh"
    text = file.read_text(encoding="utf-8")
    assert mutant.old in text
    file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    monkeypatch.setattr(_kernels, "files", lambda _: tmp_path)
    # A process of its own: the mutant may well touch a guard page.
    child = os.fork()
    if child == 0:
        os._exit(run(mutant.check))
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        assert os.WEXITSTATUS(status) == NOTICED


def run(check):
    faulthandler.disable()  # dying is expected
    for module in (_kernels, _tables, _forward, _backward):
        for getter in vars(module).values():
            if hasattr(getter, "cache_clear"):
                getter.cache_clear()
    try:
        check()
        MACHINE.check()
    except AssertionError:
        return NOTICED
    except CompileException as error:
        print(error, file=sys.__stdout__)
        return BROKEN
    except Exception as error:
        print(repr(error), file=sys.__stdout__)
        return BROKEN
    return SURVIVED
