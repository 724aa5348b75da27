"""The kernels are layers: a file uses names of its own and of the files included before it."""

import re
from pathlib import Path

import pytest

CORE = Path(__file__).parents[2] / "src" / "roialign_cy" / "_core"
TOPS = {"kernels": CORE / "kernels" / "kernels.pxi", "samplers": CORE / "taps.pyx"}
DEFINITION = re.compile(
    r"^cdef (?:(?:inline )?[\w ]*?[ *]*(?P<function>\w+)\(|(?:struct|enum|class) (?P<type>\w+):)",
    re.MULTILINE,
)
COMMENT = re.compile(r'""".*?"""|#[^\n]*', re.DOTALL)


def files_in_order(path):
    """The files that one is made of, in the order in which their lines come."""
    found = []
    for name in re.findall(r'^include "([\w.]+)"$', path.read_text(), re.MULTILINE):
        found += files_in_order(path.parent / name)
    return [*found, path]


def defined_in(text):
    return {match["function"] or match["type"] for match in DEFINITION.finditer(text)}


@pytest.mark.parametrize("top", TOPS)
def test_a_file_uses_only_names_of_the_files_before_it(top):
    if not TOPS[top].exists():
        pytest.skip("the sources of the core are not here")
    texts = {path.name: COMMENT.sub("", path.read_text()) for path in files_in_order(TOPS[top])}
    names = {name: defined_in(text) for name, text in texts.items()}
    assert sum(map(len, names.values())) > 30
    used_too_early = {}
    later: set[str] = set()
    for name in reversed(texts):
        if early := later & set(re.findall(r"\w+", texts[name])):
            used_too_early[name] = sorted(early)
        later |= names[name]
    assert used_too_early == {}
