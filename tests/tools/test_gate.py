"""The regression gate: what it counts, what blocks, what it refuses and what it compares with."""

import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks import callgrind, git, versions
from benchmarks.callgrind import Origin, profile
from benchmarks.cases import CASES
from benchmarks.gate import cli, injections, measure, parts, report, verdict

import roialign_cy as ra

INSTALLED = Path(ra.__file__).parents[1]
RULES = verdict.Rules()

# Written by hand in callgrind's format: names once and then by number, costs of calls on the line
# after "calls=", lines relative to the one before, an inlined file in the middle of a function.
DUMP = """\
# callgrind format
version: 1
desc: Trigger: Client Request: avg
positions: line
events: Ir

ob=(1) /b/roialign_cy/_core/kernels/v3_float32.cpython-311.so
fl=(1) /b/roialign_cy/_core/kernels/tiled.pxi
fn=(1) tiled_task
10 100
+2 20
fi=(2) /b/roialign_cy/_core/kernels/pack.pxi
40 7
fe=(1)
* 3
cob=(2) /usr/lib/libc.so.6
cfi=(3) memset.S
cfn=(2) memset
calls=2 5
12 9000
-1 5

ob=(2)
fl=(3)
fn=(2)
5 9000

totals: 9135
"""


def test_a_dump_is_read_without_what_calls_cost(tmp_path):
    path = tmp_path / "profile.1"
    path.write_text(DUMP)
    title, counts = profile.read(path)
    kernels = "/b/roialign_cy/_core/kernels/v3_float32.cpython-311.so"
    assert title == "avg"
    assert counts == {
        Origin(kernels, "tiled.pxi", "tiled_task"): 128,
        Origin(kernels, "pack.pxi", "tiled_task"): 7,
        Origin("/usr/lib/libc.so.6", "memset.S", "memset"): 9000,
    }
    assert counts.total() == 9135


