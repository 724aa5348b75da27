"""`roialign_cy.torch.MultiScaleRoIAlign`, and torchvision's own under the patch."""

import math
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch", reason="needs the extra 'peers'")
torchvision = pytest.importorskip("torchvision", reason="needs the extra 'peers'")

from torch.autograd import forward_ad, grad, gradcheck  # noqa: E402
from torchvision.ops import MultiScaleRoIAlign as Theirs  # noqa: E402

import roialign_cy as ra  # noqa: E402
from roialign_cy.torch import MultiScaleRoIAlign, _multiscale, patch_torchvision  # noqa: E402

NAMES = ["0", "1", "2", "3"]
SIZES = [(512, 600), (500, 640)]
f64 = torch.float64


def maps(dtype=f64, requires_grad=False, channels=3):
    generator = torch.Generator().manual_seed(0)
    shapes = {name: (2, channels, 128 >> k, 160 >> k) for k, name in enumerate(NAMES)}
    return {
        name: torch.randn(shape, dtype=f64, generator=generator)
        .to(dtype)
        .requires_grad_(requires_grad)
        for name, shape in shapes.items()
    }


def boxes(dtype=f64, number=30):
    generator = torch.Generator().manual_seed(1)
    entries = []
    for _ in SIZES:
        corners = torch.rand(number, 2, dtype=f64, generator=generator) * 300
        sides = 2 ** (torch.rand(number, 2, dtype=f64, generator=generator) * 5 + 4)
        entries.append(torch.cat([corners, corners + sides], 1).to(dtype))
    return entries


@pytest.fixture
def calls(monkeypatch):
    """What goes through our operator."""
    made, pool_levels = [], _multiscale.pool_levels

    def counted(features, *args, **options):
        made.append(len(features))
        return pool_levels(features, *args, **options)

    monkeypatch.setattr(_multiscale, "pool_levels", counted)
    return made


@pytest.mark.parametrize("sampling_ratio", [-1, 0, 2])
@pytest.mark.parametrize("names", [NAMES, NAMES[1:3], NAMES[2:3]], ids=len)
@pytest.mark.parametrize(("dtype", "tolerance"), [(f64, 1e-12), (torch.float32, 2e-4)])
def test_values_and_gradients_are_torchvisions(dtype, tolerance, names, sampling_ratio):
    input = maps(dtype, requires_grad=True)
    results = []
    for kind in MultiScaleRoIAlign, Theirs:
        pool = kind(names, (7, 5), sampling_ratio)
        pooled = pool({**input, "other": torch.zeros(1)}, boxes(dtype), SIZES)
        assert pool.scales == [2.0 ** -(2 + int(name)) for name in names]
        weights = torch.linspace(-1, 1, pooled.numel(), dtype=dtype).reshape(pooled.shape)
        results.append((pooled, *grad(pooled, [input[name] for name in names], weights)))
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == theirs.dtype
        scale = max(1.0, float(theirs.detach().abs().max()))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("aligned", [False, True])
def test_the_numbers_are_the_librarys(aligned):
    pool = MultiScaleRoIAlign(NAMES, 3, 2, canonical_scale=100, canonical_level=3, aligned=aligned)
    input = maps(torch.float32)
    expected = ra.multiscale_roi_align(
        [map_.numpy() for map_ in input.values()],
        [entry.numpy() for entry in boxes()],
        3,
        spatial_scales=[1 / 4, 1 / 8, 1 / 16, 1 / 32],
        canonical_size=100,
        canonical_level=3,
        convention="detectron2" if aligned else "torchvision",
        sampling_ratio=2,
    )
    assert torch.equal(pool(input, boxes(), SIZES), torch.from_numpy(expected))
    last = {n: m.contiguous(memory_format=torch.channels_last) for n, m in input.items()}
    assert torch.equal(pool(last, boxes(), SIZES), torch.from_numpy(expected))


