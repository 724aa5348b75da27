"""A job, that is what to pool from which files, and the run that does it step by step."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import roialign_cy as ra

from .._arrays import given_shape, nchw_shape
from .._elements import pooled_dtype
from .._spec import CallSpec, make_spec, with_scales
from ..backends._registry import resolve
from ._errors import FileError, cannot, may_pass
from .features import FeatureFile
from .outputs import (
    Output,
    Places,
    is_zarr,
    keep_permissions,
    output_kind,
    remove,
    replace,
    settle,
    sync,
)
from .plan import Plan, Step, Steps
from .progress import FIRST_FACT, STEPS_FACT, Progress
from .rois import BoxFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHECKPOINT_SHARE = 0.05
"""Most of a run's time that goes into making sure that what is done is on the disk."""


@dataclass(frozen=True)
class Job:
    """Boxes to pool from maps.

    Attributes
    ----------
    features : tuple of FeatureFile
        The maps: of one file, of one for each level, or photographs.
    boxes : BoxFile
    options : mapping
        The options of `roi_align` but ``spatial_scale``, ``backend`` and ``out``.
    spatial_scales : tuple of float
        Of each level; one, if there are none.
    levels : ndarray of int, or None
        The level of each box; None if there are none.
    backend : str or None
    memory_bytes : int
        Memory that a step may take.

    Raises
    ------
    FileError, ValueError, TypeError, BackendUnavailableError
        If the options, a box or the backend are not what they should be.
    """

    features: tuple[FeatureFile, ...]
    boxes: BoxFile
    options: Mapping[str, Any]
    spatial_scales: tuple[float, ...]
    levels: NDArray[np.intp] | None
    backend: str | None
    memory_bytes: int

    def __post_init__(self) -> None:
        first = self.features[0]
        for other in self.features:
            dtypes = {maps.dtype.newbyteorder("=") for maps in (first, other)}
            if self._nchw(other)[:2] != self._nchw(first)[:2] or len(dtypes) > 1:
                raise FileError(
                    f"{str(other.path)!r} must have the images, channels and dtype of "
                    f"{str(first.path)!r}: {first.shape} of {first.dtype}, got {other.shape} of "
                    f"{other.dtype}"
                )
        last = self.features[-1]
        self.boxes.check(last.first_image + self._nchw(last)[0], self.spec, self.levels)
        # Everything else that a call refuses, before anything is read or written.
        self.call(np.zeros((1, 1, 1, 1), self.dtype), self.boxes.rois[:0])

    @cached_property
    def spec(self) -> CallSpec:
        """The options with their convention filled in."""
        return with_scales(make_spec(**self.options, spatial_scale=1.0), self.spatial_scales)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the result."""
        return pooled_dtype(self.features[0].dtype).newbyteorder("=")

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        shape = self.spec.output_shape(len(self.boxes.rois), self._nchw(self.features[0])[1])
        return given_shape(shape, self.spec)

    @cached_property
    def plan(self) -> Steps:
        """The steps."""
        return Steps(self._plan_of, len(self.features))

    def _plan_of(self, file: int) -> Plan:
        maps, chosen = self.features[file], self._boxes_of(file)
        return Plan(
            rois=self.rois_of(file),
            shape=self._nchw(maps),
            itemsize=self.dtype.itemsize,
            spec=self.spec.at_level(self._level_of(file)),
            budget_bytes=self.memory_bytes,
            copies=maps.copies,
            file=file,
            chosen=chosen,
        )

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that are read."""
        return *(file.path for file in self.features), self.boxes.path

    def rois_of(self, file: int) -> NDArray[np.floating]:
        """The boxes of a file, its images counted from 0."""
        chosen = self._boxes_of(file)
        if chosen is None:
            return self.boxes.rois
        rois = self.boxes.rois[chosen]
        rois[:, 0] -= self.features[file].first_image
        return rois

    def _boxes_of(self, file: int) -> NDArray[np.intp] | None:
        """Which boxes a file's are; None where all are."""
        if len(self.features) == 1:
            return None
        order, ends = self._by_file
        return order[ends[file] : ends[file + 1]]

    @cached_property
    def _by_file(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The boxes, file by file, and where there each file's begin."""
        files = self.boxes.rois[:, 0].astype(np.intp) if self.levels is None else self.levels
        order = np.argsort(files, kind="stable")
        return order, np.searchsorted(files[order], np.arange(len(self.features) + 1))

    def _level_of(self, file: int) -> int:
        return 0 if self.levels is None else file

    def scale_of(self, file: int) -> float:
        """Cells of a file's maps for each unit of the boxes."""
        return self.spatial_scales[self._level_of(file)]

    def arrays(self, step: Step) -> tuple[NDArray[Any], NDArray[np.floating]]:
        """The maps and the boxes of a step, as a call takes them."""
        maps = self.features[step.file]
        rois = self.boxes.rois[step.boxes]
        rois[:, 0] -= maps.first_image + step.first_image
        return maps.window(step), rois

    def call(
        self,
        features: NDArray[Any],
        rois: NDArray[Any],
        file: int = 0,
        backend: str | None = None,
    ) -> NDArray[Any]:
        """Pool maps of a file with the job's options, by the job's backend or another."""
        scale, backend = self.scale_of(file), backend or self.backend
        pooled: NDArray[Any] = ra.roi_align(
            features, rois, **self.options, spatial_scale=scale, backend=backend
        )
        return pooled

    def facts(self) -> dict[str, Any]:
        """Everything that the bytes of the result and the steps depend on, as plain data."""
        rois = self.boxes.rois
        options = asdict(self.spec)
        del options["num_threads"], options["spatial_scales"], options["channels_last"]
        files = [
            [str(file.path.resolve()), file.array_name, file.fingerprint] for file in self.features
        ]
        facts = {
            FIRST_FACT: ra.__version__,
            "features": [hashlib.sha256(json.dumps(files).encode()).hexdigest()],
            "boxes": [rois.dtype.str, _digest(rois)],
            "levels": None if self.levels is None else [_digest(self.levels)],
            **options,
            "spatial_scale": ", ".join(map(str, self.spatial_scales)),
            "layout": self.options["layout"],
            "backend": resolve(self.backend, rois).name,
            "memory_bytes": self.memory_bytes,
            STEPS_FACT: len(self.plan),
        }
        plain: dict[str, Any] = json.loads(json.dumps(facts))
        return plain

    def _nchw(self, file: FeatureFile) -> tuple[int, int, int, int]:
        return nchw_shape(file.shape, self.spec)


def _digest(array: NDArray[Any]) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


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
        Where the result goes when it is complete. Until then it is beside it, with ``.partial``
        added to its name, and the progress is in ``.progress``, which also keeps other runs away.
    resume : bool, default False
        Whether to continue what an earlier run has left.
    overwrite : bool, default False
        Whether to replace existing files.
    report : callable, optional
        Called after every step with the number of values done and the total.

    Raises
    ------
    FileError
        If a file cannot be read or written, or would be overwritten, or the backend fails. Nothing
        is left behind then, unless there are finished steps that another run can continue from.
    """
    kind = output_kind(path)
    try:
        if path.is_symlink():  # the target is written, and the link stays
            path = Path(os.path.realpath(path))
        places = Places.of(path)
        output = kind(places.partial, job.output_shape, job.dtype)
        _spare_inputs(job, places)
        with Progress(places.progress) as record:
            facts = job.facts()
            if _is_finished(job, facts, places, record, resume=resume):
                settle(places)
                record.end()
                return
            _spare_others(places, record, resume=resume, overwrite=overwrite)
            _pool(job, facts, output, places, record, report, resume=resume)
            replace(places)
            record.end()
    except OSError as error:
        raise cannot("write", path, error) from error


def _pool(
    job: Job,
    facts: dict[str, Any],
    output: Output,
    places: Places,
    record: Progress,
    report: Callable[[int, int], None],
    *,
    resume: bool,
) -> None:
    """Continue or begin, and tidy up after an error."""
    done = record.steps if resume and places.partial.exists() else 0
    if done:
        output.open()  # an error leaves everything as it is: it may be somebody else's
    try:
        if not done:
            # In this order, so that the record describes what is partial whenever a crash comes.
            if record.facts != facts or record.steps or record.is_damaged:
                record.begin(facts)
            remove(places.partial)
            output.create()
            keep_permissions(places, to_write=True)
            sync(places.partial.parent)
        with closing(output):
            _run(job, output, record, done, report)
            output.finish()
    except Exception as error:
        keeps = record.steps > 0 and may_pass(error)
        if not keeps:
            remove(places.partial)
            record.end()
        if isinstance(error, OSError):
            error = cannot("write", places.output, error)
        elif not isinstance(error, FileError):
            is_one = len(job.features) == 1
            error = cannot("pool", job.features[0].path if is_one else job.boxes.path, error)
        raise FileError(f"{error}{'; --resume goes on' if keeps else ''}") from error
    try:
        for file in job.features:
            file.check_unchanged()
    except (
        FileError
    ) as error:  # it may have been just a change of permissions: there is no way to tell
        raise FileError(
            f"{error}: {str(places.partial)!r} is left, of which no result can be made"
        ) from error


def _spare_inputs(job: Job, places: Places) -> None:
    """Refuse an output that would replace an input, or lie within one."""
    for given in job.paths:
        source = Path(os.path.realpath(given))
        for place in (places.output, places.partial, places.replaced, places.progress):
            target = Path(os.path.realpath(place))
            if (
                target == source
                or target in source.parents
                or source in target.parents
                or (place.exists() and place.samefile(given))
            ):
                raise FileError(
                    f"{str(place)!r}, for the output, is one of the inputs, or "
                    f"one lies within the other: {str(given)!r}"
                )


def _is_finished(
    job: Job, facts: dict[str, Any], places: Places, record: Progress, *, resume: bool
) -> bool:
    """Whether an earlier run was killed after its last step; refuse to continue another's run."""
    if not resume or record.facts is None:
        return False
    differing = [
        _difference(name, record.facts.get(name), facts.get(name))
        for name in facts | record.facts
        if facts.get(name) != record.facts.get(name)
    ]
    if differing:
        raise FileError(
            f"{str(places.partial)!r} is of a run that differs in {', '.join(differing)}: "
            "--overwrite, without --resume, starts over"
        )
    was_moved = places.output.exists() and not places.partial.exists()
    return was_moved and 0 < record.steps == len(job.plan)


def _difference(name: str, then: Any, now: Any) -> str:
    """Name a fact that differs, with its values if they are not digests or lists."""
    if all(value is None or isinstance(value, str | int | float) for value in (then, now)):
        return f"{name} ({then} then, {now} now)"
    return name


def _spare_others(places: Places, record: Progress, *, resume: bool, overwrite: bool) -> None:
    """Refuse to overwrite what was not meant to be replaced."""
    output, partial = places.output, places.partial
    if output.is_dir() and not is_zarr(output):
        raise FileError(f"{str(output)!r} is a directory and not Zarr")
    if output.exists() and not (output.is_dir() or output.is_file()):
        raise FileError(f"{str(output)!r} is no file")
    if output.exists() and not overwrite:
        raise FileError(f"{str(output)!r} is there already: --overwrite replaces it")
    is_ours = record.facts is not None
    if not is_ours and os.path.lexists(places.replaced):
        raise FileError(f"{str(places.replaced)!r} is in the way: move it")
    if not os.path.lexists(partial):
        return
    if partial.is_symlink():
        raise FileError(f"{str(partial)!r} is in the way: it is a symbolic link")
    if not is_ours and partial.is_dir() and not is_zarr(partial):
        raise FileError(f"{str(partial)!r} is in the way: it is a directory and not Zarr")
    if resume and record.is_damaged and not record.steps:
        raise FileError(
            f"{str(places.progress)!r} is damaged and does not say what of {str(partial)!r} is "
            "done: --overwrite, without --resume, starts over"
        )
    if not is_ours and (resume or not overwrite):
        raise FileError(
            f"{str(partial)!r} is there, without the record of a run: --overwrite, without "
            "--resume, removes it"
        )
    if not (resume or overwrite):
        raise FileError(
            f"{str(partial)!r} is left of an earlier run: --resume goes on with it, "
            "--overwrite starts over"
        )


def _run(
    job: Job,
    output: Output,
    record: Progress,
    done: int,
    report: Callable[[int, int], None],
) -> None:
    """Do the remaining steps, and flush them to the disk from time to time."""
    plan = job.plan
    values = sum(plan.cost(index) for index in range(done))
    total = math.prod(job.output_shape)
    report(values, total)
    checked, cost = time.monotonic(), 0.0
    for index in range(done, len(plan)):
        step = plan[index]
        output.write(step.boxes, step.channels, job.call(*job.arrays(step), step.file))
        values += plan.cost(index)
        report(values, total)
        now = time.monotonic()
        if now - checked >= cost / CHECKPOINT_SHARE:
            output.flush()
            record.record(index + 1)
            checked = time.monotonic()
            cost = checked - now
    if record.steps < len(plan):
        output.flush()
        record.record(len(plan))
