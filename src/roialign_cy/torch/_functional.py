"""What users call: torchvision's signatures, made into one call of the operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import Any

import torch
from torch import Tensor

from .. import _arrays
from .._choices import require_choice
from .._rois import is_no_boxes, require_corners, require_entry_per_image, wrong_entry_shape
from .._spec import make_output_size, make_scale
from ..conventions import MODES, Convention, find_convention, int_pair, ratio_pair
from ..typing import ConventionName, Mode
from . import _kernels, _operators


def roi_align(
    input: Tensor,
    boxes: Tensor | Sequence[Tensor],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int | tuple[int, int] = -1,
    aligned: bool = False,
    *,
    convention: ConventionName | Convention | None = None,
    mode: Mode | None = None,
) -> Tensor:
    """Pool every box to a grid of sections; a drop-in for ``torchvision.ops.roi_align``.

    Parameters
    ----------
    input : Tensor of shape (N, C, H, W)
        The maps: float16, float32 or float64, of any strides. Channels-last maps are read in
        place. On the CPU also bool and integers of at most 16 bits, without a copy. bfloat16 is
        converted to float32, and the result rounded.
    boxes : Tensor of shape (K, 5), or sequence of N Tensors of shape (K_i, 4)
        Boxes ``[batch_index, x1, y1, x2, y2]`` in input units, x to the right, y down; or for
        each image its boxes ``[x1, y1, x2, y2]``. Any dtype that NumPy has, not only that of
        ``input``.
    output_size : int or (int, int)
        Sections per box along (rows, columns).
    spatial_scale : float, default 1.0
        Cells per input unit.
    sampling_ratio : int or (int, int), default -1
        Samples per section along (rows, columns). 0 or less is the convention's own count:
        ``ceil(extent / sections)`` unless ``convention`` says otherwise.
    aligned : bool, default False
        Whether the centre of cell 0 is at the coordinate 0.5 and boxes have any size (the
        convention "detectron2"); else it is at 0 and the smallest box is 1 x 1 cell
        ("torchvision").
    convention : str or Convention, optional
        Whose RoI Align to use instead, as for `roialign_cy.roi_align`.
    mode : {"avg", "max", "max_weighted"}, optional
        Mean or maximum over the samples of a section. By default the convention's mode, which is
        the mean unless ``convention`` says otherwise.

    Returns
    -------
    Tensor of shape (K, C, rows, cols)
        In the dtype of ``input`` (float32 for integers), channels-last if ``input`` is.
        Differentiable with respect to ``input`` and ``boxes`` (not in the mode "max_weighted").

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described, a box is not finite or its batch index is not that of
        an image. (CUDA boxes are not checked: a bad one gives NaN.)
    BackendUnavailableError
        If ``input`` is a CUDA tensor and the GPU backend cannot be used here.

    Notes
    -----
    The result does not depend on the number of threads, which is bounded by
    ``torch.get_num_threads()`` and by `roialign_cy.get_num_threads`. Under autocast, halves are
    computed in float32, and the result has the dtype of ``input``, as in torchvision.

    The gradient of the mean with respect to ``input`` can be differentiated again; doing so
    with those with respect to ``boxes``, or those of the maximum, raises a RuntimeError.

    Examples
    --------
    >>> import torch
    >>> from roialign_cy.torch import roi_align
    >>> features = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> boxes = torch.tensor([[0.0, 1.0, 1.0, 3.0, 3.0]])
    >>> roi_align(features, boxes, 2, aligned=True)
    tensor([[[[ 5.,  6.],
              [ 9., 10.]]]])
    """
    sections, geometry = _geometry_of(
        output_size, spatial_scale, sampling_ratio, bool(aligned), convention, mode
    )
    return run(_operators.upright, input, boxes, sections, geometry)


def once_per_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Remember what a function makes of the options of a call, which begin with three numbers."""
    remembered = lru_cache(maxsize=256, typed=True)(function)

    @wraps(function)
    def call(
        output_size: int | tuple[int, int],
        spatial_scale: float,
        sampling_ratio: int | tuple[int, int],
        *options: object,
    ) -> Any:
        if torch.compiler.is_compiling():  # whose values are not known yet
            return function(output_size, spatial_scale, sampling_ratio, *options)
        # To a cache, (2, 2) and (2.0, True) are one, and a tensor is the same whatever its value.
        if type(output_size) is not int:
            output_size = int_pair(output_size, "output_size")
        if type(spatial_scale) is not float:
            spatial_scale = make_scale(spatial_scale)
        if type(sampling_ratio) is not int:
            sampling_ratio = int_pair(sampling_ratio, "sampling_ratio")
        try:
            return remembered(output_size, spatial_scale, sampling_ratio, *options)
        except TypeError:  # what has no hash is refused by name
            pass
        return function(output_size, spatial_scale, sampling_ratio, *options)

    return call


