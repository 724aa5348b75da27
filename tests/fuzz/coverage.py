"""``python -m tests.fuzz.coverage``: let coverage choose the calls, of the core's C and of Python.

Needs atheris (the extra ``fuzz``) and the extensions built by clang for it: docs/fuzzing.md. What
is reached for the first time joins the corpus, which the ordinary suite replays.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from . import corpus

SEEDS = 300
"""Calls of the long run that the search begins with."""


def main() -> int:
    """Run the command line."""
    if sys.argv[1:2] == ["--inside"]:
        _fuzz(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.coverage", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--most-bytes", type=int, default=200, help="of a call")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return _run(Path(folder), options.seconds, options.most_bytes)


def _run(folder: Path, seconds: int, most_bytes: int) -> int:
    """Fuzz, and keep the fewest calls that reach all that was reached."""
    from .long_run import data_of, needed  # imports the library, which `_fuzz` must do its own way

    kept, found, least = folder / "kept", folder / "found", folder / "least"
    for path in (kept, found, least):
        path.mkdir()
    for number, call in enumerate(corpus.load()):
        (kept / str(number)).write_bytes(call)
    for number in range(SEEDS):
        (found / str(number)).write_bytes(data_of(0, number)[:most_bytes])
    # LibFuzzer runs itself again as a program of its own.
    program = folder / "fuzz"
    program.write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {__spec__.name} --inside "$0" "$@"\n'
    )
    program.chmod(0o700)
    flags = [
        f"-max_len={most_bytes}",
        "-len_control=0",
        "-timeout=60",
        f"-artifact_prefix={Path.cwd()}/",
    ]
    fuzz = [program, *flags, f"-max_total_time={seconds}", "-print_final_stats=1", found, kept]
    status = subprocess.run(fuzz, check=False).returncode
    if status == 0:
        # By what is reached, however often: the corpus stays small.
        merge = [program, *flags, "-set_cover_merge=1", "-use_counters=0", least, kept, found]
        subprocess.run(merge, check=True)
        corpus.save([needed(path.read_bytes()) for path in least.iterdir()])
        print(f"{len(corpus.load())} calls kept, {corpus.PATH.stat().st_size} bytes")
    return status


def _fuzz(arguments: list[str]) -> None:
    """Hand over to libFuzzer, which ends the process."""
    import atheris

    with atheris.instrument_imports(include=["roialign_cy"]):
        import roialign_cy  # noqa: F401

    from .judge import registered_backends
    from .long_run import described, run_one  # after what is instrumented

    verdicts: Counter[str] = Counter()

    def run(data: bytes) -> None:
        try:
            run_one(data, verdicts)
        except Exception:
            print(described(data))
            raise

    with registered_backends():
        atheris.Setup(arguments, run)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
