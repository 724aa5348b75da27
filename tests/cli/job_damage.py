"""Damage files of every format that a job reads, and see what becomes of jobs on them.

``python -m tests.cli.job_damage FOLDER COUNT`` damages so many of each; every run is one of two:
status 0, where the damage is to numbers, or status 2 with one line that names the file and nothing
behind.
"""

from __future__ import annotations

import collections
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np

from .job_commands import run

MAPS = ("m.npy", "m.npz", "m.zarr", "m.png", "m.jpg", "m.tif", "m.webp", "m.bmp")
BOXES = ("b.npy", "b.csv", "b.json")
FORMATS = (*MAPS, *BOXES)
MORE_BYTES = 80 << 20
"""Most by which a run on a damaged file may raise the memory of the process, with --memory 16."""


def make_files() -> None:
    """Write a sound file of each format in the present folder."""
    from PIL import Image

    maps = np.random.default_rng(0).standard_normal((2, 3, 20, 30), np.float32)
    np.save("m.npy", maps)
    np.savez_compressed("m.npz", maps)
    if "m.zarr" in formats_here():
        import zarr

        zarr.create_array("m.zarr", data=maps, chunks=(1, 3, 20, 30))
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    for name in MAPS:
        if not Path(name).exists() and name != "m.zarr":
            Image.fromarray(pixels).save(name)
    rois = np.array([[0, 1, 1, 5, 5], [0, 2, 3, 14.5, 11]])
    np.save("b.npy", rois)
    rows = [",".join(map(str, row)) for row in rois]
    Path("b.csv").write_text("\n".join(["image,x1,y1,x2,y2", *rows, ""]))
    annotations = [{"image_id": 7, "bbox": [1, 2, 3, 4]}, {"image_id": 8, "bbox": [0, 0, 9, 9.5]}]
    content = {"images": [{"id": 7}, {"id": 8}], "annotations": annotations}
    Path("b.json").write_text(json.dumps(content))


def formats_here() -> tuple[str, ...]:
    """Those that can be read with what is installed."""
    try:
        import zarr  # noqa: F401
    except ImportError:
        return tuple(name for name in FORMATS if name != "m.zarr")
    return FORMATS


def damage(path: Path, rng: np.random.Generator) -> None:
    """Cut a file, flip bits, or put bytes of chance, of zeros or of its own over some."""
    content = bytearray(path.read_bytes())
    # Half of the time where formats have their headers.
    end = len(content) if rng.random() < 0.5 else min(len(content), 150)
    place, length = int(rng.integers(end)), int(rng.integers(1, 9))
    match rng.integers(6):
        case 0:
            del content[place:]
        case 1:
            content[place] ^= 1 << int(rng.integers(8))
        case 2:
            content[place : place + length] = rng.bytes(length)
        case 3:
            content[place : place + length] = bytes(length)
        case 4:
            del content[place : place + length]
        case _:
            source = int(rng.integers(len(content)))
            content[place:place] = content[source : source + length]
    path.write_bytes(content)


def peak_bytes() -> int:
    """The largest memory of this process since it was last asked."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")
    return int(line.split()[1]) << 10


def try_damaged(name: str, seed: int) -> str:
    """Run a job on a damaged file; what came of it: "answered", or the line without the name."""
    rng = np.random.default_rng(seed)
    victim = Path(f"damaged{Path(name).suffix}")
    source = Path(name)
    if source.is_dir():
        shutil.copytree(source, victim)
        files = sorted(path for path in victim.rglob("*") if path.is_file())
        damage(files[rng.integers(len(files))], rng)
    else:
        shutil.copy(source, victim)
        damage(victim, rng)
    files = ("m.npy", victim) if name in BOXES else (victim, "b.npy")
    before = {path.name for path in Path().iterdir()}
    base = peak_bytes()
    result = run("pool", *files, "-o", "out.npy", "--memory", "16")
    more = peak_bytes() - base
    if victim.is_dir():
        shutil.rmtree(victim)
    else:
        victim.unlink()
    assert more <= MORE_BYTES, (name, seed, more)
    if result.exit_code == 0:
        # Boxes of other numbers may look wrong, which is one line.
        assert result.stderr.count("\n") <= (name in BOXES), (name, seed, result.stderr)
        assert np.load("out.npy").shape[2:] == (7, 7)
        Path("out.npy").unlink()
        return "answered"
    assert result.exit_code == 2, (name, seed, result.output, result.exc_info)
    assert result.stderr.count("\n") == 1, (name, seed, result.stderr)
    line = result.stderr
    assert victim.name in line, (name, seed, line)
    assert {path.name for path in Path().iterdir()} == before - {victim.name}, (name, seed)
    return line.replace(victim.name, name)


def main() -> None:
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    os.chdir(folder)
    make_files()
    for name in formats_here():
        lines = collections.Counter(try_damaged(name, seed) for seed in range(count))
        answered = lines.pop("answered", 0)
        sys.stdout.write(
            f"{name:8} {count} damaged: {answered} answered, {lines.total()} refused by a line "
            f"and status 2 ({len(lines)} different)\n"
        )


if __name__ == "__main__":
    main()
