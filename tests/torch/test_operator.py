"""`roialign_cy.torch` as a citizen of torch: traced, compiled, exported, without copies."""

import io

import numpy as np
import pytest

import roialign_cy as ra

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch", reason="needs the extra 'peers'")

from roialign_cy.backends.reference import ReferenceBackend  # noqa: E402
from roialign_cy.torch import RoIAlign, _operators, roi_align  # noqa: E402

from .cases import GEOMETRY, boxes_per_image, maps, rois  # noqa: E402  it needs torch, too

MAXIMUM = (*GEOMETRY[:2], "max", *GEOMETRY[3:])


def pool(input, boxes):
    return roi_align(input, boxes, (3, 4), 0.5, 2, True)


class Head(torch.nn.Module):
    """Pooling between two layers, as models have it."""

    def __init__(self, **options):
        super().__init__()
        torch.manual_seed(2)
        self.before = torch.nn.Conv2d(2, 5, 3, padding=1)
        self.pool = RoIAlign((3, 4), 0.5, 2, **options)
        self.after = torch.nn.Conv2d(5, 2, 1)

    def forward(self, input, boxes):
        return self.after(self.pool(self.before(input), boxes))


class Watched(ReferenceBackend):
    """Remembers the arrays that it was given."""

    name = "watched"

    def roi_align(self, maps, rois, levels, spec, out):
        (self.features,), self.spec = maps, spec
        return super().roi_align(maps, rois, levels, spec, out)

    def feature_gradient(self, grad_output, rois, levels, shapes, spec, features, out):
        self.grad_output, self.features = grad_output, features and features[0]
        return super().feature_gradient(grad_output, rois, levels, shapes, spec, features, out)

    def box_gradient(self, grad_output, rois, levels, features, spec, out):
        self.grad_output, (self.features,) = grad_output, features
        return super().box_gradient(grad_output, rois, levels, features, spec, out)


@pytest.fixture
def watched(monkeypatch):
    from roialign_cy.backends import _registry

    monkeypatch.setattr(_registry, "_registered", {})
    _registry._resolve.cache_clear()
    backend = Watched()
    ra.backends.register(backend)
    with ra.backends.use("watched"):
        yield backend
    _registry._resolve.cache_clear()


# The operators keep torch's rules


# opcheck copies what is channels-last and asks the copies for the gradient of leaves.
copies_are_no_leaves = pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf"
)


@copies_are_no_leaves
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("geometry", [GEOMETRY, MAXIMUM], ids=["avg", "max"])
def test_opcheck(geometry, requires_grad, channels_last):
    input = maps(torch.float64, channels_last=channels_last, requires_grad=requires_grad)
    boxes = rois(torch.float64).requires_grad_(requires_grad)
    torch.library.opcheck(_operators.roi_align, (input, boxes, (3, 4), *geometry))


@pytest.mark.parametrize("shape", [(2, 0, 6, 7), (2, 2, 0, 7), (2, 1, 6, 7), (2, 2, 1, 1)])
@pytest.mark.parametrize("number", [0, 4])
@pytest.mark.parametrize("channels_last", [False, True])
def test_opcheck_of_odd_sizes(shape, number, channels_last):
    input = maps(shape=shape, channels_last=channels_last)
    torch.library.opcheck(_operators.roi_align, (input, rois()[:number], (3, 4), *GEOMETRY))


@copies_are_no_leaves
@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_opcheck_of_the_gradients(channels_last, requires_grad):
    grad = maps(torch.float64, (4, 2, 3, 4), channels_last=channels_last)
    grad.requires_grad_(requires_grad)
    boxes = rois(torch.float64)
    input = maps(torch.float64)
    torch.library.opcheck(_operators.feature_gradient, (grad, boxes, None, input.shape, *GEOMETRY))
    with torch.no_grad():
        torch.library.opcheck(
            _operators.feature_gradient, (grad, boxes, input, input.shape, *MAXIMUM)
        )
        torch.library.opcheck(_operators.box_gradient, (grad, boxes, input, *GEOMETRY))


