"""What a run must not harm or trust: other runs, others' files, what was changed meanwhile."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("click", reason="the extra 'cli' is not installed")
pytest.importorskip("rich", reason="the extra 'cli' is not installed")

from job_cases import NEEDS_ZARR, load
from job_commands import (
    ROIS,
    STEPS,
    assert_refused,
    interrupted,
    names,
    pool,
    run,
    save_maps_of_several_steps,
)

import roialign_cy as ra
from roialign_cy import _jobs
from roialign_cy._jobs import outputs
from roialign_cy._jobs import progress as progress_module

ZARR_STEPS = tuple(argument.replace("out.npy", "out.zarr") for argument in STEPS)
MANNERS = [(), ("--resume",), ("--overwrite",), ("--resume", "--overwrite")]


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_maps_of_several_steps()
    np.save("rois.npy", ROIS)


@pytest.fixture
def expected():
    maps = np.load("maps.npy")
    return ra.roi_align(maps, ROIS, 24, sampling_ratio=1)


# Another run.

WAITING = """
import sys
from roialign_cy import _jobs
from roialign_cy.cli import main

call, calls = _jobs.Job.call, iter(range(1000))

def wait(self, features, rois):
    if len(rois) and next(calls) == 2:
        print("in the middle", flush=True)
        sys.stdin.readline()
    return call(self, features, rois)

