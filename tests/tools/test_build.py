"""What setup.py builds again when a file has changed."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = Path("src/roialign_cy/_core")

pytest.importorskip("setuptools", reason="building needs it")
pytest.importorskip("Cython", reason="building needs it")
if not (ROOT / CORE / "taps.pyx").exists():
    pytest.skip("there is no source to build", allow_module_level=True)

KERNELS = {"kernels.base_float32", "kernels.base_float64"}


@pytest.fixture(scope="module")
def configured(tmp_path_factory):
    """Make the command of a build in a copy of the tree."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    shutil.copytree(ROOT / "src", tree / "src", ignore=shutil.ignore_patterns("*.so", "*.egg-info"))

    def configure(build):
        from distutils.core import run_setup  # setuptools', once that has been imported

        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tree)
            patch.setenv("ROIALIGN_BUILD", build)
            command = run_setup("setup.py", stop_after="config").get_command_obj("build_ext")
            command.ensure_finalized()
        return command

    return tree, configure


@pytest.fixture(scope="module")
def base(configured):
    """A build of which everything is there."""
    tree, configure = configured
    command = configure("base")
    for ext in command.extensions:
        built = tree / command.get_ext_fullpath(ext.name)
        built.parent.mkdir(parents=True, exist_ok=True)
        built.touch()
    return command


@pytest.fixture(autouse=True)
def in_tree(configured, monkeypatch):
    monkeypatch.chdir(configured[0])


def outdated(command):
    return {ext.name.removeprefix("roialign_cy._core.") for ext in command.outdated()}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (None, set()),
        ("paste.pyx", {"paste"}),
        ("faults.pxi", {"taps"}),
        ("taps.pxd", {"taps", *KERNELS}),
        ("kernels/float64.pyx", {"kernels.base_float64"}),
        ("kernels/average.pxi", KERNELS),
        ("kernels/lanes.h", KERNELS),
        ("half.pxd", {"paste", "taps", *KERNELS}),
        ("../../../setup.py", {"memory", "paste", "runtime", "taps", *KERNELS}),
    ],
)
def test_change_rebuilds_what_includes_it(base, changed, expected):
    if changed:
        before = os.stat(CORE / changed)
        later = os.stat(base.get_ext_fullpath("roialign_cy._core.taps")).st_mtime + 5
        os.utime(CORE / changed, (later, later))
    found = outdated(base)
    if changed:
        os.utime(CORE / changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert found == expected


def test_everything_included_is_in_the_sdist(base):
    listed = {Path(path) for ext in base.extensions for path in ext.depends}
    endings = {".pyx", ".pxd", ".pxi", ".h"}
    assert listed - {Path("setup.py")} == {
        path for path in CORE.rglob("*") if path.suffix in endings
    }


def test_other_choices_are_another_build(base, configured):
    other = configured[1]("base:float32")
    assert other.build_temp != base.build_temp
    assert len(outdated(other)) == len(other.extensions)


def test_editable_install_keeps_what_it_compiled(base):
    base.distribution.reinitialize_command("build", reinit_subcommands=True)  # as it does
    command = base.distribution.get_command_obj("build_ext")
    command.editable_mode = True
    command.ensure_finalized()
    assert Path(command.build_temp).parts[0] == Path(command.build_lib).parts[0] == "build"
    assert command.parallel == os.cpu_count()
