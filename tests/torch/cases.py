"""Inputs that the tests of `roialign_cy.torch` share."""

import torch

GEOMETRY = (0.5, [2, 2], "avg", 0.5, None, "centered", "max", "clamp")
"""The operators' last arguments for ``aligned=True``, a scale of 0.5 and a ratio of 2."""


def maps(dtype=torch.float32, shape=(2, 2, 6, 7), *, channels_last=False, requires_grad=False):
    """Feature maps, the same every time."""
    values = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    values = values.to(dtype)
    if channels_last:
        values = values.contiguous(memory_format=torch.channels_last)
    return values.requires_grad_(requires_grad)


def rois(dtype=torch.float32):
    """Boxes of two images: within the map at scale 0.5, across its borders, narrower than a cell.

    None has a sample within 1e-3 of a cell's centre or of the border, where gradients jump, at
    this scale for 3 x 3 and 3 x 4 sections with 2 or an adaptive number of samples.
    """
    return torch.tensor(
        [
            [0, 1.37, 2.21, 7.83, 9.47],
            [1, -3.17, 0.73, 15.91, 13.37],
            [0, 9.71, 6.13, 17.29, 15.67],
            [1, 5.33, 5.91, 6.19, 6.47],
        ],
        dtype=dtype,
    )


def boxes_per_image(dtype=torch.float32):
    """The same boxes, a tensor for each image, in another order."""
    rows = rois(dtype)
    return [rows[rows[:, 0] == image, 1:] for image in range(2)]
