"""The demonstration: its features, its geometry and the document's worked example."""

import sys

import numpy as np
import pytest

from roialign_cy import demo
from roialign_cy._cli import worked_example

pytest.importorskip("PIL", reason="the extra 'demo' is not installed")


def save_image(path, pixels, mode="RGB"):
    from PIL import Image

    Image.fromarray(pixels).convert(mode).save(path)
    return path


def test_feature_map_is_the_mean_of_each_cell():
    photograph = np.zeros((512, 512, 3), np.uint8)
    photograph[32:64, 96:128] = (255, 0, 51)  # row 1, column 3
    photograph[32:64, 96:112, 2] = 0  # on half of the cell
    features = demo.feature_map(photograph)
    assert features.shape == (1, len(demo.CHANNELS), 16, 16)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features[0, :3, 1, 3], [1, 0, 0.1], rtol=1e-6)
    np.testing.assert_allclose(features[0, 3, 1, 3], 0.2126 + 0.1 * 0.0722, rtol=1e-6)
    assert np.count_nonzero(features[0, :4]) == 3  # the other cells are black


def test_gradients_of_a_ramp():
    ramp = np.zeros((512, 512, 3), np.uint8)
    ramp[:] = (np.arange(512) // 2)[:, np.newaxis, np.newaxis]  # grey, growing downwards
    horizontal, vertical = demo.feature_map(ramp)[0, 4:]
    assert not horizontal.any()
    np.testing.assert_allclose(vertical, 0.5 / 255, rtol=0.05)


def test_photograph_is_cut_to_its_central_square(tmp_path):
    pixels = np.zeros((100, 300, 3), np.uint8)
    pixels[:, 100:200] = (10, 20, 30)
    photograph = demo.load_photograph(save_image(tmp_path / "wide.png", pixels))
    assert photograph.shape == (512, 512, 3)
    assert photograph.dtype == np.uint8
    inner = photograph[8:-8, 8:-8]  # resizing blends the border with what was cut off
    assert (inner == (10, 20, 30)).all()


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_photograph_of_any_mode(tmp_path, mode):
    pixels = np.full((8, 8, 3), 255, np.uint8)
    path = save_image(tmp_path / "image.tif", pixels, mode)
    assert (demo.load_photograph(path) == 255).all()


def test_default_photograph():
    pytest.importorskip("matplotlib", reason="the extra 'demo' is not installed")
    photograph = demo.load_photograph()
    assert photograph.shape == (512, 512, 3)
    assert photograph.std() > 20


@pytest.mark.parametrize("content", [None, b"", b"no image", b"\x89PNG\r\n\x1a\n broken"])
def test_photograph_that_cannot_be_read(tmp_path, content):
    path = tmp_path / "image.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot read .*image\.png"):
        demo.load_photograph(path)


def test_computations_need_no_extra(monkeypatch):
    for package in ("PIL", "click", "matplotlib", "rich"):
        monkeypatch.setitem(sys.modules, package, None)
    features = demo.feature_map(np.zeros((512, 512, 3), np.uint8))
    assert not demo.pool_box(features).any()
    assert worked_example.worked_numbers()


def test_values_at_points():
    features = np.random.default_rng(0).random((1, 2, 16, 16))
    x, y = 4.5, 3.5  # a cell's centre
    values = demo.values_at(features, [(x, y), (x + 0.5, y)])
    cell = features[0, :, 12, 4]
    np.testing.assert_allclose(values, [cell, (cell + features[0, :, 12, 5]) / 2], rtol=1e-12)


def test_worked_example():
    numbers = {number.what: number for number in worked_example.worked_numbers()}
    # The slips of the document, and nothing else, differ; each is named.
    differing = {what: number for what, number in numbers.items() if not number.agrees}
    assert differing.keys() == {"box: top left", "box: width, height", "point P(2,3,2,2)"}
    assert all("slip" in number.remark for number in differing.values())
    assert numbers["box: top left"].computed == (296, 320)
    assert numbers["box: width, height"].computed == (200, 145)
    points = {
        "point P(1,1,1,1)": (9.9444, 9.4965),
        "point P(1,1,2,2)": (10.6389, 8.9931),
        "point P(2,3,2,2)": (12.7222, 5.9722),
    }
    for what, expected in points.items():
        np.testing.assert_allclose(numbers[what].computed, expected, atol=5e-5)
    values = {
        "value at [9.94, 9.5]": 0.144,
        "value at [10.63, 9.5]": 0.213,
        "value at [9.94, 8.99]": 0.51324,
        "value at [10.63, 8.99]": 0.42822,
        "output of section (1,1)": 0.51057,
    }
    for what, expected in values.items():
        np.testing.assert_allclose(numbers[what].computed, [expected], atol=5e-6)


def test_backends_agree(backend):
    features = np.random.default_rng(1).random((1, 6, 16, 16), np.float32)
    expected = demo.pool_box(features, "reference")
    np.testing.assert_allclose(demo.pool_box(features, backend), expected, rtol=1e-6)
