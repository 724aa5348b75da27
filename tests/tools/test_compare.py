"""The compare harness: what it counts, what it refuses and which way its ratios point."""

import csv
import itertools
import math
import os
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from click.testing import CliRunner

import roialign_cy as ra
from roialign_cy._cli.commands import roialign
from roialign_cy._core import variants
from roialign_cy._spec import make_spec
from roialign_cy.backends import _registry
from roialign_cy.backends.reference import ReferenceBackend
from roialign_cy.bench import (
    agreement,
    contenders,
    disturbance,
    library_calls,
    masks,
    peers,
    timing,
)
from roialign_cy.bench.calls import PreparedCall
from roialign_cy.bench.compare import bandwidth, cli, report, results
from roialign_cy.bench.compare.run import compare
from roialign_cy.bench.peers import _base, onnxruntime, openvino, torchvision
from roialign_cy.bench.workloads import HEADLINE, PASTE, PASTE_WORKLOADS, WORKLOADS

PEERS = {module.BACKEND.name: module.BACKEND for module in (torchvision, onnxruntime, openvino)}


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    """What a test registers is gone after it."""
    monkeypatch.setattr(_registry, "_registered", {})
    _registry._resolve.cache_clear()
    yield
    _registry._resolve.cache_clear()


class World:
    """A clock that only calls move, and a machine that pre-empts on demand."""

    def __init__(self, disturbed=(), waited_s=1.0):
        self.now = 0.0
        self.switches = 0
        self.log = []
        self.samples = itertools.count()
        self.disturbed = disturbed
        self.waited_s = waited_s

    def call(self, name, seconds):
        def run():
            self.now += seconds
            self.log.append(name)

        return PreparedCall(run, enter=lambda: self.log.append(f"enter {name}"))

    def pause(self, seconds):
        self.now += seconds
        self.log.append("pause")

    def disturbance(self):
        # Asked before and after each sample: the odd answers are those after.
        sample, is_after = divmod(next(self.samples), 2)
        if is_after and sample in self.disturbed:
            self.switches += 1
        return disturbance.Disturbance(self.switches, self.switches * self.waited_s)

    def measure(self, calls, rounds):
        return timing.measure(
            calls,
            rounds,
            clock=lambda: self.now,
            pause=self.pause,
            disturbance=self.disturbance,
        )


def test_disturbed_samples_are_taken_again():
    world = World(disturbed={0, 3, 4})
    samples = world.measure({"a": world.call("a", 0.001)}, rounds=9)["a"]
    assert (samples.undisturbed, samples.disturbed, samples.sufficient) == (9, 3, True)
    assert samples.median == pytest.approx(0.001)


def test_a_machine_that_is_never_quiet_ends_the_attempts():
    world = World(disturbed=range(10_000))
    samples = world.measure({"a": world.call("a", 0.001)}, rounds=9)["a"]
    assert samples.undisturbed == 0
    assert samples.disturbed == len(samples.seconds) == 9 * timing.ATTEMPTS_PER_ROUND
    assert not samples.sufficient


def test_slow_calls_get_fewer_rounds():
    world = World()
    samples = world.measure({"slow": world.call("slow", 0.2)}, rounds=9)["slow"]
    assert samples.undisturbed == timing.SLOW_ROUNDS
    assert samples.sufficient


@pytest.mark.parametrize(
    ("seconds", "waited", "counts"),
    [(0.1, 0.001, True), (0.1, 0.003, False), (0.1, math.nan, False), (0.01, 0.0, False)],
)
def test_only_slow_samples_count_in_spite_of_a_short_wait(seconds, waited, counts):
    world = World(disturbed=range(1000), waited_s=waited)
    samples = world.measure({"call": world.call("call", seconds)}, rounds=9)["call"]
    assert samples.sufficient == counts


def test_disturbance_is_read_from_the_system():
    before = disturbance.so_far()
    after = disturbance.so_far()
    assert after.switches >= before.switches >= 0
    assert math.isnan(after.waited_s) or after.waited_s >= before.waited_s >= 0


