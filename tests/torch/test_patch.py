"""`patch_torchvision`: whose kernels run, for whom, and until when; and detectors running on it."""

import copy
import subprocess
import sys
from collections import OrderedDict
from functools import partial

import pytest

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch", reason="needs the extra 'peers'")
torchvision = pytest.importorskip("torchvision", reason="needs the extra 'peers'")
pytest.importorskip("skimage", reason="needs the extra 'peers'")

from examples import mask_rcnn_on_cpu as example  # noqa: E402
from torch.autograd import forward_ad  # noqa: E402
from torchvision.ops import roi_align as imported_before  # noqa: E402

from roialign_cy.torch import _kernels, patch_torchvision, roi_align  # noqa: E402

from .cases import boxes_per_image, maps, rois  # noqa: E402  it needs torch, too


@pytest.fixture
def calls(monkeypatch):
    """Names of the calls that this library's kernels get."""
    names = []
    for name in "pool", "feature_gradient", "box_gradient":
        kernel = getattr(_kernels.Kernels, name)

        def counted(*args, _name=name, _kernel=kernel, **options):
            names.append(_name)
            return _kernel(*args, **options)

        monkeypatch.setattr(_kernels.Kernels, name, counted)
    return names


def pool(input, boxes):
    return torchvision.ops.roi_align(input, boxes, (3, 4), 0.5, 2, True)


class Module(torch.nn.Module):
    def forward(self, input, boxes):
        return pool(input, boxes)


def multi_scale(input, boxes):
    levels = OrderedDict(a=input, b=input[:, :, ::2, ::2])
    sizes = [(12, 14)] * 2
    return torchvision.ops.MultiScaleRoIAlign(["a", "b"], 3, 2)(levels, boxes, sizes)


WAYS = {
    "torchvision.ops.roi_align": pool,
    "an import from before": lambda input, boxes: imported_before(input, boxes, 3, 0.5),
    "RoIAlign": lambda input, boxes: torchvision.ops.RoIAlign(3, 0.5, 2)(input, boxes),
    "MultiScaleRoIAlign": multi_scale,
}


@pytest.mark.parametrize("function", WAYS.values(), ids=WAYS)
def test_every_way_to_torchvisions_pooling_is_patched(function, calls):
    results = {}
    for patched in False, True, False:
        input = maps(requires_grad=True)
        if patched:
            with patch_torchvision():
                pooled = function(input, boxes_per_image())
                pooled.square().sum().backward()
            assert set(calls) == {"pool", "feature_gradient"}
        else:
            calls.clear()
            pooled = function(input, boxes_per_image())
            pooled.square().sum().backward()
            assert calls == []
        results[patched] = pooled.detach(), input.grad
    torch.testing.assert_close(results[True], results[False])


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("sampling_ratio", [-1, 2])
def test_result_is_that_of_the_drop_in(aligned, sampling_ratio):
    arguments = maps(), rois(), (3, 4), 0.5, sampling_ratio, aligned
    with patch_torchvision():
        assert torch.equal(torchvision.ops.roi_align(*arguments), roi_align(*arguments))


def test_patches_end_in_any_order(calls):
    first, second = patch_torchvision(), patch_torchvision()
    for patch, is_patched in (first, True), (second, False):
        patch.__exit__(None, None, None)
        calls.clear()
        pool(maps(), rois())
        assert bool(calls) == is_patched


def test_a_patch_that_has_ended_is_not_entered_again():
    patch = patch_torchvision()
    with patch:
        pass
    with pytest.raises(RuntimeError, match="has ended"), patch:
        pass