def test_gradcheck_by_maps_and_boxes():
    small = {"a": torch.randn(2, 2, 12, 14, dtype=f64), "b": torch.randn(2, 2, 6, 7, dtype=f64)}
    pool = MultiScaleRoIAlign(["a", "b"], (2, 3), 2, canonical_scale=12, canonical_level=2)
    rois = [torch.tensor([[1.37, 2.21, 7.83, 9.47]]), torch.tensor([[-3.17, 0.73, 15.91, 13.37]])]

    def function(a, b, *rois):
        return pool({"a": a, "b": b}, rois, [(24, 28)])

    arguments = [*small.values(), *(entry.to(f64) for entry in rois)]
    levels = ra.assign_levels(
        [entry.numpy() for entry in rois], [1 / 2, 1 / 4], canonical_size=12, canonical_level=2
    )
    assert levels.tolist() == [0, 1]
    assert gradcheck(function, [argument.requires_grad_() for argument in arguments])
    (by_a,) = grad(function(*arguments).square().sum(), arguments[0], create_graph=True)
    with pytest.raises(RuntimeError, match="cannot be differentiated again"):
        by_a.sum().backward()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck
def test_operators_keep_torchs_rules():
    features = [map_.requires_grad_() for map_ in maps().values()]
    rois = torch.cat([torch.cat([torch.full((30, 1), i), b], 1) for i, b in enumerate(boxes())])
    geometry = [1 / 4, 1 / 8, 1 / 16, 1 / 32], 224.0, 4.0, 2, True
    rois.requires_grad_()
    torch.library.opcheck(_multiscale._pool_operator.overload, (features, rois, (3, 4), *geometry))


