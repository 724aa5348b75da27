"""Slowdowns to put into the library, each into one part of it, for trials of the gate.

A slowdown is a loop at the beginning of a function that every call of the part goes through. It
runs often enough to make the part some tenth slower, or a third where the clock is to see it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from . import parts


class AnchorError(Exception):
    """The function that a slowdown belongs into is not there; the text says what to look for."""


@dataclass(frozen=True, slots=True)
class Injection:
    """A slowdown.

    Attributes
    ----------
    function : str
        Name of the function that it is put into, defined once in all files of the library.
    iterations : int
        Of the loop, for each call of that function.
    part : str
        What the gate has to find slower, in a case whose name begins with ``case``.
    """

    name: str
    function: str
    iterations: int
    part: str
    case: str

    def apply(self, package: Path) -> tuple[Path, str]:
        """Give the file of the package that changes, and its text with the slowdown in it.

        Raises
        ------
        AnchorError
            If the function is not defined exactly once.
        """
        definition = re.compile(rf"^(?:cdef [^\n(=]*|def )\b{self.function}\(", re.MULTILINE)
        found = []
        for path in sorted(package.rglob("*.p*")):
            if path.suffix in {".py", ".pyx", ".pxi"}:
                text = path.read_text()
                found += [(path, text, match) for match in definition.finditer(text)]
        if len(found) != 1:
            places = ", ".join(str(path.relative_to(package)) for path, _, _ in found) or "nowhere"
            raise AnchorError(
                f"the slowdown {self.name!r} goes into the function {self.function}, which must be "
                f"defined once in {package.name} and is: {places}; "
                f"name the function that has its job now in {Path(__file__).name}"
            )
        ((path, text, match),) = found
        if path.suffix == ".py":
            loop, declaration = f"    for _ in range({self.iterations}): pass\n", ""
        else:
            declaration = _VOLATILE
            loop = (
                "    cdef slowed_down_t slowed_down = 0\n"
                f"    while slowed_down < {self.iterations}:\n"
                "        slowed_down += 1\n"
            )
        body = _body(text, match.end())
        return path, text[: match.start()] + declaration + text[match.start() : body] + loop + text[
            body:
        ]


# A loop that the compiler cannot leave out.
_VOLATILE = """cdef extern from *:
    ctypedef long slowed_down_t "volatile long"


"""
_SIGNATURE_END = re.compile(r":\n")
_DOCSTRING = re.compile(r'\s*""".*?"""\n', re.DOTALL)


def _body(text: str, inside_signature: int) -> int:
    """Where the first statement of a function begins, past its docstring."""
    end = _SIGNATURE_END.search(text, inside_signature)
    assert end is not None
    docstring = _DOCSTRING.match(text, end.end())
    return docstring.end() if docstring else end.end()


INJECTIONS = (
    Injection("taps", "fill_box", 200, "taps", "avg"),
    Injection("packing", "pack_cells", 100, "packing", "avg"),
    Injection("avg kernel", "average", 200, parts.KERNELS, "avg"),
    Injection("max kernel", "maximum", 800, parts.KERNELS, "max"),
    Injection("backward of avg", "add_means", 300, parts.KERNELS, "avg-by-features"),
    Injection("backward of max", "add_maxima", 2000, parts.KERNELS, "max-by-features"),
    Injection("check of boxes", "box_fault", 200, "taps", "avg"),
    Injection("check of arrays", "check_features", 100, parts.PYTHON, "small"),
    Injection("several maps", "_place", 1000, parts.PYTHON, "levels"),
    Injection("pasting", "paste_rows", 5000, "paste", "paste"),
)
