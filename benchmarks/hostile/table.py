"""The table of the page on robustness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .engines import label
from .trial import Outcome

BEGIN = "<!-- table of python -m benchmarks.hostile -->"
END = "<!-- end of the table -->"


def make(
    titles: Sequence[str], engines: Sequence[str], outcomes: Mapping[tuple[str, str], Outcome]
) -> list[str]:
    """Give the lines of the table: a row for each input, a column for each engine."""
    rows = [
        ["input", *(label(engine) for engine in engines)],
        ["---"] * (len(engines) + 1),
        *([title, *(outcomes[title, engine].text for engine in engines)] for title in titles),
    ]
    return [f"| {' | '.join(row)} |" for row in rows]


def put_into(page: str, lines: Sequence[str]) -> str:
    """Give the page with these lines in place of its table."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([before + BEGIN, "", *lines, "", END + after])


def read(page: str, engine: str) -> dict[str, str]:
    """Give what the page says of each input on that engine."""
    lines = page.partition(BEGIN)[2].partition(END)[0].strip().splitlines()
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split(" | ")] for line in lines)
    column = next(i for i, name in enumerate(head) if name.split()[0] == engine)
    return {row[0]: row[column] for row in rows}
