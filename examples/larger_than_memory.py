"""Pool from a file larger than memory with `roialign pool`, kill it, resume it, compare.

    python examples/larger_than_memory.py --gib 20

makes a sparse .npy file of that size with random values where the boxes read, pools it undisturbed,
then again with a SIGKILL after each third of the steps and --resume. It prints the peak of the
resident memory of every run and fails if one exceeds --limit MiB, or if the results differ by a
bit from each other or from one call of `roi_align`. It needs Linux and the extra "cli".
"""

import argparse
import filecmp
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CHANNELS, SIDE = 256, 512
MAP_BYTES = CHANNELS * SIDE * SIDE * 4
BOXES_PER_MAP = 2
LARGEST_BOX = 48
MIB = 1 << 20
CHILD = "--as-the-command"


def make_files(maps_path: Path, boxes_path: Path, num_maps: int) -> None:
    """Write the boxes, and random values into the rows that they read; the rest is a hole."""
    rng = np.random.default_rng(0)
    shape = (num_maps, CHANNELS, SIDE, SIDE)
    np.lib.format.open_memmap(maps_path, "w+", np.float32, shape)
    offset = maps_path.stat().st_size - num_maps * MAP_BYTES
    boxes = []
    with maps_path.open("r+b") as file:
        for plane in range(num_maps * CHANNELS):
            image, channel = divmod(plane, CHANNELS)
            if channel == 0:
                corners = rng.integers(1, SIDE - LARGEST_BOX - 2, (BOXES_PER_MAP, 2))
                sizes = rng.integers(4, LARGEST_BOX, (BOXES_PER_MAP, 2))
                boxes += np.insert(np.hstack([corners, corners + sizes]), 0, image, 1).tolist()
            for (_, top), (_, height) in zip(corners, sizes, strict=True):
                rows = rng.standard_normal((height + 2, SIDE), dtype=np.float32)
                file.seek(offset + (plane * SIDE + int(top) - 1) * SIDE * 4)
                file.write(rows)
    np.random.default_rng(1).shuffle(boxes)
    np.savetxt(boxes_path, boxes, "%d", ",", header="image,x1,y1,x2,y2", comments="")


def pool_at_once(maps_path: Path, boxes_path: Path, expected_path: Path) -> None:
    """Pool everything by one call."""
    import roialign_cy as ra

    maps = np.load(maps_path, mmap_mode="r")
    boxes = np.loadtxt(boxes_path, delimiter=",", skiprows=1)
    np.save(expected_path, ra.roi_align(maps, boxes, 7, convention="detectron2"))


def in_a_process(function, *arguments) -> None:
    """Call a function without growing this process: a child's peak begins at its parent's size."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(process.exitcode)


def recorded_steps(progress: Path) -> int:
    """How many steps a run has recorded."""
    try:
        return int(progress.read_text().split("\n")[1:-1][-1].split()[0])
    except (FileNotFoundError, IndexError):
        return 0


def pool_until_killed(kill_at: float, progress: Path) -> None:
    """Be the command `roialign`, but die once so many steps are recorded.

    SIGKILL comes from Python's reports of what it does to files: that it maps the file for a step,
    or at the latest that the whole result is about to be renamed.
    """

    def hook(event: str, arguments: tuple) -> None:
        is_step = event == "mmap.__new__"
        is_last = event == "os.rename" and str(arguments[0]).endswith(".partial")
        if is_last or (is_step and recorded_steps(progress) >= kill_at):
            os.kill(os.getpid(), signal.SIGKILL)

    from roialign_cy._cli import main as roialign

    if kill_at < np.inf:
        sys.addaudithook(hook)
    roialign()


def run(arguments: list[str], progress: Path, kill_at: float) -> tuple[int, int, int]:
    """Run the command: exit status, peak of resident memory in bytes, most steps recorded."""
    seen = 0
    child = subprocess.Popen([sys.executable, __file__, CHILD, str(kill_at), progress, *arguments])
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        seen = max(seen, recorded_steps(progress))
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return child.returncode, usage.ru_maxrss * 1024, seen
        time.sleep(0.001)


def main() -> None:
    """Do all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gib", type=float, default=20, help="size of the file (20)")
    parser.add_argument("--memory", type=int, default=256, help="the command's --memory (256)")
    parser.add_argument("--limit", type=int, default=1024, help="MiB that a run may take (1024)")
    parser.add_argument("--folder", type=Path, help="where the files go, and are removed from")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        maps, boxes, out, killed, expected = (
            Path(folder, name)
            for name in ("maps.npy", "boxes.csv", "out.npy", "killed.npy", "expected.npy")
        )
        in_a_process(make_files, maps, boxes, max(round(options.gib * 2**30 / MAP_BYTES), 1))
        print(
            f"maps.npy: {maps.stat().st_size / 2**30:.2f} GiB, of which "
            f"{maps.stat().st_blocks * 512 / 2**30:.2f} GiB are on the disk"
        )

        def pool(output: Path, kill_at: float, *more: str) -> tuple[int, int]:
            arguments = ["pool", str(maps), str(boxes), "-o", str(output), *more]
            arguments += ["--convention", "detectron2", "--memory", str(options.memory)]
            progress = output.with_name(f"{output.name}.progress")
            begin = time.perf_counter()
            status, peak, seen = run(arguments, progress, kill_at)
            seconds = time.perf_counter() - begin
            print(f"  exit {status:3}, {seconds:5.1f} s, peak {peak / MIB:4.0f} MiB, {seen} steps")
            if peak > options.limit * MIB:
                sys.exit(f"the peak is above {options.limit} MiB")
            return status, seen

        print("undisturbed:", flush=True)
        status, steps = pool(out, np.inf)
        if status:
            sys.exit(status)
        print("killed twice and resumed:", flush=True)
        for third in (1, 2):
            status, _ = pool(killed, steps * third / 3, "--resume")
            if status != -signal.SIGKILL or killed.exists():
                sys.exit(f"status {status} where a kill was due")
        status, _ = pool(killed, np.inf, "--resume")
        in_a_process(pool_at_once, maps, boxes, expected)
        for other in (killed, expected):
            if not filecmp.cmp(out, other, shallow=False):
                sys.exit(f"{out.name} and {other.name} differ")
        left = sorted(path.name for path in Path(folder).iterdir())
        if left != sorted(path.name for path in (maps, boxes, out, killed, expected)):
            sys.exit(f"something was left behind: {left}")
        print("the same bytes as the undisturbed run's, and as one call's")


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        kill_at, progress = float(sys.argv[2]), Path(sys.argv[3])
        del sys.argv[1:4]
        pool_until_killed(kill_at, progress)
    else:
        main()