def test_fast_calls_are_timed_many_at_once():
    world = World()
    samples = world.measure({"fast": world.call("fast", 5e-6)}, rounds=9)["fast"]
    assert samples.undisturbed == 9
    assert world.log.count("fast") >= 9 * timing.CALLS_PER_FAST_SAMPLE
    assert samples.median == pytest.approx(5e-6)


def test_a_fast_call_that_is_slow_at_first_is_timed_many_at_once():
    world = World()
    seconds = itertools.chain([0.01, *[2e-4] * 12], itertools.repeat(5e-6))
    call = world.call("fast", 0)

    def run():
        world.now += next(seconds)
        call.run()

    samples = world.measure({"fast": PreparedCall(run)}, rounds=9)["fast"]
    assert world.log.count("fast") >= 9 * timing.CALLS_PER_FAST_SAMPLE
    assert samples.median == pytest.approx(5e-6)


def test_calls_alternate_with_a_pause_before_each():
    world = World()
    world.measure({name: world.call(name, 0.001) for name in "ab"}, rounds=2)
    turns = world.log[world.log.index("pause") - 1 :]
    assert turns[1::3] == ["pause"] * 4
    assert turns[0::3] == ["enter a", "enter b", "enter b", "enter a"]
    assert turns[2::3] == ["a", "b", "b", "a"]


def test_quartiles_enclose_the_median():
    samples = timing.Samples((1.0, 2.0, 3.0, 4.0, 5.0), undisturbed=5, disturbed=0, sufficient=True)
    assert samples.quartiles == (2.0, 4.0)
    assert samples.median == 3.0


def test_copy_bandwidth_keeps_the_best_of_each_thread_count():
    copies = bandwidth.CopyBandwidth((1, 2), array_bytes=1 << 16)
    try:
        copies.sample()
        first = dict(copies.best)
        copies.sample()
    finally:
        copies.close()
    assert first.keys() == {1, 2}
    assert all(copies.best[n] >= first[n] > 0 for n in first)


@pytest.mark.parametrize("name", WORKLOADS)
def test_workload_is_a_call_that_can_be_made(name):
    workload = WORKLOADS[name].tiny()
    features, rois = workload.features(), workload.rois()
    maps = features if workload.coarser else [features]
    assert [one.shape for one in maps] == workload.shapes
    for one in maps:
        assert one.dtype == workload.dtype
        assert one.min() >= 0
        assert one.max() <= workload.largest
    pool = library_calls.pooling(workload)
    for mode in workload.modes:
        pooled = pool(features, rois, backend="reference", **workload.options(mode, 1))
        assert workload.bytes_moved == sum(one.nbytes for one in maps) + pooled.nbytes
        assert (pooled > 0).all()  # no box hangs out of its map


def test_bfloat16_without_its_package_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(NotImplementedError, match="ml_dtypes"):
        WORKLOADS["bfloat16"].features()


@pytest.mark.parametrize("name", WORKLOADS)
def test_boxes_lie_on_the_map_in_full_size(name):
    workload = WORKLOADS[name]
    rois = workload.rois()
    assert rois.shape == (workload.boxes.count, 5)
    assert set(rois[:, 0]) <= set(range(workload.batch))
    cells = rois[:, 1:].astype(np.float64) * workload.spatial_scale
    assert (cells >= 0).all()
    assert (cells.reshape(-1, 2, 2) <= (workload.width, workload.height)).all()
    assert (cells[:, 2:] > cells[:, :2]).all()


def test_workloads_are_the_same_every_time():
    workload = WORKLOADS["fpn-p4"].tiny()
    np.testing.assert_array_equal(workload.features(), workload.features())
    np.testing.assert_array_equal(workload.rois(), workload.rois())
    other = replace(workload, name="other")
    assert not np.array_equal(workload.features(), other.features())


def test_headline_leads_the_workloads():
    assert tuple(WORKLOADS)[: len(HEADLINE)] == HEADLINE


class Wrong(ReferenceBackend):
    """Answers that are off by a little in one value."""

    name = "wrong"

    def roi_align(self, *arguments):
        result = super().roi_align(*arguments)
        result[0, 0, 0, 0] += 1e-4
        return result


class Unwilling(ReferenceBackend):
    name = "unwilling"

    def cannot_run(self, spec, operation):
        return "not today" if spec.mode == "max" else None


