"""asv's own site, of what was run here and of the history, with its scripts beside it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from ..versions import ROOT

CONFIGURATION = ROOT / "asv.conf.json"
RESULTS = ROOT / ".asv" / "results"
MACHINE = "history"

# What the page asks the network for -> where npm puts it.
SCRIPTS = {
    "jquery-3.3.1.min.js": "jquery/dist/jquery.min.js",
    "jquery.flot.min.js": "flot/jquery.flot.js",
    "jquery.flot.time.min.js": "flot/jquery.flot.time.js",
    "jquery.flot.selection.min.js": "flot/jquery.flot.selection.js",
    "jquery.flot.categories.min.js": "flot/jquery.flot.categories.js",
    "jquery.flot.orderBars.js": "flot-orderbars/js/jquery.flot.orderBars.js",
    "stupidtable.min.js": "stupid-table-plugin/stupidtable.min.js",
    "md5.min.js": "blueimp-md5/js/md5.min.js",
    "bootstrap.min.js": "bootstrap/dist/js/bootstrap.min.js",
    "bootstrap.min.css": "bootstrap/dist/css/bootstrap.min.css",
}
_REFERENCE = re.compile(
    r'(src|href)="https://[^"]*/([^"/]+\.(?:js|css))"(?: integrity="[^"]*")?'
    r'(?: crossorigin="[^"]*")?'
)


def make(history: Sequence[dict[str, Any]], folder: Path) -> None:
    """Write the site into a folder, which is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as work:
        results = Path(work, "results")
        if RESULTS.exists():
            shutil.copytree(RESULTS, results)
        add_history(history, results)
        configuration = _read_configuration() | {
            "repo": str(ROOT),
            "benchmark_dir": str(ROOT / "benchmarks"),
            "results_dir": str(results),
            "html_dir": str(folder),
        }
        path = Path(work, "asv.conf.json")
        path.write_text(json.dumps(configuration))
        _run(sys.executable, "-m", "asv", "--config", str(path), "publish", "--no-pull", cwd=ROOT)
        _add_scripts(folder, Path(work, "npm"))


def _read_configuration() -> dict[str, Any]:
    lines = CONFIGURATION.read_text().splitlines()
    found: dict[str, Any] = json.loads(
        "\n".join(line for line in lines if not line.lstrip().startswith("//"))
    )
    return found


def add_history(history: Sequence[dict[str, Any]], results: Path) -> None:
    """Add the history to a folder of asv's results, as those of a machine of its own."""
    series: dict[str, tuple[str, dict[str, dict[tuple[str, ...], float]]]] = {
        "history.track_instructions": ("instructions", {}),
        "history.track_relative_time": ("times of the other", {}),
    }
    for line in history:
        series["history.track_instructions"][1][line["commit"]] = {
            (case,): float(sum(parts.values())) for case, parts in line["counts"].items()
        }
        series["history.track_relative_time"][1][line["commit"]] = {
            (case, other): ratio
            for case, others in line["times"].items()
            for other, (ratio, *_) in others.items()
        }
    index = results / "benchmarks.json"
    benchmarks = json.loads(index.read_text()) if index.exists() else {"version": 2}
    folder = results / MACHINE
    folder.mkdir(parents=True, exist_ok=True)
    machine = {"machine": MACHINE}
    (folder / "machine.json").write_text(json.dumps(machine | {"version": 1}))
    found: dict[str, dict[str, Any]] = {line["commit"]: {} for line in history}
    for name, (unit, commits) in series.items():
        keys = dict.fromkeys(key for values in commits.values() for key in values)
        params = [list(dict.fromkeys(column)) for column in zip(*keys, strict=True)]
        quoted = [[repr(value) for value in column] for column in params]
        benchmarks[name] = {
            "code": "",
            "name": name,
            "param_names": ["case", "other"][: len(params)],
            "params": quoted,
            "type": "track",
            "unit": unit,
            "version": "1",
        }
        for commit, values in commits.items():
            row = [values.get(key) for key in product(*params)]
            found[commit][name] = [row, quoted, "1"]
    index.write_text(json.dumps(benchmarks))
    for commit, rows in found.items():
        text = json.dumps(
            {
                "commit_hash": commit,
                "env_name": MACHINE,
                "date": 0,
                "params": machine,
                "python": "",
                "requirements": {},
                "env_vars": {},
                "result_columns": ["result", "params", "version"],
                "results": rows,
                "durations": {},
                "version": 2,
            }
        )
        (folder / f"{commit[:8]}-{MACHINE}.json").write_text(text)


def _add_scripts(folder: Path, work: Path) -> None:
    """Take what the page would load from the network from npm, and put it beside the page."""
    work.mkdir()
    shutil.copy(Path(__file__).with_name("package.json"), work)
    _run("npm", "install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", cwd=work)
    vendor = folder / "vendor"
    vendor.mkdir()
    page = folder / "index.html"

    def local(match: re.Match[str]) -> str:
        shutil.copy(work / "node_modules" / SCRIPTS[match[2]], vendor / match[2])
        return f'{match[1]}="vendor/{match[2]}"'

    page.write_text(_REFERENCE.sub(local, page.read_text()))


def _run(*command: str, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
