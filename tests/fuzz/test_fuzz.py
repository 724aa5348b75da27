"""A few of the calls that ``python -m tests.fuzz`` makes, and all that coverage has chosen."""

import os
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import roialign_cy as ra

from . import bits, corpus
from .__main__ import is_mostly_compared
from .arrays import Array, Rows
from .calls import Call, draw_call
from .judge import FailureError, judge, registered_backends
from .long_run import Report, data_of, long_run, run_one
from .source import Drawn
from .ways import ways


@pytest.fixture(autouse=True)
def _forced_backends():
    with registered_backends():
        yield


@settings(max_examples=150, deadline=None, derandomize="CI" in os.environ)
@given(data=st.data())
def test_any_call_is_answered_as_by_the_oracle_or_refused_by_name(data):
    judge(draw_call(Drawn(data)))


def test_most_calls_of_a_long_run_reach_a_kernel():
    verdicts = Counter()
    for index in range(600):
        run_one(data_of(0, index), verdicts)
    assert is_mostly_compared(verdicts), verdicts


def test_calls_that_coverage_chose():
    verdicts = Counter()
    calls = corpus.load()
    for data in calls:
        run_one(data, verdicts)
    assert len(calls) > 100
    assert verdicts.total() == len(calls)


# What would not be noticed if it went wrong: the judge, and the processes

PLAIN = Call(
    "roi_align",
    {
        "features": Array((1, 2, 4, 5)),
        "rois": Rows(((0.0, 0.5, 1.0, 3.0, 3.5),)),
        "output_size": 2,
        "convention": "detectron2",
        "spatial_scale": 1.0,
        "sampling_ratio": 2,
        "mode": None,
        "layout": "NCHW",
        "backend": None,
        "num_threads": 1,
        "out": Array((1, 2, 2, 2), kind="sliced"),
    },
)


def wrong_value(result, features, out):
    result[0, 1, 1, 1] += 1e-4


def changed_input(result, features, out):
    features[0, 0, 0, 0] = 0


def written_beside_out(result, features, out):
    out.base[0, 0, 0, 0] = 0


def warning(result, features, out):
    np.float32(3e38) * np.float32(10)


def other_error(result, features, out):
    raise KeyError("features")


def unnamed_error(result, features, out):
    raise ValueError("the input is wrong")


def refusal_of_a_plain_call(result, features, out):
    raise ValueError("features are wrong")


def slowness(result, features, out):
    end = time.process_time() + 1.01
    while time.process_time() < end:
        pass


FAULTS = [
    wrong_value,
    changed_input,
    written_beside_out,
    warning,
    other_error,
    unnamed_error,
    refusal_of_a_plain_call,
    slowness,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_judge_finds_fault(fault, monkeypatch):
    roi_align = ra.roi_align

    def faulty(features, rois, output_size, *, out=None, backend=None, **options):
        result = roi_align(features, rois, output_size, out=out, backend=backend, **options)
        if backend != "reference":
            fault(result, features, out)
        return result

    assert judge(PLAIN) == "kernel"
    monkeypatch.setattr(ra, "roi_align", faulty)
    with pytest.raises(FailureError):
        judge(PLAIN)


def last_bit(result):
    result[0, 0, 0, 0] = np.nextafter(result[0, 0, 0, 0], np.float32(9))


def sign_of_nan(result):
    result[np.isnan(result)] = -np.nan


@pytest.mark.parametrize("fault", [last_bit, sign_of_nan])
def test_judge_finds_other_bits_in_one_way(fault, monkeypatch):
    roi_align = ra.roi_align
    broken = list(ways())[-1]

    def faulty(*arguments, backend=None, **options):
        result = roi_align(*arguments, backend=backend, **options)
        if backend == broken:
            fault(result)
        return result

    features = replace(PLAIN.arguments["features"], fill="poison", seed=9)
    call = replace(PLAIN, arguments=PLAIN.arguments | {"features": features, "mode": "max"})
    assert judge(call) == "kernel"
    monkeypatch.setattr(ra, "roi_align", faulty)
    with pytest.raises(FailureError, match=r"different bits|a NaN that is not"):
        judge(call)


def test_calls_on_nan_and_infinities_give_the_same_bits_in_every_way():
    verdicts, failures = bits.run(seed=0, first=0, calls=300)
    assert not failures
    assert min(verdicts["NaN"], verdicts["infinities"]) > 10


def test_judge_expects_a_refusal_for_the_argument_at_fault():
    with pytest.raises(FailureError, match="was not refused"):
        judge(replace(PLAIN, odd={"mode": True}))
    refused = replace(PLAIN, arguments=PLAIN.arguments | {"mode": "no"})
    assert judge(replace(refused, odd={"mode": True})) == "refused"
    with pytest.raises(FailureError, match="mode must be"):
        judge(replace(refused, odd={"layout": True}))


def ends_at_the_third_call(seed, first, end, at, results):
    """Stand in for a process at work."""
    for index in range(first, end):
        at.value = index
        if index == 3:
            os.abort()
    results.put(Report(Counter({"calls": end - first})))


def test_call_that_ends_the_process_is_reported_and_passed_over():
    report = long_run(6, 0, 1, work=ends_at_the_third_call)
    assert [index for index, _ in report.failures] == [3]
    assert "again: python -m tests.fuzz --again" in report.failures[0][1]
    assert report.verdicts["calls"] == 2  # of the process that took over