def test_left_alone_it_stays():
    program = """
import gc, torch, torchvision, roialign_cy.torch
def refused():
    try:
        torchvision.ops.roi_align(torch.zeros(1, 1, 4, 4), torch.full((1, 5), torch.nan), 2)
    except ValueError:
        return True
roialign_cy.torch.patch_torchvision()
gc.collect()
print(refused())
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout.split() == ["True"], run.stderr


def test_boxes_get_no_gradient_unless_asked_for():
    for box_gradients in False, True:
        input, boxes = maps(requires_grad=True), rois().requires_grad_()
        with patch_torchvision(box_gradients=box_gradients):
            pool(input, boxes).square().sum().backward()
        assert (boxes.grad is not None) == box_gradients
    expected = rois().requires_grad_()
    roi_align(maps(), expected, (3, 4), 0.5, 2, True).square().sum().backward()
    assert torch.equal(boxes.grad, expected.grad)


def test_box_gradients_pass_the_pyramid():
    boxes = [entry.requires_grad_() for entry in boxes_per_image()]
    with patch_torchvision(box_gradients=True):
        multi_scale(maps(), boxes).square().sum().backward()
    assert all(entry.grad.abs().sum() > 0 for entry in boxes)


@pytest.mark.parametrize("box_gradients", [False, True])
def test_result_is_contiguous_as_torchvision_says(box_gradients):
    for requires_grad in False, True:
        input = maps(channels_last=True).requires_grad_(requires_grad)
        with patch_torchvision(box_gradients=box_gradients):
            result = pool(input, rois())
            assert result.is_contiguous()
            if requires_grad:
                result.sum().backward()


def test_autocast_is_torchvisions():
    with patch_torchvision(), torch.autocast("cpu", torch.bfloat16):
        result = pool(maps(torch.bfloat16), rois())
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(result, pool(maps(torch.bfloat16), rois()))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_scripted_models_are_patched(calls):
    script = torch.jit.script(Module())
    with patch_torchvision():
        assert torch.equal(script(maps(), rois()), pool(maps(), rois()))
    assert calls == ["pool"] * 2


def test_compiled_models_are_patched_whenever_they_were_compiled(calls):
    torch._dynamo.reset()
    compiled = torch.compile(Module(), fullgraph=True, backend="aot_eager")
    compiled(maps(), rois())
    assert calls == []
    with patch_torchvision():
        assert torch.equal(compiled(maps(), rois()), pool(maps(), rois()))
    assert calls == ["pool"] * 2
    torch._dynamo.reset()


@pytest.mark.parametrize("compiled_before", [False, True])
def test_compiled_models_give_box_gradients(compiled_before):
    torch._dynamo.reset()
    if compiled_before:  # torch remembers where it went
        torch.compile(Module(), fullgraph=True, backend="aot_eager")(maps(), rois())
        torch._dynamo.reset()
    gradients = []
    with patch_torchvision(box_gradients=True):
        for module in Module(), torch.compile(Module(), fullgraph=True, backend="aot_eager"):
            boxes = rois().requires_grad_()
            module(maps(), boxes).square().sum().backward()
            gradients.append(boxes.grad)
    assert torch.equal(*gradients)
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's own use of it
@pytest.mark.parametrize("box_gradients", [False, True])
def test_forward_mode_is_refused(box_gradients):
    input = maps(requires_grad=True)
    with patch_torchvision(box_gradients=box_gradients):
        pooled = pool(input, rois())
        with forward_ad.dual_level():
            for tensor in input, input.detach():
                with pytest.raises(NotImplementedError, match="forward mode"):
                    pool(forward_ad.make_dual(tensor, torch.ones_like(tensor)), rois())
            grad_output = forward_ad.make_dual(torch.ones_like(pooled), torch.ones_like(pooled))
            with pytest.raises(NotImplementedError, match="forward mode"):
                torch.autograd.grad(pooled, input, grad_output)


def test_bad_boxes_are_refused():
    boxes = rois()
    boxes[0, 0] = 7
    with patch_torchvision(), pytest.raises(ValueError, match=r"boxes\[0, 0\] must be the index"):
        pool(maps(), boxes)


# Detectors


SIZE = 128
FEW = {  # of the proposals, which take most of the time
    "rpn_post_nms_top_n_train": 100,
    "rpn_post_nms_top_n_test": 50,
    "box_batch_size_per_image": 32,
    "box_detections_per_img": 20,
}


@pytest.fixture(scope="module", params=example.MODELS)
def answers(request):
    """What a model detects and learns on the photograph, torchvision's way and ours."""
    model = example.make_model(request.param, SIZE, **FEW)
    found = {}
    for way, patch in example.WAYS.items():
        learner = copy.deepcopy(model)
        with patch():
            found[way] = example.detect(model), example.train(learner), learner
    return found.values()


def test_detector_finds_the_same(answers):
    (one, _, _), (other, _, _) = answers
    assert len(one["labels"]) > 10
    assert torch.equal(one["labels"], other["labels"])
    torch.testing.assert_close(one["scores"], other["scores"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one["boxes"], other["boxes"], rtol=0, atol=1e-2)  # pixels of 512
    if "masks" in one:
        torch.testing.assert_close(one["masks"], other["masks"], rtol=0, atol=1e-3)


def test_detector_learns_the_same(answers):
    (_, losses, learner), (_, other_losses, other_learner) = answers
    assert losses == pytest.approx(other_losses, rel=1e-4)
    for one, other in zip(learner.parameters(), other_learner.parameters(), strict=True):
        scale = float(one.grad.abs().max())
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-2 * scale)


def test_example_runs(monkeypatch, capsys):
    light = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn
    monkeypatch.setitem(example.MODELS, "faster", partial(light, **FEW))
    monkeypatch.setattr(
        sys, "argv", ["example", "--model", "faster", "--size", str(SIZE), "--rounds", "1"]
    )
    example.main()
    printed = capsys.readouterr().out
    assert "the same labels: True" in printed
    assert printed.count("ratio") == 4
