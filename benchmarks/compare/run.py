"""Runs a comparison: check the answers first, then time who is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

import roialign_cy as ra

from ..calls import PreparedCall
from ..workloads import Workload
from . import agreement, contenders, gradients, timing
from .bandwidth import CopyBandwidth
from .results import Absence, Case, Comparison, Measurement


def compare(
    workloads: Sequence[Workload],
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
        What the gradients of the mean are timed by, of those workloads that are meant for it.
    """
    anchor = "cpu" if "cpu" in backends else backends[0]
    comparison = Comparison(tuple(backends), tuple(threads), anchor)
    for workload in workloads:
        features, rois = workload.features(), workload.rois()
        for mode in (mode for mode in workload.modes if mode in modes):
            say(f"{workload.name}, {mode}")
            bandwidth.sample()
            _compare_one(comparison, workload, mode, features, rois, rounds)
        for what, by in gradients.BY.items():
            if by in wrt and "avg" in workload.modes:
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
    features: np.ndarray,
    rois: np.ndarray,
    rounds: int,
) -> None:
    case = Case(workload.name, mode)
    comparison.bytes_moved[case] = workload.bytes_moved
    expected: dict[str, agreement.Expected] = {}
    calls: dict[tuple[str, int], PreparedCall] = {}
    findings: dict[tuple[str, int], tuple[float, float, str]] = {}
    for backend in comparison.backends:
        for threads in comparison.threads:
            try:
                spec, note = contenders.specify(backend, workload, mode, threads)
                options = workload.options(mode, threads)
                call = contenders.prepare(backend, features, rois, spec, options)
            except contenders.NotRunError as refusal:
                comparison.absences.append(Absence(case, backend, str(refusal)))
                break
            if spec.mode not in expected:
                expected[spec.mode] = agreement.expect(features, rois, workload, spec.mode)
            error = expected[spec.mode].error_of(call.result(), workload.layout)
            allowed = agreement.tolerance(ra.backends.get(backend), workload)
            if not error <= allowed:
                comparison.absences.append(_wrong(case, backend, error, allowed))
                break
            calls[backend, threads] = call
            findings[backend, threads] = (error, allowed, note)
    _time(comparison, case, calls, findings, rounds)


def _compare_gradients(
    comparison: Comparison,
    workload: Workload,
    what: str,
    rounds: int,
) -> None:
    case = Case(workload.name, what)
    comparison.bytes_moved[case] = workload.bytes_moved
    expected = gradients.expect(workload, what)
    calls: dict[tuple[str, int], PreparedCall] = {}
    findings: dict[tuple[str, int], tuple[float, float, str]] = {}
    for backend in comparison.backends:
        for threads in comparison.threads:
            try:
                call = gradients.prepare(backend, workload, what, threads)
            except contenders.NotRunError as refusal:
                comparison.absences.append(Absence(case, backend, str(refusal)))
                break
            error = agreement.largest_difference(call.result(), expected)
            allowed = gradients.tolerance(ra.backends.get(backend), workload, expected)
            if not error <= allowed:
                comparison.absences.append(_wrong(case, backend, error, allowed))
                break
            calls[backend, threads] = call
            findings[backend, threads] = (error, allowed, "")
    _time(comparison, case, calls, findings, rounds)


def _wrong(case: Case, backend: str, error: float, allowed: float) -> Absence:
    reason = f"wrong by {error:.2g}, where {allowed:.2g} is allowed"
    return Absence(case, backend, reason, is_wrong=True)


def _time(
    comparison: Comparison,
    case: Case,
    calls: dict[tuple[str, int], PreparedCall],
    findings: dict[tuple[str, int], tuple[float, float, str]],
    rounds: int,
) -> None:
    for (backend, threads), samples in timing.measure(calls, rounds).items():
        finding = findings[backend, threads]
        comparison.measurements.append(Measurement(case, threads, backend, samples, *finding))
