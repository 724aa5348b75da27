"""How a job goes: what is read and written, kills and resumption, memory, what is shown."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("click", reason="the extra 'cli' is not installed")
pytest.importorskip("rich", reason="the extra 'cli' is not installed")

import roialign_cy as ra
from roialign_cy import _jobs
from roialign_cy._cli import jobs
from roialign_cy._cli.parts import make_console
from roialign_cy._jobs import outputs
from roialign_cy._jobs import rois as rois_module

from .job_cases import NEEDS_ZARR, load
from .job_commands import (
    ROIS,
    STEPS,
    assert_refused,
    interrupted,
    names,
    pool,
    run,
    save_maps_of_several_steps,
)

ROOT = Path(__file__).parents[2]
MMCV = ("--output-size", "3x2", "--convention", "mmcv")


@pytest.fixture
def maps(tmp_path, monkeypatch):
    """Go to a folder of two maps and three boxes."""
    monkeypatch.chdir(tmp_path)
    maps = np.random.default_rng(0).standard_normal((2, 3, 12, 14), np.float32)
    np.save("maps.npy", maps)
    np.save("rois.npy", ROIS)
    return maps


def test_boxes_that_are_probably_wrong_are_told_in_one_line(maps):
    np.save("rois.npy", ROIS * [1, 16, 16, 16, 16])
    result = pool("maps.npy", "rois.npy", "-o", "out.npy")
    assert result.stdout == "out.npy: 3 x 3 x 7 x 7, float32\n"
    (line,) = result.stderr.splitlines()
    assert line.startswith(
        "rois.npy: 2 of 3 boxes are outside the map of 12 x 14 cells and pool to"
    )
    assert line.endswith("is spatial_scale, 1, rather 1/16?")
    scaled = pool("maps.npy", "rois.npy", "-o", "again.npy", "--spatial-scale", "1/16")
    assert scaled.stderr == ""


def test_ratio_of_minus_one_is_that_of_zero(maps):
    for ratio in "0", "-1", "-1x0":
        pool("maps.npy", "rois.npy", "-o", f"out{ratio}.npy", *MMCV, "--sampling-ratio", ratio)
    assert Path("out0.npy").read_bytes() == Path("out-1.npy").read_bytes()
    assert Path("out0.npy").read_bytes() == Path("out-1x0.npy").read_bytes()
    explain = ("explain", "maps.npy", "--box", 1, 1, 9, 8, *MMCV[2:], "--sampling-ratio")
    assert run(*explain, "-1").output == run(*explain, "0").output
    for command in explain, ("pool", "maps.npy", "rois.npy", "-o", "o.npy", "--sampling-ratio"):
        assert_refused(run(*command, "-2"), "sampling_ratio must be in 0 .. 4096, or -1")


def test_options_are_the_apis(maps):
    options = "--output-size 3x2 --convention onnx --spatial-scale 1/2 --sampling-ratio 2x1"
    options += " --mode max --layout NHWC --threads 1 --backend reference"
    np.save("nhwc.npy", maps.transpose(0, 2, 3, 1))
    result = pool("nhwc.npy", "rois.npy", "-o", "out.npy", *options.split())
    assert result.stdout == "out.npy: 3 x 3 x 2 x 3, float32\n"
    assert result.stderr == ""
    expected = ra.roi_align(
        maps.transpose(0, 2, 3, 1),
        ROIS,
        (3, 2),
        convention="onnx",
        spatial_scale=0.5,
        sampling_ratio=(2, 1),
        mode="max",
        layout="NHWC",
        backend="reference",
    )
    np.testing.assert_array_equal(np.load("out.npy"), expected)


def test_defaults_are_the_apis(maps):
    pool("maps.npy", "rois.npy", "-o", "out.npy")
    np.testing.assert_array_equal(np.load("out.npy"), ra.roi_align(maps, ROIS, 7))


def as_csv(rois):
    Path("boxes.csv").write_text("\n".join(",".join(map(str, row)) for row in rois))
    return "boxes.csv"


def as_csv_with_blank_lines(rois):
    as_csv(rois)
    Path("boxes.csv").write_text("  \n" + Path("boxes.csv").read_text().replace("\n", "\n \n"))
    return "boxes.csv"


def as_csv_with_more(rois):
    lines = [f"{y2}, {score},{x1},{y1},{x2},{int(image)}" for score, (image, x1, y1, x2, y2)
             in enumerate(rois)]  # fmt: skip
    Path("boxes.csv").write_text("\ufeffy2,score,x1,y1, X2,image\r\n\r\n" + "\r\n".join(lines))
    return "boxes.csv"


def as_coco(rois):
    boxes = [[x1, y1, x2 - x1, y2 - y1] for _, x1, y1, x2, y2 in rois]
    content = {
        "images": [{"id": 50}, {"id": 7}],
        "annotations": [
            {"image_id": (50, 7)[int(row[0])], "bbox": box}
            for row, box in zip(rois, boxes, strict=True)
        ],
    }
    Path("boxes.json").write_text(json.dumps(content))
    return "boxes.json"


@pytest.mark.parametrize("write", [as_csv, as_csv_with_blank_lines, as_csv_with_more, as_coco])
def test_kinds_of_boxes(maps, write):
    pool("maps.npy", write(ROIS), "-o", "out.npy", *MMCV)
    expected = ra.roi_align(maps, ROIS, (3, 2), convention="mmcv")
    np.testing.assert_array_equal(np.load("out.npy"), expected)


@pytest.mark.parametrize("name", ["maps.npz", "maps.zarr"])
def test_array_of_several(maps, name):
    if name == "maps.npz":
        np.savez(name, other=np.ones(3), wanted=maps)
    else:
        group = pytest.importorskip("zarr", reason=NEEDS_ZARR).create_group(name)
        group.create_array("other", data=np.ones(3))
        group.create_array("wanted", data=maps)
    assert_refused(run("pool", name, "rois.npy", "-o", "out.npy"), "'other', 'wanted'")
    pool(name, "rois.npy", "-o", "out.npy", "--array", "wanted")
    np.testing.assert_array_equal(np.load("out.npy"), ra.roi_align(maps, ROIS, 7))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_image(maps, mode, layout):
    from PIL import Image

    colours = np.random.default_rng(0).integers(0, 256, (12, 14, 3), np.uint8)
    image = Image.fromarray(colours).convert(mode)
    image.save("image.png")
    pixels = np.array(image.convert("L" if mode == "L" else "RGB"), np.float32)
    pixels = pixels.reshape(1, 12, 14, -1)
    rois = ROIS * [0, 1, 1, 1, 1]
    np.save("rois.npy", rois)
    pool("image.png", "rois.npy", "-o", "out.npy", "--layout", layout)
    expected = ra.roi_align(pixels, rois, 7, layout="NHWC")
    if layout == "NCHW":
        expected = np.moveaxis(expected, -1, 1)
    np.testing.assert_array_equal(np.load("out.npy"), expected)


def test_the_line_of_a_box_of_a_csv(maps):
    rows = ["label,image,x1,y1,x2,y2", *['"two\n\nlines",0,1,1,5,5'] * 3, "", " ", "a,0,1,1,5,inf"]
    Path("boxes.csv").write_text("\n".join(rows))
    assert_refused(run("pool", "maps.npy", "boxes.csv", "-o", "out.npy"), "line 13: rois[3] must")


def test_a_csv_is_read_by_compiled_code(maps, monkeypatch):
    """A million rows take a second, where a loop over their cells took thirteen."""
    boxes = np.random.default_rng(0).uniform(0, 9, (3000, 5)) * [0, 1, 1, 1, 1]
    as_csv(boxes)
    cells = []
    monkeypatch.setattr(rois_module, "_is_number", lambda text: cells.append(text) or True)
    found = _jobs.read_boxes(Path("boxes.csv"))
    np.testing.assert_array_equal(found.rois, boxes)
    assert len(cells) == 1


def test_a_header_alone_is_no_boxes(maps):
    Path("boxes.csv").write_text("image,x1,y1,x2,y2\n")
    pool("maps.npy", "boxes.csv", "-o", "out.npy")
    assert np.load("out.npy").shape == (0, 3, 7, 7)


@pytest.mark.parametrize("out", ["out.npy", "out.zarr"])
@pytest.mark.parametrize("shape", [(2, 3, 12, 14), (2, 0, 12, 14), (2, 3, 0, 14)])
@pytest.mark.parametrize("boxes", [0, 3])
def test_empty_jobs(maps, out, shape, boxes):
    if out == "out.zarr":
        pytest.importorskip("zarr", reason=NEEDS_ZARR)
    np.save("maps.npy", np.zeros(shape, np.float32))
    np.save("rois.npy", ROIS[:boxes])
    pool("maps.npy", "rois.npy", "-o", out)
    pooled = load(Path(out))
    assert pooled.shape == (boxes, shape[1], 7, 7)
    assert not pooled.any()


# What is there is not harmed, and gone on with.


@pytest.fixture
def steps(maps):
    """Have jobs of several steps."""
    save_maps_of_several_steps()
    return STEPS


def calls_of(monkeypatch):
    calls = []
    call = _jobs.Job.call

    def counted(self, features, rois, *more):
        calls.extend(rois)
        return call(self, features, rois, *more)

    monkeypatch.setattr(_jobs.Job, "call", counted)
    return calls


def test_resume_does_the_rest_only(steps, monkeypatch):
    pool(*steps)
    expected = Path("out.npy").read_bytes()
    Path("out.npy").unlink()
    calls = calls_of(monkeypatch)
    pool(*steps)
    whole = len(calls)
    assert whole > 3
    Path("out.npy").unlink()

    interrupted(*steps, after=2)
    assert names() == {"out.npy.partial", "out.npy.progress"}
    assert_refused(run("pool", *steps), "'out.npy.partial' is left of an earlier run: --resume")
    calls.clear()
    pool(*steps, "--resume")
    assert 0 < len(calls) < whole
    assert Path("out.npy").read_bytes() == expected
    assert names() == {"out.npy"}


@pytest.mark.parametrize(
    ("change", "texts"),
    [
        (("--mode", "avg"), "differs in mode"),
        (("--spatial-scale", "2"), "differs in spatial_scale"),
        (("--convention", "mmcv"), "differs in sampling"),
        (("--backend", "reference"), "differs in backend"),
        (("--memory", "2"), "differs in memory_bytes (1048576 then, 2097152 now)"),
        ("rois", "differs in boxes"),
        ("maps", "differs in features"),
    ],
)
def test_resume_of_another_run_is_refused(steps, change, texts):
    interrupted(*steps)
    before = Path("out.npy.partial").read_bytes()
    arguments = [*steps, "--resume"]
    if change == "rois":
        np.save("rois.npy", ROIS[::-1])
    elif change == "maps":
        os.utime("maps.npy", ns=(0, 0))
    else:
        arguments += change
    assert_refused(run("pool", *arguments), texts)
    assert Path("out.npy.partial").read_bytes() == before
    assert_refused(run("pool", *arguments, "--overwrite"), texts)
    assert Path("out.npy.partial").read_bytes() == before


def test_overwrite_starts_over(steps):
    interrupted(*steps)
    pool(*steps, "--mode", "avg", "--overwrite")
    maps = np.load("maps.npy")
    expected = ra.roi_align(maps, ROIS, 24, mode="avg", sampling_ratio=1)
    np.testing.assert_array_equal(np.load("out.npy"), expected)
    assert names() == {"out.npy"}


def test_resume_does_not_replace_what_has_come_in_between(steps):
    interrupted(*steps)
    np.save("out.npy", 1)
    assert_refused(run("pool", *steps, "--resume"), "'out.npy' is there already")
    assert np.load("out.npy") == 1
    pool(*steps, "--resume", "--overwrite")
    assert np.load("out.npy").shape == (3, 40, 24, 24)


def test_threads_may_change(steps):
    interrupted(*steps)
    pool(*steps, "--resume", "--threads", "1")


def test_resume_without_an_earlier_run_begins(steps):
    pool(*steps, "--resume")
    assert_refused(run("pool", *steps, "--resume"), "'out.npy' is there already")


@pytest.mark.parametrize("out", ["out.npy", "out.zarr"])
def test_overwrite(maps, out):
    if out == "out.zarr":
        pytest.importorskip("zarr", reason=NEEDS_ZARR)
    pool("maps.npy", "rois.npy", "-o", out)
    before = load(Path(out))
    arguments = ("maps.npy", "rois.npy", "-o", out, *MMCV)
    assert_refused(run("pool", *arguments), "is there already: --overwrite replaces it")
    np.testing.assert_array_equal(load(Path(out)), before)
    # An error on the way leaves what was there.
    np.save("bad.npy", ROIS * [1, np.nan, 1, 1, 1])
    assert_refused(run("pool", "maps.npy", "bad.npy", "-o", out, "--overwrite"), "finite")
    np.testing.assert_array_equal(load(Path(out)), before)
    pool(*arguments, "--overwrite")
    expected = ra.roi_align(maps, ROIS, (3, 2), convention="mmcv")
    np.testing.assert_array_equal(load(Path(out)), expected)
    assert names() == {out, "bad.npy"}


def test_a_directory_that_is_no_zarr_is_not_overwritten(maps):
    pytest.importorskip("zarr", reason=NEEDS_ZARR)
    Path("out.zarr").mkdir()
    Path("out.zarr/letter").touch()
    result = run("pool", "maps.npy", "rois.npy", "-o", "out.zarr", "--overwrite")
    assert_refused(result, "is a directory and not Zarr")
    assert Path("out.zarr/letter").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the program forks")
@pytest.mark.parametrize(("suffix", "stride"), [(".npy", 2), (".zarr", 7)])
def test_kill_at_every_event(tmp_path, suffix, stride):
    if suffix == ".zarr":
        pytest.importorskip("zarr", reason=NEEDS_ZARR)
    command = [sys.executable, "-m", "tests.cli.job_kills", tmp_path, suffix, str(stride)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    kills, damaged = (int(number) for number in re.findall("[0-9]+", done.stdout)[:2])
    assert kills >= 9
    assert damaged >= kills // 3


@pytest.mark.parametrize("line", ["", "{", '{"roialign_cy"'])
def test_a_progress_file_that_was_cut_begins_anew(steps, line):
    pool(*steps)
    expected = Path("out.npy").read_bytes()
    Path("out.npy").unlink()
    Path("out.npy.progress").write_text(line)
    pool(*steps, "--resume")
    assert Path("out.npy").read_bytes() == expected
    assert names() == {"out.npy"}


def test_chunks_of_unsorted_boxes_are_written_once(maps, monkeypatch):
    zarr = pytest.importorskip("zarr", reason=NEEDS_ZARR)
    rois = np.random.default_rng(0).permutation(np.repeat(ROIS, 40, axis=0))
    np.save("rois.npy", rois)
    monkeypatch.setattr(outputs, "ZARR_CHUNK_BYTES", 8000)
    written, write = [], zarr.storage.LocalStore.set

    async def noted(self, key, value):
        written.append(key)
        await write(self, key, value)

    monkeypatch.setattr(zarr.storage.LocalStore, "set", noted)
    calls = calls_of(monkeypatch)
    arguments = ("maps.npy", "rois.npy", "-o", "out.zarr")
    monkeypatch.setattr(jobs, "MIB", 10_000)
    pool(*arguments, "--memory", "1")
    assert len(calls) == 120
    chunks = [key for key in written if "/c/" in f"/{key}"]
    assert len(chunks) == len(set(chunks)) == 10
    np.testing.assert_array_equal(load(Path("out.zarr")), ra.roi_align(maps, rois, 7))
    assert not Path("out.zarr/rows.npy").exists()


# Memory.


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_memory_stays_small(tmp_path, layout):
    """Half a GiB is read and a quarter written, in steps of 16 MiB."""
    shape = (4, 32, 1024, 1024) if layout == "NCHW" else (4, 1024, 1024, 32)
    # All of it a hole: what is read takes memory all the same.
    np.lib.format.open_memmap(tmp_path / "maps.npy", "w+", np.float32, shape)
    # Every row of every map is read; the boxes are small along x only.
    corners = np.stack(np.meshgrid([3, 200], np.arange(0, 1024, 8)), -1).reshape(-1, 2)
    boxes = np.hstack([corners, corners + np.array([900, 8])])
    rois = np.vstack([np.insert(boxes, 0, image, 1) for image in range(4)])
    np.save(tmp_path / "rois.npy", rois)
    program = (
        "import resource; from roialign_cy._cli.commands import roialign\n"
        "roialign(standalone_mode=False)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    arguments = ["pool", tmp_path / "maps.npy", tmp_path / "rois.npy", "-o", tmp_path / "out.npy"]
    arguments += [
        "--sampling-ratio",
        "1",
        "--memory",
        "16",
        "--output-size",
        "48",
        "--layout",
        layout,
        "--threads",
        "1",
    ]
    # A shell between, so that the peak does not begin at that of pytest.
    command = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) <= 200 * 1024
    assert (tmp_path / "out.npy").stat().st_size > 256 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="the program reads ru_maxrss in KiB")
def test_the_example_of_a_large_file(tmp_path):
    """Killed twice and resumed, on a small disk: `--gib 20` is for a machine that has one."""
    program = ROOT / "examples" / "larger_than_memory.py"
    options = ["--gib", "0.25", "--memory", "2", "--limit", "200", "--folder", tmp_path]
    command = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, program, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("exit  -9") == 2
    assert "the same bytes as the undisturbed run's, and as one call's" in done.stdout


# What is shown.


def test_lines_from_time_to_time_in_a_log(steps, monkeypatch):
    assert pool(*steps).stderr == ""  # so quick a run needs none
    monkeypatch.setattr(jobs, "SECONDS_PER_LINE", 0)
    lines = pool(*steps, "--overwrite").stderr.splitlines()
    assert len(lines) > 2
    shares = [int(re.fullmatch(r"(\d+)% done, \d+ s left", line)[1]) for line in lines]
    assert shares == sorted(shares)
    Path("out.npy").unlink()
    interrupted(*steps, after=2)
    lines = pool(*steps, "--resume").stderr.splitlines()
    assert int(lines[0].partition("%")[0]) > shares[0]


def test_a_bar_on_a_terminal_only(steps, monkeypatch):
    assert pool(*steps).stderr == ""

    def terminal(**options):
        console = make_console(**options)
        console._force_terminal = True
        return console

    monkeypatch.setattr(jobs, "make_console", terminal)
    result = pool(*steps, "--overwrite")
    assert "100%" in result.stderr
    assert "%" not in result.stdout


class Wrong:
    """A backend that is a little off."""

    name = "wrong"
    api_version = ra.backends.API_VERSION
    array_types = ("numpy:ndarray",)

    def unavailable_reason(self):
        return None

    def cannot_run(self, spec, operation):
        return None if operation == "roi_align" else "it has no gradients"

    def roi_align(self, maps, rois, levels, spec, out):
        ra.backends.get("cpu").roi_align(maps, rois, levels, spec, out)
        out += 0.1
        return out

    feature_gradient = box_gradient = None


class Broken(Wrong):
    name = "broken"

    def roi_align(self, *arguments):
        raise RuntimeError("out of\nluck")


@pytest.fixture
def plugins(monkeypatch):
    from roialign_cy.backends import _registry

    monkeypatch.setattr(_registry, "_registered", {})
    yield
    _registry._resolve.cache_clear()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_compare(maps, plugins, layout):
    if layout == "NHWC":
        np.save("maps.npy", maps.transpose(0, 2, 3, 1))
    arguments = ("compare", "maps.npy", "rois.npy", "--rounds", 3, "--layout", layout)
    result = run(*arguments, "--plugin", f"{__name__}:Wrong", "--plugin", f"{__name__}:Broken")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("3 boxes, 3 channels, float32: median of 3")
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line}
    assert float(rows["cpu"][0]) > 0
    assert float(rows["cpu"][1].strip("[,")) <= float(rows["cpu"][0])
    assert float(rows["cpu"][2].strip("]")) >= float(rows["cpu"][0])
    assert rows["cpu"][3] == "1.00"
    assert float(rows["cpu"][6]) < 1e-5
    assert rows["wrong"][1:] == ["not", "the", "same"]
    assert rows["broken"] == ["out", "of", "luck"]
    assert "reference" not in rows


def test_compare_is_of_the_largest_step(steps, plugins):
    arguments = [argument for argument in steps if argument not in ("-o", "out.npy")]
    result = run("compare", *arguments, "--rounds", 1)
    assert result.exit_code == 0, result.output
    assert "40 channels" not in result.stdout.splitlines()[0]


@pytest.mark.parametrize("plugin", ["nowhere:BACKEND", "roialign_cy:BACKEND", "roialign_cy:boxes"])
def test_compare_without_the_plugin(maps, plugin):
    assert_refused(run("compare", "maps.npy", "rois.npy", "--plugin", plugin), plugin)


def test_compare_without_boxes(maps):
    np.save("rois.npy", ROIS[:0])
    assert_refused(run("compare", "maps.npy", "rois.npy"), "'rois.npy' has no box")


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "roialign_cy", "--version"], capture_output=True)
    assert ra.__version__.encode() in done.stdout
