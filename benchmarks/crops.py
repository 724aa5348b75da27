"""Crops of photographs by this library and by others: ``python -m benchmarks.crops``.

200 boxes of eight images of 800 x 1333 pixels, uint8, colours last, each resized to 224 x 224. Only
ONNX Runtime's CropAndResize has the definition of `roialign_cy.crop_and_resize`, and is checked to
give its numbers; it reads planes of floats. The others read whole pixels of a box, whose sides are
edges of pixels, and give uint8, which is less to write; Pillow averages where it makes smaller.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import roialign_cy as ra
from roialign_cy.bench import timing
from roialign_cy.bench.calls import PreparedCall

SIZE = 224
BOXES = 200
SHAPE = 8, 800, 1333, 3
SIDES = 64, 700
"""Least and largest side of a box in pixels; they are spread evenly over its logarithm."""


class Inputs:
    """Images, and boxes that lie on whole pixels, so that all read the same."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        count, height, width, _ = SHAPE
        coarse = rng.integers(0, 256, (count, height // 8, -(-width // 8), 3), np.uint8)
        self.images = np.ascontiguousarray(
            coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]
        )
        sides = np.exp(rng.uniform(*np.log(SIDES), (BOXES, 2))).astype(int)
        near = (rng.random((BOXES, 2)) * (np.array([height, width]) - sides)).astype(int)
        self.pixels = np.column_stack([near, near + sides])
        self.boxes = (self.pixels - [0, 0, 1, 1]) / np.array([height - 1, width - 1] * 2)
        self.indices = rng.integers(0, count, BOXES)

    def slices(self) -> list[NDArray[np.uint8]]:
        """The pixels of each box."""
        return [
            self.images[n, y1:y2, x1:x2]
            for n, (y1, x1, y2, x2) in zip(self.indices, self.pixels, strict=True)
        ]


Make = Callable[[Inputs, int], PreparedCall]


def _ours(method: str) -> Make:
    def make(inputs: Inputs, threads: int) -> PreparedCall:
        arguments = inputs.images, inputs.boxes, inputs.indices, SIZE
        return PreparedCall(
            lambda: ra.crop_and_resize(*arguments, method=method, num_threads=threads)
        )

    return make


def _onnxruntime(is_converted: bool) -> Make:
    def make(inputs: Inputs, threads: int) -> PreparedCall:
        from onnx import TensorProto, helper
        from onnxruntime import InferenceSession, SessionOptions

        names = {"x": 4, "rois": 2, "indices": 1, "size": 1}
        types = [TensorProto.FLOAT] * 2 + [TensorProto.INT32] * 2
        graph = helper.make_graph(
            [helper.make_node("CropAndResize", list(names), ["y"], domain="com.microsoft")],
            "crops",
            [
                helper.make_tensor_value_info(name, kind, [None] * axes)
                for (name, axes), kind in zip(names.items(), types, strict=True)
            ],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
        )
        domains = [helper.make_opsetid("", 16), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=domains, ir_version=8)
        options = SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.force_spinning_stop", "1")
        session = InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        feed = {
            "rois": inputs.boxes.astype(np.float32),
            "indices": inputs.indices.astype(np.int32),
            "size": np.array([SIZE, SIZE], np.int32),
        }

        def planes() -> NDArray[np.float32]:
            return np.ascontiguousarray(np.moveaxis(inputs.images, -1, 1), np.float32)

        converted = planes() if is_converted else None

        def run() -> Any:
            x = planes() if converted is None else converted
            return session.run(None, feed | {"x": x})[0]

        return PreparedCall(run, to_numpy=lambda crops: np.moveaxis(crops, 1, -1))

    return make


def _opencv(inputs: Inputs, threads: int) -> PreparedCall:
    import cv2

    slices = inputs.slices()
    return PreparedCall(
        lambda: np.stack([cv2.resize(pixels, (SIZE, SIZE)) for pixels in slices]),
        enter=lambda: cv2.setNumThreads(threads),
    )


def _pillow(inputs: Inputs, threads: int) -> PreparedCall:
    from PIL import Image

    images = [Image.fromarray(image) for image in inputs.images]
    boxes = [(x1, y1, x2, y2) for y1, x1, y2, x2 in inputs.pixels.tolist()]
    indices = inputs.indices.tolist()

    def run() -> NDArray[np.uint8]:
        bilinear = Image.Resampling.BILINEAR
        return np.stack(
            [
                np.asarray(images[n].resize((SIZE, SIZE), bilinear, box))
                for n, box in zip(indices, boxes, strict=True)
            ]
        )

    return PreparedCall(run)


def _torchvision(inputs: Inputs, threads: int) -> PreparedCall:
    import torch
    from torchvision.transforms.v2 import functional

    images = torch.from_numpy(inputs.images).permute(0, 3, 1, 2)  # channels last in memory
    boxes = [(y1, x1, y2 - y1, x2 - x1) for y1, x1, y2, x2 in inputs.pixels.tolist()]
    indices = inputs.indices.tolist()

    def run() -> Any:
        return torch.stack(
            [
                functional.resized_crop(images[n], *box, [SIZE, SIZE], antialias=False)
                for n, box in zip(indices, boxes, strict=True)
            ]
        )

    return PreparedCall(run, enter=lambda: torch.set_num_threads(threads))


CONTENDERS: dict[str, Make] = {
    "crop_and_resize": _ours("bilinear"),
    'crop_and_resize, "nearest"': _ours("nearest"),
    "ONNX Runtime": _onnxruntime(is_converted=False),
    "ONNX Runtime, of planes of floats": _onnxruntime(is_converted=True),
    "OpenCV": _opencv,
    "Pillow, one thread": _pillow,
    "torchvision": _torchvision,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=timing.ROUNDS)
    options = parser.parse_args()
    inputs, calls, lines = Inputs(), {}, []
    for name, make in CONTENDERS.items():
        try:
            calls[name] = make(inputs, options.threads)
        except ImportError as reason:
            lines.append(f"{name} is left out: {reason}")
    ours = calls["crop_and_resize"].result()
    for name in calls.keys() & {"ONNX Runtime", "ONNX Runtime, of planes of floats"}:
        np.testing.assert_allclose(calls[name].result(), ours, rtol=0, atol=0.1)
    samples = timing.measure(calls, options.rounds)
    lines.append(f"ms, medians of samples in turn, {options.threads} threads; times over the first")
    first = samples["crop_and_resize"].median
    for name, taken in samples.items():
        doubt = "" if taken.sufficient else "  (disturbed)"
        lines.append(f"{name:36}{1e3 * taken.median:9.1f}{taken.median / first:7.2f}{doubt}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
