"""
Cutting boxes out of a photograph
=================================

A photograph is a feature map of three channels. Pooled under a box it becomes a picture of any
size: RoI Align interpolates between pixels, RoI Pooling takes whole ones.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle
from skimage import data

import roialign_cy as ra

photograph = data.astronaut()
features = (photograph / 255).astype(np.float32)[np.newaxis]  # NHWC, as photographs come
names = ("face", "badge", "shuttle")
corners_and_sizes = [(163.3, 57.7, 124, 124), (146.3, 357.4, 52, 52), (385.5, 20.5, 90, 90)]
rois = ra.boxes.from_xywh(corners_and_sizes, images=0)

# %%
# The mean over the samples of a section is an area average where the box is larger than the
# output, and an interpolation where it is smaller.

SIZE = 48
aligned = ra.roi_align(features, rois, SIZE, convention="detectron2", layout="NHWC")
pooled = ra.roi_pool(features, rois, SIZE, layout="NHWC")

figure, panels = plt.subplots(
    2, 4, figsize=(10, 5), width_ratios=(2, 1, 1, 1), layout="constrained"
)
for axes in panels[:, 0]:
    axes.remove()
whole = figure.add_subplot(panels[0, 0].get_gridspec()[:, 0])
whole.imshow(photograph)
for name, (_, x1, y1, x2, y2) in zip(names, rois, strict=True):
    whole.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor="#ffd43b", lw=2))
    whole.text(x1, y1 - 8, name, backgroundcolor="#ffd43b", fontsize=8)
for k, name in enumerate(names):
    for axes, result, title in zip(
        panels[:, k + 1], (aligned, pooled), ("Align", "Pooling"), strict=True
    ):
        axes.imshow(result[k])
        axes.set_title(f"{name}, RoI {title}", fontsize=10)
for axes in figure.axes:
    axes.set_axis_off()

# %%
# The box of the badge has its corner at a fraction of a pixel. Every point of the result says
# where it was read:

explanation = ra.explain(
    features, rois, SIZE, roi=1, convention="detectron2", layout="NHWC", coordinates="array"
)
print(explanation.formula((0, 0), (0, 0), digits=3))
