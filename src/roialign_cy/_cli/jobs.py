"""``roialign pool`` and ``roialign compare``: a user's own files."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

import roialign_cy as ra

from .. import _jobs
from .._jobs import MIB
from .._levels import check_levels, make_rule, require_pyramid
from .._memory import set_retained_memory
from .._spec import make_scale, make_scales
from ..bench.contenders import register_object
from ..bench.timing import Samples
from ..typing import Layout, LevelRuleName
from .parts import BadFileError, job_options, make_console, make_table

SECONDS_PER_LINE = 10.0
"""How often a line in a log says how far a job is."""


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
    features: tuple[Path, ...],
    rois: Path,
    output: Path,
    resume: bool,
    overwrite: bool,
    **options: Any,
) -> None:
    """Pool the boxes of a file from the maps of a file, however large both are.

    FEATURES is a .npy file (memory-mapped), a .npz file or a Zarr array of (N, C, H, W), of floats
    or of integers of at most 16 bits, or an image, which is one map of its grey values or its
    colours. What is pooled from integers is float32. Or it is a folder of images of any size, which
    ROIS names.

    ROIS has the boxes, y down, in units that --spatial-scale turns into cells: a .csv file of the
    columns image,x1,y1,x2,y2 (under a header that names them there may be others), a .npy file
    of shape (K, 5), or COCO's .json, whose images are counted in the order it lists them. Of a
    folder, the .csv has a column file_name in the place of image; COCO's has its own.

    Several FEATURES are the levels of a pyramid, from fine to coarse, with a --spatial-scale each:
    a box is pooled from the one that suits its size.

    The result has a row for each box, in the order of ROIS. Until it is whole it is called
    OUTPUT.partial.
    """
    set_retained_memory(0)  # steps differ in size, and --memory counts all that is held
    with _errors(), _job(features, rois, **options) as job:
        try:
            with _progress() as report:
                _jobs.pool(job, output, resume=resume, overwrite=overwrite, report=report)
        except KeyboardInterrupt:
            click.echo("--resume goes on with what is done", err=True)
            raise
    # Where this cannot be printed, the status is no longer that of a file at fault: it is whole.
    shape = " x ".join(map(str, job.output_shape))
    click.echo(f"{click.format_filename(output)}: {shape}, {job.dtype}")
    hint = next(_hints(job), None)
    if hint is not None:
        click.echo(f"{click.format_filename(rois)}: {hint}", err=True)


@click.command("compare")
@job_options
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=7,
    show_default=True,
    help="Calls of each backend that are timed.",
)
@click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="MODULE:OBJECT",
    help="A backend that takes part beside those that are installed. May be repeated.",
)
def compare(
    features: tuple[Path, ...],
    rois: Path,
    rounds: int,
    plugins: tuple[str, ...],
    **options: Any,
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
        f"{len(step.boxes)} boxes, {channels} channels, {job.dtype}: median of {rounds}, "
        "with its quartiles",
        "backend",
        "ms",
        "of cpu's",
        "difference",
    )
    by_name = {one.backend: one.samples for one in found}
    cpu = by_name.get("cpu")
    ours = cpu.median if cpu else math.nan
    for one in found:
        table.add_row(
            one.backend,
            _with_quartiles(one.samples, 1e-3, "{:.3g}"),
            _with_quartiles(one.samples, ours, "{:.2f}"),
            one.refusal or (f"{one.difference:.1e}" + ("" if one.samples else ": not the same")),
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


def _with_quartiles(samples: Samples | None, unit: float, form: str) -> str:
    """Write the median and, in brackets, the quartiles of what was measured, if anything was."""
    if samples is None:
        return ""
    times = samples.median, *samples.quartiles
    median, low, high = (form.format(value / unit) for value in times)
    return f"{median} [{low}, {high}]"


def _hints(job: _jobs.Job) -> Iterator[str]:
    """What looks like a mistake in boxes that were pooled all the same."""
    layout: Layout = "NHWC" if job.spec.channels_last else "NCHW"
    for index, maps in enumerate(job.features):
        found = ra.boxes.check(job.rois_of(index), maps.shape, job.scale_of(index), layout=layout)
        named = f"{click.format_filename(maps.path)}: " if len(job.features) > 1 else ""
        yield from (f"{named}{hint}" for hint in found.hints)


@contextmanager
def _job(
    features: tuple[Path, ...],
    rois: Path,
    backend: str | None,
    memory_mib: int,
    array_name: str | None,
    spatial_scales: tuple[float, ...],
    levels_path: Path | None,
    level_rule: LevelRuleName,
    canonical_size: float,
    canonical_level: float,
    **options: Any,
) -> Iterator[_jobs.Job]:
    rule = make_rule(level_rule, canonical_size, canonical_level)
    is_one = len(spatial_scales) == 1
    scales = (make_scale(spatial_scales[0]),) if is_one else make_scales(spatial_scales)
    if len(scales) != len(features):
        raise click.UsageError(
            f"--spatial-scale must be given once for each of {len(features)} FEATURES, "
            f"got {len(scales)}"
        )
    is_folder = len(features) == 1 and _jobs.is_folder(features[0])
    if is_folder and not (array_name is None and levels_path is None):
        raise click.UsageError("--array and --levels are of no use with a folder of images")
    boxes = _jobs.read_boxes(rois, by_name=is_folder)
    if levels_path is not None:
        given = _jobs.read_npy(levels_path)
        levels = check_levels(given, len(boxes.rois), len(features))
    elif len(features) > 1:
        require_pyramid(scales)
        levels = rule.assign(boxes.rois, scales)
    else:
        levels = None
    memory_bytes = memory_mib * MIB
    with ExitStack() as stack:
        if is_folder:
            maps = _jobs.open_photographs(features[0], boxes, options["layout"], memory_bytes)
        else:
            maps = tuple(
                stack.enter_context(
                    _jobs.open_features(path, options["layout"], array_name, memory_bytes)
                )
                for path in features
            )
        yield _jobs.Job(maps, boxes, options, scales, levels, backend, memory_bytes)


@contextmanager
def _progress() -> Iterator[Any]:
    """Show how far a job is; what comes is called with the values done and all.

    On a terminal that is a bar, elsewhere a line from time to time, for logs.
    """
    console = make_console(stderr=True)
    if not console.is_terminal:
        yield _report_in_lines()
        return
    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), TextColumn("left"))
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


def _report_in_lines() -> Callable[[int, int], None]:
    begin = last = time.monotonic()
    done_before: int | None = None

    def report(done: int, total: int) -> None:
        nonlocal last, done_before
        now = time.monotonic()
        if done_before is None:  # what an earlier run has done took this one no time
            done_before = done
        elif done < total and now - last >= SECONDS_PER_LINE:
            last = now
            left = (now - begin) / (done - done_before) * (total - done)
            click.echo(f"{done / total:.0%} done, {left:.0f} s left", err=True)

    return report
