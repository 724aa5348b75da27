"""Reads the files that callgrind writes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

_TITLE = "desc: Trigger: Client Request: "
# Which of the format's lines name something, and what kind of thing; a name is written out once
# and then referred to by its number, per kind.
_KINDS = {
    "ob": "object",
    "cob": "object",
    "fl": "file",
    "fi": "file",
    "fe": "file",
    "cfi": "file",
    "cfl": "file",
    "fn": "function",
    "cfn": "function",
}
_HERE = {"ob", "fl", "fi", "fe", "fn"}  # the others are of a function that is called
_NUMBERED_NAME = re.compile(r"\((\d+)\)(?: (.*))?")


class Origin(NamedTuple):
    """Where instructions come from.

    Attributes
    ----------
    module : str
        Path of the shared object.
    file : str
        Name of the source file, that of an inlined function too; ``???`` if it is not known.
    function : str
        The symbol that it was compiled into.
    """

    module: str
    file: str
    function: str


def read(path: Path) -> tuple[str, Counter[Origin]]:
    """Give the title of a dump and its instructions by origin, calls not included."""
    counts: Counter[Origin] = Counter()
    names: dict[tuple[str, str], str] = {}
    here = {"object": "", "file": "", "function": ""}
    title = ""
    is_of_call = False
    for line in path.read_text().splitlines():
        key, found, rest = line.partition("=")
        if found and key in _KINDS:
            kind = _KINDS[key]
            name = _resolve(names, kind, rest)
            if key in _HERE:
                here[kind] = name
        elif key == "calls":
            is_of_call = True  # and the next line is what the callee cost, counted there
        elif line.startswith(_TITLE):
            title = line.removeprefix(_TITLE)
        elif line[:1].isdigit() or (line[:1] in "+-*" and line):
            if not is_of_call:
                file = here["file"].rpartition("/")[2]
                origin = Origin(here["object"], file, here["function"])
                counts[origin] += int(line.split()[1])
            is_of_call = False
    return title, counts


def _resolve(names: dict[tuple[str, str], str], kind: str, text: str) -> str:
    match = _NUMBERED_NAME.fullmatch(text)
    if match is None:
        return text
    number, name = match.groups()
    if name is not None:
        names[kind, number] = name
    return names[kind, number]
