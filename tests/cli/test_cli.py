"""The ``roialign`` command."""

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

import roialign_cy as ra
from roialign_cy import _cli, demo

pytest.importorskip("click", reason="the extra 'demo' is not installed")
pytest.importorskip("rich", reason="the extra 'demo' is not installed")

import click
from click.testing import CliRunner

from roialign_cy._cli.commands import roialign

from .job_commands import assert_refused


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(roialign, arguments)


def test_demo_prints_and_draws(run, tmp_path):
    from PIL import Image

    result = run("demo")
    assert result.exit_code == 0, result.output
    assert "0.51" in result.stdout
    assert "0.5106" in result.stdout
    assert "slip: 9.25 x 32 = 296" in result.stdout
    for name in ra.backends.names():
        assert name in result.stdout
    with Image.open(tmp_path / "roi_align_demo.png") as picture:
        assert picture.format == "PNG"
        assert picture.size == (1600, 680)
        assert np.asarray(picture).std() > 30  # not blank


def test_demo_of_another_image(run, tmp_path):
    from PIL import Image

    Image.new("RGB", (640, 480), (51, 102, 204)).save("plain.png")
    result = run("demo", "--image", "plain.png", "--output", "out.svg")
    assert result.exit_code == 0, result.output
    # Everywhere the same colour, and no gradient.
    (row,) = (line for line in result.stdout.splitlines() if line.startswith("(2,2)"))
    assert row.split()[1:] == ["0.2000", "0.4000", "0.8000", "0.3864", "0.0000", "0.0000"]
    assert "<svg" in (tmp_path / "out.svg").read_text(encoding="utf-8")


def test_demo_without_picture(run, tmp_path):
    result = run("demo", "--no-picture")
    assert result.exit_code == 0, result.output
    assert not list(tmp_path.iterdir())


def test_demo_fits_a_terminal_of_80_columns(run):
    assert max(map(len, run("demo", "--no-picture").stdout.splitlines())) <= 80


def test_demo_leaves_matplotlib_as_it_is(run):
    import matplotlib

    # Without the backend, which Matplotlib itself chooses when this setting is looked at.
    def settings():
        return {
            name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"
        }

    before = settings()
    was_loaded = "matplotlib.pyplot" in sys.modules
    assert run("demo").exit_code == 0
    assert settings() == before
    assert ("matplotlib.pyplot" in sys.modules) == was_loaded


@pytest.mark.parametrize("content", [None, b"no image"])
def test_bad_image(run, tmp_path, content):
    if content is not None:
        (tmp_path / "bad.png").write_bytes(content)
    assert_refused(run("demo", "--image", "bad.png"), "bad.png")


@pytest.mark.parametrize("output", ["missing/out.png", "out.unknown"])
def test_output_that_cannot_be_written(run, output):
    assert_refused(run("demo", "--output", output), output)


def test_backend_that_refuses_is_listed(run, monkeypatch):
    def pool_box(features, backend):
        if backend == "cpu":
            raise ValueError("ROIALIGN_CPU must be one of [base]")
        return pool_everywhere(features, backend)

    pool_everywhere = demo.pool_box
    monkeypatch.setattr(demo, "pool_box", pool_box)
    result = run("demo", "--no-picture")
    assert result.exit_code == 0, result.output
    assert "by reference" in result.stdout
    assert "ROIALIGN_CPU must be one of [base]" in result.stdout


def test_info(run):
    result = run("info")
    assert result.exit_code == 0, result.output
    assert ra.__version__ in result.stdout
    for name in ra.backends.names():
        assert f"backend {name}" in result.stdout


def test_info_keeps_brackets(run, monkeypatch):
    hint = 'pip install "roialign-cy-gpu[cuda12x]"'
    facts = {
        "version": "1",
        "python": "3",
        "numpy": "2",
        "cpu": {"variant": "base", "built": ["base"], "usable": ["base"]},
        "openmp": False,
        "threads": 1,
        "backends": {"gpu": hint},
    }
    monkeypatch.setattr("roialign_cy._cli.commands.config", lambda: facts)
    assert hint in run("info").stdout


def commands(group=roialign):
    """All commands, of groups within groups, too."""
    for command in group.commands.values():
        if isinstance(command, click.Group):
            yield from commands(command)
        else:
            yield command


@pytest.mark.parametrize("command", list(commands()), ids=lambda command: command.name)
def test_every_option_has_help(command):
    options = [one for one in command.params if isinstance(one, click.Option)]
    assert not [option.name for option in options if not option.help]


