"""The history and the dashboard's own page: what is measured, in which order, and what is shown."""

import json
from pathlib import Path

import pytest
from benchmarks import history, memory
from benchmarks.dashboard import asv_site, page

import roialign_cy as ra

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


def test_only_what_a_line_lacks_is_measured(repository, monkeypatch, capsys):
    """And lines of other commits stay."""
    first, second = (repository.commit("setup.py", text) for text in "12")
    kept = repository.root / "history.jsonl"
    kept.write_text("".join(json.dumps(one) + "\n" for one in LINES[:1]))
    for name, value in {"HISTORY": kept, "ROOT": repository.root, "PINNED": first}.items():
        monkeypatch.setattr(history, name, value)
    monkeypatch.setattr(history, "_require_peer", lambda: None)
    monkeypatch.setattr(history, "build", lambda *_: repository.root)
    asked = []

    def measure(commit, series, pinned, cache):
        asked.append((commit, series))
        described = {"commit": commit, "date": "2026-02-01", "subject": "A change"}
        return described | dict.fromkeys(series, len(asked))

    monkeypatch.setattr(history, "measure", measure)
    assert history.main([second, "--series", "counts"]) == 0
    assert history.main([second, "--series", "counts", "memory"]) == 0
    assert history.main([second, "--series", "counts", "memory"]) == 0
    assert asked == [(second, ["counts"]), (second, ["memory"])]
    found = history.read(kept)
    assert found[0] == LINES[0]
    assert (found[1]["counts"], found[1]["memory"]) == (1, 2)


def test_memory_of_a_call_has_its_result():
    # In a process of its own: in this one, earlier tests have left memory that is at hand.
    growth = memory.measure("fpn-box avg", Path(ra.__file__).parents[1])
    assert growth is not None
    assert growth > 512 * 256 * 7 * 7 * 4 / 2**20


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


def test_the_page_has_the_series_of_no_operator():
    busy = {"p4-2-boxes": {"pinned": time(0.5)}}
    lines = [*LINES[:2], LINES[2] | {"busy": busy, "memory": {"fpn-box avg": 33.5}, "wheel_s": 9.0}]
    section = page.render(lines, COMPARISON).partition('<section id="machine">')[2]
    assert section.count("<svg") == 3
    for value in ("Change &lt;3&gt;: 0.5<", "Change &lt;3&gt;: 33.5<", "Change &lt;3&gt;: 9<"):
        assert value in section
    assert "<svg" not in page.render(LINES, COMPARISON).partition('<section id="machine">')[2]


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
