"""Runs a comparison: check the answers first, then time who is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

import roialign_cy as ra

from .. import agreement, contenders, gradients, masks, timing
from ..calls import PreparedCall
from ..workloads import PASTE, PasteWorkload, Workload
from .bandwidth import CopyBandwidth
from .results import Absence, Case, Comparison, Measurement

Examined = tuple[PreparedCall, float, float, str]
"""A call, its error, what rounding explains of that, and how it differs from what was asked."""


def compare(
    workloads: Sequence[Workload | PasteWorkload],
    backends: Sequence[str],
    threads: Sequence[int],
    modes: Sequence[str],
    rounds: int,
    bandwidth: CopyBandwidth,
    say: Callable[[str], None],
    wrt: Sequence[str] = (),
) -> Comparison:
    """Time all backends on all workloads in those of the modes that each is meant for.

    Parameters
    ----------
    backends : sequence of str
        Names of available backends; ``cpu``, or else the first, is the anchor of all ratios.
    bandwidth : CopyBandwidth
        What samples the memory limit between the workloads.
    say : callable
        Told what is being done.
    wrt : sequence of str
        What the gradients in those modes are timed by.
    """
    anchor = "cpu" if "cpu" in backends else backends[0]
    comparison = Comparison(tuple(backends), tuple(threads), anchor)
    for workload in workloads:
        if isinstance(workload, PasteWorkload):
            if PASTE in modes:
                say(f"{workload.name}, {PASTE}")
                bandwidth.sample()
                _compare_pasting(comparison, workload, rounds)
            continue
        features, rois = workload.features(), workload.rois()
        for mode in (mode for mode in workload.modes if mode in modes):
            say(f"{workload.name}, {mode}")
            bandwidth.sample()
            _compare_one(comparison, workload, mode, features, rois, rounds)
        for what, (mode, by) in gradients.BY.items():
            if by in wrt and mode in modes and mode in workload.modes:
                say(f"{workload.name}, {what}")
                bandwidth.sample()
                _compare_gradients(comparison, workload, what, rounds)
    bandwidth.sample()
    comparison.bandwidth.update(bandwidth.best)
    return comparison


def _compare_one(
    comparison: Comparison,
    workload: Workload,
    mode: str,
    features: NDArray[Any],
    rois: NDArray[Any],
    rounds: int,
) -> None:
    expected: dict[str, agreement.Expected] = {}

    def examine(backend: str, threads: int) -> Examined:
        spec, note = contenders.specify(backend, workload, mode, threads)
        options = workload.options(mode, threads)
        call = contenders.prepare(backend, features, rois, spec, options)
        if spec.mode not in expected:
            expected[spec.mode] = agreement.expect(features, rois, workload, spec.mode)
        error = expected[spec.mode].error_of(call.result(), workload.layout)
        return call, error, agreement.tolerance(ra.backends.get(backend), workload), note

    _check_and_time(comparison, workload, mode, examine, rounds)


def _compare_gradients(comparison: Comparison, workload: Workload, what: str, rounds: int) -> None:
    expected = gradients.expect(workload, what)

    def examine(backend: str, threads: int) -> Examined:
        call = gradients.prepare(backend, workload, what, threads)
        error = agreement.largest_difference(call.result(), expected)
        return call, error, gradients.tolerance(ra.backends.get(backend), workload, expected), ""

    _check_and_time(comparison, workload, what, examine, rounds)


def _compare_pasting(comparison: Comparison, workload: PasteWorkload, rounds: int) -> None:
    expected = masks.prepare(masks.OURS, workload, 1).result()

    def examine(backend: str, threads: int) -> Examined:
        call = masks.prepare(backend, workload, threads)
        return call, masks.error_of(call.result(), expected), masks.TOLERANCE, ""

    _check_and_time(comparison, workload, PASTE, examine, rounds)


def _check_and_time(
    comparison: Comparison,
    workload: Workload | PasteWorkload,
    what: str,
    examine: Callable[[str, int], Examined],
    rounds: int,
) -> None:
    case = Case(workload.name, what)
    comparison.bytes_moved[case] = workload.bytes_moved
    calls: dict[tuple[str, int], PreparedCall] = {}
    findings: dict[tuple[str, int], tuple[float, float, str]] = {}
    for backend in comparison.backends:
        for threads in comparison.threads:
            try:
                call, error, allowed, note = examine(backend, threads)
            except contenders.NotRunError as refusal:
                comparison.absences.append(Absence(case, backend, str(refusal)))
                break
            if not error <= allowed:
                reason = f"wrong by {error:.2g}, where {allowed:.2g} is allowed"
                comparison.absences.append(Absence(case, backend, reason, is_wrong=True))
                break
            calls[backend, threads] = call
            findings[backend, threads] = (error, allowed, note)
    for (backend, threads), samples in timing.measure(calls, rounds).items():
        finding = findings[backend, threads]
        comparison.measurements.append(Measurement(case, threads, backend, samples, *finding))
