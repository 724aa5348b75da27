"""The ``roialign`` command: a demonstration on a photograph, and what is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

import roialign_cy as ra

from . import demo
from ._config import config
from ._worked_example import WorkedNumber, worked_numbers


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(ra.__version__)
def roialign() -> None:
    """RoI Align for NumPy and CuPy."""


@roialign.command("demo")
@click.option(
    "--image",
    type=click.Path(path_type=Path),
    help="Photograph to pool instead of the portrait that comes with Matplotlib.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default="roi_align_demo.png",
    show_default=True,
    help="Where the picture goes; the suffix decides its format.",
)
@click.option("--no-picture", is_flag=True, help="Print the numbers only.")
def run_demo(image: Path | None, output: Path, no_picture: bool) -> None:
    """Pool a box of a photograph on every backend, and redo the document's worked example."""
    try:
        photograph = demo.load_photograph(image)
    except ValueError as error:
        raise _refusal(str(error)) from error
    features = demo.feature_map(photograph)
    results = {name: demo.pool_box(features, name) for name in ra.backends.available()}
    first, pooled = next(iter(results.items()))

    console = _console()
    console.print(_sections_table(pooled, first))
    console.print(_backends_table(results))
    console.print(_worked_table(worked_numbers(first)))
    if no_picture:
        return
    from ._demo_picture import save_picture  # here: Matplotlib takes a second to import

    try:
        save_picture(output, photograph, features, pooled)
    except (OSError, ValueError) as error:  # ValueError: a format unknown to Matplotlib
        raise _refusal(f"cannot write {str(output)!r}: {error}") from error
    click.echo(f"picture: {output}")


@roialign.command("info")
def show_info() -> None:
    """Show the version, what the CPU code runs on, and the backends."""
    found = config()
    cpu = found["cpu"]
    table = Table(title="roialign_cy", show_header=False, title_justify="left")
    table.add_row("version", found["version"])
    table.add_row("Python, NumPy", f"{found['python']}, {found['numpy']}")
    table.add_row("CPU variant", cpu["variant"])
    table.add_row("  built", ", ".join(cpu["built"]))
    table.add_row("  usable here", ", ".join(cpu["usable"]))
    table.add_row("threads", str(found["threads"]))
    table.add_row("OpenMP", "yes" if found["openmp"] else "no: one thread only", end_section=True)
    for name, reason in found["backends"].items():
        table.add_row(f"backend {name}", reason or "available")
    _console().print(table)


def _console() -> Console:
    # Texts with brackets, such as pip's extras, are no markup.
    return Console(markup=False, highlight=False)


def _refusal(message: str) -> click.ClickException:
    refusal = click.ClickException(message)
    refusal.exit_code = 2
    return refusal


def _sections_table(pooled: NDArray[Any], backend: str) -> Table:
    x, y, w, h = demo.BOX
    table = Table(
        title=f"{w} x {h} pixels, top left at ({x}, {y}), y up: computed by {backend}",
        title_justify="left",
    )
    table.add_column("section (i,j)")
    for channel in demo.CHANNELS:
        table.add_column(channel, justify="right")
    t, k = demo.OUTPUT_SIZE
    for j in range(1, t + 1):
        for i in range(1, k + 1):
            values = pooled[:, j - 1, i - 1]
            table.add_row(f"({i},{j})", *(f"{v:.4f}" for v in values), end_section=i == k)
    return table


def _backends_table(results: dict[str, NDArray[Any]]) -> Table:
    table = Table(title="Backends", title_justify="left")
    table.add_column("name")
    table.add_column("largest difference from the reference")
    for name in ra.backends.names():
        if name in results:
            difference = float(np.abs(results[name] - results["reference"]).max())
            table.add_row(name, f"{difference:.1e}" if difference else "0")
        else:
            table.add_row(name, f"unavailable: {ra.backends.unavailable_reason(name)}")
    return table


def _worked_table(numbers: list[WorkedNumber]) -> Table:
    table = Table(title="The document's worked example", title_justify="left")
    for heading in ("what", "printed", "computed", "agrees"):
        table.add_column(heading)
    for number in numbers:
        verdict = Text("yes" if number.agrees else "no", "green" if number.agrees else "yellow")
        if number.remark:
            verdict.append(f", {number.remark}")
        printed = ", ".join(f"{v:g}" for v in number.printed)
        computed = ", ".join(f"{round(v, 4):g}" for v in number.ours)
        table.add_row(number.what, printed, computed, verdict)
    return table