_jobs.Job.call = wait
main()
"""


@pytest.mark.parametrize("manner", MANNERS)
def test_one_run_at_a_time(expected, manner):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-c", WAITING, "pool", *STEPS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as other:
        assert other.stdout.readline() == "in the middle\n"
        result = run("pool", *STEPS, *manner)
        assert names() == {"out.npy.partial", "out.npy.progress"}
        other.communicate("go on\n", timeout=60)
    assert_refused(result, "another run is writing 'out.npy'")
    assert other.returncode == 0
    np.testing.assert_array_equal(np.load("out.npy"), expected)
    assert names() == {"out.npy"}


def test_a_lock_on_a_removed_file_is_none(monkeypatch):
    lock, removed = progress_module._lock, []

    def remove_before(descriptor):
        if not removed:
            Path("out.npy.progress").unlink()
            removed.append(True)
        lock(descriptor)

    monkeypatch.setattr(progress_module, "_lock", remove_before)
    with progress_module.Progress(Path("out.npy.progress")) as record:
        record.begin({})
        assert Path("out.npy.progress").exists()


# Files of others.


@pytest.mark.parametrize("manner", MANNERS)
def test_a_foreign_folder_called_partial(manner):
    Path("out.npy.partial").mkdir()
    Path("out.npy.partial/thesis.txt").touch()
    assert_refused(run("pool", *STEPS, *manner), "'out.npy.partial' is in the way")
    assert Path("out.npy.partial/thesis.txt").exists()
    assert names() == {"out.npy.partial"}


def test_a_foreign_file_called_partial():
    Path("out.npy.partial").write_text("thesis")
    for manner in ((), ("--resume",)):
        assert_refused(run("pool", *STEPS, *manner), "without the record of a run")
        assert Path("out.npy.partial").read_text() == "thesis"
        assert names() == {"out.npy.partial"}
    pool(*STEPS, "--overwrite")
    assert names() == {"out.npy"}


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("content", ["5\n", "thesis", '{"version": 1}\n', '{"roialign_cy": '[1:]])
def test_a_foreign_file_called_progress(manner, content):
    Path("out.npy.progress").write_text(content)
    assert_refused(run("pool", *STEPS, *manner), "'out.npy.progress' is in the way")
    assert Path("out.npy.progress").read_text() == content
    assert names() == {"out.npy.progress"}


@pytest.mark.parametrize("manner", MANNERS)
def test_a_foreign_folder_called_replaced(manner):
    Path("out.npy.replaced").mkdir()
    assert_refused(run("pool", *STEPS, *manner), "'out.npy.replaced' is in the way")
    assert names() == {"out.npy.replaced"}


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("out", ["group.zarr", "group.zarr/maps", "group.zarr/maps/out.npy", "in"])
def test_an_output_around_or_within_an_input(manner, out):
    zarr = pytest.importorskip("zarr", reason=NEEDS_ZARR)
    zarr.create_group("group.zarr").create_array("maps", data=np.load("maps.npy"))
    before = sorted(Path("group.zarr").rglob("*"))
    source = "group.zarr/maps"
    if out == "in":
        Path("group.zarr").rename("out.zarr.partial")
        source, out = "out.zarr.partial/maps", "out.zarr"
        before = sorted(Path("out.zarr.partial").rglob("*"))
    elif out == "group.zarr/maps":
        Path("link.zarr").symlink_to(out)
        out = "link.zarr"
    result = run("pool", source, "rois.npy", "-o", out, *manner)
    assert_refused(result, "is one of the inputs, or one lies within the other")
    assert sorted(Path(source).parent.rglob("*")) == before


def test_a_link_to_the_output_stays(expected):
    Path("disk").mkdir()
    Path("out.npy").symlink_to("disk/result.npy")
    pool(*STEPS)
    pool(*STEPS, "--overwrite")
    assert Path("out.npy").is_symlink()
    assert [path.name for path in Path("disk").iterdir()] == ["result.npy"]
    np.testing.assert_array_equal(np.load("out.npy"), expected)


def test_what_was_replaced_goes_after_a_crash(monkeypatch):
    pytest.importorskip("zarr", reason=NEEDS_ZARR)
    pool(*ZARR_STEPS)
    with monkeypatch.context() as patch:
        remove = outputs.remove

        def crash(path):
            if path.name.endswith(".replaced") and path.exists():
                raise KeyboardInterrupt
            remove(path)

        patch.setattr(outputs, "remove", crash)
        assert run("pool", *ZARR_STEPS, "--overwrite").exit_code == 1
    assert names() == {"out.zarr", "out.zarr.progress", "out.zarr.replaced"}
    pool(*ZARR_STEPS, "--resume")
    assert names() == {"out.zarr"}


def test_a_pipe_is_not_replaced():
    os.mkfifo("out.npy")
    assert_refused(run("pool", *STEPS, "--overwrite"), "'out.npy' is no file")
    assert names() == {"out.npy"}


# What was changed meanwhile.


def cut(partial):
    os.truncate(partial, 1000)


def of_another_shape(partial):
    content = Path(partial).read_bytes()
    assert b"(3, 40, 24, 24)" in content
    Path(partial).write_bytes(content.replace(b"(3, 40, 24, 24)", b"(3, 40, 12, 48)"))


def without_header(partial):
    with Path(partial).open("r+b") as file:
        file.write(bytes(100))


@pytest.mark.parametrize("change", [cut, of_another_shape, without_header])
def test_a_partial_npy_that_was_changed(change):
    interrupted(*STEPS, after=2)
    change("out.npy.partial")
    before = Path("out.npy.partial").read_bytes()
    result = run("pool", *STEPS, "--resume")
    assert_refused(result, "'out.npy.partial' is not as the earlier run has left it")
    assert Path("out.npy.partial").read_bytes() == before
    pool(*STEPS, "--overwrite")
    assert names() == {"out.npy"}


@pytest.mark.parametrize("change", ["shape", "dtype", "chunks", "nothing"])
def test_a_partial_zarr_that_was_changed(change):
    zarr = pytest.importorskip("zarr", reason=NEEDS_ZARR)
    interrupted(*ZARR_STEPS, after=2)
    partial = Path("out.zarr.partial")
    array = zarr.open_array(partial)
    made = {"shape": array.shape, "dtype": array.dtype, "chunks": array.chunks}
    outputs.remove(partial)
    changes = {"shape": (3, 40, 24, 25), "dtype": "f8", "chunks": (1, 40, 24, 24)}
    if change == "nothing":
        partial.mkdir()
    else:
        zarr.create_array(partial, **(made | {change: changes[change]}))
    result = run("pool", *ZARR_STEPS, "--resume")
    assert_refused(result, "'out.zarr.partial' is not as the earlier run has left it")
    assert names() == {"out.zarr.partial", "out.zarr.progress"}


# The record.


@pytest.mark.parametrize("steps", [STEPS, ZARR_STEPS], ids=["npy", "zarr"])
def test_the_last_job_that_was_begun_counts(steps):
    if steps is ZARR_STEPS:
        pytest.importorskip("zarr", reason=NEEDS_ZARR)
    interrupted(*steps, after=3)
    interrupted(*steps, "--mode", "avg", "--overwrite", after=2)
    assert_refused(run("pool", *steps, "--resume"), "differs in mode")
    pool(*steps, "--mode", "avg", "--resume")
    expected = ra.roi_align(np.load("maps.npy"), ROIS, 24, mode="avg", sampling_ratio=1)
    np.testing.assert_array_equal(load(Path(steps[3])), expected)


FACTS = {progress_module.FIRST_FACT: "1", progress_module.STEPS_FACT: 9}


def record_of(*steps):
    Path("out.npy.progress").unlink(missing_ok=True)
    with progress_module.Progress(Path("out.npy.progress")) as record:
        record.begin(FACTS)
        for done in steps:
            record.record(done)
    return Path("out.npy.progress").read_bytes()


@pytest.mark.parametrize(
    "tail", [b"9", b"9\0\0\0\n", b"null\n", b"\0\0\0", b"9\n", b"\xff\n", b"\n"]
)
def test_a_damaged_end_of_the_record_does_not_count(tail):
    content, longer = record_of(3), record_of(3, 4)
    Path("out.npy.progress").write_bytes(content + tail)
    with progress_module.Progress(Path("out.npy.progress")) as record:
        assert (record.steps, record.is_damaged) == (3, True)
        record.record(4)
    assert Path("out.npy.progress").read_bytes() == longer


@pytest.mark.parametrize(
    "line", ["3", "2", "0", "-5", "10", "99999999", "Infinity", "NaN", "4.5", "true"]
)
def test_a_line_that_cannot_be_does_not_count(line):
    with progress_module.Progress(Path("out.npy.progress")) as record:
        record.begin(FACTS)
        record.record(3)
        record._write(line)
    with progress_module.Progress(Path("out.npy.progress")) as record:
        assert (record.facts, record.steps, record.is_damaged) == (FACTS, 3, True)


def test_no_damage_of_a_record_makes_it_say_more():
    content = record_of(2, 5, 9)
    ends = np.cumsum([len(line) for line in content.splitlines(keepends=True)])
    for place in range(len(content)):
        for change in (1, 32, 128):
            damaged = bytearray(content)
            damaged[place] ^= change
            Path("out.npy.progress").write_bytes(damaged)
            try:
                with progress_module.Progress(Path("out.npy.progress")) as record:
                    assert record.is_damaged
                    assert record.steps == [0, 0, 2, 5][np.searchsorted(ends, place, "right")]
            except _jobs.FileError as error:
                assert "is no record of a run" in str(error)
                assert place < 20


# The order of things, for a crash of the system.


def test_the_record_is_on_the_disk_before_anything_is_removed(monkeypatch):
    Path("out.npy.partial").write_text("old")
    found = []

    def fsync(descriptor):
        partial = Path("out.npy.partial")
        found.append(partial.read_bytes()[:3] if partial.exists() else b"")

    monkeypatch.setattr(os, "fsync", fsync)
    pool(*STEPS, "--overwrite")
    assert found[:2] == [b"old", b"old"]  # of the file and of the folder
    assert found[2] == b"\x93NU"


# Errors after some steps.


def failing(error, after):
    """Have the call after so many steps fail."""
    call, count = _jobs.Job.call, iter(range(after + 2))

    def fail(self, features, rois):
        if len(rois) and next(count) == after:
            raise error
        return call(self, features, rois)

    return fail


@pytest.mark.parametrize("error", [RuntimeError("out of luck"), MemoryError(), OSError(5, "I/O")])
@pytest.mark.parametrize("after", [0, 2])
def test_an_error_keeps_what_is_recorded(monkeypatch, expected, error, after):
    with monkeypatch.context() as patch:
        patch.setattr(_jobs.Job, "call", failing(error, after))
        result = run("pool", *STEPS)
    verb = "write 'out.npy'" if isinstance(error, OSError) else "pool 'maps.npy'"
    assert_refused(result, f"cannot {verb}")
    if after:
        assert result.stderr.endswith("; --resume goes on\n")
        assert names() == {"out.npy.partial", "out.npy.progress"}
    else:
        assert names() == set()
    pool(*STEPS, "--resume")
    np.testing.assert_array_equal(np.load("out.npy"), expected)


def test_after_an_error_nothing_is_written_any_more(monkeypatch):
    zarr = pytest.importorskip("zarr", reason=NEEDS_ZARR)
    write, begun, ended = zarr.storage.LocalStore.set, [], []

    async def fail_one_after_the_other(self, key, value):
        if not key.endswith("/0/0/0"):
            return await write(self, key, value)
        begun.append(key)
        while len(begun) < len(ROIS):
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.1 * begun.index(key))
        ended.append(key)
        raise OSError(28, "No space left on device")

    of_a_chunk_each = ("maps.npy", "rois.npy", "-o", "out.zarr", "--output-size", "130")
    with monkeypatch.context() as patch:
        patch.setattr(zarr.storage.LocalStore, "set", fail_one_after_the_other)
        result = run("pool", *of_a_chunk_each)
    assert_refused(result, "cannot write 'out.zarr': No space left on device; --resume goes on")
    assert begun == ended
    # All steps were done: only their rows have to be packed again.
    assert names() == {"out.zarr.partial", "out.zarr.progress"}
    monkeypatch.setattr(_jobs.Job, "call", failing(AssertionError(), 0))
    pool(*of_a_chunk_each, "--resume")
    assert names() == {"out.zarr"}
    monkeypatch.undo()
    expected = ra.roi_align(np.load("maps.npy"), ROIS, 130)
    np.testing.assert_array_equal(load(Path("out.zarr")), expected)


@pytest.mark.parametrize("codec", ["gzip", "zstd", "blosc"])
@pytest.mark.parametrize("damage", ["truncated", "garbled"])
def test_a_damaged_chunk(codec, damage):
    zarr = pytest.importorskip("zarr", reason=NEEDS_ZARR)
    codecs = {"gzip": "GzipCodec", "zstd": "ZstdCodec", "blosc": "BloscCodec"}
    compressor = getattr(zarr.codecs, codecs[codec])()
    maps = np.load("maps.npy")
    zarr.create_array("m.zarr", data=maps, chunks=(1, 40, 90, 90), compressors=compressor)
    chunk = Path("m.zarr/c/1/0/0/0")
    content = chunk.read_bytes()
    if damage == "truncated":
        chunk.write_bytes(content[: len(content) // 2])
    else:
        chunk.write_bytes(bytes(value ^ 255 for value in content))
    assert_refused(run("pool", "m.zarr", "rois.npy", "-o", "out.npy"), "cannot read 'm.zarr'")
    assert names() == {"m.zarr"}
