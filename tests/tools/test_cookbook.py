"""The recipes of docs/cookbook.md, and the README, print what their comments say."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "cookbook.md").read_text("utf-8")
RECIPES = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
PROGRAM = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^```console\n\$ roialign (.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"^print\(.*\)(?:  |\n)# (.*)$", re.MULTILINE)


def marked(title):
    """Recipes with torch are for the environment that has it."""
    with_torch = "import torch" in RECIPES[title]
    return pytest.param(title, marks=pytest.mark.peers if with_torch else ())


def require_imports(program):
    for name in re.findall(r"^(?:import|from) (\w+)", program, re.MULTILINE):
        pytest.importorskip(name, reason=f"the recipe needs {name}")


@pytest.mark.parametrize("title", [marked(title) for title in RECIPES])
def test_recipe(title, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    for program in PROGRAM.findall(RECIPES[title]):
        require_imports(program)
        exec(program, {})
        printed = PRINTED.findall(program)
        assert printed
        assert capsys.readouterr().out.splitlines() == printed
    for arguments, printed in COMMAND.findall(RECIPES[title]):
        command = [sys.executable, "-m", "roialign_cy", *shlex.split(arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, printed), done.stderr


def test_the_readme(capsys):
    page = (DOCS.parent / "README.md").read_text("utf-8")
    program = "".join(code for code in PROGRAM.findall(page) if "torch" not in code)
    exec(program, {})
    printed = capsys.readouterr().out
    assert PRINTED.findall(program)[0] == printed.splitlines()[0]
    assert "P_x(1,1,1,1)" in printed  # what explain prints


def test_the_notebook(monkeypatch):
    cells = json.loads((DOCS / "first_look.ipynb").read_text("utf-8"))["cells"]
    program = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    require_imports(program)
    monkeypatch.setenv("MPLBACKEND", "agg")
    exec(program, {})
