"""What a run must not harm or trust: other runs, others' files, what was changed meanwhile."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("click", reason="the extra 'cli' is not installed")
pytest.importorskip("rich", reason="the extra 'cli' is not installed")

import roialign_cy as ra
from roialign_cy import _jobs
from roialign_cy._jobs import job as job_module
from roialign_cy._jobs import outputs
from roialign_cy._jobs import progress as progress_module

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
from roialign_cy._cli import main

call, calls = _jobs.Job.call, iter(range(1000))

def wait(self, features, rois, *more):
    if len(rois) and next(calls) == 2:
        print("in the middle", flush=True)
        sys.stdin.readline()
    return call(self, features, rois, *more)

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
            if place < len(progress_module._BEGINNING):
                with pytest.raises(_jobs.FileError, match="is no record of a run"):
                    progress_module.Progress(Path("out.npy.progress"))
                continue
            with progress_module.Progress(Path("out.npy.progress")) as record:
                assert record.is_damaged
                assert record.steps == [0, 0, 2, 5][np.searchsorted(ends, place, "right")]


def damage_all_lines(lines):
    return [lines[0], b"99999999\n"]


def damage_the_last_line(lines):
    return [*lines[:-1], lines[-1].replace(b" ", b"0 ")]


def say_that_all_is_done(lines):
    return [*lines, b"6 00000000\n"]


@pytest.mark.parametrize("damage", [damage_the_last_line, say_that_all_is_done])
@pytest.mark.parametrize("steps", [STEPS, ZARR_STEPS], ids=["npy", "zarr"])
def test_a_damaged_record_costs_the_steps_that_it_does_not_say(
    expected, damage, steps, monkeypatch
):
    if steps is ZARR_STEPS:
        pytest.importorskip("zarr", reason=NEEDS_ZARR)
    monkeypatch.setattr(job_module, "CHECKPOINT_SHARE", 1e9)  # a checkpoint after every step
    interrupted(*steps, after=3)
    record = Path(f"{steps[3]}.progress")
    record.write_bytes(b"".join(damage(record.read_bytes().splitlines(keepends=True))))
    pool(*steps, "--resume")
    np.testing.assert_array_equal(load(Path(steps[3])), expected)
    assert names() == {steps[3]}


def damage_what_the_job_is(lines):
    return [lines[0].replace(b"document", b"documend").replace(b"0.5", b"0.6"), *lines[1:]]


@pytest.mark.parametrize("damage", [damage_all_lines, damage_what_the_job_is])
@pytest.mark.parametrize("manner", [("--resume",), ("--resume", "--overwrite"), ()])
def test_a_damaged_record_removes_no_work(expected, damage, manner):
    interrupted(*STEPS, after=3)
    record = Path("out.npy.progress")
    before = Path("out.npy.partial").read_bytes()
    damaged = b"".join(damage(record.read_bytes().splitlines(keepends=True)))
    record.write_bytes(damaged)
    text = "is damaged and does not say" if manner else "--overwrite"
    assert_refused(run("pool", *STEPS, *manner), text)
    assert Path("out.npy.partial").read_bytes() == before
    assert record.read_bytes() == damaged
    pool(*STEPS, "--overwrite")
    np.testing.assert_array_equal(np.load("out.npy"), expected)


# Links and permissions.


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("suffix", ["progress", "partial"])
def test_a_link_in_the_place_of_a_file_of_the_run(manner, suffix):
    begun = b'{"roialign_cy": "a text that begins as a record does"'
    Path("victim").write_bytes(begun)
    if suffix == "partial":
        interrupted(*STEPS)
        Path("out.npy.partial").unlink()
    Path(f"out.npy.{suffix}").symlink_to("victim")
    assert_refused(run("pool", *STEPS, *manner), f"'out.npy.{suffix}' is in the way")
    assert Path("victim").read_bytes() == begun
    assert Path(f"out.npy.{suffix}").is_symlink()


def test_a_link_that_comes_after_the_look_is_not_followed(monkeypatch):
    interrupted(*STEPS)
    Path("out.npy.progress").rename("victim")
    Path("out.npy.progress").symlink_to("victim")
    monkeypatch.setattr(Path, "is_symlink", lambda self: False)
    assert_refused(run("pool", *STEPS, "--resume"), "cannot write 'out.npy'")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
@pytest.mark.parametrize("steps", [STEPS, ZARR_STEPS], ids=["npy", "zarr"])
def test_overwrite_keeps_the_permissions(mode, steps):
    if steps is ZARR_STEPS:
        pytest.importorskip("zarr", reason=NEEDS_ZARR)
        mode |= (mode & 0o444) >> 2
    out, partial = Path(steps[3]), Path(f"{steps[3]}.partial")
    pool(*steps)
    out.chmod(mode)
    interrupted(*steps, "--overwrite")
    assert partial.stat().st_mode & 0o077 == mode & 0o077
    pool(*steps, "--resume", "--overwrite")
    assert out.stat().st_mode & 0o777 == mode


# Inputs that change.


def change_maps(name="maps.npy"):
    """Write other numbers, and set the time stamp back."""
    status = os.stat(name)
    with Path(name).open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"abcd")
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns))


def change_chunk():
    change_maps(next(str(path) for path in Path("m.zarr/maps/c").rglob("*") if path.is_file()))


def zarr_maps(folder):
    group = pytest.importorskip("zarr", reason=NEEDS_ZARR).create_group(folder)
    chunks = (1, 8, 90, 90)
    group.create_array("maps", data=np.load("maps.npy"), chunks=chunks, compressors=None)
    return group


@pytest.mark.parametrize(("maps", "change"), [("maps.npy", change_maps), ("m.zarr", change_chunk)])
def test_maps_that_change_before_they_are_resumed(maps, change):
    if maps == "m.zarr":
        zarr_maps(maps)
    interrupted(maps, *STEPS[1:])
    change()
    assert_refused(run("pool", maps, *STEPS[1:], "--resume"), "differs in features")
    assert names() - {"m.zarr"} == {"out.npy.partial", "out.npy.progress"}


def doing(act, after):
    """Do something when so many steps are done."""
    call, count = _jobs.Job.call, iter(range(1000))

    def wrapped(self, features, rois, *more):
        if len(rois) and next(count) == after:
            act()
        return call(self, features, rois, *more)

    return wrapped


@pytest.mark.parametrize(("maps", "change"), [("maps.npy", change_maps), ("m.zarr", change_chunk)])
def test_maps_that_change_during_a_run(monkeypatch, maps, change):
    if maps == "m.zarr":
        zarr_maps(maps)
    monkeypatch.setattr(_jobs.Job, "call", doing(change, 1))
    result = run("pool", maps, *STEPS[1:])
    assert_refused(result, f"'{maps}' was changed while it was read: 'out.npy.partial' is left")
    assert names() - {"m.zarr"} == {"out.npy.partial", "out.npy.progress"}
    assert_refused(run("pool", maps, *STEPS[1:], "--resume"), "differs in features")


def test_other_arrays_of_a_group_may_change_during_a_run(monkeypatch, expected):
    group = zarr_maps("m.zarr")
    add = lambda: group.create_array("other", data=np.ones(3))  # noqa: E731
    monkeypatch.setattr(_jobs.Job, "call", doing(add, 1))
    pool("m.zarr", *STEPS[1:], "--array", "maps")
    np.testing.assert_array_equal(np.load("out.npy"), expected)


CUTTING = """
import os
from roialign_cy import _jobs
from roialign_cy._jobs import job as job_module
from roialign_cy._cli import main