class NoBandwidth:
    best: ClassVar = {1: 1e9}

    def sample(self):
        pass


def compare_tiny(*backends, modes=("avg",), wrt=(), workload=WORKLOADS["small-call"]):
    return compare(
        [workload.tiny()],
        backends,
        threads=(1,),
        modes=modes,
        rounds=1,
        bandwidth=NoBandwidth(),
        say=lambda text: None,
        wrt=wrt,
    )


class WrongGradient(ReferenceBackend):
    """Gradients that are off in one value."""

    name = "wrong"

    def feature_gradient(self, *arguments):
        (result,) = super().feature_gradient(*arguments)
        result[0, 0, 0, 0] += 1e-3
        return (result,)

    def box_gradient(self, *arguments):
        result = super().box_gradient(*arguments)
        result[0, 0] += 1e-3
        return result


def test_gradients_are_timed_beside_the_forward_pass():
    comparison = compare_tiny("cpu", "reference", modes=("avg", "max"), wrt=("features", "rois"))
    timed = [(one.case.mode, one.backend) for one in comparison.measurements]
    gradients = ("avg by features", "avg by rois", "max by features", "max by rois")
    quantities = ("avg", "max", *gradients)
    assert timed == [(what, name) for what in quantities for name in ("cpu", "reference")]
    assert comparison.absences == []
    (costs,) = (t for t in report.tables(comparison) if t.title.startswith("Gradients of cpu"))
    assert [row[0] for row in costs.rows] == [f"small-call {what}" for what in gradients]


class OneMap(ReferenceBackend):
    name = "one map"
    takes_levels = False


def test_several_maps_are_compared_where_a_backend_takes_them():
    ra.backends.register(OneMap())
    levels = {"workload": WORKLOADS["fpn-levels"], "wrt": ("features", "rois")}
    comparison = compare_tiny("cpu", "one map", "reference", **levels)
    timed = [(one.case.mode, one.backend) for one in comparison.measurements]
    quantities = ("avg", "avg by features", "avg by rois")
    assert timed == [(what, name) for what in quantities for name in ("cpu", "reference")]
    reasons = [(one.backend, one.reason, one.is_wrong) for one in comparison.absences]
    assert reasons == [("one map", "it takes one map a call", False)] * 3


def test_masks_are_compared_with_who_pastes_them():
    paste = {"workload": PASTE_WORKLOADS["paste-masks"], "modes": (PASTE,)}
    comparison = compare_tiny("cpu", "reference", **paste)
    assert [(one.case.mode, one.backend) for one in comparison.measurements] == [(PASTE, "cpu")]
    (absence,) = comparison.absences
    assert (absence.reason, absence.is_wrong) == ("reference pastes no masks", False)
    result = masks.prepare("cpu", paste["workload"].tiny(), 1).result()
    assert masks.error_of(~result, result) == 1
    assert masks.error_of(result[:1], result) == 1


def test_a_wrong_gradient_is_not_timed():
    ra.backends.register(WrongGradient())
    comparison = compare_tiny("cpu", "wrong", wrt=("features", "rois"))
    timed = {one.backend for one in comparison.measurements if " by " in one.case.mode}
    assert timed == {"cpu"}
    assert [(one.backend, one.is_wrong) for one in comparison.absences] == [("wrong", True)] * 2


def test_a_wrong_backend_is_not_timed():
    ra.backends.register(Wrong())
    comparison = compare_tiny("reference", "wrong")
    assert [one.backend for one in comparison.measurements] == ["reference"]
    (absence,) = comparison.absences
    assert absence.backend == "wrong"
    assert absence.is_wrong
    assert "0.0001" in absence.reason


def test_a_backend_that_cannot_run_a_mode_is_absent_from_it():
    ra.backends.register(Unwilling())
    comparison = compare_tiny("reference", "unwilling", modes=("avg", "max"))
    timed = {(one.backend, one.case.mode) for one in comparison.measurements}
    assert timed == {("reference", "avg"), ("reference", "max"), ("unwilling", "avg")}
    (absence,) = comparison.absences
    assert (absence.reason, absence.is_wrong) == ("not today", False)


