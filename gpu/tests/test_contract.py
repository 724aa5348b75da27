"""What the gpu backend does with arrays of every kind, good and bad."""

from types import SimpleNamespace

import cupy
import numpy as np
import pytest
import roialign_cy as ra

from agreement import Call

pytestmark = pytest.mark.gpu

CALL = Call(scale=1.0)
OPTIONS = {"convention": "detectron2", "sampling_ratio": 2}


def arrays():
    return CALL.arrays()


def pool(features, rois, **options):
    return ra.roi_align(features, rois, CALL.output_size, **(OPTIONS | options))


def expected():
    features, rois, _ = arrays()
    return CALL.pool(cupy.asarray(features), cupy.asarray(rois)).get()


def test_cupy_gives_cupy():
    features, rois, _ = map(cupy.asarray, arrays())
    output = pool(features, rois)
    assert isinstance(output, cupy.ndarray)
    np.testing.assert_array_equal(output.get(), expected())


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_numpy_goes_there_and_back(byte_order):
    features, rois, _ = arrays()
    output = pool(features.astype(f"{byte_order}f4"), rois, backend="gpu")
    assert type(output) is np.ndarray
    np.testing.assert_array_equal(output, expected())


def test_numpy_out_is_filled():
    features, rois, grad = arrays()
    out = np.full((*expected().shape[:-1], 6), np.nan, np.float32)[..., ::2]
    assert pool(features, rois, backend="gpu", out=out) is out
    np.testing.assert_array_equal(out, expected())
    gradient = np.full(features.shape, np.nan, np.float32)
    result = CALL.gradients(grad, rois, features, "features", out=gradient, backend="gpu")
    assert result is gradient
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_levels_of_numpy_have_the_bits_of_the_cpu(layout, mode):
    rng = np.random.default_rng(0)
    shapes = [(2, 5, 24, 20), (2, 5, 12, 10), (2, 5, 6, 5)]
    if layout == "NHWC":
        shapes = [(n, h, w, c) for n, c, h, w in shapes]
    maps = [rng.standard_normal(shape, np.float32) for shape in shapes]
    corners = rng.uniform(0, 40, (12, 2))
    extents = rng.uniform(1, 40, (12, 2))
    rois = np.column_stack([np.arange(12) % 2, corners, corners + extents])
    options = {"mode": mode, "layout": layout, "spatial_scales": [1 / 4, 1 / 8, 1 / 16]}
    levels = np.array([0, 2] * 6)  # and none on the map between
    of_cpu, of_gpu = (
        ra.multiscale_roi_align(maps, rois, (2, 3), levels=levels, backend=backend, **options)
        for backend in ("cpu", "gpu")
    )
    np.testing.assert_array_equal(of_gpu, of_cpu)
    grad = rng.standard_normal(of_cpu.shape, np.float32)
    options |= {"features": maps, "wrt": ("features", "rois"), "levels": levels}
    of_cpu, of_gpu = (
        ra.multiscale_roi_align_backward(grad, rois, shapes, backend=backend, **options)
        for backend in ("cpu", "gpu")
    )
    for ours, expected in zip(of_gpu[0], of_cpu[0], strict=True):
        np.testing.assert_array_equal(ours, expected)
    np.testing.assert_allclose(of_gpu[1], of_cpu[1], rtol=0, atol=1e-5)


def test_levels_of_cupy_are_refused_by_name():
    features, rois, _ = arrays()
    with pytest.raises(TypeError, match=r"features\[0\] must be a NumPy array, got cupy.ndarray"):
        ra.multiscale_roi_align([cupy.asarray(features)], rois, 2, spatial_scales=[1.0])


def test_numpy_is_validated():
    features, rois, _ = arrays()
    rois[3, 2] = np.nan
    with pytest.raises(ValueError, match=r"rois\[3\] must be finite"):
        pool(features, rois, backend="gpu")


def test_inputs_of_any_strides():
    features, rois, _ = arrays()
    strided = cupy.zeros((2, 9, 14, 12), np.float32)[:, :, ::-2, 1::2]
    strided[...] = cupy.asarray(features)
    boxes = cupy.zeros((2 * len(rois), 7))[::2, 6:1:-1]
    boxes[...] = cupy.asarray(rois)
    np.testing.assert_array_equal(pool(strided, boxes).get(), expected())


def test_channels_last_memory_under_channels_first_axes():
    features, rois, _ = arrays()
    turned = cupy.asarray(np.ascontiguousarray(np.moveaxis(features, 1, -1))).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(pool(turned, cupy.asarray(rois)).get(), expected())