@pytest.mark.parametrize(
    ("module", "file", "part"),
    [
        (
            "roialign_cy/_core/kernels/v3_float32.cpython-311-x86_64-linux-gnu.so",
            "mix.pxi",
            "kernels",
        ),
        ("roialign_cy/_core/kernels/base_float64.abi3.so", "pack.pxi", "packing"),
        ("roialign_cy/_core/kernels/v3_float32.so", "transpose.h", "packing"),
        ("roialign_cy/_core/kernels/v3_float32.so", "a_new_file.pxi", "kernels"),
        ("roialign_cy/_core/kernels/v3_float32.so", "???", "kernels"),
        ("roialign_cy/_core/taps.cpython-311.so", "geometry.pxd", "taps"),
        ("roialign_cy/_core/taps.cpython-311.so", "faults.pxi", "taps"),
        ("roialign_cy/_core/a_new_module.so", "a_new_file.pxi", "a_new_module"),
        ("usr/lib/x86_64-linux-gnu/libc.so.6", "memset.S", "C library"),
        ("usr/lib/x86_64-linux-gnu/libgomp.so.1.0.0", "???", "C library"),
        ("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "???", "C library"),
        ("usr/lib/libpython3.11.so.1.0", "ceval.c", "Python layer"),
        ("numpy/_core/_multiarray_umath.cpython-311.so", "???", "Python layer"),
    ],
)
def test_instructions_belong_to_the_part_of_their_module_and_file(module, file, part):
    assert parts.part_of(Origin(f"/somewhere/{module}", file, "any")) == part


def test_every_file_with_a_part_of_its_own_exists():
    folder = Path(__file__).parents[2] / "src/roialign_cy/_core"
    if not folder.exists():
        pytest.skip("the source tree is gone: this is a test of the installed package")
    assert all(list(folder.rglob(name)) for name in parts.PART_OF_FILE)


PREFIX = "__pyx_f_11roialign_cy_5_core_7kernels_10v3_float32_"
KERNEL = Origin("/x/roialign_cy/_core/kernels/v3_float32.so", "mix.pxi", f"{PREFIX}mix.part.0'2")
TAPS = Origin(
    "/x/roialign_cy/_core/taps.so", "lines.pxi", "__pyx_f_11roialign_cy_5_core_4taps_fill_axis"
)
PYTHON = Origin("/x/libpython3.11.so", "ceval.c", "_PyEval_EvalFrameDefault")


def outcomes(base, head, rules=RULES):
    rises = verdict.compare_counts({"avg": Counter(base)}, {"avg": Counter(head)}, rules)
    return {one.part: one.outcome for one in rises if one.outcome}


@pytest.mark.parametrize(
    ("base", "head", "expected"),
    [
        ({KERNEL: 100_000}, {KERNEL: 103_000}, {}),
        ({KERNEL: 100_000}, {KERNEL: 103_001}, {"kernels": "slower"}),
        ({KERNEL: 100_000}, {KERNEL: 50_000}, {}),
        # A part may not hide behind another that is a hundred times as large.
        ({KERNEL: 10**7, TAPS: 100_000}, {KERNEL: 10**7, TAPS: 110_000}, {"taps": "slower"}),
        # Nor is a few instructions' difference anything.
        ({KERNEL: 10**7, TAPS: 1_000}, {KERNEL: 10**7, TAPS: 3_000}, {}),
        # Work that changed its place in a case that became cheaper.
        ({KERNEL: 10**6, TAPS: 10**5}, {KERNEL: 10**5, TAPS: 2 * 10**5}, {"taps": "moved"}),
        # A part that was not there.
        ({KERNEL: 10**6}, {KERNEL: 10**6, TAPS: 10**5}, {"taps": "slower"}),
    ],
)
def test_a_part_blocks_by_its_own_rise(base, head, expected):
    assert outcomes(base, head) == expected


@pytest.mark.parametrize("name", ["kernels", "avg"])
def test_what_a_commit_accepts_does_not_block(name):
    rules = verdict.Rules(accepted=frozenset({name}))
    assert outcomes({KERNEL: 10_000}, {KERNEL: 20_000}, rules) == {"kernels": "accepted"}


def test_the_culprit_is_the_function_that_rose_most():
    other = replace_function(KERNEL, f"{PREFIX}average_box")
    elsewhere = KERNEL._replace(module="/y/roialign_cy/_core/kernels/v3_float32.so")
    base = {KERNEL: 1000, other: 5000}
    head = {elsewhere: 3000, replace_function(elsewhere, other.function): 5100}
    (one,) = verdict.compare_counts({"avg": Counter(base)}, {"avg": Counter(head)}, RULES)
    assert one.culprit == "mix.pxi: mix"
    assert one.rise == pytest.approx(0.35)
    (one,) = verdict.compare_counts({"avg": Counter()}, {"avg": Counter({TAPS: 1})}, RULES)
    assert one.culprit == "lines.pxi: fill_axis"
    (one,) = verdict.compare_counts({"avg": Counter()}, {"avg": Counter({PYTHON: 1})}, RULES)
    assert one.culprit == "ceval.c: _PyEval_EvalFrameDefault"


def replace_function(origin, function):
    return origin._replace(function=function)


def ratios(*values):
    return versions.Ratios(0.010, values)


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (ratios(1.3, 1.3, 1.3), "slower"),
        (ratios(1.14, 1.14, 1.14), ""),
        (ratios(0.5, 0.5, 0.5), ""),
        # Slower now and then, and not in the median.
        (ratios(1.0, 1.0, 1.0, 3.0, 3.0), ""),
    ],
)
def test_a_time_blocks_by_its_median_ratio(found, outcome):
    assert verdict.judge_time("avg", found, RULES).outcome == outcome
    accepting = verdict.Rules(accepted=frozenset({"avg"}))
    accepted = verdict.judge_time("avg", found, accepting).outcome
    assert accepted == ("accepted" if outcome == "slower" else outcome)