def test_nan_and_wrong_shapes_are_no_agreement():
    expected = np.zeros((2, 3))
    assert agreement.largest_difference(np.full((2, 3), 0.5), expected) == 0.5
    assert agreement.largest_difference(np.full((2, 3), np.nan), expected) == np.inf
    assert agreement.largest_difference(np.zeros((3, 2)), expected) == np.inf


def test_only_peers_are_allowed_coarse_coordinates():
    workload = WORKLOADS["fpn-box"]
    ours = agreement.tolerance(ReferenceBackend(), workload)
    assert ours == agreement.VALUE_TOLERANCE["float32"]
    assert ours < agreement.tolerance(PEERS["torchvision"], workload) < 1e-3


def test_default_backends_leave_out_the_reference_and_lead_with_our_own():
    chosen = contenders.choose(None)
    assert "reference" not in chosen
    own = [name for name in chosen if name.startswith("cpu")]
    assert list(chosen[: len(own)]) == own
    assert contenders.choose(["reference"]) == ("reference",)
    with pytest.raises(ValueError, match="backend"):
        contenders.choose(["referense"])


def samples(seconds):
    return timing.Samples((seconds,) * 9, undisturbed=9, disturbed=1, sufficient=True)


@pytest.fixture
def comparison():
    """`cpu` is ten and forty times as fast as `slow`, and twice as fast with two threads."""
    made = results.Comparison(("cpu", "slow"), (1, 2), "cpu")
    for name, factor in {"fpn-box": 10, "fpn-mask": 40}.items():
        case = results.Case(name, "avg")
        made.bytes_moved[case] = 10**6
        for threads in made.threads:
            ours = 0.002 / threads
            for backend, seconds in {"cpu": ours, "slow": factor * 0.002}.items():
                made.measurements.append(
                    results.Measurement(case, threads, backend, samples(seconds), 0.0, 1e-6)
                )
    made.bandwidth.update({1: 1e9, 2: 2e9})
    return made


def test_ratios_above_one_are_slower(comparison):
    case = results.Case("fpn-box", "avg")
    assert comparison.times_anchor(case, 1, "slow").middle == pytest.approx(10)
    assert comparison.times_anchor(case, 2, "slow").middle == pytest.approx(20)
    assert comparison.speedup(case, "cpu").middle == pytest.approx(2)
    assert comparison.speedup(case, "slow").middle == pytest.approx(1)
    # A megabyte at 1 GB/s is a millisecond.
    assert comparison.times_limit(case, 1, "cpu") == pytest.approx(2)
    assert comparison.times_limit(case, 2, "cpu") == pytest.approx(2)
    assert comparison.times_anchor(results.Case("fpn-p4", "avg"), 1, "slow") is None
    assert comparison.best_of(("slow", "cpu"), case, 1).middle == 1


def test_means_are_geometric_and_name_the_least():
    ratios = [results.Ratio(10, 9, 11), None, results.Ratio(40, 39, 41)]
    assert results.mean_and_least(ratios) == (pytest.approx(20), 10, 2)
    assert results.mean_and_least([None]) is None


def test_markdown_has_ratios_means_and_no_times(comparison):
    text = report.markdown(comparison, ["a machine"])
    assert "| fpn-box | 10.0 (10.0-10.0) | 2.00 |" in text
    assert "| fpn-mask | 80.0 (80.0-80.0) | 2.00 |" in text
    assert "| slow | 20.0 (10.0) | 40.0 (20.0) |" in text
    assert "| fpn-box avg | 2.00 (2.00-2.00) | 1.00 (1.00-1.00) |" in text
    assert "8 of 80 samples were disturbed" in text
    assert "0.002" not in text
    assert report.NOT_SUFFICIENT not in text


def test_too_few_samples_are_marked(comparison):
    one = comparison.measurements[0]
    doubtful = replace(one, samples=replace(one.samples, sufficient=False))
    comparison.measurements[0] = doubtful
    text = report.markdown(comparison, [])
    assert f"| fpn-box | 10.0 (10.0-10.0) {report.NOT_SUFFICIENT} |" in text
    assert "to be measured again" in text