@pytest.mark.parametrize(
    ("command", "new", "old"),
    [
        ("pool", "--num-threads", "--threads"),
        ("compare", "--num-threads", "--threads"),
        ("explain", "--spatial-scale", "--scale"),
    ],
)
def test_old_names_are_taken_and_not_shown(run, command, new, old):
    found = roialign.commands[command]
    (option,) = (one for one in found.params if new in one.opts)
    assert old in option.opts
    shown = run(command, "--help").stdout
    assert new in shown
    assert f"{old} " not in shown.replace(new, "")


def test_an_option_has_one_name_in_every_command():
    names = {}
    for command in commands():
        for option in command.params:
            if option.param_type_name == "option":
                names.setdefault(option.name, set()).add(option.opts[0])
    assert {name: found for name, found in names.items() if len(found) > 1} == {}


def test_version(run):
    assert ra.__version__ in run("--version").stdout


def test_entry_point_is_main():
    points = [p for p in entry_points(group="console_scripts") if p.name == "roialign"]
    if not points:
        pytest.skip("the package is not installed")
    assert points[0].load() is _cli.main


@pytest.mark.parametrize(
    ("package", "extra"),
    [("click", "cli"), ("rich", "cli"), ("PIL", "cli"), ("matplotlib", "demo")],
)
def test_missing_extra(monkeypatch, capsys, package, extra):
    # What was imported before must not hide that it is missing.
    for name in [*sys.modules]:
        if name.partition(".")[0] == package:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "roialign_cy._cli.commands")
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(sys, "argv", ["roialign", "demo", "--no-picture"])
    with pytest.raises(SystemExit) as stop:
        _cli.main()
    assert stop.value.code == f'roialign needs {package}: pip install "roialign_cy[{extra}]"'
    assert not capsys.readouterr().out


def test_missing_zarr(monkeypatch, capsys, tmp_path):
    np.save(tmp_path / "maps.npy", np.ones((1, 1, 4, 4)))
    np.save(tmp_path / "rois.npy", np.zeros((1, 5)))
    arguments = ["maps.npy", "rois.npy", "-o", "out.zarr"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "zarr", None)
    monkeypatch.setattr(sys, "argv", ["roialign", "pool", *arguments])
    with pytest.raises(SystemExit) as stop:
        _cli.main()
    assert stop.value.code == 'roialign needs zarr: pip install "roialign_cy[cli]"'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["maps.npy", "rois.npy"]


def test_missing_extra_as_a_process(tmp_path):
    (tmp_path / "click.py").write_text("raise ModuleNotFoundError('gone', name='click')")
    code = "import sys; sys.path.insert(0, sys.argv[1]); from roialign_cy import _cli; _cli.main()"
    command = [sys.executable, "-c", code, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == 'roialign needs click: pip install "roialign_cy[cli]"\n'


def test_other_missing_modules_are_not_hidden(monkeypatch):
    monkeypatch.delitem(sys.modules, "roialign_cy._cli.commands")
    monkeypatch.setitem(sys.modules, "roialign_cy._cli.worked_example", None)
    monkeypatch.delattr("roialign_cy._cli.worked_example")
    with pytest.raises(ImportError, match="worked_example"):
        _cli.main()


def test_explain_of_the_worked_example(run, tmp_path):
    result = run("explain", "--picture", "section.png")
    assert result.exit_code == 0, result.output
    assert "P_x(1,1,2,2) = 9.25 + 6.25/3 × (1 - 1) + 6.25/9 × 2 = 10.6389" in result.stdout
    assert "output(1,1) = max(0.147, 0.2153, 0.5106, 0.4251) = 0.5106" in result.stdout
    assert (tmp_path / "section.png").stat().st_size > 10_000


def test_explain_of_a_file(run):
    features = np.random.default_rng(0).random((2, 3, 8, 8))
    np.save("map.npy", features)
    arguments = "explain map.npy --box 2 3 13 14 --image 1 --channel 2 --output-size 2 --scale 0.5"
    arguments += (
        " --convention mmcv --mode max --sampling-ratio 1 --coordinates array --section 1 0"
    )
    result = run(*arguments.split())
    assert result.exit_code == 0, result.output
    expected = ra.roi_align(
        features,
        [[1, 2, 3, 13, 14]],
        2,
        spatial_scale=0.5,
        convention="mmcv",
        mode="max",
        sampling_ratio=1,
    )
    assert f"output(1,0) = max({round(expected[0, 2, 1, 0], 4):g})" in result.stdout


def test_explain_of_an_image(run):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)
    Image.fromarray(pixels).save("image.png")
    np.save("map.npy", np.moveaxis(pixels, -1, 0)[np.newaxis])
    box = ["--box", *"2176", "--channel", "2", "--convention", "detectron2"]
    result = run("explain", "image.png", *box)
    assert result.exit_code == 0, result.output
    assert result.stdout == run("explain", "map.npy", *box).stdout


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        ("none.npy --box 0 0 1 1", ["none.npy"]),
        ("empty.npy --box 0 0 1 1", ["empty.npy"]),
        ("map.npy --box 0 0 1 nan", ["rois[0] must be finite"]),
        ("map.npy --box 0 0 1 1 --channel 7", ["channel must be in"]),
        ("none.png --box 0 0 1 1", ["cannot read 'none.png': No such file"]),
        ("boxes.csv --box 0 0 1 1", ["'boxes.csv': it is no .npy file"]),
        ("--section 9 9", ["section must be in"]),
        ("--picture picture.xyz", ["xyz"]),
    ],
)
def test_explain_of_what_cannot_be(run, arguments, texts):
    np.save("map.npy", np.ones((1, 1, 4, 4)))
    Path("empty.npy").touch()
    Path("boxes.csv").write_text("0,1,1,3,3\n")
    assert_refused(run("explain", *arguments.split()), *texts)


