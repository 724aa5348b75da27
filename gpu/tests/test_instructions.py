"""How many instructions an output takes, counted on the host; the limits are in budget.toml.

With ``-s`` the counts are shown.
"""

import sys
import tomllib
from pathlib import Path

import cupy
import numpy as np
import pytest
import roialign_cy as ra
from roialign_cy.bench.workloads import WORKLOADS

import plain_kernel
from host.plugin import MACHINE

LIMITS = tomllib.loads(Path(__file__).with_name("budget.toml").read_text())["instructions"]
CALLS = {
    "avg, ratio 2": ("avg", 2),
    "max, ratio 2": ("max", 2),
    "avg, adaptive (4 x 4 samples)": ("avg", 0),
}

GRADIENTS = {f"feature gradient of {mode}, ratio 2": mode for mode in ("avg", "max")}


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((1, 256, 50, 76), dtype=np.float32)
    corner = rng.uniform(0, 160, (8, 2))
    extent = rng.uniform(22, 27, (8, 2)) * 8  # 4 samples to a seventh
    rois = np.column_stack([np.zeros(8), corner, corner + extent]).astype(np.float32)
    return cupy.asarray(features), cupy.asarray(rois)


def count(name, pool):
    """Instructions per output, and the output."""
    MACHINE.check()
    output = pool()
    instructions = MACHINE.instructions() / output.size
    sys.stdout.write(f"{name}: {instructions:.1f} PTX instructions per output\n")
    return instructions, output.get()


@pytest.mark.parametrize("name", CALLS)
def test_instructions_per_output(name, arrays):
    mode, ratio = CALLS[name]
    options = {"convention": "detectron2", "spatial_scale": 1 / 8, "sampling_ratio": ratio}
    instructions, _ = count(name, lambda: ra.roi_align(*arrays, 7, mode=mode, **options))
    assert 0.8 * LIMITS[name] < instructions <= LIMITS[name]


@pytest.mark.parametrize("name", GRADIENTS)
def test_instructions_per_element_of_the_feature_gradient(name):
    mode, channels = GRADIENTS[name], 8
    workload = WORKLOADS["fpn-box"]
    features = cupy.asarray(workload.features()[:, :channels])
    rois = cupy.asarray(workload.rois())
    grad = cupy.ones((len(rois), channels, *workload.output_size), np.float32)
    options = workload.options(mode, None)
    del options["output_size"]
    MACHINE.check()
    by_map = ra.roi_align_backward(grad, rois, features.shape, features=features, **options)
    of_channels = MACHINE.instructions("lanes")
    # What is worked out once serves all channels, of which there are 256.
    shared = (MACHINE.instructions() - of_channels) * channels / 256
    instructions = (of_channels + shared) / by_map.size
    sys.stdout.write(f"{name}: {instructions:.1f} PTX instructions per element\n")
    assert 0.8 * LIMITS[name] < instructions <= LIMITS[name]


def test_every_limit_is_held():
    assert CALLS.keys() | GRADIENTS.keys() == LIMITS.keys()


def test_maximum_of_many_samples_looks_at_few(arrays):
    def instructions(ratio):
        return count(
            f"max, ratio {ratio}",
            lambda: ra.roi_align(*arrays, 3, spatial_scale=1 / 8, sampling_ratio=ratio),
        )[0]

    few, many = instructions(64), instructions(1024)
    assert many < 2 * few  # of 256 times as many


def test_plain_kernel_takes_three_times_as_many(arrays):
    plain, expected = count(
        "plain, ratio 2", lambda: plain_kernel.roi_align(*arrays, (7, 7), 2, 1 / 8)
    )
    ours, output = count(
        "avg, ratio 2",
        lambda: ra.roi_align(
            *arrays, 7, convention="detectron2", spatial_scale=1 / 8, sampling_ratio=2
        ),
    )
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-4)
    assert plain > 3 * ours
