"""The ``roialign`` command: the demonstration, explanations, and what is installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

import roialign_cy as ra

from .. import demo
from .._config import config
from .._explain.numbers import COORDINATES
from .._jobs import SUFFIXES, open_features, read_npy, reason
from . import parts
from .jobs import compare, pool
from .parts import BadFileError, make_console, make_table
from .worked_example import WorkedNumber, document_map, worked_numbers


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(ra.__version__)
def roialign() -> None:
    """RoI Align for NumPy and CuPy."""


roialign.add_command(pool)
roialign.add_command(compare)


@roialign.group("bench")
def bench() -> None:
    """Benchmarks of the backends."""


# Its options are those of a module that also runs where this command is not installed.
@bench.command("compare", context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def compare_workloads(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Time backends side by side on the workloads of networks."""
    from ..bench.compare.cli import main

    context.exit(main(arguments))


@roialign.command("demo")
@click.option(
    "--image",
    type=click.Path(path_type=Path),
    help="Photograph to pool instead of the portrait that comes with Matplotlib.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default="roi_align_demo.png",
    show_default=True,
    help="Where the picture goes; the suffix decides its format.",
)
@click.option("--no-picture", is_flag=True, help="Print the numbers only.")
def run_demo(image: Path | None, output: Path, no_picture: bool) -> None:
    """Pool a box of a photograph on every backend and redo the worked example."""
    try:
        photograph = demo.load_photograph(image)
    except ValueError as error:
        raise BadFileError(str(error)) from error
    features = demo.feature_map(photograph)
    results, refusals = _pool_everywhere(features)
    first, pooled = next(iter(results.items()))

    console = make_console()
    for table in (
        _sections_table(pooled, first),
        _backends_table(results, refusals),
        _worked_table(worked_numbers(first)),
    ):
        console.print(table)
        console.print()
    if no_picture:
        return
    from .demo_picture import save_picture  # here: Matplotlib takes a second to import

    explanation = demo.explain_box(features, demo.CHANNELS.index("red"))
    _save(output, lambda: save_picture(output, photograph, explanation))


@roialign.command("explain")
@click.argument("features", type=click.Path(path_type=Path), required=False)
@click.option(
    "--box",
    type=float,
    nargs=4,
    metavar="X1 Y1 X2 Y2",
    help="The box, y down, in units that --spatial-scale turns into cells.",
)
@click.option("--image", type=int, show_default="0", help="Which of the maps the box is on.")
@click.option("--channel", default=0, show_default=True, help="Which channel of it.")
@parts.output_size("3x3")
@click.option(
    "--spatial-scale",
    cls=parts.Renamed,
    old_name="--scale",
    type=parts.scale,
    metavar="NUMBER",
    show_default="1",
    help="Cells of the map per unit of the box, such as 1/16.",
)
@parts.convention
@parts.sampling_ratio
@parts.mode
@click.option(
    "--coordinates",
    type=click.Choice(COORDINATES),
    default="document",
    show_default=True,
    help="How positions are given: cells from the bottom left, y up, or indices of the array.",
)
@click.option(
    "--section",
    type=int,
    nargs=2,
    metavar="I J",
    help="The section: column and row from 1, or row and column from 0 in array coordinates. "
    "By default the first one.",
)
@click.option("--picture", type=click.Path(path_type=Path), help="Where to draw it.")
def run_explain(
    features: Path | None,
    box: tuple[float, float, float, float] | None,
    image: int | None,
    section: tuple[int, int] | None,
    picture: Path | None,
    spatial_scale: float | None,
    **options: Any,
) -> None:
    """Show where the values of one section come from.

    FEATURES is a .npy file of shape (N, C, H, W), or an image, as for pool. Without it, the
    document's worked example is explained.
    """
    if (features is None) != (box is None):
        raise click.UsageError("FEATURES and --box are needed together")
    if features is None and (image is not None or spatial_scale is not None):
        raise click.UsageError("--image and --spatial-scale are of no use without FEATURES")
    try:
        maps = document_map() if features is None else _read_maps(features)
        if box is None:
            rois = ra.boxes.from_document([demo.BOX], demo.IMAGE_SIZE)
            spatial_scale = 1 / demo.SUB_SAMPLING
        else:
            rois = np.array([[image or 0, *box]])
        scale = 1.0 if spatial_scale is None else spatial_scale
        explanation = ra.explain(maps, rois, spatial_scale=scale, **options)
        chosen = section or explanation.number(0, 0)
        table = explanation.table(chosen)
        formulas = [
            explanation.formula(chosen, explanation.number(*point)) + "\n"
            for point in np.ndindex(*explanation.grid(*explanation.section_index(chosen)))
        ]
        formulas.append(explanation.formula(chosen))
    except (MemoryError, TypeError, ValueError) as error:
        raise BadFileError(reason(error)) from error
    make_console().print(table)
    for formula in formulas:
        click.echo(formula)
    if picture is not None:
        _save(picture, lambda: explanation.plot(chosen).savefig(picture))


