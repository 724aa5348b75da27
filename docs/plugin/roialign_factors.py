"""A backend for roialign_cy: the mean at a fixed ratio, as two matrix products for each box."""

import numpy as np


def factor(near, far, size, axis, spec):
    """Weights (sections, size) by which a box's sections read the cells along one axis."""
    scale, offset = spec.spatial_scale, spec.pixel_offset
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
    api_version = 1
    array_types = ("numpy:ndarray",)

    def unavailable_reason(self):
        """Say why it cannot run on this machine, or None."""

    def cannot_run(self, spec):
        """Say why this one call is beyond it, or None."""
        if spec.mode != "avg" or 0 in spec.sampling_ratio:
            return "it only has the mean, at a fixed sampling_ratio"

    def roi_align(self, features, rois, spec, out):
        """Fill ``out``; all arrays have been checked."""
        maps, placed = _channels_first(spec, features, out)
        for k, (image, x1, y1, x2, y2) in enumerate(rois.astype(np.float64)):
            ry = factor(y1, y2, maps.shape[2], 0, spec)
            rx = factor(x1, x2, maps.shape[3], 1, spec)
            placed[k] = ry @ maps[int(image)] @ rx.T
        return out

    def roi_align_backward(self, grad_output, rois, input_shape, spec, *, features, wrt, out):
        """Return a gradient for each name in ``wrt``: here, by the features."""
        if wrt != ("features",):
            raise NotImplementedError("only the gradient by the features")
        result = np.empty(input_shape, grad_output.dtype) if out is None else out
        result[...] = 0
        by_map, grads = _channels_first(spec, result, grad_output)
        for k, (image, x1, y1, x2, y2) in enumerate(rois.astype(np.float64)):
            ry = factor(y1, y2, by_map.shape[2], 0, spec)
            rx = factor(x1, x2, by_map.shape[3], 1, spec)
            by_map[int(image)] += (ry.T @ grads[k] @ rx).astype(result.dtype)
        return (result,)


def _channels_first(spec, *arrays):
    return [np.moveaxis(a, -1, 1) if spec.layout == "NHWC" else a for a in arrays]