def test_same_bits_in_both_layouts():
    features, rois, _ = arrays()
    last = cupy.asarray(np.ascontiguousarray(np.moveaxis(features, 1, -1)))
    output = pool(last, cupy.asarray(rois), layout="NHWC").get()
    np.testing.assert_array_equal(np.moveaxis(output, -1, 1), expected())


def test_out_of_any_strides_is_filled():
    features, rois, grad = map(cupy.asarray, arrays())
    out = cupy.full((len(rois), 9, 3, 4), np.nan, np.float32).transpose(0, 1, 3, 2)[:, :, 3:1:-1]
    assert pool(features, rois, out=out) is out
    np.testing.assert_array_equal(out.get(), expected())
    gradient = cupy.full((2, 9, 6, 7), np.nan, np.float32).swapaxes(2, 3)
    plain, plain_by_boxes = CALL.gradients(grad, rois, features)
    assert CALL.gradients(grad, rois, features, "features", out=gradient) is gradient
    np.testing.assert_array_equal(gradient.get(), plain.get())
    by_boxes = cupy.full((4, len(rois)), np.nan).T
    assert CALL.gradients(grad, rois, features, "rois", out=by_boxes) is by_boxes
    np.testing.assert_array_equal(by_boxes.get(), plain_by_boxes.get())


def test_gradients_have_the_same_bits_every_time():
    features, rois, grad = map(cupy.asarray, arrays())
    first, second = (CALL.gradients(grad, rois, features) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.get(), b.get())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int32, np.uint8])
def test_boxes_of_any_dtype(dtype):
    features, rois, grad = arrays()
    boxes = np.abs(rois[:10]).astype(dtype)
    as_float = boxes if boxes.dtype.kind == "f" else boxes.astype(np.float64)
    want = ra.roi_align(features, boxes, CALL.output_size, backend="reference", **OPTIONS)
    output = pool(cupy.asarray(features), cupy.asarray(boxes))
    np.testing.assert_allclose(output.get(), want, rtol=0, atol=5e-6)
    gradient = CALL.gradients(
        cupy.asarray(grad[:10]), cupy.asarray(boxes), cupy.asarray(features), "rois"
    )
    assert gradient.dtype == as_float.dtype


def test_one_array_of_boxes_per_image():
    features, rois, _ = arrays()
    boxes = [cupy.asarray(rois[rois[:, 0] == n, 1:]) for n in range(2)]
    order = np.argsort(rois[:, 0], kind="stable")
    features = cupy.asarray(features)
    np.testing.assert_array_equal(pool(features, boxes).get(), expected()[order])
    for none in [cupy.empty((0, 4)), []], cupy.empty((0, 4)), cupy.empty(0):
        assert pool(features, none).shape == (0, 9, 2, 3)
    with pytest.raises(ValueError, match="one entry per image: expected 2, got 1"):
        pool(features, boxes[:1])
    with pytest.raises(ValueError, match=r"rois\[1\] must have the shape \(K, 4\)"):
        pool(features, [boxes[0], boxes[1][:, :3]])
    with pytest.raises(ValueError, match=r"rois\[0\] .* got \(1, 5\): without a column"):
        pool(features, [cupy.zeros((1, 5)), []])


def test_one_array_for_each_box():
    features, rois, _ = arrays()
    boxes = list(cupy.asarray(rois))
    np.testing.assert_array_equal(pool(cupy.asarray(features), boxes).get(), expected())
    with pytest.raises(ValueError, match=r"rois must have the shape \(K, 5\), got \(16, 4\)"):
        pool(cupy.asarray(features), [box[1:] for box in boxes])


def test_boxes_of_the_host_are_validated():
    features, rois, _ = arrays()
    features = cupy.asarray(features)
    np.testing.assert_array_equal(pool(features, rois.tolist()).get(), expected())
    with pytest.raises(ValueError, match=r"rois\[0, 0\] must be the index of an image"):
        pool(features, [[7, 0, 0, 1, 1]])


