"""torchvision's Mask R-CNN on a photograph, with its own work on regions and with this library's.

Shows that the detections and a training step stay the same, and what the parts that the patch
replaces took, and the whole: the pooling with its gradient, the projection of masks on boxes (the
targets in training), the pasting of masks into the image. Both ways in turn; about two minutes on
two CPUs with nothing else to do, and it says so if they had. The weights are random and the objects
drawn by hand: what is compared does not depend on what is detected. Needs
``pip install "roialign_cy[torch]" torchvision scikit-image``.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import torch
from skimage.data import astronaut
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models.detection import (
    fasterrcnn_resnet50_fpn,
    maskrcnn_resnet50_fpn,
    roi_heads,
    transform,
)
from torchvision.ops import MultiScaleRoIAlign

from roialign_cy.torch import patch_torchvision

MODELS = {"faster": fasterrcnn_resnet50_fpn, "mask": maskrcnn_resnet50_fpn}
WAYS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "torchvision": nullcontext,
    "roialign_cy": patch_torchvision,
}
BUSY = 0.05  # of all CPUs, by other processes
Detections = dict[str, torch.Tensor]


@cache
def photograph() -> torch.Tensor:
    """Return the astronaut of scikit-image, (3, 512, 512)."""
    return torch.from_numpy(astronaut()).permute(2, 0, 1) / 255


def objects() -> list[dict[str, torch.Tensor]]:
    """Return two boxes on it, the woman and the shuttle's model, with their masks."""
    boxes = torch.tensor([[60.0, 5.0, 415.0, 511.0], [330.0, 20.0, 500.0, 400.0]])
    masks = torch.zeros(2, 512, 512, dtype=torch.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist(), strict=True):
        mask[top:bottom, left:right] = 1
    return [{"boxes": boxes, "labels": torch.tensor([1, 2]), "masks": masks}]


def make_model(name: str, size: int, **options: int) -> torch.nn.Module:
    """Make a detector with random weights whose layers have sane values on the photograph."""
    torch.manual_seed(0)
    options |= {"min_size": size, "max_size": size}
    model = MODELS[name](weights=None, weights_backbone=None, **options)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the statistics become those of what follows
    model.train()
    with torch.no_grad():
        model.backbone(model.transform([photograph()])[0].tensors)
        # Random scores are nearly equal, and none would be a detection.
        model.roi_heads.box_predictor.cls_score.weight.mul_(20)
    for norm in norms:
        norm.momentum = 0.1
    return model


def detect(model: torch.nn.Module) -> Detections:
    """Run inference."""
    model.eval()
    with torch.no_grad():
        return model([photograph()])[0]


def train(learner: torch.nn.Module) -> dict[str, float]:
    """Take one training step; its losses. The gradients stay in the model."""
    learner.train()
    torch.manual_seed(1)  # which proposals are learned from is drawn
    losses = learner([photograph()], objects())
    sum(losses.values()).backward()
    torch.optim.SGD(learner.parameters(), lr=1e-3).step()
    return {name: loss.item() for name, loss in losses.items()}


class OperatorTimes(TorchDispatchMode):
    """Adds up the time of the operators that `counts` says belong to a part."""

    def __init__(self, counts: Callable[[str], bool], add: Callable[[float], None]) -> None:
        super().__init__()
        self.counts, self.add = counts, add

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run the operator, on the clock if it counts."""
        begin = time.perf_counter()
        result = func(*args, **(kwargs or {}))
        if self.counts(func.name()):
            self.add(time.perf_counter() - begin)
        return result


def is_gradient_of_pooling(operator: str) -> bool:
    """Whether it is torchvision's or ours."""
    return "roi_align" in operator and operator.endswith(("backward", "gradient"))