class Timed:
    """Ratios of a clock by which one case is slower in the first so many measurements."""

    def __init__(self, times_slower):
        self.times_slower = times_slower
        self.asked = []

    def __call__(self, sources, cases, rounds, home):
        assert list(sources) == [home, "base"] == ["head", "base"]
        self.asked.append((*cases, rounds))
        slow = 2.0 if len(self.asked) <= self.times_slower else 1.0
        found = {case: ratios(*[slow if case == "avg" else 1.0] * 2) for case in cases}
        compared = {case: {"base": one} for case, one in found.items()} | {"new": {}}
        return compared, {"new": {"base": "lacks it"}}


@pytest.mark.parametrize(("times_slower", "outcome"), [(0, ""), (1, ""), (2, "slower")])
def test_only_what_is_slower_twice_blocks(times_slower, outcome, monkeypatch):
    timed = Timed(times_slower)
    monkeypatch.setattr(measure, "compare_in_turn", timed)
    found = measure.Findings()
    measure.compare_clock(found, INSTALLED, INSTALLED, ["avg", "max"], RULES, say=lambda text: None)
    assert {one.case: one.outcome for one in found.times} == {"avg": outcome, "max": ""}
    again = [("avg", 2 * measure.ROUNDS)] if times_slower else []
    assert timed.asked == [("avg", "max", measure.ROUNDS), *again]
    assert found.absent == {"new": "lacks it"}


RISE = verdict.PartRise("avg", "kernels", 1000, 2000, "mix.pxi: mix", "slower")
TIME = verdict.TimeRatio("max", 0.020, 2.0, 1.9, 2.1, "slower")


@pytest.mark.parametrize(
    ("counts", "times", "status"),
    [
        ([], [], cli.NOT_MEASURED),
        ([replace(RISE, outcome="")], [], cli.NOT_MEASURED),
        ([], [replace(TIME, outcome="")], cli.NOT_MEASURED),
        ([replace(RISE, outcome="moved")], [replace(TIME, outcome="accepted")], cli.PASSED),
        ([RISE], [replace(TIME, outcome="")], cli.SLOWER),
        ([replace(RISE, outcome="")], [TIME], cli.SLOWER),
    ],
)
def test_exit_status_is_the_verdict(counts, times, status):
    assert cli.judge(measure.Findings(counts, times))[0] == status


def test_the_table_names_the_culprit():
    text = "\n".join(report.lines(measure.Findings([RISE], [TIME], {"new": "base: lacks it"})))
    row = next(line for line in text.splitlines() if "mix.pxi" in line)
    assert row.split() == [
        "avg",
        "kernels",
        "1,000",
        "2,000",
        "+100.00%",
        "SLOWER",
        "mix.pxi:",
        "mix",
    ]
    assert "max   20.000 ms  2.000  1.900-2.100  SLOWER" in text
    assert "not compared: new (base: lacks it)" in text


def test_markdown_leads_with_what_blocks():
    passing = replace(RISE, case="avg-nhwc", outcome="moved")
    text = report.markdown(measure.Findings([RISE, passing], [TIME]), "SLOWER: avg, max")
    top, folded = text.split("<details>")
    assert top.startswith("### Gate: SLOWER: avg, max\n")
    assert "| avg | kernels | 1,000 | 2,000 | +100.00% | SLOWER | mix.pxi: mix |" in top
    assert "| max | 20.000 ms | 2.000 | 1.900-2.100 | SLOWER |" in top
    assert "avg-nhwc" in folded
    assert "avg-nhwc" not in top


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--base", "no-such-revision"], "no-such-revision"),
        (["--base", "HEAD", "--cases", "avrg"], "avrg"),
        ([], "--base"),
    ],
)
def test_command_names_what_it_does_not_know(arguments, message, capsys, monkeypatch, repository):
    monkeypatch.setattr(cli, "ROOT", repository.root)
    repository.commit("src/a.py", "1")
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == cli.NOT_MEASURED
    assert message in capsys.readouterr().err


