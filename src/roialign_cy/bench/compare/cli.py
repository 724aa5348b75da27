"""The command line of the comparison."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from roialign_cy import BackendUnavailableError, set_retained_memory

from ..._core import variants
from ..._spec import WRT
from ...conventions import MODES
from .. import contenders, timing
from ..workloads import HEADLINE, PASTE, PASTE_WORKLOADS, WORKLOADS, PasteWorkload, Workload
from . import report
from .bandwidth import ARRAY_BYTES, CopyBandwidth
from .results import Comparison
from .run import compare

TINY_COPY_BYTES = 1 << 20
ALL: dict[str, Workload | PasteWorkload] = {**WORKLOADS, **PASTE_WORKLOADS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, show the tables and write the report; 1 if a backend gave a wrong answer."""
    from rich.console import Console

    parser = _parser()
    options = parser.parse_args(arguments)
    workloads = [ALL[name] for name in options.workloads]
    if not any(mode in workload.modes for workload in workloads for mode in options.modes):
        parser.error(f"none of the workloads is meant for {', '.join(options.modes)}")
    if options.rounds < timing.FEWEST_ROUNDS and not options.tiny:
        parser.error(
            f"--rounds must be at least {timing.FEWEST_ROUNDS}: with {options.rounds} no median of "
            "a fast call could be trusted"
        )
    if options.fresh_memory:
        set_retained_memory(0)
    contenders.register_everyone()
    try:
        backends = contenders.choose(options.backends)
    except (ValueError, BackendUnavailableError) as error:
        parser.error(str(error))
    console = Console()
    copies = CopyBandwidth(options.num_threads, TINY_COPY_BYTES if options.tiny else ARRAY_BYTES)
    try:
        comparison = compare(
            [workload.tiny() for workload in workloads] if options.tiny else workloads,
            backends,
            options.num_threads,
            options.modes,
            options.rounds,
            copies,
            say=lambda text: console.print(text, style="dim", highlight=False),
            wrt=options.gradients,
        )
    finally:
        copies.close()
    about = [*_about(comparison)]
    if options.fresh_memory:
        about.append("`cpu` had its results in fresh memory (`set_retained_memory(0)`).")
    if options.backends is None:
        about += contenders.left_out()
    for line in about:
        console.print(line, highlight=False, markup=False)
    report.show(comparison, console)
    if options.output is not None:
        _write(comparison, about, options.output)
    return int(any(absence.is_wrong for absence in comparison.absences))


def _write(comparison: Comparison, about: Iterable[str], folder: Path) -> None:
    from . import plot

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "compare.md").write_text(report.markdown(comparison, about), encoding="utf-8")
    (folder / "compare.csv").write_text(report.comma_separated(comparison), encoding="utf-8")
    plot.draw(comparison, folder / "compare.png")


def _about(comparison: Comparison) -> Iterable[str]:
    """Say where and of what a run was made."""
    variant = f", CPU variant {variants.chosen()}" if "cpu" in comparison.backends else ""
    yield f"{_processor()}, {os.cpu_count()} CPUs{variant}; Python {platform.python_version()}"
    packages = [
        "roialign_cy",
        "numpy",
        *(n for n in comparison.backends if not n.startswith("cpu")),
    ]
    yield ", ".join(filter(None, map(_version, packages)))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return ""  # a backend that is not named like the package it came with, or a source tree


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="roialign bench compare",
        description="Time all available backends interleaved in one process, after checking that "
        "their answers agree, and report ratios. The whole comparison takes a quarter of an hour.",
    )
    parser.add_argument(
        "--workloads",
        type=_names(ALL, headline=HEADLINE),
        default=tuple(ALL),
        metavar="NAMES",
        help=f"comma-separated names, or 'headline' for the first five of {', '.join(ALL)}",
    )
    parser.add_argument(
        "--backends",
        type=lambda text: tuple(text.split(",")),
        metavar="NAMES",
        help="comma-separated names, or MODULE:OBJECT; by default all that are available but the "
        "slow reference",
    )
    parser.add_argument(
        "--num-threads",
        type=_counts,
        default=(1, 2),
        metavar="COUNTS",
        help="comma-separated thread counts (default 1,2)",
    )
    parser.add_argument(  # its old name
        "--threads",
        dest="num_threads",
        type=_counts,
        default=argparse.SUPPRESS,
        help=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--modes",
        type=_names([*MODES, PASTE]),
        default=("avg", "max", PASTE),
        metavar="NAMES",
        help=f"comma-separated, of {', '.join([*MODES, PASTE])} (default avg,max,{PASTE})",
    )
    parser.add_argument(
        "--gradients",
        type=_names(WRT),
        default=(),
        metavar="NAMES",
        help=f"also time the gradients by these, of {', '.join(WRT)}",
    )
    parser.add_argument(
        "--fresh-memory",
        action="store_true",
        help="retain no memory of earlier results for later ones, as set_retained_memory(0)",
    )
    parser.add_argument(
        "--rounds",
        type=_count,
        default=timing.ROUNDS,
        help="undisturbed samples wanted of each call below "
        f"{timing.SLOW_S * 1e3:.0f} ms (default {timing.ROUNDS}, at least {timing.FEWEST_ROUNDS})",
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="write compare.md, .csv and .png there"
    )
    parser.add_argument(
        "--tiny", action="store_true", help="reduced workloads, to try the harness in seconds"
    )
    return parser


def _names(known: Iterable[str], **groups: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """Make a type of comma-separated names, some of which stand for a group."""

    def parse(text: str) -> tuple[str, ...]:
        names = [one for name in text.split(",") for one in groups.get(name, (name,))]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"{unknown[0]!r} is not one of {', '.join([*groups, *known])}"
            )
        return tuple(dict.fromkeys(names))

    return parse


def _counts(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(map(_count, text.split(","))))


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return count