@contextmanager
def parts_timed(model: torch.nn.Module) -> Iterator[dict[str, float]]:
    """Give the seconds that each part takes in the block."""
    seconds: dict[str, float] = defaultdict(float)

    def add(part: str, value: float) -> None:
        seconds[part] += value

    def timed(function: Callable[..., Any], part: str) -> Callable[..., Any]:
        def on_the_clock(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            result = function(*args, **kwargs)
            add(part, time.perf_counter() - begin)
            return result

        return on_the_clock

    poolings = [module for module in model.modules() if isinstance(module, MultiScaleRoIAlign)]
    parts = [
        (roi_heads, "project_masks_on_boxes", "projection"),
        (transform, "paste_masks_in_image", "pasting"),
        *((pooling, "forward", "pooling") for pooling in poolings),
    ]
    with ExitStack() as stack:
        for where, name, part in parts:
            original = getattr(where, name)
            setattr(where, name, timed(original, part))
            stack.callback(setattr, where, name, original)
        stack.enter_context(
            OperatorTimes(is_gradient_of_pooling, lambda value: add("pooling", value))
        )
        yield seconds


def times_of(step: Callable[[torch.nn.Module], Any], model: torch.nn.Module) -> dict[str, float]:
    """Time a step and its parts."""
    with parts_timed(model) as seconds:
        begin = time.perf_counter()
        step(model)
        seconds["whole"] = time.perf_counter() - begin
    return seconds


def machine_seconds() -> float:
    """CPU time that all of the machine's processes have had; NaN where Linux does not say."""
    try:
        user, nice, system, *_ = Path("/proc/stat").read_text().split()[1:]
    except OSError:
        return float("nan")
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def compare_answers(model: torch.nn.Module) -> Iterator[str]:
    """Say how far the two ways are apart in what they detect and learn."""
    found, learned = {}, {}
    for way, patch in WAYS.items():
        learner = copy.deepcopy(model)
        with patch():
            found[way], learned[way] = detect(model), (train(learner), learner)
    one, other = found.values()
    same = torch.equal(one["labels"], other["labels"])
    yield f"{len(one['labels'])} detections, the same labels: {same}"
    for name in (name for name in one if same and name != "labels"):
        largest = float((one[name] - other[name]).abs().max())
        yield f"  largest difference of {name}: {largest:.2g}"
    (losses, learner), (other_losses, other_learner) = learned.values()
    yield "one training step, losses (torchvision, roialign_cy)"
    for name, loss in losses.items():
        yield f"  {name}: {loss:.7g} {other_losses[name]:.7g}"
    pairs = list(zip(learner.parameters(), other_learner.parameters(), strict=True))
    largest = max(float((a.grad - b.grad).abs().max()) for a, b in pairs)
    scale = max(float(a.grad.abs().max()) for a, _ in pairs)
    yield f"  largest difference of a parameter's gradient: {largest:.2g}, of up to {scale:.3g}"


def compare_times(model: torch.nn.Module, rounds: int) -> Iterator[str]:
    """Give medians of both ways, measured in turn."""
    steps = {"inference": detect, "training step": train}
    times = defaultdict(list)
    begin, cpu, own = time.perf_counter(), machine_seconds(), time.process_time()
    for _ in range(rounds):
        for step_name, step in steps.items():
            for way, patch in WAYS.items():
                learner = copy.deepcopy(model)  # a step of training changes it
                with patch():
                    for part, seconds in times_of(step, learner).items():
                        times[step_name, part, way].append(seconds)
    of_others = (machine_seconds() - cpu) - (time.process_time() - own)
    share = of_others / (time.perf_counter() - begin) / (os.cpu_count() or 1)
    yield f"medians of {rounds} in turn, in ms, on {torch.get_num_threads()} threads"
    for step_name, part in dict.fromkeys(key[:2] for key in times):
        a, b = (1e3 * median(times[step_name, part, way]) for way in WAYS)
        yield (
            f"  {f'{step_name}, {part}:':26} "
            f"torchvision {a:8.1f}  roialign_cy {b:8.1f}  ratio {a / b:.2f}"
        )
    if share > BUSY:
        yield f"the machine was busy: other processes had {share:.0%} of its CPUs"


def main() -> None:
    """Print both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, default="mask")
    parser.add_argument("--size", type=int, default=800, help="side of the image in pixels")
    parser.add_argument("--rounds", type=int, default=2, help="timings of each kind; 0 for none")
    options = parser.parse_args()
    model = make_model(options.model, options.size)
    print(f"{options.model} R-CNN, ResNet-50 FPN, {options.size} x {options.size} pixels")
    for line in compare_answers(model):
        print(line)
    for line in compare_times(model, options.rounds) if options.rounds else ():
        print(line)


if __name__ == "__main__":
    main()
