"""`torch.vmap` over pooling: one call for the whole batch, and the bits of one by one."""

import pytest

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch", reason="needs the extra 'peers'")

from roialign_cy.torch import _operators, roi_align  # noqa: E402

from .cases import maps, rois  # noqa: E402  it needs torch, too

BATCH = 3


def pool(input, boxes):
    return roi_align(input, boxes, (3, 4), 0.5, 2, True)


def batch_of(tensor, dim):
    """Different tensors of the form of one, stacked along an axis."""
    if dim is None:
        return tensor
    sides = [torch.cat([tensor[..., :1], tensor[..., 1:] + k], -1) for k in range(BATCH)]
    return torch.stack(sides, dim)


@pytest.fixture
def kernel_calls(monkeypatch):
    calls = []
    on_cpu = _operators._kernels.BRIDGES["cpu"]

    def counted(*args):
        calls.append(args)
        return on_cpu(*args)

    monkeypatch.setitem(_operators._kernels.BRIDGES, "cpu", counted)
    return calls


@pytest.mark.parametrize("boxes_dtype", [torch.float32, torch.float16, torch.int64])
@pytest.mark.parametrize("in_dims", [(0, None), (2, None), (None, 0), (None, 1), (0, 0), (3, 1)])
def test_a_batch_is_one_call(in_dims, boxes_dtype, kernel_calls):
    input, boxes = batch_of(maps(), in_dims[0]), batch_of(rois().to(boxes_dtype), in_dims[1])
    result = torch.vmap(pool, in_dims)(input, boxes)
    assert len(kernel_calls) == 1
    for k in range(BATCH):
        one = [
            tensor if dim is None else tensor.select(dim, k)
            for tensor, dim in zip((input, boxes), in_dims, strict=True)
        ]
        assert torch.equal(result[k], pool(*one))


@pytest.mark.parametrize("in_dims", [(0, None), (None, 0), (0, 0)])
def test_no_boxes_in_a_batch(in_dims):
    result = torch.vmap(pool, in_dims)(
        batch_of(maps(), in_dims[0]), batch_of(rois()[:0], in_dims[1])
    )
    assert result.shape == (BATCH, 0, 2, 3, 4)


def test_more_images_than_a_half_can_count():
    input, boxes = torch.rand(2100, 2, 1, 3, 3), torch.tensor([[[1, 0.5, 0.5, 2.5, 2.5]]]).half()
    boxes = boxes.expand(2100, 1, 5)
    result = torch.vmap(pool)(input, boxes)
    assert torch.equal(result[2099], pool(input[2099], boxes[2099]))


@pytest.mark.parametrize("index", [-1, 2, 0.5])
def test_an_index_of_another_element_is_refused(index):
    boxes = batch_of(rois(), 0)
    boxes[1, 0, 0] = index
    with pytest.raises(ValueError, match="must be the index of an image"):
        torch.vmap(pool)(batch_of(maps(), 0), boxes)


def test_gradients_pass_the_batch():
    input, boxes = batch_of(maps(), 0).requires_grad_(), batch_of(rois(), 0).requires_grad_()
    torch.vmap(pool)(input, boxes).square().sum().backward()
    for k in range(BATCH):
        one = input.detach()[k].requires_grad_(), boxes.detach()[k].requires_grad_()
        pool(*one).square().sum().backward()
        torch.testing.assert_close(input.grad[k], one[0].grad)
        torch.testing.assert_close(boxes.grad[k], one[1].grad)
