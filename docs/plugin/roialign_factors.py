"""A backend for roialign_cy: the mean at a fixed ratio, by factors of the rows and the columns."""

import numpy as np

from roialign_cy.backends import kit


def factor(near, far, size, axis, spec):
    """Weights (sections, size) by which a box's sections read the cells along one axis."""
    scale, offset = spec.spatial_scales[0], spec.pixel_offset
    sections, samples = spec.output_size[axis], spec.sampling_ratio[axis]
    start = near * scale - offset
    extent = max(far * scale - offset - start, -np.inf if spec.min_size is None else spec.min_size)
    i = np.arange(samples)
    within = (i + 1) / (samples + 1) if spec.sampling == "interior" else (i + 0.5) / samples
    at = start + (np.arange(sections)[:, None] + within) * extent / sections
    distance = abs(np.clip(at, 0, size - 1)[..., None] - np.arange(size))
    weights = np.maximum(1 - distance, 0)
    weights[(at < -1) | (at > size)] = 0
    return weights.mean(axis=1)


class FactorsBackend:
    """What `ra.backends` asks of a backend; ``spec`` is the call with its convention filled in."""

    name = "factors"
    api_version = 2
    array_types = ("numpy:ndarray",)

    def unavailable_reason(self):
        """Say why it cannot run on this machine, or None."""

    def cannot_run(self, spec, operation):
        """Say why this one call is beyond it, or None."""
        if operation == "box_gradient":
            return "it has no gradient with respect to the boxes"
        if spec.sampling not in ("centered", "interior") or spec.border != "clamp":
            return "it only reads points, clamped to the map"
        if spec.mode != "avg" or 0 in spec.sampling_ratio:
            return "it only has the mean, at a fixed sampling_ratio"

    def roi_align(self, maps, rois, levels, spec, out):
        """Fill ``out``; all arrays have been checked."""
        for k, p, q, image, rows, cols, weights in sections(rois, maps[0].shape, spec):
            out[k, :, p, q] = (maps[0][image][:, rows, cols] * weights).sum(axis=(1, 2))
        return out

    def feature_gradient(self, grad_output, rois, levels, shapes, spec, features, out):
        """Fill ``out``, or new maps."""
        (result,) = out or (kit.new_maps(shapes[0], grad_output.dtype, spec),)
        result[...] = 0
        for k, p, q, image, rows, cols, weights in sections(rois, result.shape, spec):
            result[image][:, rows, cols] += grad_output[k, :, p, q, None, None] * weights
        return (result,)

    def box_gradient(self, grad_output, rois, levels, features, spec, out):
        """Never called: `cannot_run` refuses it."""


def sections(rois, shape, spec):
    """Each section of each box, its image, and the cells that it reads with their weights."""
    for k, (image, x1, y1, x2, y2) in enumerate(rois.astype(np.float64)):
        ry, rx = factor(y1, y2, shape[2], 0, spec), factor(x1, x2, shape[3], 1, spec)
        for p, q in np.ndindex(spec.output_size):
            rows, cols = np.ix_(ry[p].nonzero()[0], rx[q].nonzero()[0])
            yield k, p, q, int(image), rows, cols, ry[p][rows] * rx[q][cols]