def _read_maps(path: Path) -> NDArray[Any]:
    if path.suffix.lower() not in SUFFIXES:
        return read_npy(path)
    with open_features(path, "NCHW", None, most_bytes=sys.maxsize) as image:
        maps: NDArray[Any] = image.renew()
        return maps


@roialign.command("info")
def show_info() -> None:
    """Show the version, what the CPU code runs on, and the backends."""
    found = config()
    cpu = found["cpu"]
    table = make_table("Installation", "what", "found")
    for what, value in (
        ("version", found["version"]),
        ("Python", found["python"]),
        ("NumPy", found["numpy"]),
        ("CPU variant", cpu["variant"]),
        ("CPU variants built", ", ".join(cpu["built"])),
        ("CPU variants usable", ", ".join(cpu["usable"])),
        ("OpenMP", "yes" if found["openmp"] else "no: calls run on one thread"),
        ("threads", str(found["threads"])),
    ):
        table.add_row(what, value)
    for name, why in found["backends"].items():
        table.add_row(f"backend {name}", f"unavailable: {why}" if why else "available")
    make_console().print(table)


def _save(picture: Path, draw: Callable[[], None]) -> None:
    try:
        draw()
    except (OSError, ValueError) as error:  # ValueError: a format unknown to Matplotlib
        raise BadFileError(f"cannot write {str(picture)!r}: {reason(error)}") from error
    click.echo(f"picture: {click.format_filename(picture)}")


def _pool_everywhere(
    features: NDArray[Any],
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Pool on every known backend: the results, and the reasons of those that gave none."""
    results, refusals = {}, {}
    for name in ra.backends.names():
        try:
            results[name] = demo.pool_box(features, name)
        # Beside missing ones: those for other arrays, and what the environment sets to nonsense.
        except (ra.BackendUnavailableError, TypeError, ValueError) as error:
            refusals[name] = str(error)
    return results, refusals


def _sections_table(pooled: NDArray[Any], backend: str) -> Table:
    x, y, w, h = demo.BOX
    t, k = demo.OUTPUT_SIZE
    table = make_table(f"Sections of the box [{x}, {y}], {w} x {h} (y up), by {backend}", "(i,j)")
    for channel in demo.CHANNELS:
        table.add_column(channel, justify="right")
    for j in range(1, t + 1):
        for i in range(1, k + 1):
            table.add_row(f"({i},{j})", *(f"{value:.4f}" for value in pooled[:, j - 1, i - 1]))
    return table


def _backends_table(results: dict[str, NDArray[Any]], refusals: dict[str, str]) -> Table:
    table = make_table("Backends", "name", "largest difference from the reference")
    for name, pooled in results.items():
        difference = float(np.abs(pooled - results["reference"]).max())
        table.add_row(name, f"{difference:.1e}" if difference else "0")
    for name, refusal in refusals.items():
        table.add_row(name, refusal)
    return table


def _worked_table(numbers: list[WorkedNumber]) -> Table:
    table = make_table("The document's worked example", "what", "printed", "computed", "remark")
    for number in numbers:
        verdict = "agrees" if number.agrees else "differs"
        table.add_row(
            number.what,
            ", ".join(f"{value:g}" for value in number.printed),
            ", ".join(f"{round(value, 4):g}" for value in number.computed),
            Text(number.remark or verdict, style="green" if number.agrees else "yellow"),
        )
    return table
