"""Run hostile inputs in another process, and say what became of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from . import child
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


def run(engine: str, *titles: str) -> list[Outcome]:
    """Run the inputs of those titles on the engine of that name, in one process.

    One that ends the process is the last of the outcomes.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(THREADS)}
    process = subprocess.Popen(
        [sys.executable, "-m", child.__name__, engine, *titles],
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
    marked = (line for line in said.splitlines() if line.startswith(child.MARK))
    reports = (json.loads(line.removeprefix(child.MARK)) for line in marked)
    outcomes = [_outcome(**report, detail=detail) for report in reports]
    if len(outcomes) < len(titles):
        outcomes.append(Outcome(_end(process.returncode), float("nan"), float("nan"), detail))
    return outcomes


def _outcome(outcome: str, seconds: float, bytes: float, detail: str) -> Outcome:
    text = f"{outcome}, in {seconds:.0f} s" if seconds >= 1 else outcome
    return Outcome(text, seconds, bytes, detail)


def _end(status: int) -> str:
    if status == -signal.SIGALRM:
        return f"no answer in {child.SECONDS_TO_ANSWER} s"
    if status < 0:
        return f"ends the process: {signal.Signals(-status).name}"
    return f"ends the process: status {status}"
