"""
Text lines, from a detector's own feature map
=============================================

`rapidocr <https://pypi.org/project/rapidocr/>`_ ships a network that finds lines of text. Its last
map but one, which it finds them on, is pooled here under the boxes that it found: what the second
stage of a detector starts with.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import onnx
import onnxruntime
import rapidocr
from rapidocr import RapidOCR
from skimage import data

import roialign_cy as ra

page = np.stack([data.page()] * 3, axis=-1)
engine = RapidOCR(params={"Global.log_level": "critical"})
found = engine(page, use_cls=False, use_rec=False)
print(f"{len(found.boxes)} lines on a page of {page.shape[1]} x {page.shape[0]} pixels")

# %%
# A network gives any tensor inside it if that is made one of its outputs. The one we want goes into
# the last stage: four levels of the backbone, brought to one size and stacked.

(path,) = Path(rapidocr.__file__).parent.rglob("*_det_*.onnx")
model = onnx.load(path)
name = [node for node in model.graph.node if node.op_type == "Concat"][-1].output[0]
model.graph.output.append(onnx.ValueInfoProto(name=name))
session = onnxruntime.InferenceSession(
    model.SerializeToString(), providers=["CPUExecutionProvider"]
)

pixels = engine.text_det.get_preprocess()(page)
(features,) = session.run([name], {session.get_inputs()[0].name: pixels})
print(f"input {pixels.shape}, map {features.shape}")

# %%
# The page was resized for the network, which has a cell for every four of its pixels. So a pixel of
# the page is this many cells, along each axis:

scale_y, scale_x = np.divide(features.shape[2:], page.shape[:2])
print(f"scale {scale_x:.3f}, {scale_y:.3f}")

# %%
# The two differ a little, because the network's sides are multiples of 32. The boxes are scaled
# before the call then. They are quadrilaterals; RoI Align takes the upright boxes around them.

low, high = found.boxes.min(axis=1), found.boxes.max(axis=1)
rois = np.column_stack([np.zeros(len(low)), low, high]) * [1, scale_x, scale_y, scale_x, scale_y]
pooled = ra.roi_align(features, rois, (8, 64), convention="detectron2", sampling_ratio=2)
print(f"pooled {pooled.shape}")

# %%
# Beside each line of the page the channel whose pooled values vary most, at the same size for all
# lines: 8 x 64.

channel = pooled.std(axis=(2, 3)).mean(axis=0).argmax()
count = len(rois)
figure, panels = plt.subplots(count, 2, figsize=(9, 0.75 * count), layout="constrained")
for k, (left, right) in enumerate(panels):
    (x1, y1), (x2, y2) = low[k].astype(int), high[k].astype(int)
    left.imshow(page[y1:y2, x1:x2], aspect="auto")
    right.imshow(pooled[k, channel], aspect="auto", cmap="Blues_r")
    left.set_axis_off()
    right.set_axis_off()
panels[0, 0].set_title("page")
panels[0, 1].set_title(f"pooled, channel {channel}")

# %%
# What a section reads, in the corner of the last line:

x1, y1 = rois[-1, 1:3]
corner = [[0, x1, y1, x1 + 9, y1 + 7]]
ra.explain(
    features, corner, (2, 3), channel=channel, convention="detectron2", sampling_ratio=2
).plot(figure=plt.figure(figsize=(11, 4.9)))
plt.show()