job_module.CHECKPOINT_SHARE = 1e9
call, calls = _jobs.Job.call, iter(range(1000))

def cut(self, features, rois, *more):
    if len(rois) and next(calls) == 2:
        os.truncate("maps.npy", 4096)
    return call(self, features, rois, *more)

_jobs.Job.call = cut
main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="systems differ in what becomes of the map")
def test_a_file_that_is_cut_while_it_is_read_ends_the_process():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    command = [sys.executable, "-c", CUTTING, "pool", *STEPS]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGBUS
    assert names() == {"out.npy.partial", "out.npy.progress"}
    assert_refused(run("pool", *STEPS, "--resume"), "'maps.npy': it is truncated")
    assert names() == {"out.npy.partial", "out.npy.progress"}


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

    def fail(self, features, rois, *more):
        if len(rois) and next(count) == after:
            raise error
        return call(self, features, rois, *more)

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
    with monkeypatch.context() as patch:
        patch.setattr(_jobs.Job, "call", failing(AssertionError(), 0))
        pool(*of_a_chunk_each, "--resume")
    assert names() == {"out.zarr"}
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


@pytest.mark.parametrize(("zarr_format", "shards"), [(2, None), (3, None), (3, (1, 40, 90, 90))])
@pytest.mark.parametrize("in_a_group", [False, True])
def test_a_short_chunk_of_blosc_is_not_read_beyond_its_end(zarr_format, shards, in_a_group):
    zarr = pytest.importorskip("zarr", reason=NEEDS_ZARR)
    # Of what was only copied any bytes can be "unpacked": Blosc itself never notices.
    copied = {"cname": "lz4", "clevel": 0}
    codec = zarr.codecs.BloscCodec(**copied)
    if zarr_format == 2:
        numcodecs = pytest.importorskip("numcodecs")
        codec = numcodecs.Blosc(**copied)
    zarr.create_array(
        "m.zarr",
        name="maps" if in_a_group else None,
        data=np.load("maps.npy"),
        chunks=(1, 40, 90, 90),
        shards=shards,
        compressors=codec,
        zarr_format=zarr_format,
    )
    command = ["pool", "m.zarr", "rois.npy", "-o", "out.npy"]
    assert run(*command).exit_code == 0
    Path("out.npy").unlink()
    (chunk,) = Path("m.zarr").rglob("1/0/0/0" if zarr_format == 3 else "1.0.0.0")
    content = bytearray(chunk.read_bytes())
    if shards:
        size = int.from_bytes(content[12:16], "little")
        content[12:16] = (size + 1).to_bytes(4, "little")
    else:
        del content[-1]
    chunk.write_bytes(content)
    assert_refused(run(*command), "cannot read 'm.zarr': a chunk of it was cut short")
    assert names() == {"m.zarr"}
