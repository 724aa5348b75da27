"""What the commands share: tables, the error of a bad file, options with the API's names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import roialign_cy as ra

from .._levels import LEVEL_RULES
from .._spec import LAYOUTS
from ..conventions import MODES

Command = TypeVar("Command", bound=Callable[..., Any])


class BadFileError(click.ClickException):
    """A file or a value that was named cannot be used; the status is that of a bad argument."""

    exit_code = 2


def make_console(*, stderr: bool = False) -> Console:
    """Give a console that does not take brackets, such as those of pip's extras, for markup."""
    return Console(markup=False, highlight=False, stderr=stderr)


def make_table(title: str, *headings: str) -> Table:
    """Give an empty table in the style that all share."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for heading in headings:
        table.add_column(heading)
    return table


def pair(value: str) -> tuple[int, int]:
    """Read an integer, or two as ``ROWSxCOLS``."""
    try:
        rows, times, cols = value.lower().partition("x")
        return int(rows), int(cols if times else rows)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no integer and no pair such as 7x7") from None


def scale(value: str) -> float:
    """Read a number, or a fraction such as ``1/16``."""
    try:
        return float(Fraction(value))
    except (OverflowError, ValueError, ZeroDivisionError):
        raise click.BadParameter(f"{value!r} is no number and no fraction such as 1/16") from None


class Renamed(click.Option):
    """An option that goes by its old name, too, which is not shown."""

    def __init__(self, names: Sequence[str], *, old_name: str, **options: Any) -> None:
        super().__init__([*names, old_name], **options)
        self.old_name = old_name

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Give the names and the help, as they are shown."""
        record = super().get_help_record(ctx)
        return record and (record[0].replace(f", {self.old_name}", ""), record[1])


def output_size(default: str) -> Callable[[Command], Command]:
    """Give the option."""
    return click.option(
        "--output-size",
        type=pair,
        metavar="N|ROWSxCOLS",
        default=default,
        show_default=True,
        help="Sections per box.",
    )


convention = click.option(
    "--convention",
    type=click.Choice(list(ra.CONVENTIONS)),
    default="document",
    show_default=True,
    help="Whose RoI Align.",
)
sampling_ratio = click.option(
    "--sampling-ratio",
    type=pair,
    metavar="N|ROWSxCOLS",
    show_default="the convention's",
    help="Samples per section; 0 or -1 is the convention's own count.",
)
mode = click.option(
    "--mode",
    type=click.Choice(MODES),
    show_default="the convention's",
    help="What becomes of a section's samples.",
)

_JOB_OPTIONS = (
    click.argument("features", type=click.Path(path_type=Path), nargs=-1, required=True),
    click.argument("rois", type=click.Path(path_type=Path)),
    output_size("7x7"),
    convention,
    click.option(
        "--spatial-scale",
        "spatial_scales",
        type=scale,
        metavar="NUMBER",
        multiple=True,
        default=["1"],
        show_default="1",
        help="Cells of the map per unit of the boxes, such as 1/16; once for each of FEATURES.",
    ),
    click.option(
        "--level-rule",
        type=click.Choice(LEVEL_RULES),
        default="torchvision",
        show_default=True,
        help="By whose rule a box gets one of several FEATURES.",
    ),
    click.option(
        "--canonical-size",
        type=float,
        default=224,
        show_default=True,
        help="Side of a square box that belongs to the canonical level.",
    ),
    click.option(
        "--canonical-level",
        type=float,
        default=4,
        show_default=True,
        help="Level of such a box; level k has a cell for every 2^k units.",
    ),
    click.option(
        "--levels",
        "levels_path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Instead of a rule: a .npy of integers, which of FEATURES each box is pooled from.",
    ),
    sampling_ratio,
    mode,
    click.option(
        "--layout",
        type=click.Choice(LAYOUTS),
        default="NCHW",
        show_default=True,
        help="Axes of the maps and of the result.",
    ),
    click.option(
        "--num-threads",
        cls=Renamed,
        old_name="--threads",
        type=click.IntRange(min=1),
        help="Threads at most.",
    ),
    click.option(
        "--array", "array_name", metavar="NAME", help="Which array of a .npz or a Zarr group."
    ),
    click.option(
        "--memory",
        "memory_mib",
        type=click.IntRange(min=1),
        metavar="MIB",
        default=256,
        show_default=True,
        help="What is read and written at a time, beside the program and the boxes.",
    ),
)


def job_options(command: Command) -> Command:
    """Give a command the arguments and options of a job."""
    for option in reversed(_JOB_OPTIONS):
        command = option(command)
    return command
