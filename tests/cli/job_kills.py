"""Kill a job at every event of its life, resume it, and compare with an undisturbed one.

A program of its own, which forks: ``python -m tests.cli.job_kills FOLDER SUFFIX STRIDE`` kills at
every so many events and prints at how many. Nothing computes before the forks: threads do not
survive one. After every second kill the record is damaged: then it may be refused, too, but nothing
is lost.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path

import numpy as np

from roialign_cy import _jobs
from roialign_cy._jobs import job as job_module
from roialign_cy._jobs import outputs, progress

from .job_cases import open_job

MEMORY = 30_000
REFUSED = 3
FILE_EVENTS = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate"}
OPTIONS = {
    "output_size": (3, 3),
    "convention": "mmcv",
    "spatial_scale": 1.0,
    "sampling_ratio": 2,
    "mode": None,
    "layout": "NCHW",
    "num_threads": None,
}


def main() -> None:
    folder, suffix, stride = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    os.fsync = lambda descriptor: None  # a kill takes nothing that was given to the system
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((3, 8, 30, 30), dtype=np.float32)
    np.save(folder / "maps.npy", maps)
    corners = rng.uniform(0, 20, (40, 2))
    rois = np.hstack([rng.integers(0, 3, (40, 1)), corners, corners + rng.uniform(2, 9, (40, 2))])
    np.save(folder / "rois.npy", rois)

    whole = folder / f"whole{suffix}"
    assert in_a_fork(run, folder, whole) == 0
    before = {path.name for path in folder.iterdir()}
    out = folder / f"out{suffix}"
    record, partial = (folder / f"{out.name}.{kind}" for kind in ("progress", "partial"))
    kills = refusals = damaged = 0
    while True:
        status = in_a_fork(run, folder, out, kills * stride)
        if status == 0:
            break
        assert status == -signal.SIGKILL, status
        # A file under the name of the result is the result, with its rows until they are removed.
        if out.exists():
            found = content(out)
            found.pop("rows.npy", None)
            assert found == content(whole), kills
        if kills % 2 and record.exists() and record.stat().st_size:
            damaged += 1
            damage(record, rng)
            before_it = content(partial) if partial.exists() else {}
            status = in_a_fork(run, folder, out)
            assert status in (0, REFUSED), (kills, status)
            if status == REFUSED:
                refusals += 1
                assert (content(partial) if partial.exists() else {}) == before_it, kills
                outputs.remove(partial)
                record.unlink()
                outputs.remove(out)
                assert in_a_fork(run, folder, out) == 0, kills
        else:
            # A second kill, two events into the rest, and then to the end.
            assert in_a_fork(run, folder, out, 2) in (0, -signal.SIGKILL), kills
            assert in_a_fork(run, folder, out) == 0, kills
        assert content(out) == content(whole), kills
        outputs.remove(out)
        left = {path.name for path in folder.iterdir()} - before
        assert not left, (kills, left)
        kills += 1
    sys.stdout.write(f"{kills} kills, {damaged} damaged records, {refusals} refused\n")


def run(folder: Path, out: Path, kill_at: int | None = None) -> None:
    """Pool; die at the beginning of the event of that number."""
    if kill_at is not None:
        kill_at_event(kill_at)
    job_module.CHECKPOINT_SHARE = 1e9  # a checkpoint after every step
    with open_job(folder / "maps.npy", folder / "rois.npy", OPTIONS, MEMORY) as job:
        assert len(job.plan) >= 6, len(job.plan)
        # What is there already is the finished result: the kill came when nothing was left to do.
        if not (out.exists() and not out.with_name(f"{out.name}.progress").exists()):
            _jobs.pool(job, out, resume=True)


def damage(record: Path, rng: np.random.Generator) -> None:
    """Cut a record, flip a bit of it, put noise over it, or have it say a number of steps."""
    text = bytearray(record.read_bytes())
    place = int(rng.integers(len(text)))
    match rng.integers(4):
        case 0:
            del text[place:]
        case 1:
            text[place] ^= 1 << int(rng.integers(8))
        case 2:
            text[place : place + 8] = rng.bytes(8)
        case _:
            steps = str(rng.choice([-5, 0, 1, 2, 7, 99999999, "Infinity"]))
            lines = text.split(b"\n")
            lines[-2:-1] = [lines[-2], steps.encode()] if rng.random() < 0.5 else [steps.encode()]
            text = b"\n".join(lines)
    record.write_bytes(text)


def kill_at_event(number: int) -> None:
    """Die when Python says it is about to do something with the output, or in a step."""
    count = 0

    def event() -> None:
        nonlocal count
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1

    def hook(name: str, arguments: tuple) -> None:
        if name in FILE_EVENTS and any("out." in str(argument) for argument in arguments):
            event()

    sys.addaudithook(hook)
    for owner, name in (
        (_jobs.Job, "call"),
        (outputs.NpyOutput, "flush"),
        (progress.Progress, "_write"),
    ):
        before(owner, name, event)
    write = outputs.NpyOutput.write

    def write_by_halves(self, boxes, channels, pooled):
        half = len(boxes) // 2
        for part in (slice(half), slice(half, None)):
            if len(boxes[part]):
                write(self, boxes[part], channels, pooled[part])
                event()

    outputs.NpyOutput.write = write_by_halves


def before(owner: type, name: str, event) -> None:
    function = getattr(owner, name)

    def wrapped(*arguments):
        event()
        return function(*arguments)

    setattr(owner, name, wrapped)


def in_a_fork(function, *arguments) -> int:
    """Call in a child; its exit status, negative for a signal."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            function(*arguments)
        except _jobs.FileError:
            os._exit(REFUSED)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def content(path: Path) -> dict[str, bytes]:
    """Everything in a file or a directory."""
    files = path.rglob("*") if path.is_dir() else [path]
    return {str(file.relative_to(path)): file.read_bytes() for file in files if file.is_file()}


if __name__ == "__main__":
    main()
