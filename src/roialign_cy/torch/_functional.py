"""What users call: torchvision's signatures, made into one call of the operator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..conventions import Convention, find_convention, int_pair
from . import _operators


def roi_align(
    input: Tensor,
    boxes: Tensor | Sequence[Tensor],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int | tuple[int, int] = -1,
    aligned: bool = False,
    *,
    convention: str | Convention | None = None,
    mode: str | None = None,
) -> Tensor:
    """Pool every box to a grid of sections; a drop-in for ``torchvision.ops.roi_align``.

    Parameters
    ----------
    input : Tensor of shape (N, C, H, W)
        The maps: float16, float32 or float64, of any strides. A channels-last one is read as it
        lies.
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
        ``ceil(extent / sections)`` unless ``convention`` says another.
    aligned : bool, default False
        Whether the centre of cell 0 is at the coordinate 0.5 and boxes have any size (the
        convention "detectron2"); else it is at 0 and the smallest box is 1 x 1 cell
        ("torchvision").
    convention : str or Convention, optional
        Whose RoI Align instead, as for `roialign_cy.roi_align`.
    mode : {"avg", "max", "max_weighted"}, optional
        Mean or maximum over the samples of a section. By default the convention's mode, which is
        the mean unless ``convention`` says another.

    Returns
    -------
    Tensor of shape (K, C, rows, cols)
        In the dtype of ``input``, channels-last where that is. Differentiable by ``input`` and
        by ``boxes`` (not in the mode "max_weighted").

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described, a box is not finite or its batch index is not that of
        an image. (CUDA boxes are not looked at: a bad one gives NaN.)
    BackendUnavailableError
        If ``input`` is a CUDA tensor and the GPU backend cannot be used here.

    Notes
    -----
    The result does not depend on the number of threads, which is bounded by
    ``torch.get_num_threads()`` and by `roialign_cy.get_num_threads`. Under autocast, halves are
    computed in float32, and the result has the dtype of ``input``, as in torchvision.

    The gradient of the mean by ``input`` can be differentiated again; those by ``boxes``, and
    those of the maximum, raise a RuntimeError where that is tried.

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
    if convention is None:
        convention = "detectron2" if aligned else "torchvision"
    elif aligned:
        raise ValueError(f"aligned must be left out where convention is given, got {aligned!r}")
    chosen = find_convention(convention)
    asked = int_pair(sampling_ratio, "sampling_ratio")
    own_ratio = int_pair(chosen.sampling_ratio, "sampling_ratio")
    rois = _to_rois(boxes, input)
    _operators.refuse_tangents(input, rois)
    return _operators.roi_align(
        input,
        rois,
        int_pair(output_size, "output_size"),
        spatial_scale,
        [number if number > 0 else own for number, own in zip(asked, own_ratio, strict=True)],
        chosen.mode if mode is None else mode,
        chosen.pixel_offset,
        chosen.min_size,
        chosen.sampling,
        chosen.max_rule,
    )


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
    >>> pool(torch.zeros(1, 256, 50, 76), [torch.tensor([[8.0, 8.0, 400.0, 300.0]])]).shape
    torch.Size([1, 256, 7, 7])
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float,
        sampling_ratio: int | tuple[int, int],
        aligned: bool = False,
        *,
        convention: str | Convention | None = None,
        mode: str | None = None,
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
        """Return the arguments, those beyond torchvision's only where they are given."""
        names = ["output_size", "spatial_scale", "sampling_ratio", "aligned"]
        names += [name for name in ("convention", "mode") if getattr(self, name) is not None]
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)


def _to_rois(boxes: Tensor | Sequence[Tensor], input: Tensor) -> Tensor:
    """The boxes as rows of five numbers, differentiable by those that were given."""
    if not isinstance(input, Tensor):
        raise TypeError(f"input must be a tensor, got {type(input).__name__}")
    if not isinstance(boxes, Tensor):
        if not isinstance(boxes, list | tuple):
            raise TypeError(
                f"boxes must be a tensor or a list of tensors, got {type(boxes).__name__}"
            )
        boxes = _join(boxes, input)
    if boxes.device != input.device:
        raise ValueError(
            f"boxes must be on the device of input, {input.device}, got {boxes.device}"
        )
    return boxes


def _join(boxes: Sequence[Tensor], input: Tensor) -> Tensor:
    for index, entry in enumerate(boxes):
        if not isinstance(entry, Tensor):
            raise TypeError(f"boxes[{index}] must be a tensor, got {type(entry).__name__}")
        if entry.ndim != 2 or entry.shape[1] != 4:
            raise ValueError(f"boxes[{index}] must have the shape (K, 4), got {tuple(entry.shape)}")
    if not boxes:
        return input.new_empty((0, 5))
    sides = torch.cat(list(boxes))
    if not sides.is_floating_point():
        sides = sides.double()  # as `roialign_cy.roi_align` takes integers
    elif len(boxes) > 2 / torch.finfo(sides.dtype).eps:
        sides = sides.float()  # a half cannot count that many images
    indices = [sides.new_full((entry.shape[0], 1), index) for index, entry in enumerate(boxes)]
    return torch.cat([torch.cat(indices), sides], dim=1)