def test_compiled_as_one_node():
    nodes = []

    def backend(graph, _):
        nodes.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    pool = MultiScaleRoIAlign(NAMES, 3, 2)
    compiled = torch.compile(pool, fullgraph=True, backend=backend)
    result = compiled(maps(), boxes(), SIZES)
    assert torch.equal(result, pool(maps(), boxes(), SIZES))
    assert nodes.count("roialign_cy.multiscale_roi_align.default") == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_under_autocast_halves_are_computed_in_float32(dtype):
    input = maps(dtype)
    wide = {name: map_.float() for name, map_ in input.items()}
    pool = MultiScaleRoIAlign(NAMES, 3, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = pool(input, boxes(torch.float32), SIZES)
    assert torch.equal(pooled, pool(wide, boxes(torch.float32), SIZES).to(dtype))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's own use of it
def test_what_cannot_be_pooled_is_named():
    pool = MultiScaleRoIAlign(NAMES, 3, 2)
    with pytest.raises(ValueError, match=r"x must have maps of the featmap_names .* \['other'\]$"):
        pool({"other": maps()["0"]}, boxes(), SIZES)
    with pytest.raises(TypeError, match="x must be a dict of maps, got list"):
        pool([*maps().values()], boxes(), SIZES)
    for sizes in [], [(0, 9)]:
        with pytest.raises(ValueError, match="image_shapes must have a height above 0"):
            pool(maps(), boxes(), sizes)
    with pytest.raises(ValueError, match="x must have maps of heights above 0"):
        pool({name: map_[:, :, :0] for name, map_ in maps().items()}, boxes(), SIZES)
    with pytest.raises(ValueError, match="each half the one before"):
        MultiScaleRoIAlign(["0", "2"], 3, 2)(maps(), boxes(), SIZES)
    with pytest.raises(ValueError, match="boxes must have one entry per image"):
        pool(maps(), boxes()[:1], SIZES)
    with pytest.raises(TypeError, match=r"features\[0\] must be float16, .* got torch.int64"):
        pool({name: map_.long() for name, map_ in maps().items()}, boxes(), SIZES)
    bad = boxes()
    bad[1][3, 2] = math.nan
    with pytest.raises(ValueError, match=r"boxes\[1\]\[3\] must be finite"):
        pool(maps(), bad, SIZES)
    halves = {name: map_.bfloat16() for name, map_ in maps().items()}
    with pytest.raises(TypeError, match=r"features\[0\] must be float16, .* under torch.autocast"):
        pool(halves, boxes(), SIZES)
    with forward_ad.dual_level():
        dual = {n: forward_ad.make_dual(map_, map_.clone()) for n, map_ in maps().items()}
        with pytest.raises(NotImplementedError, match="forward mode"):
            pool(dual, boxes(), SIZES)
    on_no_device = {name: map_.to("meta") for name, map_ in maps().items()}
    with pytest.raises(ra.BackendUnavailableError, match="on the CPU only, got tensors on meta"):
        pool(on_no_device, [entry.to("meta") for entry in boxes()], SIZES)


def test_repr_shows_what_was_given():
    given = "featmap_names=['0'], output_size=(7, 7), sampling_ratio=2"
    assert repr(MultiScaleRoIAlign(["0"], 7, 2)) == f"MultiScaleRoIAlign({given})"
    aligned = MultiScaleRoIAlign(["0"], 7, 2, aligned=True)
    assert repr(aligned) == f"MultiScaleRoIAlign({given}, aligned=True)"


def test_torchvisions_module_is_one_call_while_patched(calls):
    method = Theirs.__dict__["forward"]
    input = maps(requires_grad=True)
    plain = Theirs(NAMES, 3, 2)
    expected = plain(input, boxes(), SIZES)
    by_maps = grad(expected.square().sum(), list(input.values()))
    with patch_torchvision():
        with patch_torchvision():
            pass
        assert Theirs.__dict__["forward"] is not method
        new = Theirs(NAMES, 3, 2)
        for pool, is_first in (plain, False), (new, True), (new, False):
            calls.clear()
            pooled = pool(input, boxes(), SIZES)
            assert calls == ([] if is_first else [4])
            torch.testing.assert_close(pooled, expected)
            by_ours = grad(pooled.square().sum(), list(input.values()))
            torch.testing.assert_close(by_ours, by_maps)
        assert new.scales == plain.scales
    assert Theirs.__dict__["forward"] is method
    assert not hasattr(Theirs, "__prepare_scriptable__")


@pytest.mark.parametrize("box_gradients", [False, True])
def test_boxes_have_gradients_if_that_is_asked_for(calls, box_gradients):
    input, rois = maps(requires_grad=True), [entry.requires_grad_() for entry in boxes()]
    pool = Theirs(NAMES, 3, 2)
    pool(input, rois, SIZES)
    with patch_torchvision(box_gradients=box_gradients):
        pool(input, rois, SIZES).sum().backward()
    assert calls == [4]
    assert [entry.grad is not None for entry in rois] == [box_gradients] * 2


class Doubled(Theirs):
    def forward(
        self, x: dict[str, torch.Tensor], boxes: list[torch.Tensor], sizes: list[tuple[int, int]]
    ) -> torch.Tensor:
        return 2 * torch.ones(len(x), len(boxes), len(sizes))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_methods_of_others_are_scripted_as_they_are():
    with patch_torchvision():
        scripted = torch.jit.script(Doubled(NAMES, 3, 2))
    assert torch.equal(scripted(maps(), boxes(), SIZES), torch.full((4, 2, 2), 2.0))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_scripted_traced_and_compiled_modules_stay_torchvisions(calls):
    pool = Theirs(NAMES, 3, 2)
    expected = pool(maps(), boxes(), SIZES)
    before = torch.jit.script(Theirs(NAMES, 3, 2))
    with patch_torchvision():
        meanwhile = torch.jit.script(pool)
        compiled = torch.compile(pool, backend="eager")
        for module in before, meanwhile, compiled:
            torch.testing.assert_close(module(maps(), boxes(), SIZES), expected)
    for module in before, meanwhile:
        torch.testing.assert_close(module(maps(), boxes(), SIZES), expected)
    assert calls == []


def test_what_the_patch_does_not_know_stays_torchvisions(calls):
    skipping, odd = Theirs(["0", "2"], 3, 2), Theirs(NAMES, 3, 2)
    expected = [pool(maps(), boxes(), SIZES) for pool in (skipping, odd)]
    odd.map_levels.eps = 1e-3
    with patch_torchvision():
        for pool, wanted in zip((skipping, odd), expected, strict=True):
            torch.testing.assert_close(pool(maps(), boxes(), SIZES), wanted)
    assert calls == []


def test_the_recipe_of_the_page(capsys):
    page = (Path(__file__).parents[2] / "docs" / "torch.md").read_text("utf-8")
    (program,) = re.findall(r"^```python\n(import numpy.*?)^```$", page, re.MULTILINE | re.DOTALL)
    exec(program, {})
    printed = re.findall(r"print\(.*\)  # (.*)", program)
    assert len(printed) == 3
    assert capsys.readouterr().out.splitlines() == printed
