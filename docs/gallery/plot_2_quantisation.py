"""
What quantisation loses
=======================

A box that slides over the map by a hundredth of a cell at a time. What RoI Align reads follows it;
RoI Pooling stands still, and then jumps: the misalignment by quantization that RoI Align was made
to avoid.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import roialign_cy as ra

SCALE = 1 / 16
photograph = data.camera()[:512, :512].astype(np.float64) / 255
features = photograph.reshape(1, 1, 32, 16, 32, 16).mean(axis=(3, 5))  # a cell for 16 pixels

# %%
# 400 boxes of 70 x 70 pixels, the first of them at (200, 90), each 0.16 pixels to the right of the
# one before.

shift = np.arange(400) * 0.01  # in cells
start = 200 + shift / SCALE
rois = np.column_stack([0 * start, start, 0 * start + 90, start + 70, 0 * start + 160])
curves = {
    "RoI Align, mean": ra.roi_align(
        features, rois, 2, spatial_scale=SCALE, convention="detectron2", sampling_ratio=2
    ),
    "RoI Align, max": ra.roi_align(features, rois, 2, spatial_scale=SCALE),
    "RoI Pooling": ra.roi_pool(features, rois, 2, spatial_scale=SCALE),
}

figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
for name, values in curves.items():
    axes.plot(shift, values[:, 0, 0, 0], label=name, linewidth=2)
axes.set_xlabel("shift of the box, cells")
axes.set_ylabel("output, top left section")
axes.legend()

# %%
# The largest step between one box and the next:

for name, values in curves.items():
    step = np.abs(np.diff(values[:, 0, 0, 0])).max()
    print(f"{name:16} {step:.4f}")

# %%
# So the output of RoI Pooling has no gradient with respect to the box, and what is read from it
# can be off by half a cell: eight pixels here. Side by side, on one box:

ra.compare_conventions(
    features, rois, 2, roi=40, spatial_scale=SCALE, figure=plt.figure(figsize=(13, 5.9))
)
plt.show()