class Repository:
    """A repository with a file or two."""

    def __init__(self, root):
        self.root = root
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments):
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        done = subprocess.run(
            ["git", *identity, *arguments],
            cwd=self.root,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(self, path, text, message="A change"):
        for name in (path, *(name for name in git.SOURCES if name != "src")):
            (self.root / name).parent.mkdir(exist_ok=True)
            (self.root / name).touch()
        (self.root / path).write_text(text)
        self.git("add", "--all")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path)


def test_the_previous_version_is_that_before_the_core_last_changed(repository):
    first = repository.commit("src/a.py", "1")
    repository.commit("src/a.py", "2")
    repository.commit("docs.md", "Words")
    assert git.previous(repository.root, None) == first
    assert git.previous(repository.root, "HEAD") == first
    (repository.root / "src/a.py").write_text("3")
    assert git.previous(repository.root, None) == "HEAD"
    assert git.previous(repository.root, "HEAD") == first


def test_a_merge_is_compared_with_what_it_was_merged_into(repository):
    repository.commit("src/a.py", "1")
    repository.git("checkout", "-q", "-b", "side")
    repository.commit("src/b.py", "1")
    repository.commit("src/b.py", "2")
    repository.git("checkout", "-q", "main")
    before = repository.commit("docs.md", "Words")
    repository.git("merge", "-q", "--no-ff", "side")
    assert git.previous(repository.root, None) == before


def test_without_history_there_is_nothing_to_compare_with(
    repository, tmp_path_factory, monkeypatch, capsys
):
    repository.commit("src/a.py", "1")
    repository.commit("src/a.py", "2")
    clone = tmp_path_factory.mktemp("clone")
    source = f"file://{repository.root}"
    subprocess.run(["git", "clone", "-q", "--depth=1", source, str(clone)], check=True)
    monkeypatch.setattr(cli, "ROOT", clone)
    assert cli.main(["--base", "previous"]) == cli.NO_BASE
    assert "shallow" in capsys.readouterr().out


def test_the_files_here_are_a_tree_and_the_index_stays(repository):
    repository.commit("src/a.py", "1")
    committed = git.tree_of(repository.root, "HEAD")
    assert git.tree_of_files(repository.root) == committed
    (repository.root / "src/new.py").write_text("not yet added")
    tree = git.tree_of_files(repository.root)
    assert repository.git("show", f"{tree}:src/new.py") == "not yet added"
    assert repository.git("diff", "--cached", "--name-only") == ""
    changed = git.tree_with(repository.root, committed, {"src/a.py": "2"})
    assert repository.git("show", f"{changed}:src/a.py") == "2"
    exported = repository.root / "exported"
    git.export(repository.root, changed, exported)
    assert (exported / "src/a.py").read_text() == "2"


def test_commits_can_accept_to_be_slower(repository):
    first = repository.commit("src/a.py", "1", f"One\n\n{git.TRAILER}: max")
    repository.commit("src/a.py", "2", f"Two\n\nWhy it has to be.\n\n{git.TRAILER}: Python layer")
    assert git.accepted(repository.root, first, None) == {"Python layer"}


@pytest.mark.parametrize("injection", injections.INJECTIONS, ids=lambda one: one.name)
def test_slowdowns_find_their_place(injection):
    package = Path(__file__).parents[2] / "src" / "roialign_cy"
    if not package.exists():
        pytest.skip("the source tree is gone: this is a test of the installed package")
    path, text = injection.apply(package)
    before = path.read_text().splitlines()
    after = text.splitlines()
    assert len(after) > len(before)
    lines = iter(after)
    assert all(line in lines for line in before)  # nothing was taken away
    assert str(injection.iterations) in text
    assert any(name.startswith(injection.case) for name in CASES)


