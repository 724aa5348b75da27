"""The history and the dashboard's own page: what is measured, in which order, and what is shown."""

import json

import pytest
from benchmarks import history
from benchmarks.dashboard import asv_site, page

from .test_gate import Repository


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path)


def test_commits_that_change_the_core_are_measured_from_far_to_near(repository):
    found = []
    for number in range(7):
        found.append(repository.commit("setup.py", str(number)))
        repository.commit("docs.md", str(number))
    order = history.changes(repository.root)
    assert order[:3] == [found[6], found[0], found[3]]
    assert sorted(order) == sorted(found)


def line(k, counts, times):
    return {
        "commit": f"{k:08x}{0:032x}",
        "date": f"2026-01-0{k}T00:00:00+00:00",
        "subject": f"Change <{k}>",
        "counts": counts,
        "times": times,
    }


def time(ratio):
    return [ratio, ratio - 0.01, ratio + 0.01]


LINES = [
    line(1, {"avg": {"kernels": 900, "taps": 100}}, {"avg": {"pinned": time(2.0)}}),
    line(
        2,
        {"avg": {"kernels": 400, "taps": 100}, "prroi": {"kernels": 10}},
        {"avg": {"pinned": time(1.0), "onnxruntime": time(0.1)}, "prroi": {"pinned": time(1.0)}},
    ),
    line(3, {"avg": {"kernels": 401, "taps": 100}}, {"avg": {"pinned": time(1.01)}}),
]
COMPARISON = """\
workload,mode,threads,backend,times_anchor,sufficient
fpn-p4,avg,1,cpu,1,True
fpn-p4,avg,1,other,12.34,False
"""


def test_the_page_names_the_commits_that_changed_something():
    text = page.render(LINES, COMPARISON)
    (named,) = text.split("<ul>")[1:]
    named = named.split("</ul>")[0]
    assert "Change &lt;2&gt;" in named
    assert "-50% instructions, -50% time" in named
    assert "Change &lt;3&gt;" not in named
    assert '<section id="prroi">' in text
    assert '<section id="max">' not in text
    assert "<td>fpn-p4, avg</td><td>12.3?</td>" in text
    assert "<script" not in text
    assert "//" not in text.replace("<!DOCTYPE", "")


def test_the_history_is_among_the_results_of_asv(tmp_path):
    (tmp_path / "benchmarks.json").write_text('{"mine": {}, "version": 2}')
    asv_site.add_history(LINES, tmp_path)
    benchmarks = json.loads((tmp_path / "benchmarks.json").read_text())
    assert benchmarks.keys() >= {"mine", "history.track_instructions"}
    first, second, _ = (json.loads(path.read_text()) for path in sorted(tmp_path.glob("*/0*")))
    assert benchmarks["history.track_instructions"]["params"] == [["'avg'", "'prroi'"]]
    assert first["results"]["history.track_instructions"][0] == [1000, None]
    ratios = second["results"]["history.track_relative_time"]
    assert ratios[0] == [1.0, 0.1, 1.0, None]
    assert ratios[1] == [["'avg'", "'prroi'"], ["'pinned'", "'onnxruntime'"]]


def test_what_is_kept_is_small():
    lines = history.read()
    assert len({one["commit"] for one in lines}) == len(lines) > 0
    assert len(history.HISTORY.read_bytes()) < 1 << 18
    assert all(one["counts"]["avg"].keys() >= {"kernels", "taps"} for one in lines)
