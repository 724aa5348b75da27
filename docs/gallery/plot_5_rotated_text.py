"""
Lines of text at an angle
=========================

A page that lies askew has lines that no upright box fits. `roi_align_rotated` reads along the box:
what comes out is upright. The page here is the map itself, with one channel and a scale of 1.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data
from skimage.transform import rotate

import roialign_cy as ra

page = rotate(data.page(), 20, cval=1.0).astype(np.float32)  # counter-clockwise
print(f"{page.shape[1]} x {page.shape[0]} pixels")

# %%
# Two lines, whose boxes are given by centre, sides and angle, and the upright box around the first.

rois = np.array([[0, 187, 60, 250, 18, 20], [0, 204, 107, 250, 18, 20]])
pooled = ra.roi_align_rotated(page[None, None], rois, (36, 500), sampling_ratio=2)

turn = np.radians(20)
reach = np.abs([[np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ rois[0, 3:5] / 2
upright = [[0, *(rois[0, 1:3] - reach), *(rois[0, 1:3] + reach)]]
around = ra.roi_align(page[None, None], upright, (200, 500), convention="detectron2")

# %%
# Above the page with the boxes; below what an upright box gives of the first line, and both lines.

figure = plt.figure(figsize=(9, 6.4), layout="constrained")
grid = figure.add_gridspec(3, 2, height_ratios=(3.2, 1, 1))
whole = figure.add_subplot(grid[0, :])
whole.imshow(page, cmap="gray")
for _, x, y, width, height, angle in rois:
    sides = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]) * [width / 2, height / 2]
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    whole.plot(*(sides @ [[cosine, -sine], [sine, cosine]] + [x, y]).T, color="#e8590c")
panels = {
    "upright": (grid[1:, 0], around[0, 0]),
    "line 1": (grid[1, 1], pooled[0, 0]),
    "line 2": (grid[2, 1], pooled[1, 0]),
}
for name, (place, values) in panels.items():
    axes = figure.add_subplot(place)
    axes.imshow(values, cmap="gray", vmin=0, vmax=1)
    axes.set_title(name)
    axes.set_axis_off()
plt.show()