def test_csv_has_a_line_per_measurement(comparison):
    lines = list(csv.DictReader(report.comma_separated(comparison).splitlines()))
    assert len(lines) == len(comparison.measurements)
    slow = next(line for line in lines if line["backend"] == "slow")
    assert float(slow["times_anchor"]) == 10
    assert float(slow["times_memory_limit"]) == 20


def test_command_writes_its_report(tmp_path, capsys):
    arguments = ["--tiny", "--rounds", "1", "--num-threads", "1", "--backends", "reference"]
    arguments += ["--workloads", "small-call,document-call", "--output", str(tmp_path)]
    assert cli.main(arguments) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "compare.md",
        "compare.csv",
        "compare.png",
    }
    assert "small-call" in capsys.readouterr().out


def test_report_of_other_backends_needs_no_cpu_variant(monkeypatch, capsys):
    monkeypatch.setenv("ROIALIGN_CPU", "nonsense")
    arguments = ["--tiny", "--rounds", "1", "--num-threads", "1", "--backends", "reference"]
    assert cli.main([*arguments, "--workloads", "small-call"]) == 0
    assert "CPU variant" not in capsys.readouterr().out


def test_fresh_memory_is_set_and_said(monkeypatch, capsys):
    bounds = []
    monkeypatch.setattr(cli, "set_retained_memory", bounds.append)
    arguments = ["--tiny", "--rounds", "1", "--num-threads", "1", "--backends", "cpu"]
    assert cli.main([*arguments, "--workloads", "small-call", "--fresh-memory"]) == 0
    assert bounds == [0]
    shown = capsys.readouterr().out
    assert f"CPU variant {variants.chosen()}" in shown
    assert "set_retained_memory(0)" in shown


def test_command_says_who_is_left_out_and_why(monkeypatch, capsys):
    # None means "cannot be imported".
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert cli.main(["--tiny", "--rounds", "1", "--threads", "1", "--workloads", "small-call"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"gpu is left out: {ra.backends.unavailable_reason('gpu')}" in shown


def test_command_fails_if_an_answer_is_wrong(monkeypatch, capsys):
    monkeypatch.setattr(contenders, "register_everyone", lambda: ra.backends.register(Wrong()))
    arguments = ["--tiny", "--rounds", "1", "--threads", "1", "--workloads", "small-call"]
    assert cli.main([*arguments, "--backends", "reference,wrong"]) == 1
    assert "wrong by" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workloads", "fpn-bocks"], "fpn-bocks"),
        (["--modes", "median"], "median"),
        (["--modes", "avg", "--workloads", "document-call"], "meant for avg"),
        (["--num-threads", "0"], "positive"),
        (["--threads", "0"], "positive"),
        (["--rounds", "many"], "positive"),
        (["--rounds", "8"], "at least 9"),
        (["--backends", "referense"], "reference"),
    ],
)
def test_command_names_what_it_does_not_know(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_importing_loads_numpy_alone():
    heavy = ("torch", "torchvision", "onnx", "onnxruntime", "openvino", "matplotlib", "rich")
    modules = ["workloads", "compare.cli", "compare.plot", "suite"]
    modules += [f"peers.{name}" for name in peers.NAMES]
    program = (
        f"import sys, roialign_cy as ra; assert 'roialign_cy.bench' not in sys.modules; "
        f"import {', '.join(f'roialign_cy.bench.{name}' for name in modules)};  "
        f"assert not {{*sys.modules}} & {{*{heavy}}}, {{*sys.modules}} & {{*{heavy}}}; "
        f"assert not {{*ra.backends.names()}} & {{*{peers.NAMES}}}"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_peers_are_registered_on_demand():
    peers.register_all()
    assert set(peers.NAMES) <= set(ra.backends.names())


@pytest.fixture
def unimported():
    """What is known of the packages of peers is forgotten, before and after."""
    _base._import_failure.cache_clear()
    yield
    _base._import_failure.cache_clear()


@pytest.mark.usefixtures("unimported")
def test_a_missing_package_is_a_reason_with_a_hint(monkeypatch):
    def missing(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr(_base, "version", missing)
    reason = PEERS["onnxruntime"].unavailable_reason()
    assert "onnxruntime is not installed" in reason
    assert "roialign_cy[peers]" in reason


@pytest.mark.usefixtures("unimported")
def test_a_broken_package_is_a_reason_with_its_version(monkeypatch):
    def broken(package):
        raise RuntimeError("built for another torch")

    monkeypatch.setattr(_base, "version", lambda package: "1.2.3")
    monkeypatch.setattr(_base, "import_module", broken)
    reason = PEERS["torchvision"].unavailable_reason()
    assert "torch 1.2.3 failed to import" in reason
    assert "built for another torch" in reason


def spec_of(convention="detectron2", sampling_ratio=2, mode="avg", layout="NCHW", num_threads=1):
    return make_spec((3, 2), convention, 0.5, sampling_ratio, mode, layout, num_threads)


def pool(features, rois, backend, **options):
    options = {"convention": "detectron2", "sampling_ratio": 2, "mode": "avg"} | options
    return ra.roi_align(features, rois, (3, 2), spatial_scale=0.5, backend=backend, **options)


def test_of_the_peers_torchvision_has_roi_pooling():
    spec = spec_of("roi_pool", sampling_ratio=None, mode=None)
    refusals = {name: peer.cannot_run(spec, "roi_align") for name, peer in PEERS.items()}
    assert [name for name, refusal in refusals.items() if refusal is None] == ["torchvision"]
    assert all("centered" in refusal for refusal in refusals.values() if refusal is not None)


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"convention": "document"}, "centered"),
        ({"convention": ra.Convention(pixel_offset=0.25)}, "pixel_offset"),
        ({"convention": ra.Convention(min_size=1.0)}, "min_size"),
        ({"convention": ra.Convention(border="zero")}, "border"),
        ({"convention": "prroi", "sampling_ratio": None}, "centered"),
        ({"sampling_ratio": (2, 3)}, "one sampling_ratio for both axes"),
        ({"mode": "max"}, ""),
    ],
)
def test_peers_refuse_what_they_have_no_words_for(peer, options, reason):
    refusal = peer.cannot_run(spec_of(**options), "roi_align")
    assert refusal is not None
    assert reason in refusal
    if "mode" not in options:
        assert peer.stand_in(spec_of(**options)) is None


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
@pytest.mark.parametrize("convention", ["detectron2", "torchvision", "onnx", "onnx-10"])
def test_peers_accept_averages_of_their_conventions(peer, convention):
    assert peer.cannot_run(spec_of(convention), "roi_align") is None