def test_explain_needs_features_and_box_together(run):
    result = run("explain", "--box", "0", "0", "1", "1")
    assert result.exit_code == 2
    assert "FEATURES and --box" in result.stderr


@pytest.mark.parametrize("option", ["--image", "--scale"])
def test_explain_refuses_what_the_worked_example_would_ignore(run, option):
    result = run("explain", option, "1")
    assert result.exit_code == 2
    assert "without FEATURES" in result.stderr


# What is printed.


def in_a_process(folder, *arguments, **options):
    """Run the command in a folder, from wherever the library is."""
    paths = os.pathsep.join(map(os.path.abspath, sys.path))
    command = [sys.executable, "-m", "roialign_cy", *arguments]
    environment = os.environ | {"PYTHONPATH": paths}
    options = {"stderr": subprocess.PIPE, "timeout": 120} | options
    return subprocess.run(command, cwd=folder, env=environment, **options)


COMMANDS = [("info",), ("explain",), ("--help",), ("pool", "map.npy", "rois.npy", "-o", "out.npy")]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_full_disk_for_what_is_printed(tmp_path, arguments):
    np.save(tmp_path / "map.npy", np.ones((1, 1, 4, 4)))
    np.save(tmp_path / "rois.npy", np.ones((2, 5)) * [0, 0, 0, 1, 1])
    with Path("/dev/full").open("wb") as full:
        done = in_a_process(tmp_path, *arguments, stdout=full)
    expected = b"Error: cannot write to the standard output: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, expected)
    if arguments[0] == "pool":  # the output is whole: only a file at fault has status 2
        assert np.load(tmp_path / "out.npy").shape == (2, 1, 7, 7)


@pytest.mark.skipif(os.name == "nt", reason="pipes of other systems")
@pytest.mark.parametrize("arguments", COMMANDS[:2])
def test_a_reader_that_has_enough(tmp_path, arguments):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = in_a_process(tmp_path, *arguments, stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(sys.platform != "linux", reason="names are texts on other systems")
def test_names_that_are_no_text(tmp_path):
    maps, out, missing = (os.fsdecode(name) for name in (b"m\xff.npy", b"o\xff.npy", b"x\xff.npy"))
    np.save(tmp_path / maps, np.ones((1, 1, 4, 4)))
    np.save(tmp_path / "rois.npy", np.ones((2, 5)) * [0, 0, 0, 3, 2])
    done = in_a_process(tmp_path, "pool", maps, "rois.npy", "-o", out, stdout=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == "o\ufffd.npy: 2 x 1 x 7 x 7, float64\n"
    assert (tmp_path / out).exists()
    for command in (("pool", missing, "rois.npy", "-o", "other.npy"), ("explain", missing, "--box"),
                    ("demo", "--image", missing, "--no-picture")):  # fmt: skip
        box = ("0", "0", "1", "1") if command[0] == "explain" else ()
        done = in_a_process(tmp_path, *command, *box, stdout=subprocess.PIPE)
        assert done.returncode == 2
        assert done.stderr.count(b"\n") == 1
        assert rb"x\udcff.npy" in done.stderr
    picture = os.fsdecode(b"p\xff.png")
    done = in_a_process(tmp_path, "explain", "--picture", picture, stdout=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / picture).exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_pipes_are_not_waited_for(run):
    os.mkfifo("pipe.npy")
    assert_refused(run("explain", "pipe.npy", "--box", *"0011"), "'pipe.npy' is no file")
    assert_refused(run("demo", "--image", "pipe.npy"), "'pipe.npy' is no file")
