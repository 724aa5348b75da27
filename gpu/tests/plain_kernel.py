"""The obvious kernel, to count against: one thread per output, everything worked out again."""

from __future__ import annotations

from typing import Any

import cupy

KERNEL = cupy.ElementwiseKernel(
    "raw float32 features, raw float32 rois, int32 channels, int32 height, int32 width,"
    "int32 rows, int32 cols, int32 ratio, float32 scale",
    "float32 output",
    """
    const int q = i % cols;
    const int p = i / cols % rows;
    const int channel = i / cols / rows % channels;
    const int box = i / cols / rows / channels;
    const int image = (int)rois[box * 5];
    const float x1 = rois[box * 5 + 1] * scale - 0.5f, y1 = rois[box * 5 + 2] * scale - 0.5f;
    const float width_of_bin = (rois[box * 5 + 3] * scale - 0.5f - x1) / cols;
    const float height_of_bin = (rois[box * 5 + 4] * scale - 0.5f - y1) / rows;
    const float* plane = &features[0] + ((ptrdiff_t)image * channels + channel) * height * width;
    float sum = 0;
    for (int j = 0; j < ratio; ++j) {
      const float y = y1 + p * height_of_bin + (j + .5f) * height_of_bin / ratio;
      for (int k = 0; k < ratio; ++k) {
        const float x = x1 + q * width_of_bin + (k + .5f) * width_of_bin / ratio;
        sum += interpolated(plane, height, width, y, x);
      }
    }
    output = sum / (ratio * ratio);
    """,
    "plain_roi_align",
    options=("-fmad=false",),
    preamble="""
    __device__ float interpolated(const float* plane, int height, int width, float y, float x) {
      if (y < -1 || y > height || x < -1 || x > width) return 0;
      y = fmaxf(y, 0);
      x = fmaxf(x, 0);
      int top = (int)y, left = (int)x, bottom = top + 1, right = left + 1;
      if (top >= height - 1) y = top = bottom = height - 1;
      if (left >= width - 1) x = left = right = width - 1;
      const float down = y - top, over = x - left, up = 1 - down, back = 1 - over;
      return up * back * plane[top * width + left] + up * over * plane[top * width + right] +
             down * back * plane[bottom * width + left] +
             down * over * plane[bottom * width + right];
    }
    """,
)


def roi_align(
    features: Any, rois: Any, output_size: tuple[int, int], ratio: int, scale: float
) -> Any:
    """Mean RoI Align as most libraries compute it."""
    _, channels, height, width = features.shape
    output = cupy.empty((len(rois), channels, *output_size), features.dtype)
    return KERNEL(features, rois, channels, height, width, *output_size, ratio, scale, output)
