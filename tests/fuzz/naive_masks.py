"""Pasting by its definition, in float64 and pixel by pixel: what `paste_masks` is held to."""

import math

import numpy as np


def naive_axis(near, far, cells, size, convention):
    """Weights (size, cells) of pixels along one axis, from the definition."""
    first, last = 0, size
    if not far > near:
        return np.zeros((size, cells))
    if convention == "torchvision":
        half, centre = (far - near) * 0.5, (far + near) * 0.5
        scale = np.promote_types(half.dtype, np.float32).type((cells + 2) / cells)
        half = half.dtype.type(half * scale)
        near, far = int(centre - half), int(centre + half) + 1
        first, last = near, far
        cells += 2
    near, far = float(near), float(far)
    weights = np.zeros((size, cells))
    for pixel in range(max(first, 0), min(last, size)):
        position = (pixel + 0.5 - near) / (far - near) * cells - 0.5
        if not -1 < position < cells:  # it may be infinite, in a box next to nothing wide
            continue
        low = math.floor(position)
        for cell, weight in (low, 1 - (position - low)), (low + 1, position - low):
            if 0 <= cell < cells:
                weights[pixel, cell] = weight
    return weights[:, 1:-1] if convention == "torchvision" else weights


def naive(masks, boxes, size, convention):
    """Values of all pixels. Boxes count in their own dtype."""
    size = [int(number) for number in size]  # True is one, too
    images = []
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        rows = naive_axis(y1, y2, len(mask), size[0], convention)
        cols = naive_axis(x1, x2, len(mask), size[1], convention)
        is_pasted = x2 > x1 and y2 > y1
        images.append(is_pasted * (rows @ mask.astype(np.float64) @ cols.T))
    return np.array(images).reshape(len(images), *size)
