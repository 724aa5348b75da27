"""Calls of `roialign_cy.torch` without torch's dispatcher: only where it has nothing else to do."""

import importlib.util
from contextlib import nullcontext

import pytest

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch", reason="needs the extra 'peers'")

from torch._subclasses import FakeTensor, FakeTensorMode  # noqa: E402
from torch.fx.experimental.proxy_tensor import make_fx  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from roialign_cy.torch import MultiScaleRoIAlign, _direct, _operators, roi_align  # noqa: E402

from .cases import boxes_per_image, maps, rois  # noqa: E402  it needs torch, too

OPERATOR = "roialign_cy::roi_align"


def pool(input, boxes):
    return roi_align(input, boxes, (3, 4), 0.5, 2, True)


@pytest.fixture
def dispatched(monkeypatch):
    """Calls that go through the dispatcher."""
    calls, operator = [], _operators.upright.pool

    def counted(*args, _overload=operator.overload):
        calls.append(args)
        return _overload(*args)

    monkeypatch.setattr(operator, "overload", counted)
    return calls


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("mode", [nullcontext, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("kind", ["tensor", "parameter", "list", "made in the mode"])
def test_usual_calls_are_direct(kind, mode, requires_grad, dispatched):
    input, boxes = maps(requires_grad=requires_grad), rois()
    if kind == "parameter":
        input = torch.nn.Parameter(input.detach(), requires_grad)
    elif kind == "list":
        boxes = boxes_per_image()
    with mode():
        if kind == "made in the mode":
            input, boxes = input * 1, boxes * 1
        pooled = pool(input, boxes)
    assert dispatched == []
    assert pooled.requires_grad == (requires_grad and mode is nullcontext)
    assert pooled.is_inference() == (mode is torch.inference_mode)


@pytest.mark.parametrize("options", [{}, {"mode": "max"}], ids=str)
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", ["is_plain", "_can_tell"])
def test_results_are_the_dispatchers(name, channels_last, options, dispatched, monkeypatch):
    def results():
        input = maps(channels_last=channels_last, requires_grad=True)
        boxes = rois().requires_grad_()
        pooled = roi_align(input, boxes, (3, 4), 0.5, 2, True, **options)
        return pooled, *torch.autograd.grad(pooled.square().sum(), (input, boxes))

    direct = results()
    assert dispatched == []
    monkeypatch.setattr(_direct, name, False if name == "_can_tell" else lambda tensors: False)
    for one, other in zip(direct, results(), strict=True):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()
        assert one._base is other._base is None  # a view could not be changed in place
    assert len(dispatched) == 1


def test_gradients_bear_the_operators_name():
    assert pool(maps(requires_grad=True), rois()).grad_fn.name() == "roi_alignBackward"


@pytest.mark.parametrize("name", ["_dispatch_keys", "DispatchKeySet"])
def test_without_torchs_private_names_nothing_is_direct(name, monkeypatch):
    monkeypatch.delattr(torch._C, name)
    spec = importlib.util.spec_from_file_location(_direct.__name__, _direct.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert not module.is_plain((maps(), rois()))


# What has a part in a call gets it


class DispatchMode(TorchDispatchMode):
    seen = ()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.seen = (*self.seen, function)
        return function(*args, **kwargs or {})


class FunctionMode(TorchFunctionMode):
    seen = ()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.seen = (*self.seen, function)
        return function(*args, **kwargs or {})


class Subclass(torch.Tensor):
    pass


@pytest.mark.parametrize("mode", [DispatchMode, FunctionMode])
def test_modes_see_the_operator(mode):
    with mode() as entered:
        pooled = pool(maps(), rois())
    assert _operators.roi_align in entered.seen
    assert torch.equal(pooled, pool(maps(), rois()))


def test_subclasses_keep_their_class():
    assert type(pool(maps().as_subclass(Subclass), rois())) is Subclass
    assert type(pool(maps(), rois().as_subclass(Subclass))) is Subclass


def test_profiler_names_the_operator():
    with torch.profiler.profile() as profile:
        pool(maps(), rois())
    assert OPERATOR in {event.key for event in profile.key_averages()}


@pytest.mark.filterwarnings("ignore:.torch.jit.trace. is deprecated")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # Python numbers stay constants
def test_traces_have_the_operator():
    traced = torch.jit.trace(pool, (maps(), rois()))
    assert OPERATOR in str(traced.graph)
    graph = make_fx(pool)(maps(), rois()).graph
    assert _operators.roi_align in {node.target for node in graph.nodes}


def test_fake_tensors_stay_fake():
    with FakeTensorMode() as mode:
        for input in mode.from_tensor(maps()), torch.zeros(2, 2, 6, 7):
            assert isinstance(pool(input, mode.from_tensor(rois())), FakeTensor)


def test_transforms_get_the_operator():
    functional = torch.func.functionalize(pool)(maps(), rois())
    assert torch.equal(functional, pool(maps(), rois()))
    batch = torch.stack([maps(), 2 * maps()])
    assert torch.equal(torch.vmap(pool, (0, None))(batch, rois())[1], pool(2 * maps(), rois()))
    with pytest.raises(RuntimeError, match="functorch"):
        torch.func.grad(lambda input: pool(input, rois()).sum())(maps())


def test_values_that_are_negated_lazily_are_seen():
    lazily = torch.view_as_complex(maps(shape=(2, 2, 6, 7, 2))).conj().imag
    assert lazily.is_neg()
    assert torch.equal(pool(lazily, rois()), pool(lazily.resolve_neg(), rois()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_autocast_has_its_turn(dtype, dispatched):
    with torch.autocast("cpu", torch.bfloat16):
        assert pool(maps(dtype), rois(dtype)).dtype == dtype
    assert len(dispatched) == 1  # to autocast, which calls directly


def test_below_autograd_there_are_no_gradients():
    with torch._C._AutoDispatchBelowAutograd():
        assert not pool(maps(requires_grad=True), rois()).requires_grad


def test_levels_are_pooled_directly_but_for_their_gradients(monkeypatch):
    from roialign_cy.torch._multiscale import _pool_operator

    ways = []
    monkeypatch.setattr(_pool_operator, "overload", lambda *args: ways.append("dispatcher"))
    kernel = _pool_operator._kernel
    monkeypatch.setattr(
        _pool_operator, "_kernel", lambda *args: ways.append("kernel") or kernel(*args)
    )
    levels = {"a": maps(shape=(2, 2, 12, 14)), "b": maps(requires_grad=True)}
    pooler = MultiScaleRoIAlign(["a", "b"], 3, 2)
    with torch.no_grad():
        pooler(levels, boxes_per_image(), [(24, 28)])
    pooler(levels, boxes_per_image(), [(24, 28)])
    assert ways == ["kernel", "dispatcher"]


# Options are normalised once, and looked at each time


def test_options_that_are_equal_to_a_cache_are_told_apart():
    pool = roi_align(maps(), rois(), (2, 2), 1.0, (2, 2))
    assert torch.equal(roi_align(maps(), rois(), 2, 1, 2), pool)
    for options in ((2.0, 2.0), 1.0, 2), (2, 1.0, (2.0, 2)), (2, 1.0, 2.0):
        with pytest.raises(TypeError, match="must be an integer or a pair"):
            roi_align(maps(), rois(), *options)
    scale = torch.tensor(1.0)
    assert torch.equal(roi_align(maps(), rois(), 2, scale, 2), pool)
    scale.mul_(0.5)
    assert torch.equal(roi_align(maps(), rois(), 2, scale, 2), roi_align(maps(), rois(), 2, 0.5, 2))


def test_options_without_a_hash_are_named():
    with pytest.raises(TypeError, match=r"^convention must be one of .*, got \{\}$"):
        roi_align(maps(), rois(), 2, convention={})
