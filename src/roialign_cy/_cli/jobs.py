"""``roialign pool`` and ``roialign compare``: a user's own files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

import roialign_cy as ra

from .. import _jobs
from .._jobs import MIB
from ..bench.contenders import register_object
from .parts import BadFileError, job_options, make_console, make_table


@click.command("pool")
@job_options
@click.option("--backend", metavar="NAME", help="Who computes: see `roialign info`.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Where the result goes: .npy or .zarr.",
)
@click.option("--resume", is_flag=True, help="Go on with what a run that was killed has left.")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
def pool(
    features: Path, rois: Path, output: Path, resume: bool, overwrite: bool, **options: Any
) -> None:
    """Pool the boxes of a file from the maps of a file, however large both are.

    FEATURES is a .npy file (memory-mapped), a .npz file or a Zarr array of (N, C, H, W), of floats
    or of integers of at most 16 bits, or an image, which is one map of its grey values or its
    colours. What is pooled from integers is float32.

    ROIS has the boxes, y down, in units that --spatial-scale turns into cells: a .csv file of the
    columns image,x1,y1,x2,y2 (under a header that names them there may be others), a .npy file
    of shape (K, 5), or COCO's .json, whose images are counted in the order it lists them.

    The result has a row for each box, in the order of ROIS. Until it is whole it is called
    OUTPUT.partial.
    """
    with _errors(), _job(features, rois, **options) as job:
        try:
            with _progress_bar() as report:
                _jobs.pool(job, output, resume=resume, overwrite=overwrite, report=report)
        except KeyboardInterrupt:
            click.echo("--resume goes on with what is done", err=True)
            raise
    # Where this cannot be printed, the status is no longer that of a file at fault: it is whole.
    shape = " x ".join(map(str, job.output_shape))
    click.echo(f"{click.format_filename(output)}: {shape}, {job.dtype}")
    found = ra.boxes.check(
        job.boxes.rois,
        job.features.shape,
        job.spec.spatial_scales[0],
        layout="NHWC" if job.spec.channels_last else "NCHW",
    )
    if found.hints:
        click.echo(f"{click.format_filename(rois)}: {found.hints[0]}", err=True)


@click.command("compare")
@job_options
@click.option("--rounds", type=click.IntRange(min=1), default=7, show_default=True)
@click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="MODULE:OBJECT",
    help="A backend that takes part beside those that are installed. May be repeated.",
)
def compare(
    features: Path, rois: Path, rounds: int, plugins: tuple[str, ...], **options: Any
) -> None:
    """Time the backends that are installed here, on the maps and boxes of files.

    FEATURES, ROIS and the options are those of `roialign pool`, of which the largest step is
    pooled by every backend in turn. Who disagrees with the reference has no time.
    """
    with _errors():
        for plugin in plugins:
            register_object(plugin)
        with _job(features, rois, backend=None, **options) as job:
            if len(job.plan) == 0:
                raise _jobs.FileError(f"{str(rois)!r} has no box to compare by")
            step = _jobs.largest_step(job)
            found = _jobs.compare(job, step, rounds)
    channels = step.channels.stop - step.channels.start
    table = make_table(
        f"{len(step.boxes)} boxes, {channels} channels, {job.dtype}: median of {rounds}",
        "backend",
        "ms",
        "of cpu's",
        "difference",
    )
    ours = next((one.median for one in found if one.backend == "cpu"), math.nan)
    for one in found:
        table.add_row(
            one.backend,
            f"{one.median * 1e3:.3g}" if one.seconds else "",
            f"{one.median / ours:.2f}" if one.seconds else "",
            one.refusal or (f"{one.difference:.1e}" + ("" if one.seconds else ": not the same")),
        )
    make_console().print(table)


@contextmanager
def _errors() -> Iterator[None]:
    """Turn what is wrong with files and options into one line and the status 2."""
    try:
        yield
    except OSError as error:  # with the name of the file
        raise BadFileError(str(error)) from error
    except (MemoryError, RuntimeError, TypeError, ValueError) as error:
        raise BadFileError(_jobs.reason(error)) from error


@contextmanager
def _job(
    features: Path,
    rois: Path,
    backend: str | None,
    memory_mib: int,
    array_name: str | None,
    **options: Any,
) -> Iterator[_jobs.Job]:
    boxes = _jobs.read_boxes(rois)
    memory_bytes = memory_mib * MIB
    with _jobs.open_features(features, options["layout"], array_name, memory_bytes) as maps:
        yield _jobs.Job(maps, boxes, options, backend, memory_bytes)


@contextmanager
def _progress_bar() -> Iterator[Any]:
    """Show on a terminal how far a job is; what comes is called with the values done and all."""
    console = make_console(stderr=True)
    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), TextColumn("left"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)
