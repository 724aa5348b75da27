"""Exported to ONNX, pooling is its RoiAlign: what ONNX Runtime computes is what we do."""

import io

import pytest

import roialign_cy as ra

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the older exporter, by itself
    pytest.mark.filterwarnings("ignore:Converting a tensor to a Python"),
]
torch = pytest.importorskip("torch", reason="needs the extra 'peers'")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra 'peers'")
pytest.importorskip("onnxscript", reason="needs the extra 'peers'")

from roialign_cy.torch import RoIAlign, onnx_translations  # noqa: E402

from .cases import maps, rois  # noqa: E402  it needs torch, too

SAYABLE = {
    "torchvision": {},
    "detectron2": {"aligned": True},
    "a ratio": {"aligned": True, "sampling_ratio": 3},
    "mmcv": {"convention": "mmcv", "sampling_ratio": 2},
    "onnx": {"convention": "onnx"},
    "onnx-10": {"convention": "onnx-10"},
    "ONNX's maximum": {"convention": "onnx", "mode": "max", "sampling_ratio": 2},
}
UNSAYABLE = {
    "mode 'max'": {"mode": "max"},
    "sampling_ratio": {"sampling_ratio": (1, 2)},
    "sampling 'interior'": {"convention": "document", "mode": "avg"},
    "sampling 'cells'": {"convention": "roi_pool", "mode": "max"},
    "border 'zero'": {"convention": ra.Convention(border="zero")},
    "pixel_offset 0.25": {"convention": ra.Convention(pixel_offset=0.25)},
}


def module(sampling_ratio=-1, **options):
    return RoIAlign((3, 4), 0.5, sampling_ratio, **options).eval()


def exported(model, *arguments, dynamo, dynamic=None):
    file = io.BytesIO()
    translations = onnx_translations()
    if dynamo:
        torch.onnx.export(
            model,
            arguments,
            file,
            opset_version=18,
            custom_translation_table=translations,
            dynamic_shapes=dynamic,
            verbose=False,
        )
    else:
        names = ["input", "boxes"]
        torch.onnx.export(
            model,
            arguments,
            file,
            opset_version=18,
            dynamo=False,
            input_names=names,
            dynamic_axes=dynamic and dict(zip(names, dynamic, strict=True)),
        )
    return file.getvalue()


def run(model, *arguments):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    feed = {name: tensor.numpy() for name, tensor in zip(names, arguments, strict=True)}
    return torch.from_numpy(session.run(None, feed)[0])


def by_both(cases):
    """Every case by the older exporter, and the first by the newer, which is slow."""
    dynamo = [pytest.param(*case, True, id=f"dynamo, {case[0]}") for case in list(cases)[:1]]
    return [*dynamo, *(pytest.param(*case, False, id=case[0]) for case in cases)]


@pytest.mark.parametrize(("name", "options", "dynamo"), by_both(SAYABLE.items()))
def test_onnx_runtime_gives_what_the_module_does(name, options, dynamo):
    model, arguments = module(**options), (maps(), rois())
    result = run(exported(model, *arguments, dynamo=dynamo), *arguments)
    torch.testing.assert_close(result, model(*arguments), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dynamo", [True, False])
def test_batch_and_boxes_may_be_dynamic(dynamo):
    model = module(aligned=True)
    dynamic = ({0: "images"}, {0: "boxes"})
    if dynamo:
        dynamic = tuple({0: torch.export.Dim(size[0])} for size in dynamic)
    program = exported(model, maps(), rois(), dynamo=dynamo, dynamic=dynamic)
    for images, count in (2, 3), (5, 1), (3, 0):
        input = maps(shape=(images, 2, 6, 7))
        boxes = rois()[:count]
        torch.testing.assert_close(run(program, input, boxes), model(input, boxes))


@pytest.mark.parametrize(("what", "options", "dynamo"), by_both(UNSAYABLE.items()))
def test_what_onnx_cannot_say_is_refused_by_its_name(what, options, dynamo):
    with pytest.raises(Exception, match="ONNX's RoiAlign has no") as refusal:
        exported(module(**options), maps(), rois(), dynamo=dynamo)
    assert what in str(refusal.getrepr(chain=True))