# Traced, compiled and exported: what eager gives, to the bit


@pytest.fixture
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def gradients(function, boxes):
    input = maps(requires_grad=True)
    boxes = [entry.clone().requires_grad_() for entry in boxes]
    pooled = function(input, boxes)
    return pooled, *torch.autograd.grad(pooled.square().sum(), (input, *boxes))


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("options", [{}, {"mode": "max"}, {"convention": "document"}], ids=str)
def test_compiled_is_eager(options):
    def function(input, boxes):
        return roi_align(input, boxes, (3, 4), 0.5, 2, **options)

    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    for one, other in zip(
        gradients(compiled, boxes_per_image()), gradients(function, boxes_per_image()), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.usefixtures("fresh_compiler")
def test_compiled_for_any_number_of_boxes():
    compiled = torch.compile(pool, fullgraph=True, backend="aot_eager", dynamic=True)
    with torch.compiler.set_stance("default"):
        assert torch.equal(compiled(maps(), rois()), pool(maps(), rois()))
    with torch.compiler.set_stance("fail_on_recompile"):
        assert torch.equal(compiled(maps(), rois()[1:]), pool(maps(), rois()[1:]))


@pytest.mark.usefixtures("fresh_compiler")
def test_inductor_is_eager():
    # It chooses strides of its own: the layers around must not hand over others than they said.
    head = Head().to(memory_format=torch.channels_last)
    with torch.no_grad():
        compiled = torch.compile(head, fullgraph=True)(maps(channels_last=True), rois())
        torch.testing.assert_close(compiled, head(maps(channels_last=True), rois()))


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("options", [{}, {"mode": "max"}, {"convention": "mmcv"}], ids=str)
def test_exported_is_eager_for_any_number_of_boxes(options, strict):
    head = Head(**options).eval()
    number = torch.export.Dim("number", min=1)
    program = torch.export.export(
        head, (maps(), rois()), dynamic_shapes=(None, {0: number}), strict=strict
    )
    names = {str(node.target) for node in program.graph.nodes}
    assert "roialign_cy.roi_align.default" in names
    for boxes in rois(), rois()[:3]:
        assert torch.equal(program.module()(maps(), boxes), head(maps(), boxes))


def test_exported_can_be_saved_and_loaded():
    file = io.BytesIO()
    torch.export.save(torch.export.export(Head().eval(), (maps(), rois())), file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    assert torch.equal(loaded(maps(), rois()), Head()(maps(), rois()))


def test_symbolic_trace_has_one_node_and_the_result():
    traced = torch.fx.symbolic_trace(Head())
    assert sum(node.target is roi_align for node in traced.graph.nodes) == 1
    assert torch.equal(traced(maps(), rois()), Head()(maps(), rois()))


@pytest.mark.parametrize("channels_last", [False, True])
def test_meta_tensors_give_shape_dtype_and_strides(channels_last):
    input = maps(torch.float16, channels_last=channels_last)
    expected = pool(input, rois())
    result = pool(input.to("meta"), rois().to("meta"))
    assert result.device.type == "meta"
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    assert result.stride() == expected.stride()


def test_meta_tensors_are_checked():
    with pytest.raises(TypeError, match="input must be float"):
        pool(maps().int().to("meta"), rois().to("meta"))
    with pytest.raises(ValueError, match="boxes must have the shape"):
        pool(maps().to("meta"), rois()[:, :4].to("meta"))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's own use of it
@pytest.mark.parametrize("is_dual", [(True, False), (False, True)])
def test_forward_mode_is_refused(is_dual):
    # A registered operator would drop the tangent and call the derivative zero.
    with torch.autograd.forward_ad.dual_level():
        arguments = [
            torch.autograd.forward_ad.make_dual(tensor, tensor) if dual else tensor
            for tensor, dual in zip((maps(), rois()), is_dual, strict=True)
        ]
        with pytest.raises(NotImplementedError, match="forward mode"):
            pool(*arguments)


# Without a copy


@pytest.mark.parametrize("channels_last", [False, True])
def test_maps_are_read_where_they_lie(watched, channels_last):
    input = maps(channels_last=channels_last)
    pool(input, rois())
    assert watched.features.ctypes.data == input.data_ptr()
    assert watched.spec.channels_last == channels_last


def test_any_strides_are_read_where_they_lie(watched):
    input = maps(shape=(2, 2, 14, 7)).transpose(2, 3)[:, :, 1:, ::2]
    result = pool(input, rois())
    assert watched.features.ctypes.data == input.data_ptr()
    assert torch.equal(result, pool(input.contiguous(), rois()))


@pytest.mark.parametrize("channels_last", [False, True])
def test_gradients_are_read_where_they_lie(watched, channels_last):
    input = maps(channels_last=channels_last, requires_grad=True)
    result = roi_align(input, rois(), 3, mode="max")
    grad = torch.ones_like(result)
    result.backward(grad)
    assert watched.grad_output.ctypes.data == grad.data_ptr()
    assert watched.features.ctypes.data == input.data_ptr()
    assert input.grad.is_contiguous(memory_format=torch.channels_last) == channels_last


def test_result_is_channels_last_where_the_maps_are():
    result = pool(maps(channels_last=True), rois())
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(result, pool(maps(), rois()))
    assert pool(maps(), rois()).is_contiguous()


@pytest.mark.parametrize(("mode", "is_kept"), [("avg", False), ("max", True)])
def test_maps_are_kept_for_the_gradient_only_where_it_needs_them(mode, is_kept):
    input = maps(requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        roi_align(input, rois(), 3, mode=mode)
    assert (input.shape in kept) == is_kept


# What users of other names get


def test_conventions_and_modes_are_the_librarys():
    conventions = [{"convention": name} for name in ra.CONVENTIONS]
    conventions += [
        {"convention": "onnx", "mode": "max"},
        {"convention": ra.Convention(border="zero")},
    ]
    for options in conventions:
        expected = ra.roi_align(maps().numpy(), rois().numpy(), 3, spatial_scale=0.5, **options)
        result = roi_align(maps(), rois(), 3, 0.5, **options)
        np.testing.assert_array_equal(result, expected)


def test_conventions_own_ratio_is_that_of_no_positive_one():
    own = ra.Convention(sampling_ratio=(3, 1))
    expected = roi_align(maps(), rois(), 3, 0.5, (3, 1), True)
    assert torch.equal(roi_align(maps(), rois(), 3, 0.5, convention=own), expected)
    assert torch.equal(roi_align(maps(), rois(), 3, 0.5, (0, 1), convention=own), expected)


def test_module_shows_its_arguments():
    assert repr(RoIAlign(7, 0.25, 2)) == (
        "RoIAlign(output_size=7, spatial_scale=0.25, sampling_ratio=2, aligned=False)"
    )
    assert "mode='max'" in repr(RoIAlign(7, 0.25, 2, mode="max"))


def test_bad_box_of_a_list_is_called_by_its_place_there():
    entries = [torch.zeros(1, 4), torch.tensor([[0, 0, 2.0, 2], [0, 0, 1, float("nan")]])]
    text = r"^boxes\[1\]\[1\] must be finite, got \[ 0\.  0\.  1\. nan\]$"
    with pytest.raises(ValueError, match=text):
        roi_align(maps(), entries, 3)
    entries[1].requires_grad_()
    with pytest.raises(ValueError, match=text):
        roi_align(maps(), entries, 3)
    with (
        torch.autocast("cpu", torch.bfloat16),
        pytest.raises(ValueError, match=r"^boxes\[1\]\[1\] must be finite"),
    ):
        roi_align(maps().bfloat16(), [entry.detach().bfloat16() for entry in entries], 3)
    with pytest.raises(ValueError, match=r"^boxes\[1\] must be finite"):
        roi_align(maps(), torch.nn.functional.pad(entries[1], (1, 0)), 3)


def test_refusal_of_a_backend_calls_maps_input(watched):
    watched.array_types = ("cupy:ndarray",)
    with pytest.raises(TypeError, match=r"^input of type numpy\.ndarray cannot go to backend"):
        pool(maps(), rois())


@pytest.mark.usefixtures("fresh_compiler")
def test_compiled_for_any_scale():
    compiled = torch.compile(
        lambda input, boxes, scale: roi_align(input, boxes, 3, scale),
        fullgraph=True,
        backend="aot_eager",
        dynamic=True,
    )
    for scale in 0.5, 0.25, 1.0, 2:
        expected = roi_align(maps(), rois(), 3, scale)
        assert torch.equal(compiled(maps(), rois(), scale), expected)
    with pytest.raises(ValueError, match="spatial_scale must be > 0"):
        compiled(maps(), rois(), -1.0)


@pytest.mark.parametrize("convention", ["detectron2", "document"])
def test_ratio_of_minus_one_is_that_of_zero(convention):
    one, other = (roi_align(maps(), rois(), 3, 0.5, n, convention=convention) for n in (-1, 0))
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"convention": "detectron"}, ValueError, "did you mean 'detectron2'"),
        ({"convention": "mmcv", "aligned": True}, ValueError, "aligned must be left out"),
        ({"mode": "median"}, ValueError, "mode must be one of"),
        ({"sampling_ratio": 1.5}, TypeError, "sampling_ratio"),
        ({"output_size": (3,)}, ValueError, "output_size"),
        ({"boxes": [torch.zeros(1, 5)]}, ValueError, r"boxes\[0\] must have the shape \(K, 4\)"),
        ({"boxes": [[0, 0, 1, 1]]}, TypeError, r"boxes\[0\] must be a tensor"),
        (
            {"boxes": [torch.zeros(1, 5)] * 2},
            ValueError,
            r"boxes\[0\] .* without a column for the index of the image$",
        ),
        ({"boxes": torch.zeros(2, 4)}, ValueError, r"boxes .* \(2, 4\): the first .* each image$"),
        (
            {"input": maps()[:1], "boxes": torch.zeros(2, 4)},
            ValueError,
            r"boxes must have the shape \(K, 5\), got \(2, 4\): the first .* a list: \[boxes\]$",
        ),
        ({"boxes": torch.zeros(5)}, ValueError, r"boxes .* one box is a row, too: \[boxes\]$"),
        ({"boxes": torch.zeros(0, 7)}, ValueError, r"boxes must have the shape \(K, 5\)"),
        ({"boxes": rois().bool()}, TypeError, "boxes must be floats or integers, got torch.bool$"),
        ({"boxes": rois().cfloat()}, TypeError, "boxes must be floats or integers, got torch.com"),
        (
            {"boxes": [torch.zeros(1, 4), torch.zeros(1, 4, dtype=torch.bool)]},
            TypeError,
            r"boxes\[1\] must be floats or integers, got torch.bool$",
        ),
        ({"input": maps()[0], "boxes": [torch.zeros(1, 4)]}, ValueError, "input must have four"),
        ({"input": maps().numpy()}, TypeError, "input must be a tensor, got ndarray; roialign_cy"),
        ({"boxes": np.zeros((1, 5))}, TypeError, "boxes must be a tensor"),
        ({"boxes": torch.zeros(1, 5, device="meta")}, ValueError, "device of input"),
    ],
    ids=str,
)
def test_bad_arguments_are_named(options, error, message):
    arguments = {"input": maps(), "boxes": rois(), "output_size": 3, **options}
    with pytest.raises(error, match=message):
        roi_align(**arguments)
