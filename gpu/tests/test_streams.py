"""Streams of others and CUDA graphs, with CuPy itself on the host layer."""

import importlib.util
import sys
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import cupy
import numpy as np
import pytest
import roialign_cy as ra

from agreement import Call
from host.plugin import MACHINE


class Tensor(SimpleNamespace):
    """What the bridge asks of a CUDA tensor, in the memory of a CuPy array."""

    def detach(self):
        return self.array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def tensor(array):
    return Tensor(array=array, device=SimpleNamespace(index=0))


@pytest.fixture
def bridge(monkeypatch):
    """The module that torch's tensors pass through, for a torch whose current stream is 0x7ab0."""
    torch = ModuleType("torch")
    torch.Tensor = Tensor
    stream = SimpleNamespace(__cuda_stream__=lambda: (0, 0x7AB0))
    torch.cuda = SimpleNamespace(current_stream=lambda device: stream)
    monkeypatch.setitem(sys.modules, "torch", torch)
    path = Path(ra.__file__).parent / "torch" / "_bridge.py"
    spec = importlib.util.spec_from_file_location("roialign_cy.torch._bridge", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_bridge_runs_on_the_stream_of_torch(bridge):
    features, rois, _ = map(cupy.asarray, Call().arrays())
    expected = Call().pool(features, rois)
    out = tensor(cupy.empty_like(expected))
    MACHINE.check()
    pooled = bridge.on_cuda(
        partial(ra.roi_align, output_size=Call().output_size, **Call().options),
        (tensor(features), tensor(rois)),
        lambda: out,
    )
    assert pooled is out
    assert {launch.stream for launch in MACHINE.launches} == {0x7AB0}
    np.testing.assert_array_equal(out.array.get(), expected.get())


@pytest.mark.parametrize("wrt", [None, "features", "rois"])
def test_capture_is_refused(wrt):
    features, rois, grad = map(cupy.asarray, Call().arrays())
    stream = cupy.cuda.Stream(non_blocking=True)
    if wrt is None:
        call = partial(Call().pool, features, rois)
    else:
        call = partial(Call().gradients, grad, rois, features, wrt)
    MACHINE.check()
    MACHINE.captured.add(stream.ptr)
    with stream, pytest.raises(RuntimeError, match="cannot be captured in a CUDA graph"):
        call()
    assert MACHINE.launches == []
    MACHINE.captured.clear()
