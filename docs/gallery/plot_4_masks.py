"""
Several levels, and masks
=========================

A detector pools a box from the map that suits its size, and says in 28 x 28 numbers which part of
the box is the object. Pasted into the photograph these are pixels again, or run lengths, which is
how COCO stores them.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import roialign_cy as ra

photograph = data.astronaut()
height, width, _ = photograph.shape
boxes = np.array([[85, 25, 420, 511], [385.5, 20.5, 475.5, 370.5], [163, 58, 287, 182]])
names = ("woman", "shuttle", "face")

# %%
# The pyramid here is the photograph itself, at a quarter of its size, an eighth and so on. Its
# bytes are read as they are. Large boxes are pooled from coarse maps, small ones from fine maps;
# one call does all, and gives them in the order of the boxes.

scales = [1 / 4, 1 / 8, 1 / 16, 1 / 32]
pyramid = [photograph[np.newaxis, :: round(1 / scale), :: round(1 / scale)] for scale in scales]
pooled = ra.multiscale_roi_align(
    pyramid, [boxes], 32, spatial_scales=scales, layout="NHWC", convention="detectron2"
)
levels = ra.assign_levels([boxes], scales)

figure, panels = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
for axes, crop, name, level in zip(panels, pooled, names, levels, strict=True):
    axes.imshow(crop / 255)
    axes.set_title(f"{name}: from the map at 1/{round(1 / scales[level])}")
    axes.set_axis_off()

# %%
# There is no network here. The masks are soft ellipses, drawn as it would draw them: each in the
# coordinates of its box.

rows, cols = np.mgrid[:28, :28] / 13.5 - 1
masks = np.stack([1 / (1 + np.exp(8 * (rows**2 + cols**2 - size))) for size in (0.9, 0.7, 0.8)])
masks = masks.astype(np.float32)

values = ra.paste_masks(masks, boxes, (height, width), threshold=None)
pixels = ra.paste_masks(masks, boxes, (height, width))

figure, panels = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
panels[0].imshow(masks[0], cmap="magma", vmin=0, vmax=1)
panels[0].set_title("the mask of the woman, 28 x 28")
panels[1].imshow(values[0], cmap="magma", vmin=0, vmax=1)
panels[1].set_title("pasted: values")
panels[2].imshow(photograph)
for flags, color in zip(pixels, ((255, 211, 59), (77, 171, 247), (255, 107, 107)), strict=True):
    panels[2].imshow(np.dstack([np.full((height, width, 3), color), 150 * flags]).astype(np.uint8))
panels[2].set_title("pasted: at least 0.5")
for axes in panels:
    axes.set_axis_off()

# %%
# Run lengths go down the columns and are made from the masks, without the images. They are
# pycocotools', byte for byte; crops are the part of the image that a mask reaches.

codes = ra.paste_masks(masks, boxes, (height, width), format="rle")
crops = ra.paste_masks(masks, boxes, (height, width), format="crops")
for name, image, (crop, corner), code in zip(names, pixels, crops, codes, strict=True):
    print(
        f"{name:8} image {image.nbytes} bytes, crop {crop.nbytes} at {corner}, "
        f"run lengths {len(code['counts'])}"
    )