BAD_BOXES = [
    [0, np.nan, 1, 2, 2],
    [0, 1, 1, np.inf, 2],
    [0, -1.7e308, 1, 1.7e308, 2],
    [np.nan, 1, 1, 2, 2],
    [-1, 1, 1, 2, 2],
    [2, 1, 1, 2, 2],
    [0.5, 1, 1, 2, 2],
    [np.inf, 1, 1, 2, 2],
    [1e300, 1, 1, 2, 2],
]


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("ratio", [2, 0])
def test_bad_box_is_nan_and_touches_nothing_else(mode, ratio):
    features, rois, grad = arrays()
    features = cupy.asarray(features)
    good = rois[:3]
    mixed = np.insert(np.repeat(good, 3, 0), np.arange(9), BAD_BOXES, 0)
    call = Call(mode, ratio=ratio, scale=1.0)
    options = {"mode": mode, "sampling_ratio": ratio}

    output = pool(features, cupy.asarray(mixed), **options).get()
    assert np.isnan(output[::2]).all()
    want = pool(features, cupy.asarray(np.repeat(good, 3, 0)), **options).get()
    np.testing.assert_array_equal(output[1::2], want)

    grads = np.repeat(grad[:3], 3, 0)
    mixed_grads = np.insert(grads, np.arange(9), 1, 0)
    by_map, by_box = call.gradients(cupy.asarray(mixed_grads), cupy.asarray(mixed), features)
    good_map, good_box = call.gradients(
        cupy.asarray(grads), cupy.asarray(np.repeat(good, 3, 0)), features
    )
    np.testing.assert_array_equal(by_map.get(), good_map.get())
    assert np.isnan(by_box.get()[::2]).all()
    np.testing.assert_array_equal(by_box.get()[1::2], good_box.get())


def test_box_with_too_many_samples_is_nan():
    features = cupy.asarray(arrays()[0])
    box = cupy.asarray([[0, 0, 0, 1e18, 1]])
    assert np.isnan(pool(features, box, sampling_ratio=0).get()).all()
    assert not np.isnan(pool(features, box).get()).any()


@pytest.mark.parametrize("box", BAD_BOXES)
def test_validation_on_demand(box, monkeypatch):
    features = cupy.asarray(arrays()[0])
    monkeypatch.setenv("ROIALIGN_VALIDATE", "1")
    pool(features, cupy.asarray([[0, 1, 1, 2, 2.0]]))
    with pytest.raises(ValueError, match=r"^rois\[0"):
        pool(features, cupy.asarray([box]))
    monkeypatch.setenv("ROIALIGN_VALIDATE", "0")
    assert np.isnan(pool(features, cupy.asarray([box])).get()).all()
    monkeypatch.setenv("ROIALIGN_VALIDATE", "yes")
    with pytest.raises(ValueError, match="ROIALIGN_VALIDATE must be 0 or 1, got 'yes'"):
        pool(features, cupy.asarray([box]))


@pytest.mark.parametrize("mode", ["avg", "max", "max_weighted"])
@pytest.mark.parametrize("ratio", [1, 0])
def test_only_what_is_read_counts(mode, ratio):
    # On the centre of a cell and at the far border one cell is read, and infinities and NaN
    # beside it must not show.
    features = np.full((1, 1, 4, 4), np.nan)
    features[..., 2, 1] = -3
    features[..., 3, 3] = np.inf
    boxes = cupy.asarray([[0, 1, 2, 1, 2], [0, 3.5, 3.5, 3.5, 3.5]], dtype=float)
    convention = ra.Convention(pixel_offset=0.0, min_size=None if ratio else 1e-9)
    output = ra.roi_align(
        cupy.asarray(features), boxes, 1, convention=convention, sampling_ratio=ratio, mode=mode
    ).get()
    if ratio:
        weighted = mode == "max_weighted"
        np.testing.assert_array_equal(output.ravel(), [0 if weighted else -3, np.inf])
    features[..., 2, 2] = 5
    features[..., 3, 1:3] = 5
    box = cupy.asarray([[0, 1.5, 2.5, 1.5, 2.5], [0, 1.5, 1.5, 1.5, 1.5]])
    output = ra.roi_align(
        cupy.asarray(features), box, 1, convention=convention, sampling_ratio=1, mode=mode
    ).get()
    assert not np.isnan(output[0]).any()
    assert np.isnan(output[1]).all()


def test_overflow_of_half_is_infinite():
    features = cupy.full((1, 1, 2, 2), 65504, np.float16)
    grad = cupy.full((4, 1, 1, 1), 65504, np.float16)
    boxes = cupy.zeros((4, 5))
    call = Call(output_size=(1, 1), ratio=1)
    gradient = call.gradients(grad, boxes, features, "features")
    assert np.isinf(gradient.get()).any()


@pytest.mark.parametrize("shape", [(2, 0, 7, 6), (2, 9, 7, 6), (2, 9, 0, 6), (2, 9, 7, 0)])
@pytest.mark.parametrize("num_boxes", [0, 3])
def test_empty_things(shape, num_boxes):
    features = cupy.ones(shape, np.float32)
    boxes = cupy.asarray(arrays()[1][:num_boxes])
    output = pool(features, boxes)
    assert output.shape == (num_boxes, shape[1], 2, 3)
    if 0 in shape:
        assert not output.get().any()
    gradients = CALL.gradients(cupy.ones(output.shape, np.float32), boxes, features)
    assert [gradient.shape for gradient in gradients] == [shape, (num_boxes, 4)]
    if 0 in shape or not num_boxes:
        assert not any(gradient.get().any() for gradient in gradients)


