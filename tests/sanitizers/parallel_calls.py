import sys, itertools, numpy as np, roialign_cy as ra
from roialign_cy.backends.cpu import CpuBackend, Tuning
from roialign_cy._core import variants
N = 0
rng = np.random.default_rng(0)
near = rng.uniform(-5, 30, (130, 2))
rois = np.column_stack([rng.integers(0, 2, 130), near, near + rng.uniform(0, 25, (130, 2))]).astype(np.float32)
for variant in variants.promised():
    for order, splits in itertools.product(("tiled", "planar"), (None, 3)):
        name = f"{variant}{order}{splits}"
        ra.backends.register(CpuBackend(name, variant, Tuning(order=order, parallel=True, splits=splits)))
        for dtype, channels, layout, conv, mode in itertools.product((np.float32, np.float64, np.float16), (2, 20), ("NCHW", "NHWC"), ("document", "detectron2"), ("avg", "max", "max_weighted")):
            f = rng.standard_normal((2, channels, 32, 30)).astype(dtype)
            if layout == "NHWC": f = np.ascontiguousarray(f.transpose(0, 2, 3, 1))
            o = dict(convention=conv, mode=mode, layout=layout, backend=name, num_threads=4)
            out = ra.roi_align(f, rois, (3, 4), **o); N += 1
            if mode != "max_weighted":
                ra.roi_align_backward(out, rois, f.shape, features=f, wrt=("features", "rois"), **o); N += 2
        f = rng.standard_normal((2, 20, 32, 30)).astype(np.float32)
        ra.roi_pool(f, rois, 7, num_threads=4); N += 1
print(N, "calls")
