"""Run a hostile input in a process of its own, and say what became of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .child import SECONDS_TO_ANSWER
from .engines import THREADS

SECONDS_IN_ALL = 300
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """What became of one input on one engine.

    Attributes
    ----------
    text : str
        In the words of the table.
    seconds : float
        The call took; NaN if it did not return.
    scratch : float
        Bytes that the peak of the process's memory rose by, beyond the result; likewise.
    detail : str
        What the process printed besides.
    """

    text: str
    seconds: float
    scratch: float
    detail: str


def run(engine: str, title: str) -> Outcome:
    """Run the input of that title on the engine of that name."""
    environment = os.environ | {"OMP_NUM_THREADS": str(THREADS)}
    process = subprocess.Popen(
        [sys.executable, "-m", f"{__package__}.child", engine, title],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, detail = process.communicate(timeout=SECONDS_IN_ALL)
    finally:
        with suppress(ProcessLookupError):  # whom it forked and left behind
            os.killpg(process.pid, signal.SIGKILL)
    if process.returncode == 0 and said.strip():
        report = json.loads(said.splitlines()[-1])
        text, seconds = report["outcome"], report["seconds"]
        if seconds >= 1:
            text += f", in {seconds:.0f} s"
        return Outcome(text, seconds, report["bytes"], detail)
    if process.returncode == -signal.SIGALRM:
        text = f"no answer in {SECONDS_TO_ANSWER} s"
    elif process.returncode < 0:
        text = f"ends the process: {signal.Signals(-process.returncode).name}"
    else:
        text = f"ends the process: status {process.returncode}"
    return Outcome(text, float("nan"), float("nan"), detail)