@once_per_options
def _geometry_of(
    output_size: int | tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int | tuple[int, int],
    aligned: bool,
    convention: ConventionName | Convention | None,
    mode: Mode | None,
) -> tuple[tuple[int, int], tuple[Any, ...]]:
    """Sections, and the operator's other options."""
    if convention is None:
        convention = "detectron2" if aligned else "torchvision"
    elif aligned:
        raise ValueError(f"aligned must be left out where convention is given, got {aligned!r}")
    chosen = find_convention(convention)
    if mode is None:
        mode = chosen.mode
    require_choice("mode", mode, MODES)
    sections, scale, ratio = to_sampling(output_size, spatial_scale, sampling_ratio, chosen)
    return sections, (
        *(scale, ratio, mode),
        *(chosen.pixel_offset, chosen.min_size, chosen.sampling, chosen.max_rule, chosen.border),
    )


def to_sampling(
    output_size: int | tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int | tuple[int, int],
    convention: Convention,
) -> tuple[tuple[int, int], float, tuple[int, int]]:
    """Check sections, scale and ratio; what is 0 or less of this is the convention's."""
    rows, cols = int_pair(sampling_ratio, "sampling_ratio")
    asked = ratio_pair((max(rows, -1), max(cols, -1)))
    own_ratio = ratio_pair(convention.sampling_ratio)
    ratio = asked[0] or own_ratio[0], asked[1] or own_ratio[1]
    sections = make_output_size(output_size)
    is_traced = torch.compiler.is_compiling() and isinstance(spatial_scale, int | float)
    scale = spatial_scale if is_traced else make_scale(spatial_scale)  # its value is not known yet
    return sections, scale, ratio


def run(
    pooling: _operators.Pooling,
    input: Tensor,
    boxes: Tensor | Sequence[Tensor],
    sections: tuple[int, int],
    geometry: tuple[Any, ...],
) -> Tensor:
    """Check what the operator does not check, and call it."""
    rois = to_rois(boxes, input, pooling.kernels.parameters)
    is_bfloat16 = input.dtype == torch.bfloat16
    if is_bfloat16:  # which NumPy does not have
        input, rois = _operators.widened(input), _operators.widened(rois)
    try:
        pooled: Tensor = pooling.pool(input, rois, sections, *geometry)
    except ValueError:
        if not isinstance(boxes, Tensor):  # the caller knows boxes by their places in lists
            rows = _operators.as_computed(rois).detach().numpy()
            spec = pooling.kernels.make_spec(sections, *geometry, "NCHW", None)
            _arrays.require_poolable(rows, input.shape[0], spec, "boxes", is_per_image=True)
        raise
    return pooled.to(torch.bfloat16) if is_bfloat16 else pooled


torch.fx.wrap("roi_align")  # one node of a symbolic trace, like torchvision's


