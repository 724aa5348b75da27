"""Check the plugin on a device, within ten minutes: ``python -m device_check`` beside this folder.

Every stage is a process of its own with a limit of time: one that hangs, or ends its CUDA context,
costs only itself. Results go to ``results.json`` and, for people, to ``report.md``. ``--dry`` runs
what a machine without a GPU can, on the host layer: times mean nothing there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .report import write_report

LIMITS = {
    "environment": 30,
    "values": 90,
    "times": 150,
    "streams": 60,
    "tests": 200,
    "sanitizer": 90,
}
"""Stages in the order of their worth, and the most seconds of each."""

GPU = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="device_check", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("device_check_results"))
    parser.add_argument("--dry", action="store_true", help="without a GPU")
    parser.add_argument("--only", nargs="+", choices=LIMITS, default=list(LIMITS))
    parser.add_argument("--seconds", type=float, default=590, help="for all stages together")
    parser.add_argument("--stage", choices=LIMITS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        from . import stages

        sys.stdout.write(json.dumps(stages.run(options.stage, options.dry)))
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + options.seconds
    results: dict[str, Any] = {"dry": options.dry, "date": time.strftime("%F", time.gmtime())}
    for name in options.only:
        limit = min(LIMITS[name], deadline - time.monotonic())
        results[name] = _run_stage(name, options.dry, limit) if limit > 5 else {"error": "no time"}
        sys.stdout.write(f"{name}: {results[name].get('error', 'done')}\n")
        sys.stdout.flush()
        (options.out / "results.json").write_text(json.dumps(results, indent=1))
    write_report(results, options.out / "report.md")
    return int(any("error" in results[name] for name in options.only))


def _run_stage(name: str, dry: bool, limit: float) -> dict[str, Any]:
    """Give what a stage found, or what went wrong in it."""
    command = [sys.executable, "-m", "device_check", "--stage", name, *["--dry"] * dry]
    try:
        finished = subprocess.run(command, cwd=GPU, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {limit:.0f} s"}
    if finished.returncode:
        return {"error": finished.stderr[-2000:] or f"status {finished.returncode}"}
    found: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main())