def test_runs_on_the_current_stream():
    features, rois, _ = map(cupy.asarray, arrays())
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        output = pool(features, rois)
    stream.synchronize()
    np.testing.assert_array_equal(output.get(), expected())


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"features": np.ones((2, 9, 7, 6), np.uint8)}, TypeError, r"\.astype\(np\.float32\)"),
        ({"features": np.ones((2, 9, 7, 6), bool)}, TypeError, r"\.astype\(np\.float32\)"),
        ({"features": np.ones((9, 7, 6))}, ValueError, "features must have four axes"),
        ({"rois": np.ones((3, 4))}, ValueError, r"rois must have the shape \(K, 5\), .* in a list"),
        ({"rois": np.ones((3, 5), bool)}, TypeError, "rois must be floats or integers"),
        ({"out": np.ones((1, 9, 2, 3), np.float32)}, ValueError, "out must have the shape"),
        ({"out": np.ones((16, 9, 2, 3))}, ValueError, "out must have the dtype float32"),
    ],
)
def test_bad_arguments(change, error, text):
    features, rois, _ = arrays()
    arguments = {"features": features, "rois": rois} | change
    with pytest.raises(error, match=text):
        pool(**{name: cupy.asarray(value) for name, value in arguments.items()})


@pytest.mark.parametrize("wrt", ["features", "rois"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, bool, np.complex64])
def test_gradients_refuse_the_features_that_pooling_refuses(dtype, wrt):
    features, rois, grad = arrays()
    features, rois, grad = map(cupy.asarray, (features.astype(bool).astype(dtype), rois, grad))
    for call in (
        lambda: pool(features, rois),
        lambda: CALL.gradients(grad, rois, features, wrt),
    ):
        with pytest.raises(TypeError, match="features must be float16, float32 or float64, got"):
            call()


def test_out_of_another_kind_or_on_top_of_an_input():
    features, rois, _ = map(cupy.asarray, arrays())
    with pytest.raises(TypeError, match="out must be a CuPy array, got numpy"):
        pool(features, rois, out=np.empty((16, 9, 2, 3), np.float32))
    size, result = 2 * 9 * 7 * 6, 16 * 9 * 2 * 3
    memory = cupy.zeros(size + result, np.float32)
    features = memory[:size].reshape(2, 9, 7, 6)
    for view in (features, features[:, :, ::-1, ::-1]):
        pool(view, rois, out=memory[size:].reshape(16, 9, 2, 3))
        with pytest.raises(ValueError, match="out must not overlap features"):
            pool(view, rois, out=memory[size - 1 : -1].reshape(16, 9, 2, 3))
    features = memory[result:].reshape(2, 9, 7, 6)
    for view in (features, features[:, :, ::-1, ::-1]):
        pool(view, rois, out=memory[:result].reshape(16, 9, 2, 3))
        with pytest.raises(ValueError, match="out must not overlap features"):
            pool(view, rois, out=memory[1 : result + 1].reshape(16, 9, 2, 3))


def test_out_between_the_elements_of_an_input():
    _, rois, _ = map(cupy.asarray, arrays())
    memory = cupy.zeros((16, 9, 2, 3, 2), np.float32)
    features = memory[:2, :, :, :, 0]
    assert pool(features, rois, out=memory[..., 1]).shape == (16, 9, 2, 3)


def test_out_that_overlaps_itself():
    features, rois, _ = map(cupy.asarray, arrays())
    one = cupy.zeros((1, 9, 2, 3), np.float32)
    with pytest.raises(ValueError, match="out must not overlap itself"):
        pool(features, rois, out=cupy.broadcast_to(one, (16, 9, 2, 3)))


def test_out_on_top_of_boxes_of_the_host():
    # As in memory that is managed. Refused before they are read.
    features, _, _ = map(cupy.asarray, arrays())
    out = cupy.zeros((16, 9, 2, 3), np.float32)
    facts = {"shape": (16, 5), "typestr": "<f4", "data": (out.data.ptr, False), "version": 3}
    rois = np.asarray(SimpleNamespace(__array_interface__=facts))
    with pytest.raises(ValueError, match="out must not overlap rois"):
        pool(features, rois, out=out)


def at_odd_addresses(array):
    memory = cupy.zeros(array.nbytes + array.itemsize, np.uint8)
    moved = memory[1 : 1 + array.nbytes].view(array.dtype).reshape(array.shape)
    return moved


