"""What a backend is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .._spec import PoolSpec

API_VERSION = 1
"""Version of the protocol below; a backend of another version is listed but not used."""


MEMBERS = (
    "name",
    "api_version",
    "array_types",
    "unavailable_reason",
    "cannot_run",
    "roi_align",
    "roi_align_backward",
)
"""What an object needs to be a backend (a test holds this list to the protocol)."""


class BackendUnavailableError(RuntimeError):
    """A backend was asked for by name and cannot be used; the text says why."""


class Backend(Protocol):
    """The members of a backend.

    Attributes
    ----------
    name : str
        What users pass as ``backend=``.
    api_version : int
        The `API_VERSION` that the backend was written for.
    array_types : tuple of str
        Arrays it computes on, as ``"package:class"`` such as ``"numpy:ndarray"``: strings, so
        that recognising an array imports nothing.
    """

    name: str
    api_version: int
    array_types: tuple[str, ...]

    def unavailable_reason(self) -> str | None:
        """Why the backend cannot run on this machine, with what to install; None if it can."""

    def cannot_run(self, spec: PoolSpec) -> str | None:
        """Why this one call is beyond the backend; None if it is not."""

    def roi_align(self, features: Any, rois: Any, spec: PoolSpec, out: Any | None) -> Any:
        """Pool ``features`` under ``rois`` into ``out``; with CuPy, where None, into a new array.

        NumPy arguments are validated, and ``out`` is always there: ``features`` float16/32/64 of
        any strides, byte order and alignment; ``rois`` (K, 5), floating, with finite boxes and
        batch indices in range;
        ``out`` of the right shape and dtype, overlapping neither.
        """

    def roi_align_backward(
        self,
        grad_output: Any,
        rois: Any,
        input_shape: tuple[int, int, int, int],
        spec: PoolSpec,
        *,
        features: Any | None,
        wrt: tuple[str, ...],
        out: Any | None,
    ) -> tuple[Any, ...]:
        """Gradients for each name in ``wrt`` ("features", "rois"), in that order."""