def test_peers_have_a_stand_in_for_max_or_none():
    spec = spec_of(mode="max")
    assert PEERS["torchvision"].stand_in(spec) is None
    assert PEERS["onnxruntime"].stand_in(spec)[0].mode == "max_weighted"
    assert PEERS["openvino"].stand_in(spec)[0] == spec
    assert PEERS["openvino"].stand_in(spec_of("document", mode="max")) is None


@pytest.fixture(params=PEERS.values(), ids=PEERS)
def peer(request):
    reason = request.param.unavailable_reason()
    if reason is not None:
        pytest.skip(reason)
    return request.param


def inputs(dtype="float32", layout="NCHW"):
    rng = np.random.default_rng(7)
    features = rng.random((2, 3, 12, 17) if layout == "NCHW" else (2, 12, 17, 3)).astype(dtype)
    near = rng.uniform(-2, 12, (6, 2))
    rois = np.hstack([[[0], [1]] * 3, near, near + rng.uniform(1, 20, (6, 2))])
    return features, rois.astype("float64" if dtype == "float64" else "float32")


@pytest.mark.peers
@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("convention", ["detectron2", "torchvision"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_peers_agree_with_the_reference(peer, dtype, layout, convention, sampling_ratio):
    features, rois = inputs(dtype, layout)
    ra.backends.register(peer)
    options = {"convention": convention, "sampling_ratio": sampling_ratio, "layout": layout}
    if dtype == "float64" and peer.name == "openvino":
        with pytest.raises(TypeError, match="float64"):
            pool(features, rois, peer.name, **options)
        return
    expected = pool(features.astype("float64"), rois, "reference", **options)
    result = pool(features, rois, peer.name, **options)
    assert result.dtype == dtype
    tolerance = {"float16": 1e-3, "float32": 1e-5, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(result, expected, rtol=0, atol=tolerance)


@pytest.mark.peers
def test_peers_agree_on_the_max_they_stand_in_with(peer):
    features, rois = inputs()
    stand_in = peer.stand_in(spec_of(mode="max"))
    if stand_in is None:
        assert peer.name == "torchvision"
        return
    spec, _ = stand_in
    expected = pool(features, rois, "reference", mode=spec.mode)
    result = peer.prepare(features, rois, spec).result()
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5)


@pytest.mark.peers
def test_peers_work_through_the_public_call(peer):
    ra.backends.register(peer)
    features, rois = inputs()
    features.flags.writeable = False
    options = {"convention": "detectron2", "sampling_ratio": 2, "backend": peer.name}
    out = np.empty((6, 3, 2, 2), np.float32)
    assert ra.roi_align(features, rois, 2, out=out, **options) is out
    np.testing.assert_array_equal(out, ra.roi_align(features, rois, 2, **options))
    assert ra.roi_align(features, rois[:0], 2, **options).shape == (0, 3, 2, 2)


@pytest.mark.peers
def test_every_prepared_call_allocates_its_result(peer):
    features, rois = inputs()
    call = peer.prepare(features, rois, spec_of())
    first = call.run()
    kept = call.to_numpy(first).copy()
    second = call.run()
    assert not np.shares_memory(call.to_numpy(first), call.to_numpy(second))
    np.testing.assert_array_equal(call.to_numpy(first), kept)


@pytest.mark.peers
@pytest.mark.parametrize("num_threads", [1, 2])
def test_torchvision_runs_on_the_threads_asked_for(num_threads):
    torch = pytest.importorskip("torch", reason="torchvision's threads are torch's")
    before = torch.get_num_threads()
    features, rois = inputs()
    try:
        PEERS["torchvision"].prepare(features, rois, spec_of(num_threads=num_threads)).result()
        assert torch.get_num_threads() == num_threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.peers
def test_gradients_are_torchvisions_alone(peer):
    ra.backends.register(peer)
    features, rois = inputs()
    grad = np.random.default_rng(8).random((6, 3, 3, 2), dtype=np.float32)

    def gradient(backend, **options):
        options = {"convention": "detectron2", "sampling_ratio": 2, "mode": "avg"} | options
        return ra.roi_align_backward(
            grad, rois, features.shape, features=features, backend=backend, spatial_scale=0.5,
            **options,
        )  # fmt: skip

    if peer.name == "torchvision":
        expected = gradient("reference")
        np.testing.assert_allclose(gradient(peer.name), expected, rtol=0, atol=1e-5)
        with pytest.raises(ra.BackendUnavailableError, match="gradient of means only"):
            gradient(peer.name, mode="max")
    else:
        with pytest.raises(ra.BackendUnavailableError, match="has no feature gradient"):
            gradient(peer.name)
    with pytest.raises(ra.BackendUnavailableError, match="has no box gradient"):
        gradient(peer.name, wrt="rois")


def test_a_backend_outside_the_tree_takes_part_by_its_module(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "docs" / "plugin")
    arguments = ["--tiny", "--workloads", "fpn-p4", "--threads", "1", "--rounds", "1"]
    backends = "cpu,roialign_factors:FactorsBackend"
    done = CliRunner().invoke(roialign, ["bench", "compare", *arguments, "--backends", backends])
    assert done.exit_code == 0, done.output
    assert "factors" in done.output
    done = CliRunner().invoke(roialign, ["bench", "compare", "--backends", "nowhere:BACKEND"])
    assert done.exit_code == 2
    assert "nowhere:BACKEND" in done.output


SUITE = (
    "from roialign_cy.bench import suite_calls; print(*suite_calls.BACKENDS, *suite_calls.OTHERS)"
)


def test_the_suite_runs_the_backends_that_are_asked_for():
    folder = Path(__file__).parents[2] / "docs" / "plugin"
    chosen = {"ROIALIGN_BENCH_BACKENDS": "cpu,roialign_factors:FactorsBackend"}
    done = subprocess.run(
        [sys.executable, "-c", SUITE],
        env=os.environ | chosen | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["cpu", "factors", "factors"], done.stderr
