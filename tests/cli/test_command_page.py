"""The commands of docs/command_line.md and of the README print what stands below them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = f'#!/bin/sh\nexec "{sys.executable}" -m roialign_cy "$@"\n'

for package in ("click", "rich", "skimage"):
    pytest.importorskip(package, reason="needs the extra 'cli' and scikit-image")


@pytest.mark.parametrize(("page", "least"), [("docs/command_line.md", 10), ("README.md", 3)])
def test_commands_print_what_is_below_them(page, least, tmp_path):
    text = (ROOT / page).read_text("utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).splitlines()
    commands = [line[2:] for line in lines if line.startswith("$ ")]
    assert len(commands) >= least
    (tmp_path / "bin").mkdir()
    for name, text in (
        ("roialign", COMMAND),
        ("python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'),
    ):
        program = tmp_path / "bin" / name
        program.write_text(text)
        program.chmod(0o755)
    # Each command is printed first, as it stands on the page.
    script = "".join(f"cat <<'END'\n$ {command}\nEND\n{command}\n" for command in commands)
    paths = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(":") if path]
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(paths),
    }
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.stdout.splitlines() == lines
    assert not [*tmp_path.glob("bad.npy*")]
