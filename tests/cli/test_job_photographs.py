"""`roialign pool` of a folder of photographs, which a CSV or COCO file names."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("click", reason="the extra 'cli' is not installed")
pytest.importorskip("rich", reason="the extra 'cli' is not installed")

from PIL import Image

import roialign_cy as ra
from roialign_cy._jobs import images

from .job_commands import assert_refused, interrupted, names, pool, run

SIZES = {"a.png": (30, 40), "b.bmp": (64, 21), "sub/c d,e.tif": (17, 90)}
BOXES = [
    ("b.bmp", 1, 2, 15, 40.5),
    ("a.png", 0, 0, 39, 29),
    ("sub/c d,e.tif", 4, 1, 80, 16),
    ("b.bmp", -3, 10, 9, 30),
]
OPTIONS = ("photos", "boxes.csv", "-o", "out.npy", "--output-size", "2x3", "--convention", "mmcv")


@pytest.fixture(autouse=True)
def photographs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos/sub").mkdir(parents=True)
    rng = np.random.default_rng(0)
    found = {}
    for name, (height, width) in SIZES.items():
        found[name] = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(found[name]).save(Path("photos") / name)
    save_boxes()
    return found


def save_boxes(boxes=BOXES, header="x1,score,file_name,y1,x2,y2"):
    rows = [f'{x1},0.5,"{name}",{y1},{x2},{y2}' for name, x1, y1, x2, y2 in boxes]
    Path("boxes.csv").write_text("\n".join([header, *rows, ""]))


def coco(names=tuple(SIZES), boxes=BOXES):
    """Annotations of these photographs, and of one that has none and is not there."""
    listed = [{"id": 70 + index, "file_name": name} for index, name in enumerate(names)]
    annotations = [
        {"image_id": 70 + names.index(name), "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for name, x1, y1, x2, y2 in boxes
    ]
    content = {"images": [{"id": 7, "file_name": "none.png"}, *listed], "annotations": annotations}
    Path("boxes.json").write_text(json.dumps(content))
    return "boxes.json"


def expected(photographs, boxes=BOXES, output_size=(2, 3), **options):
    """Each box in a call of its own."""
    options = {"convention": "mmcv"} | options
    return np.concatenate(
        [
            ra.roi_align(np.moveaxis(photographs[name], -1, 0)[None], [[0, *box]], output_size,
                         **options)
            for name, *box in boxes
        ]
    )  # fmt: skip


def test_boxes_by_the_names_of_their_files(photographs):
    assert pool(*OPTIONS).stdout == "out.npy: 4 x 3 x 2 x 3, float32\n"
    np.testing.assert_array_equal(np.load("out.npy"), expected(photographs))


def test_coco_by_its_names(photographs):
    pool("photos", coco(), *OPTIONS[2:])
    np.testing.assert_array_equal(np.load("out.npy"), expected(photographs))


def test_channels_last(photographs):
    pool(*OPTIONS, "--layout", "NHWC", "--spatial-scale", "1/2")
    scaled = expected(photographs, spatial_scale=0.5)
    np.testing.assert_array_equal(np.load("out.npy"), np.moveaxis(scaled, 1, -1))


def test_one_photograph_is_decoded_at_a_time(photographs, monkeypatch):
    loads = []
    load = images.load_pixels

    def note(path, most_bytes):
        loads.append(path.name)
        return load(path, most_bytes)

    monkeypatch.setattr("roialign_cy._jobs.features.load_pixels", note)
    pool(*OPTIONS, "--output-size", "200x150", "--memory", "1")
    assert sorted(loads) == ["a.png", "b.bmp", "c d,e.tif"]


def test_a_run_goes_on(photographs):
    several = ("--output-size", "200x150", "--memory", "1")
    interrupted(*OPTIONS, *several, after=2)
    pool(*OPTIONS, *several, "--resume")
    np.testing.assert_array_equal(np.load("out.npy"), expected(photographs, output_size=(200, 150)))


def test_another_photograph_is_another_run(photographs):
    several = ("--output-size", "200x150", "--memory", "1")
    interrupted(*OPTIONS, *several, after=2)
    Image.fromarray(photographs["a.png"][::-1]).save("photos/a.png")
    assert_refused(run("pool", *OPTIONS, *several, "--resume"), "differs in features")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_that_lie_on_their_side(photographs, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(photographs["a.png"]).save("photos/a.png", exif=exif)
    upright = images.load_pixels(Path("photos/a.png"), 1 << 20)
    shape, dtype = images.describe(Path("photos/a.png"), 1 << 20)
    assert (upright.shape, upright.dtype) == (shape, dtype)
    pool(*OPTIONS)
    np.testing.assert_array_equal(np.load("out.npy"), expected(photographs | {"a.png": upright}))


def test_a_grey_one_among_colours_has_three_equal_channels(photographs):
    grey = photographs["a.png"][..., 0]
    Image.fromarray(grey).save("photos/a.png")
    pool(*OPTIONS)
    as_colours = np.stack([grey] * 3, axis=-1)
    np.testing.assert_array_equal(np.load("out.npy"), expected(photographs | {"a.png": as_colours}))


@pytest.mark.parametrize("name", ["m.png", "m.tif"])
def test_sixteen_bits_are_kept(name):
    values = np.random.default_rng(0).integers(0, 1 << 16, (9, 11), np.uint16)
    Image.fromarray(values).save(name)
    shape, dtype = images.describe(Path(name), 1 << 20)
    assert (shape, dtype) == ((9, 11, 1), np.uint16)
    loaded = images.load_pixels(Path(name), 1 << 20)
    np.testing.assert_array_equal(loaded[..., 0], values, strict=True)
    np.save("rois.npy", np.array([[0, 1, 1, 9, 8.0]]))
    pool(name, "rois.npy", *OPTIONS[2:])
    own = ra.roi_align(values[None, None], [[0, 1, 1, 9, 8.0]], (2, 3), convention="mmcv")
    np.testing.assert_array_equal(np.load("out.npy"), own)


def test_big_endian_tiff_of_sixteen_bits():
    values = np.random.default_rng(0).integers(0, 1 << 16, (9, 11), np.uint16)
    Image.fromarray(values.astype(">u2")).save("m.tif")
    np.testing.assert_array_equal(images.load_pixels(Path("m.tif"), 1 << 20)[..., 0], values)


def test_one_box_file_serves_one_image_too(photographs):
    """The same COCO file, of a single map: images count in the order that it lists them."""
    Path("one.json").write_text(json.dumps({"images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"image_id": 1, "bbox": [0, 0, 39, 29]}]}))  # fmt: skip
    pool("photos/a.png", "one.json", *OPTIONS[2:])
    np.testing.assert_array_equal(np.load("out.npy"), expected(photographs, BOXES[1:2]))


@pytest.mark.parametrize("name", ["../outside.png", "/etc/passwd", "sub/../../outside.png"])
def test_no_name_leads_out_of_the_folder(name, photographs):
    Image.fromarray(photographs["a.png"]).save("outside.png")
    save_boxes([(name, 0, 0, 5, 5)])
    assert_refused(run("pool", *OPTIONS), f"line 2: {name!r} is no name of a file in 'photos'")


def test_what_is_wrong_is_said(photographs):
    def refused(text, *arguments):
        assert_refused(run("pool", *(arguments or OPTIONS)), text)
        assert not list(Path().glob("out*"))

    for option in ("--array", "--levels"):
        result = run("pool", *OPTIONS, option, "x")
        assert (result.exit_code, names()) == (2, {"photos", "boxes.csv"})
        assert "are of no use with a folder of images" in result.stderr
    save_boxes([BOXES[0], ("z.png", 0, 0, 5, 5), BOXES[1], ("z.png", 0, 0, 7, 7)])
    refused("'boxes.csv', line 3: cannot read 'photos/z.png': No such file or directory")
    coco(("z.png", *SIZES), [*BOXES, ("z.png", 0, 0, 5, 5)])
    where = "'boxes.json', annotations[4]: cannot read 'photos/z.png'"
    refused(where, "photos", "boxes.json", *OPTIONS[2:])
    save_boxes([])
    refused("there are no boxes on images in 'photos'")
    refused("cannot read 'fotos': No such file or directory", "fotos", *OPTIONS[1:])
    save_boxes(header="x1,score,image,y1,x2,y2")
    refused("the columns must be file_name,x1,y1,x2,y2: file_name missing")
    save_boxes([("a.png", "no", 0, 5, 5)])
    refused("line 2: a box must be of numbers")
    save_boxes([("a.png", "nan", 0, 5, 5)])
    refused("line 2: rois[0] must be finite")
    np.save("rois.npy", np.zeros((1, 5)))
    refused("must end in one of .csv, .json", "photos", "rois.npy", *OPTIONS[2:])
    content = {"images": [{"id": 1}], "annotations": [{"image_id": 1, "bbox": [0, 0, 1, 1]}]}
    Path("boxes.json").write_text(json.dumps(content))
    refused("images[0]: it must have a 'file_name'", "photos", "boxes.json", *OPTIONS[2:])
    save_boxes()
    Image.fromarray(np.zeros((9, 9), np.uint16)).save("photos/a.png")
    refused("'photos/a.png' must have the images, channels and dtype of 'photos/b.bmp'")
    Path("photos/a.png").write_bytes(b"no image")
    refused("'boxes.csv', line 3: cannot read 'photos/a.png'")
    Image.fromarray(np.zeros((2000, 2000, 3), np.uint8)).save("photos/a.png")
    refused("'boxes.csv', line 3: 'photos/a.png': its 2000 x", *OPTIONS, "--memory", "1")
