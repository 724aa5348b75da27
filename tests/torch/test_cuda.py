"""CUDA tensors, on a machine without: a stand-in for CuPy and one for the GPU backend.

What is held here is the way there and back; that it works on a GPU is not.
"""

import sys
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import roialign_cy as ra

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch", reason="needs the extra 'peers'")

from roialign_cy.backends import _registry  # noqa: E402
from roialign_cy.backends.reference import ReferenceBackend  # noqa: E402
from roialign_cy.torch import _bridge, _kernels, roi_align  # noqa: E402

from .cases import GEOMETRY, maps, rois  # noqa: E402  it needs torch, too

STREAM = 1234


class FakeCupyArray(np.ndarray):
    """What CuPy would make of a tensor by DLPack, in the memory of that."""


FakeCupyArray.__module__, FakeCupyArray.__qualname__ = "cupy", "ndarray"


class FakeGpu(ReferenceBackend):
    """Takes CuPy arrays, as the GPU backend does, and remembers where they lay."""

    name = "gpu"
    array_types = ("cupy:ndarray",)

    def roi_align(self, maps, rois, levels, spec, out):
        self.seen = maps[0], out, list(entered)
        return super().roi_align(maps, rois, levels, spec, out)

    def feature_gradient(self, grad_output, *arguments):
        self.seen = grad_output, arguments[-1][0], list(entered)
        return super().feature_gradient(grad_output, *arguments)

    def box_gradient(self, grad_output, *arguments):
        self.seen = grad_output, arguments[-1], list(entered)
        return super().box_gradient(grad_output, *arguments)


entered = []


@contextmanager
def entering(*what):
    entered.append(what)
    yield
    entered.pop()


@pytest.fixture
def gpu(monkeypatch):
    """A backend that CPU tensors are led to as if they were on a GPU."""
    cupy = ModuleType("cupy")
    cupy.from_dlpack = lambda tensor: tensor.numpy().view(FakeCupyArray)
    cupy.cuda = SimpleNamespace(
        Device=lambda index: entering("device", index),
        Stream=SimpleNamespace(from_external=lambda stream: entering(stream.__cuda_stream__())),
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    stream = SimpleNamespace(__cuda_stream__=lambda: (0, STREAM))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(_registry, "_registered", {})
    _registry._resolve.cache_clear()
    backend = FakeGpu()
    ra.backends.register(backend)
    monkeypatch.setitem(_kernels.BRIDGES, "cpu", _bridge.on_cuda)
    yield backend
    _registry._resolve.cache_clear()


@pytest.mark.parametrize("device", ["CUDA", "AutocastCUDA"])
def test_operator_has_a_kernel_for_cuda(device):
    assert torch._C._dispatch_has_kernel_for_dispatch_key("roialign_cy::roi_align", device)


def test_torchs_streams_have_the_protocol_by_which_cupy_takes_them():
    assert callable(torch.cuda.Stream.__cuda_stream__)


def test_gradients_have_kernels_for_cuda():
    for name in "roi_align_feature_gradient", "roi_align_box_gradient":
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"roialign_cy::{name}", "CUDA")


@pytest.mark.parametrize("channels_last", [False, True])
def test_tensors_are_lent_and_the_result_is_torchs(gpu, channels_last):
    input = maps(channels_last=channels_last)
    expected = ra.roi_align(
        input.numpy(), rois().numpy(), 3, convention="torchvision", backend="cpu"
    )
    result = roi_align(input, rois(), 3)
    features, out, contexts = gpu.seen
    assert features.ctypes.data == input.data_ptr()
    assert out.ctypes.data == result.data_ptr()
    assert contexts == [("device", None), ((0, STREAM),)]
    assert result.is_contiguous(memory_format=torch.channels_last) == channels_last
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)


def test_gradients_take_the_same_way(gpu):
    input, boxes = maps(torch.float64, requires_grad=True), rois(torch.float64).requires_grad_()
    grad = maps(torch.float64, (4, 2, 3, 4))
    roi_align(input, boxes, (3, 4), 0.5, 2, True).backward(grad)
    assert gpu.seen[0].ctypes.data == grad.data_ptr()
    by_features, by_rois = ra.roi_align_backward(
        grad.numpy(),
        boxes.detach().numpy(),
        input.shape,
        features=input.detach().numpy(),
        wrt=("features", "rois"),
        spatial_scale=GEOMETRY[0],
        sampling_ratio=2,
        convention="detectron2",
        backend="cpu",
    )
    np.testing.assert_allclose(input.grad, by_features, rtol=0, atol=1e-12)
    np.testing.assert_allclose(boxes.grad[:, 1:], by_rois, rtol=0, atol=1e-12)


def test_without_the_backend_it_says_what_to_install(monkeypatch):
    if ra.backends.unavailable_reason("gpu") is None:
        pytest.skip("there is a GPU")
    monkeypatch.setitem(_kernels.BRIDGES, "cpu", _bridge.on_cuda)
    with pytest.raises(ra.BackendUnavailableError, match="pip install"):
        roi_align(maps(), rois(), 3)
