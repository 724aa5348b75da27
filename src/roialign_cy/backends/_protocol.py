"""What a backend is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .._spec import CallSpec

API_VERSION = 2
"""Version of the protocol below; a backend of another version is listed but not used."""


MEMBERS = (
    "name",
    "api_version",
    "array_types",
    "unavailable_reason",
    "cannot_run",
    "roi_align",
    "feature_gradient",
    "box_gradient",
)
"""What an object needs to be a backend (a test holds this list to the protocol)."""


class BackendUnavailableError(RuntimeError):
    """A backend was asked for by name and cannot be used; the message says why."""


class Backend(Protocol):
    """The members of a backend.

    Attributes
    ----------
    name : str
        What users pass as ``backend=``.
    api_version : int
        The `API_VERSION` that the backend was written for.
    array_types : tuple of str
        Arrays it computes on, as ``"package:class"`` such as ``"numpy:ndarray"``: strings, so that
        nothing needs to be imported to recognise an array.
    reads_all_types : bool, optional
        Whether it reads NumPy maps of integers of at most 16 bits, bool and bfloat16, and bfloat16
        gradients. Without this member it gets them as float32, or float64 for a result of that.

    Notes
    -----
    Arguments of the methods:

    - ``maps``, ``features``: a tuple of arrays of shape (N, C, H, W), one for each level. The axes
      are in this order whatever the caller's ``layout``: arrays of a call in NHWC come as views.
    - ``rois``: an array of shape (K, 5) of rows ``[batch_index, x1, y1, x2, y2]``; where
      ``spec.sampling`` is "rotated", (K, 6) of ``[batch_index, cx, cy, width, height, angle]``.
      `cannot_run` has to refuse every sampling that the backend does not know.
    - ``levels``: which of several maps each box is for, (K,) integers; None if there is one. Only
      backends with the attribute ``takes_levels = True`` get several maps, always NumPy's; for
      other backends the library refuses such a call.
    - ``grad_output``: an array of shape (K, C, rows, cols).
    - ``shapes``: a tuple with (N, C, H, W) of each map.
    - ``spec``: the `CallSpec`.
    - ``out``: what to write to and return. If it is None, the result is a new array, whose maps are
      laid out as ``spec.channels_last`` says (`kit.new_maps` makes such). For NumPy, `roi_align`
      always has it.

    NumPy arrays have been checked: maps and gradients are float16, float32 or float64 of any
    strides, byte order and alignment; ``rois`` are the backend's own, native floats, with finite
    boxes and batch indices in range; ``out`` is of the right shape and dtype, overlaps nothing,
    and may have any strides.

    Arrays of another kind need ``dtype``, ``shape``, ``ndim`` and ``transpose`` as NumPy's have.
    Maps and gradients have been checked to have four axes and a dtype as above, and all arrays to
    be of one kind. ``rois`` are what the caller passed; `kit` has the remaining checks.
    """

    name: str
    api_version: int
    array_types: tuple[str, ...]

    def unavailable_reason(self) -> str | None:
        """Why the backend cannot run on this machine, with what to install; None if it can."""

    def cannot_run(self, spec: CallSpec, operation: str) -> str | None:
        """Why the backend cannot run this one call; None if it can.

        ``operation`` is the method's name: "roi_align", "feature_gradient" or "box_gradient".
        """

    def roi_align(
        self, maps: tuple[Any, ...], rois: Any, levels: Any | None, spec: CallSpec, out: Any | None
    ) -> Any:
        """Pool ``maps`` under ``rois``: (K, C, rows, cols), in the dtype of the maps."""

    def feature_gradient(
        self,
        grad_output: Any,
        rois: Any,
        levels: Any | None,
        shapes: tuple[tuple[int, int, int, int], ...],
        spec: CallSpec,
        features: tuple[Any, ...] | None,
        out: tuple[Any, ...] | None,
    ) -> tuple[Any, ...]:
        """Gradient with respect to each map, in the dtype of ``grad_output``.

        ``features`` are given if the gradient needs them, and may be given otherwise.
        """

    def box_gradient(
        self,
        grad_output: Any,
        rois: Any,
        levels: Any | None,
        features: tuple[Any, ...],
        spec: CallSpec,
        out: Any | None,
    ) -> Any:
        """Gradient with respect to ``[x1, y1, x2, y2]``: (K, 4), in the dtype of ``rois``.

        Of rotated boxes with respect to their five numbers: (K, 5).
        """
