"""A job: what is pooled from which files, and the run that does it step by step."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import roialign_cy as ra

from .._spec import PoolSpec, make_spec
from ..backends._registry import resolve
from ._errors import FileError, cannot
from .features import FeatureFile
from .outputs import Output, output_kind, remove, replace
from .plan import Plan, Step
from .progress import Progress
from .rois import BoxFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHECKPOINT_SHARE = 0.05
"""Most of a run's time that goes into making sure that what is done is on the disk."""

_ZARR_METADATA = ("zarr.json", ".zarray", ".zgroup")


@dataclass(frozen=True)
class Job:
    """Boxes to pool from maps.

    Attributes
    ----------
    features : FeatureFile
    boxes : BoxFile
    options : mapping
        The options of `roi_align` but ``backend`` and ``out``.
    backend : str or None
    memory_bytes : int
        What a step may take.

    Raises
    ------
    FileError, ValueError, TypeError, BackendUnavailableError
        If the options, a box or the backend are not what they should be.
    """

    features: FeatureFile
    boxes: BoxFile
    options: Mapping[str, Any]
    backend: str | None
    memory_bytes: int

    def __post_init__(self) -> None:
        self.boxes.check(self._maps_shape[0], self.spec)
        # Everything else that a call refuses, before anything is read or written.
        self.call(np.zeros((1, 1, 1, 1), self.dtype), self.boxes.rois[:0])

    @cached_property
    def spec(self) -> PoolSpec:
        """The options with their convention filled in."""
        return make_spec(**self.options)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the result."""
        return self.features.dtype.newbyteorder("=")

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """Shape of the result."""
        return self.spec.output_shape(len(self.boxes.rois), self._maps_shape[1])

    @cached_property
    def plan(self) -> Plan:
        """The steps."""
        return Plan(
            rois=self.boxes.rois,
            shape=self._maps_shape,
            itemsize=self.dtype.itemsize,
            spec=self.spec,
            budget_bytes=self.memory_bytes,
            copies=self.features.copies,
        )

    @property
    def paths(self) -> tuple[Path, Path]:
        """Where it is read from."""
        return self.features.path, self.boxes.path

    def arrays(self, step: Step) -> tuple[NDArray[Any], NDArray[np.floating]]:
        """The maps and the boxes of a step, as a call takes them."""
        rois = self.boxes.rois[step.boxes]
        rois[:, 0] -= step.first_image
        return self.features.window(step), rois

    def call(
        self, features: NDArray[Any], rois: NDArray[Any], backend: str | None = None
    ) -> NDArray[Any]:
        """Pool with the job's options, by the job's backend or another."""
        backend = backend or self.backend
        pooled: NDArray[Any] = ra.roi_align(features, rois, **self.options, backend=backend)
        return pooled

    def facts(self) -> dict[str, Any]:
        """Everything that the bytes of the result and the steps depend on, as plain data."""
        rois = self.boxes.rois
        options = asdict(self.spec)
        del options["num_threads"]
        facts = {
            "version": ra.__version__,
            "features": [
                str(self.features.path.resolve()),
                self.features.array_name,
                _fingerprint(self.features.path),
            ],
            "boxes": [rois.dtype.str, hashlib.sha256(rois.tobytes()).hexdigest()],
            **options,
            "backend": resolve(self.backend, rois).name,
            "memory": self.memory_bytes,
        }
        plain: dict[str, Any] = json.loads(json.dumps(facts))
        return plain

    @property
    def _maps_shape(self) -> tuple[int, int, int, int]:
        return self.spec.feature_shape(self.features.shape)


def pool(
    job: Job,
    path: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Pool a job into a file.

    Parameters
    ----------
    job : Job
    path : Path
        Where the result goes when it is whole. Until then it is beside it, with ``.partial``
        added to its name, and how far it is in ``.progress``.
    resume : bool, default False
        Whether to go on with what an earlier run has left.
    overwrite : bool, default False
        Whether to replace what is there.
    report : callable, optional
        Called with the number of values that are done and of all, after every step.

    Raises
    ------
    FileError
        If a file cannot be read or written, or would be overwritten. Nothing is left behind then.
    """
    partial = path.with_name(f"{path.name}.partial")
    record = Progress(path.with_name(f"{path.name}.progress"))
    output = output_kind(path)(partial, job.output_shape, job.dtype)
    done = _steps_done(job, path, partial, record, resume=resume, overwrite=overwrite)
    if done and not partial.exists():  # killed when it had just been finished
        record.end()
        return
    try:
        if done:
            output.open()
        else:
            remove(partial)
            record.begin(job.facts())
            output.create()
        with closing(output):
            _run(job, output, record, done, report)
        replace(path, partial)
        record.end()
    except (FileError, OSError) as error:
        remove(partial)
        record.end()
        if isinstance(error, FileError):
            raise
        raise cannot("write", path, error) from error


def _steps_done(
    job: Job, path: Path, partial: Path, record: Progress, *, resume: bool, overwrite: bool
) -> int:
    """How many steps an earlier run has done that this one goes on with; refuse to harm a file."""
    if any(path.exists() and path.samefile(given) for given in job.paths):
        raise FileError(f"the output {str(path)!r} is one of the inputs")
    if path.is_dir() and not any((path / name).exists() for name in _ZARR_METADATA):
        raise FileError(f"{str(path)!r} is a directory and not Zarr")
    found = record.read()
    done = 0
    if resume and found is not None:
        facts = job.facts()
        differing = [name for name in facts | found[0] if facts.get(name) != found[0].get(name)]
        if differing:
            raise FileError(
                f"{str(partial)!r} is of a run that differs in {', '.join(differing)}: "
                "--overwrite, without --resume, starts over"
            )
        if partial.exists():
            done = found[1]
        elif path.exists() and found[1] == len(job.plan):
            return found[1]
    if path.exists() and not overwrite:
        raise FileError(f"{str(path)!r} is there already: --overwrite replaces it")
    if partial.exists() and not (resume or overwrite):
        raise FileError(
            f"{str(partial)!r} is left of an earlier run: --resume goes on with it, "
            "--overwrite starts over"
        )
    return done


def _run(
    job: Job,
    output: Output,
    record: Progress,
    done: int,
    report: Callable[[int, int], None],
) -> None:
    """Do the steps that are left, and see to it from time to time that they are on the disk."""
    plan = job.plan
    values = sum(plan.cost(index) for index in range(done))
    total = math.prod(job.output_shape)
    report(values, total)
    checked, cost = time.monotonic(), 0.0
    for index in range(done, len(plan)):
        step = plan[index]
        output.write(step.boxes, step.channels, job.call(*job.arrays(step)))
        values += plan.cost(index)
        report(values, total)
        now = time.monotonic()
        if now - checked >= cost / CHECKPOINT_SHARE:
            output.flush()
            record.record(index + 1)
            checked = time.monotonic()
            cost = checked - now
    output.flush()
    record.record(len(plan))


def _fingerprint(path: Path) -> str:
    """What tells a file, or a directory's, from others without reading it: names, sizes, times."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        status = file.stat()
        digest.update(f"{file.relative_to(path)} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