def of_odd_strides(array):
    step = array.itemsize + 1
    memory = cupy.zeros(array.size * step + array.itemsize, np.uint8)
    strides = tuple(stride // array.itemsize * step for stride in array.strides)
    return cupy.ndarray(array.shape, array.dtype, memory.data, strides=strides)


@pytest.mark.parametrize("kind", [at_odd_addresses, of_odd_strides])
@pytest.mark.parametrize(
    ("wrt", "name"),
    [
        *((None, name) for name in ("features", "rois", "out")),
        *(("features", name) for name in ("grad_output", "features", "rois", "out")),
        *(("rois", name) for name in ("grad_output", "features", "rois", "out")),
    ],
)
def test_misaligned_arrays_are_refused(wrt, name, kind):
    features, rois, grad = map(cupy.asarray, arrays())
    arguments = {"features": features, "rois": rois}
    if wrt is None:
        arguments |= {"output_size": CALL.output_size, "out": cupy.zeros_like(grad)}
        function = ra.roi_align
    else:
        out = features if wrt == "features" else rois[:, 1:]
        arguments |= {"grad_output": grad, "out": cupy.zeros(out.shape, out.dtype)}
        arguments |= {"input_shape": features.shape, "wrt": wrt}
        function = ra.roi_align_backward
    arguments[name] = kind(arguments[name])
    text = rf"^{name} must have its address and strides in multiples of its items of"
    with pytest.raises(ValueError, match=text):
        function(**arguments, **CALL.options)
    # What is refused was not written to.
    written = arguments["out"]
    memory = cupy.ndarray((written.nbytes,), np.uint8, written.data)
    assert not memory.get().any()


def test_misaligned_boxes_in_a_list_are_refused():
    features, rois, _ = map(cupy.asarray, arrays())
    boxes = [rois[:, 1:].copy(), at_odd_addresses(rois[:3, 1:].copy())]
    with pytest.raises(ValueError, match=r"^rois\[1\] must have its address"):
        pool(features, boxes)


def test_strides_of_axes_of_one_do_not_count():
    features = cupy.ones((1, 1, 4, 4), np.float32)
    odd = cupy.ndarray(features.shape, features.dtype, features.data, strides=(7, 3, 16, 4))
    box = cupy.asarray([[0, 1.0, 1, 3, 3]])
    assert (pool(odd, box).get() == 1).all()


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"grad_output": np.ones((3, 9, 2, 3))}, ValueError, "grad_output must have the shape"),
        ({"grad_output": np.ones((16, 9, 2, 3), int)}, TypeError, "grad_output must be float16"),
        ({"features": np.ones((2, 9, 7, 7))}, ValueError, "shape input_shape"),
        ({"features": np.ones((2, 9, 7, 6))}, TypeError, "the dtype of grad_output, float32, got"),
        ({"out": np.ones((2, 9, 7, 7))}, ValueError, "out must have the shape"),
    ],
)
def test_bad_gradient_arguments(change, error, text):
    features, rois, grad = arrays()
    arguments = {"grad_output": grad, "rois": rois, "features": features} | change
    arguments = {name: cupy.asarray(value) for name, value in arguments.items()}
    with pytest.raises(error, match=text):
        ra.roi_align_backward(input_shape=features.shape, **arguments, **CALL.options)


def test_shapes_in_texts_are_in_the_layout_of_the_call():
    last = Call(scale=1.0, layout="NHWC")
    features, rois, grad = map(cupy.asarray, last.arrays())
    with pytest.raises(ValueError, match=r"out must have .* \(16, 2, 3, 9\), got \(16, 2, 2, 9\)"):
        last.pool(features, rois, out=cupy.empty((16, 2, 2, 9), np.float32))
    with pytest.raises(ValueError, match=r"shape \(16, 2, 3, 9\) for .*, got \(16, 2, 3, 8\)"):
        last.gradients(grad[..., 1:], rois, features)
    with pytest.raises(ValueError, match=r"out must have .* \(2, 7, 6, 9\), got \(2, 7, 6\)"):
        last.gradients(grad, rois, features, "features", out=cupy.empty((2, 7, 6), np.float32))


def test_result_lies_in_memory_as_the_layout_says():
    last = Call(layout="NHWC")
    for on_device in (True, False):
        features, rois, grad = map(cupy.asarray if on_device else np.asarray, last.arrays())
        options = {"backend": "gpu"}
        assert last.pool(features, rois, **options).flags.c_contiguous
        assert last.gradients(grad, rois, features, "features", **options).flags.c_contiguous
