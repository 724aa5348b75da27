"""Rotated boxes beside torch and OpenVINO: ``python -m benchmarks.rotated`` prints the times.

512 boxes of 4 to 28 cells at any angle, 7 x 7 sections of 2 x 2 samples, on 256 channels of
256 x 256 cells: by this library, by ``grid_sample`` and ``avg_pool2d`` of torch, which has no
RoI Align of rotated boxes, and once by OpenVINO's ROIAlignRotated. All give the same values.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

import roialign_cy as ra
from roialign_cy.bench import timing
from roialign_cy.bench.calls import PreparedCall

BOXES, SECTIONS, RATIO, CELLS, CHANNELS = 512, 7, 2, 256, 256


def draw() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give the map and boxes ``[cx, cy, width, height, radians]`` within it."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((1, CHANNELS, CELLS, CELLS), dtype=np.float32)
    sides = rng.uniform(4, 28, (BOXES, 2))
    centres = rng.uniform(21, CELLS - 21, (BOXES, 2))
    angles = rng.uniform(-np.pi, np.pi, BOXES)
    return features, np.column_stack([centres, sides, angles]).astype(np.float32)


def by_grid_sample(features: NDArray[Any], boxes: NDArray[Any]) -> NDArray[Any]:
    """Sample the map at the points of every box, and take the means of the sections."""
    import torch

    x, y, width, height, angle = torch.from_numpy(boxes).T[:, :, None, None]
    steps = SECTIONS * RATIO
    place = (torch.arange(steps) + 0.5) / steps - 0.5
    down, right = place[:, None] * height, place * width
    at_x = down * angle.sin() + right * angle.cos() + x
    at_y = down * angle.cos() - right * angle.sin() + y
    grid = torch.stack([at_x, at_y], -1).reshape(1, -1, steps, 2) * (2 / CELLS) - 1
    sampled = torch.nn.functional.grid_sample(
        torch.from_numpy(features), grid, padding_mode="border", align_corners=False
    )
    sampled = sampled.reshape(CHANNELS, BOXES, steps, steps)
    return torch.nn.functional.avg_pool2d(sampled, RATIO).transpose(0, 1).numpy()


def by_openvino(features: NDArray[Any], boxes: NDArray[Any], num_threads: int) -> Any:
    """Compile a model that pools these boxes; what runs it comes back."""
    import openvino
    from openvino import opset15

    inputs = [features, boxes, np.zeros(BOXES, np.int32)]
    parameters = [opset15.parameter(list(array.shape), array.dtype.type) for array in inputs]
    pooled = opset15.roi_align_rotated(*parameters, SECTIONS, SECTIONS, RATIO, 1.0, False)
    options = {"INFERENCE_NUM_THREADS": num_threads, "INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(openvino.Model([pooled], parameters), "CPU", options)
    return lambda: model(inputs)[0]


def main() -> None:
    """Run the command line."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--skip-openvino", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    features, boxes = draw()
    rois = np.insert(boxes, 0, 0, axis=1)

    def ours() -> Any:
        return ra.roi_align_rotated(
            features,
            rois,
            SECTIONS,
            sampling_ratio=RATIO,
            convention="mmcv",
            num_threads=options.threads,
        )

    def theirs() -> Any:
        return by_grid_sample(features, boxes)

    expected = ours()
    np.testing.assert_allclose(theirs(), expected, rtol=0, atol=1e-3)
    calls = {"roialign_cy": PreparedCall(ours), "grid_sample": PreparedCall(theirs)}
    samples = timing.measure(calls, options.rounds)
    seconds = {name: float(np.median(taken.seconds)) for name, taken in samples.items()}
    if not options.skip_openvino:
        run = by_openvino(features, boxes, options.threads)
        start = time.perf_counter()
        result = run()
        seconds["openvino"] = time.perf_counter() - start
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-3)
    for name, taken in seconds.items():
        ratio = taken / seconds["roialign_cy"]
        sys.stdout.write(f"{name:12} {1e3 * taken:9.1f} ms {ratio:7.1f} x\n")


if __name__ == "__main__":
    main()