class RoIAlign(torch.nn.Module):
    """`roi_align` as a module; a drop-in for ``torchvision.ops.RoIAlign``.

    Parameters
    ----------
    output_size, spatial_scale, sampling_ratio, aligned, convention, mode
        As for `roi_align`.

    Examples
    --------
    >>> import torch
    >>> from roialign_cy.torch import RoIAlign
    >>> pool = RoIAlign(7, spatial_scale=1 / 16, sampling_ratio=2, aligned=True)
    >>> boxes = [torch.tensor([[8.0, 8.0, 400.0, 300.0]])]
    >>> pool(torch.zeros(1, 256, 50, 76), boxes).shape
    torch.Size([1, 256, 7, 7])
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float,
        sampling_ratio: int | tuple[int, int],
        aligned: bool = False,
        *,
        convention: ConventionName | Convention | None = None,
        mode: Mode | None = None,
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned
        self.convention = convention
        self.mode = mode

    def forward(self, input: Tensor, rois: Tensor | Sequence[Tensor]) -> Tensor:
        """Pool ``input`` under ``rois``: see `roi_align`."""
        return roi_align(
            input,
            rois,
            self.output_size,
            self.spatial_scale,
            self.sampling_ratio,
            self.aligned,
            convention=self.convention,
            mode=self.mode,
        )

    def extra_repr(self) -> str:
        """Return the arguments; those that torchvision lacks only if they are given."""
        names = ["output_size", "spatial_scale", "sampling_ratio", "aligned"]
        names += [name for name in ("convention", "mode") if getattr(self, name) is not None]
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)


def to_rois(boxes: Tensor | Sequence[Tensor], input: Tensor, parameters: int = 4) -> Tensor:
    """The boxes as rows of five numbers, differentiable with respect to the given ones."""
    if not isinstance(input, Tensor):
        raise TypeError(
            f"input must be a tensor, got {type(input).__name__}; roialign_cy.roi_align is for "
            "arrays"
        )
    _kernels.check_axes("input", input)
    if not isinstance(boxes, Tensor):
        if not isinstance(boxes, list | tuple):
            raise TypeError(
                f"boxes must be a tensor or a list of tensors, got {type(boxes).__name__}"
            )
        boxes = _join(boxes, input, parameters)
    elif (len(shape := boxes.shape) != 2 or shape[1] != 1 + parameters) and is_no_boxes(
        tuple(shape), parameters
    ):
        boxes = torch.nn.functional.pad(boxes.reshape(0, parameters), (1, 0))
    require_corners(boxes, "boxes")
    if not (boxes.is_cpu and input.is_cpu) and boxes.device != input.device:
        raise ValueError(
            f"boxes must be on the device of input, {input.device}, got {boxes.device}"
        )
    return boxes


def _join(boxes: Sequence[Tensor], input: Tensor, parameters: int) -> Tensor:
    if not boxes:
        return input.new_empty((0, 1 + parameters))
    entries = [_entry(entry, f"boxes[{index}]", parameters) for index, entry in enumerate(boxes)]
    require_entry_per_image(boxes, input.shape[0], "boxes")
    sides = torch.cat(entries) if len(entries) > 1 else entries[0]
    if not sides.is_floating_point():
        sides = sides.double()  # as `roialign_cy.roi_align` takes integers
    elif len(entries) > 2 / torch.finfo(sides.dtype).eps:
        sides = sides.float()  # a half cannot count that many images
    if len(entries) == 1:
        return torch.nn.functional.pad(sides, (1, 0))
    indices = [sides.new_full((entry.shape[0], 1), index) for index, entry in enumerate(entries)]
    return torch.cat([torch.cat(indices), sides], dim=1)


def _entry(entry: Tensor, name: str, parameters: int) -> Tensor:
    if not isinstance(entry, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(entry).__name__}")
    if entry.dtype != torch.bfloat16:  # which autocast widens
        _kernels.check_numbers(name, entry)
    require_corners(entry, name)
    if entry.ndim == 2 and entry.shape[1] == parameters:
        return entry
    if not is_no_boxes(tuple(entry.shape), parameters):
        raise ValueError(wrong_entry_shape(name, tuple(entry.shape), parameters))
    return entry.reshape(0, parameters)
