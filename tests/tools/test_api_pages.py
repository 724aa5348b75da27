"""The reference has every public name."""

import importlib
import re
from pathlib import Path

import pytest

API = Path(__file__).parents[2] / "docs" / "api"
MODULES = ("", ".boxes", ".backends", ".backends.kit", ".typing", ".dask", ".torch")


@pytest.mark.parametrize("module", MODULES)
def test_pages_list_all_names(module):
    if module in (".dask", ".torch"):
        pytest.importorskip(module[1:], reason=f"needs the extra '{module[1:]}'")
    text = " ".join(page.read_text("utf-8") for page in API.glob("*.rst"))
    listed = {name.rpartition(".")[2] for name in re.findall(r"[\w.]+", text)}
    names = set(importlib.import_module(f"roialign_cy{module}").__all__)
    assert names - listed - {"__version__"} == set()