@pytest.mark.parametrize("text", ["", "cdef void twice(int a):\n    pass\n" * 2])
def test_a_slowdown_without_its_place_says_what_to_look_for(text, tmp_path):
    (tmp_path / "a.pxi").write_text(text)
    injection = injections.Injection("one", "twice", 7, "kernels", "avg")
    with pytest.raises(injections.AnchorError, match=r"function twice.*once.*injections\.py"):
        injection.apply(tmp_path)


def test_a_slowdown_comes_after_the_docstring(tmp_path):
    source = 'cdef void once(\n    int a\n) noexcept nogil:\n    """Words."""\n    b = 1\n'
    (tmp_path / "a.pxi").write_text(source + "cdef void not_once(int a):\n    once(a)\n")
    _, text = injections.Injection("one", "once", 7, "kernels", "avg").apply(tmp_path)
    head, loop = text.split('"""Words."""\n')
    assert head.endswith("noexcept nogil:\n    ")
    assert loop.startswith("    cdef slowed_down_t slowed_down = 0\n")
    assert loop.index("slowed_down < 7") < loop.index("b = 1")


@pytest.fixture
def version(tmp_path):
    """Another version of the library, which lacks gradients; every call of it says that it is."""
    shutil.copytree(INSTALLED / "roialign_cy", tmp_path / "roialign_cy")
    path = tmp_path / "roialign_cy" / "__init__.py"
    path.write_text(path.read_text() + OTHER)
    return tmp_path


# It calls its own, with an import inside of the function, more than once.
OTHER = """
del roi_align_backward

def roi_align(*arguments, **options):
    from roialign_cy import _api
    assert _api.__file__.startswith(__file__.removesuffix("__init__.py"))
    for _ in range(3):
        result = _api.roi_align(*arguments, **options)
    return result
"""


def test_versions_are_timed_in_turn_in_one_process(version):
    cases = ["small-avg", "small-avg-by-features"]
    sources = {"head": version, "base": INSTALLED}
    found, lacking = versions.compare_in_turn(
        sources, cases, 5, "base", ["reference"], variant="base"
    )
    assert found.keys() == {"small-avg"}
    assert found["small-avg"].keys() == {"base", "reference"}
    assert found["small-avg"]["base"].median > 1.5
    assert found["small-avg"]["reference"].median < 1
    assert lacking["small-avg"] == {}
    assert "roi_align_backward" in lacking["small-avg-by-features"]["head"]


def test_timing_that_fails_says_why():
    with pytest.raises(RuntimeError, match="no-such-case"):
        versions.compare_in_turn(
            {"head": INSTALLED, "base": INSTALLED}, ["no-such-case"], 1, "base"
        )


@pytest.fixture
def _can_count():
    reason = callgrind.unavailable_reason()
    if reason is not None:
        pytest.skip(reason)


def test_the_counter_can_be_copied_elsewhere(tmp_path):
    shutil.copytree(Path(callgrind.__file__).parent, tmp_path / "callgrind")
    program = "import callgrind, sys; assert not {'benchmarks', 'roialign_cy'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)


@pytest.mark.usefixtures("_can_count")
def test_counts_are_the_same_every_time():
    first, second = (
        versions.count(["small-avg", "small-document"], INSTALLED, "base") for _ in range(2)
    )
    assert first.absent == second.absent == {}
    for case, counts in first.instructions.items():
        found = parts.by_part(counts)
        assert {"kernels", "taps", "Python layer"} <= found.keys()
        assert abs(counts.total() - second.instructions[case].total()) < 500
    assert not [
        one
        for one in verdict.compare_counts(first.instructions, second.instructions, RULES)
        if one.outcome
    ]


@pytest.mark.usefixtures("_can_count")
def test_counting_that_fails_says_why():
    with pytest.raises(RuntimeError, match="ROIALIGN_CPU"):
        versions.count(["small-avg"], INSTALLED, variant="v9")
