"""Files of a job that cannot be used: one line with the file and the row, and nothing behind."""

import errno
import json
import os
import pickle
import resource
import shutil
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("click", reason="the extra 'cli' is not installed")
pytest.importorskip("rich", reason="the extra 'cli' is not installed")

from click.testing import CliRunner

import roialign_cy as ra
from roialign_cy._cli.commands import roialign

from . import job_commands
from .job_cases import NEEDS_ZARR

BOXES = "0,1,1,5,5\n1,0,0,3,3\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run `roialign pool` in a folder with two maps and two boxes."""
    monkeypatch.chdir(tmp_path)
    np.save("maps.npy", np.random.default_rng(0).standard_normal((2, 3, 8, 9), np.float32))
    Path("boxes.csv").write_text(BOXES)
    return lambda *arguments: CliRunner().invoke(roialign, ["pool", *arguments])


def assert_refused(result, *texts):
    job_commands.assert_refused(result, *texts)
    assert not list(Path().glob("out*"))


def coco(**changes):
    content = {
        "images": [{"id": 7}, {"id": 3}],
        "annotations": [
            {"image_id": 3, "bbox": [0, 0, 3, 3]},
            {"image_id": 7, "bbox": [1, 1, 4, 4]},
        ],
    }
    return json.dumps(content | changes)


BAD_BOXES = {
    "four columns": ("b.csv", "0,1,1,5,5\n1,0,0,3\n", ["'b.csv', line 2", "5 columns, got 4"]),
    "other columns": ("b.csv", "image,x,y,w,h\n0,1,1,5,5\n", ["'b.csv', line 1", "x1,y1,x2,y2"]),
    "short row": ("b.csv", "x1,y1,x2,y2,image,score\n1,1,5,5,0\n", ["line 2", "6 columns, got 5"]),
    "no number": ("b.csv", "0,1,1,5,5\n\n0,1,one,5,5\n", ["'b.csv', line 3", "'0,1,one,5,5'"]),
    "nan": ("b.csv", "image,x1,y1,x2,y2\n0,1,1,5,5\n0,1,nan,5,5\n",
        ["'b.csv', line 3", "rois[1] must be finite"]),
    "inf": ("b.csv", "0,1,1,inf,5\n", ["'b.csv', line 1", "finite"]),
    "no such image": ("b.csv", "0,1,1,5,5\n2,1,1,5,5\n", ["line 2", "0 .. 2 - 1"]),
    "semicolons": ("b.csv", "0;1;1;5;5\n", ["'b.csv', line 1", "separated by commas"]),
    "tabs": ("b.csv", "image\tx1\ty1\tx2\ty2\n", ["'b.csv', line 1", "separated by commas"]),
    "no byte": ("b.csv", "", ["'b.csv': it is empty"]),
    "blank lines only": ("b.csv", "\n  \n", ["'b.csv': it is empty"]),
    "a column twice": ("b.csv", "image,x1,y1,x2,y2,x1\n", ["'b.csv', line 1", "column x1"]),
    "no number of C": ("b.csv", "0,1,1,5,5\n0,1_0,1,20,5\n", ["line 2", "'0,1_0,1,20,5'"]),
    "digits of another script": ("b.csv", "0,1,1,5,5\n0,1,1,\u0665,5\n", ["line 2", "numbers"]),
    "long row": ("b.csv", "image,x1,y1,x2,y2\n0,1,1,5,5\n0,1,1,5,5,9\n", ["line 3", "got 6"]),
    "an open quote": ("b.csv", 'image,x1,y1,x2,y2,label\n0,1,1,5,5,"a\n1,0,0,3,3,b\n',
        ["'b.csv', line 2", "a quote is opened and not closed"]),
    "an open quote in a number": ("b.csv", '0,1,1,5,5\n0,1,1,5,"5\n0,1,1,5,5\n',
        ["'b.csv', line 2", "a quote is opened and not closed"]),
    "an open quote in the header": ("b.csv", '"image,x1,y1,x2,y2\n0,1,1,5,5\n',
        ["'b.csv', line 1", "a quote is opened and not closed"]),
    "a last row of nan": ("b.csv", "0,1,1,5,5\nnan,nan,nan,nan,nan", ["line 2", "of an image"]),
    "no text": ("b.csv", b"\xff\xfe\x00", ["'b.csv'", "utf-8"]),
    "huge field": ("b.csv", "1" * 200_000, ["cannot read 'b.csv'", "field larger"]),
    "other suffix": ("b.txt", BOXES, ["'b.txt' must end in one of .csv, .npy, .json"]),
    "no JSON": ("b.json", "{", ["'b.json'"]),
    "deep JSON": ("b.json", "[" * 100_000, ["'b.json'"]),
    "no annotations": ("b.json", '{"images": []}', ["'b.json'", "'annotations'"]),
    "annotations of no list": ("b.json", coco(annotations={"a": 1}), ["'b.json'", "lists"]),
    "images of no list": ("b.json", coco(images={"a": 1}), ["'b.json'", "lists"]),
    "an image twice": ("b.json", coco(images=[{"id": 3}, {"id": 7}, {"id": 3}]),
        ["'b.json', images[0]: another has its id, 3"]),
    "unhashable image": ("b.json", coco(annotations=[{"image_id": [3], "bbox": [0, 0, 1, 1]}]),
        ["'b.json', annotations[0]", "'image_id'"]),
    "images without id": ("b.json", coco(images=[{}]), ["'b.json'", "'id'"]),
    "unknown image": ("b.json", coco(annotations=[{"image_id": 5, "bbox": [0, 0, 1, 1]}]),
        ["'b.json', annotations[0]", "5"]),
    "no bbox": ("b.json", coco(annotations=[{"image_id": 3}]), ["annotations[0]", "'bbox'"]),
    "short bbox": ("b.json", coco(annotations=[{"image_id": 3, "bbox": [1, 2]}]),
        ["annotations[0]", "four numbers"]),
    "huge bbox": ("b.json", coco(annotations=[{"image_id": 3, "bbox": [10**400, 0, 1, 1]}]),
        ["annotations[0]", "four numbers"]),
    "text bbox": ("b.json", coco(annotations=[{"image_id": 3, "bbox": "abcd"}]),
        ["annotations[0]", "four numbers"]),
    "bbox of digits": ("b.json", coco(annotations=[{"image_id": 3, "bbox": "1234"}]),
        ["annotations[0]", "four numbers"]),
    "bbox of texts": ("b.json", coco(annotations=[{"image_id": 3, "bbox": ["0", "0", "1", "1"]}]),
        ["annotations[0]", "four numbers"]),
    "bbox of booleans": ("b.json", coco(annotations=[{"image_id": 3, "bbox": [True, 0, 1, 1]}]),
        ["annotations[0]", "four numbers"]),
    "bbox as an object": ("b.json", coco(annotations=[{"image_id": 3, "bbox": {"1": 0, "2": 0}}]),
        ["annotations[0]", "four numbers"]),
    "true for an image": ("b.json", coco(images=[{"id": 1}, {"id": 3}],
        annotations=[{"image_id": True, "bbox": [0, 0, 1, 1]}]), ["annotations[0]", "image_id"]),
    "an image called true": ("b.json", coco(images=[{"id": True}]), ["'b.json'", "'id'"]),
    "NaN bbox": ("b.json", coco(annotations=[{"image_id": 3, "bbox": [0, float("nan"), 1, 1]}]),
        ["'b.json', annotations[0]", "finite"]),
    "more images": ("b.json", coco(images=[{"id": i} for i in (7, 3, 4)]),
        ["'b.json' lists 3 images, but there are 2 maps"]),
    "no .npy": ("b.npy", BOXES, ["'b.npy': it is no .npy file"]),
    "empty .npy": ("b.npy", b"", ["'b.npy': it is no .npy file"]),
    "short .npy": ("b.npy", b"\x93NUMPY\x01\x00", ["'b.npy'"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_BOXES)
def test_bad_boxes(run, case):
    name, content, texts = BAD_BOXES[case]
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert_refused(run("maps.npy", name, "-o", "out.npy"), *texts)


@pytest.mark.parametrize(
    ("rois", "texts"),
    [
        (np.ones((4, 4)), ["(K, 5)", "(4, 4)"]),
        (np.array([[0, 1, 1, 2, 2], [0, 1, np.inf, 2, 2]]), ["'b.npy', row 1", "finite"]),
        (
            np.array(
                [[0, -1.2345678901e308, 1.2345678901e300, 1.2345678901e308, 1.2345678901e305]]
            ),
            ["'b.npy', row 0", "finite extent", "1.23456789e+305]"],
        ),
        (np.array([[0.5, 1, 1, 2, 2]]), ["'b.npy', row 0", "index of an image"]),
        (np.array([["a"] * 5]), ["'b.npy'", "floats or integers"]),
        (np.array([[None] * 5]), ["'b.npy'", "Python objects"]),
    ],
    ids=["four columns", "inf", "two lines", "half an image", "texts", "objects"],
)
def test_bad_boxes_in_npy(run, rois, texts):
    np.save("b.npy", rois, allow_pickle=True)
    assert_refused(run("maps.npy", "b.npy", "-o", "out.npy"), *texts)


def test_an_archive_called_npy(run):
    np.savez("b.npz", np.ones((1, 5)))
    Path("b.npz").rename("b.npy")
    assert_refused(run("maps.npy", "b.npy", "-o", "out.npy"), "'b.npy': it is no .npy file")


@pytest.mark.parametrize("name", ["b.csv", "b.npy", "b.json"])
def test_boxes_from_a_pipe(run, name):
    os.mkfifo(name)
    assert_refused(run("maps.npy", name, "-o", "out.npy"), f"'{name}' is no file")


def test_the_rest_of_coco_takes_no_memory(run):
    polygon = [list(range(300_000, 301_000))]
    annotations = [
        {"image_id": 3, "bbox": [0, 0, 3, 3], "segmentation": polygon, "id": index}
        for index in range(100)
    ]
    Path("b.json").write_text(coco(annotations=annotations))
    tracemalloc.start()
    try:
        result = run("maps.npy", "b.json", "-o", "out.npy")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result.exit_code == 0, result.output
    # The text, twice while it is decoded; the numbers would be five times as much.
    assert peak < 3 * Path("b.json").stat().st_size


def truncated():
    Path("m.npy").write_bytes(Path("maps.npy").read_bytes()[:-1])
    return "m.npy"


def cut_in_its_header():
    Path("m.npy").write_bytes(Path("maps.npy").read_bytes()[:40])
    return "m.npy"


def headed(header, data=bytes(64)):
    """Write a .npy file of such a header, which is padded as NumPy's are."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def described(shape="(1, 1, 4, 4)", descr="'<f4'"):
    return headed(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}")


BAD_HEADERS = {
    "an open bracket": headed("{'descr': ("),
    "an odd indentation": headed("{'descr': '<f4',\n  'x': 1\n ,}\n  a\n b"),
    "an open string": headed("{'descr': '''"),
    "bytes of chance": headed("\x00\x01\x7f"),
    "deep brackets": headed("(" * 9000),
    "many signs": headed("-" * 9000 + "1"),
    "a backslash": headed("{'descr': '\\d'"),  # of which Python warns
    "no dictionary": headed("[1, 2]"),
    "a negative size": described("(-1, -1, 4, 4)"),
    "a shape beyond all": described(f"({10**30}, 1, 4, 4)"),
    "a shape beyond all, and empty": described(f"({10**30}, 0, 4, 4)"),
    "a shape beyond the file": described("(1, 1, 100000, 100000)"),
    "no shape": described("None"),
    "an odd dtype": described(descr="[('a', '<f4', (1000000000,))]"),
    "no dtype": described(descr="'<q9'"),
    "no dtype at all": described(descr="7"),
    "another version": b"\x93NUMPY\x03\x00" + described()[8:],
    "a header of 4 GiB": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100),
    "a long header": headed("{" + " " * 20_000),
    "the magic alone": b"\x93NUMPY",
    "nothing": b"",
}


@pytest.mark.parametrize("content", BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_bad_headers(run, content):
    Path("b.npy").write_bytes(content)
    assert_refused(run("b.npy", "boxes.csv", "-o", "out.npy"), "'b.npy'")
    assert_refused(run("maps.npy", "b.npy", "-o", "out.npy"), "'b.npy'")
    explained = CliRunner().invoke(roialign, ["explain", "b.npy", "--box", "0", "0", "1", "1"])
    assert_refused(explained, "'b.npy'")
    with zipfile.ZipFile("b.npz", "w") as archive:
        archive.writestr("maps.npy", content)
    assert_refused(run("b.npz", "boxes.csv", "-o", "out.npy"), "'b.npz'")


def saved(array, name="m.npy"):
    def write():
        np.save(name, array, allow_pickle=True)
        return name

    return write


def written(name, content=b"nonsense"):
    def write():
        Path(name).write_bytes(content)
        return name

    return write


def image_of_dtype(dtype):
    def write():
        from PIL import Image

        Image.fromarray(np.full((8, 9), 60_000, dtype)).save("m.tif")
        return "m.tif"

    return write


def sixteen_bits_a_colour():
    """Write what Pillow does not: a PNG of one pixel."""
    content = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(7))), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + name + data
        content += struct.pack(">I", zlib.crc32(name + data))
    return written("m.png", content)()


def two_frames():
    from PIL import Image

    frames = [Image.new("L", (8, 9), colour) for colour in (0, 255)]
    frames[0].save("m.tif", save_all=True, append_images=frames[1:])
    return "m.tif"


def pipe():
    os.mkfifo("m.npy")
    return "m.npy"


def two_arrays():
    np.savez("m.npz", first=np.ones(3), second=np.ones(3))
    return "m.npz"


def broken_zip():
    np.savez_compressed("whole.npz", np.random.default_rng(0).random((2, 3, 40, 40)))
    content = bytearray(Path("whole.npz").read_bytes())
    content[len(content) // 2] ^= 255
    Path("m.npz").write_bytes(content)
    return "m.npz"


def packed(method, name="m.npz"):
    def write():
        content = Path("maps.npy").read_bytes()
        with zipfile.ZipFile(name, "w", method) as archive:
            archive.writestr("maps.npy", content)
        return name

    return write


def patched(offset_in_entry, value):
    """Put a value into the record of the member, both where it lies and in the directory."""

    def write():
        content = bytearray(Path(packed(zipfile.ZIP_DEFLATED)()).read_bytes())
        for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            place = content.index(signature) + offset + offset_in_entry
            content[place : place + 2] = struct.pack("<H", value)
        Path("m.npz").write_bytes(content)
        return "m.npz"

    return write


def corrupt_lzma():
    content = bytearray(Path(packed(zipfile.ZIP_LZMA)()).read_bytes())
    content[60:90] = b"\xff" * 30
    Path("m.npz").write_bytes(content)
    return "m.npz"


def more_than_its_header_says():
    """Write 64 MiB behind an array of 1 x 1 x 8 x 8, which pack to some KiB."""
    with zipfile.ZipFile("m.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("maps.npy", described("(1, 1, 8, 8)") + bytes(64 << 20))
    return "m.npz"


def less_than_its_header_says():
    with zipfile.ZipFile("m.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("maps.npy", described("(1, 1, 8, 8)"))
    return "m.npz"


def more_than_the_disk_has():
    with zipfile.ZipFile("m.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("maps.npy", described(f"(1, 1, {1 << 24}, {1 << 24})"))
    return "m.npz"


def image_of(width, height, name="m.png"):
    """Write the beginning of a PNG that says it has so many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return written(name, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + header + crc + b"\0\0\0\x10IDAT")


OTHER_FORMATS = {
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 9\n%%EndComments\nshowpage\n",
    "GIF": b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00"
    b"\x01\x00\x00\x02\x02D\x01\x00;",
    "PPM": b"P6 1 1 255\n\0\0\0",
}


@pytest.mark.parametrize("content", OTHER_FORMATS.values(), ids=OTHER_FORMATS)
def test_images_of_other_formats_are_not_opened(run, content):
    from PIL import Image

    Path("m.png").write_bytes(content)
    with Image.open("m.png") as image:
        assert image.format in ("EPS", "GIF", "PPM")
    assert_refused(run("m.png", "boxes.csv", "-o", "out.npy"), "cannot identify", "m.png")
    shown = CliRunner().invoke(roialign, ["demo", "--image", "m.png", "--no-picture"])
    assert_refused(shown, "cannot identify", "m.png")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_what_reading_an_image_takes(run):
    """At most what it is refused for."""
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (100, 150, 3), np.uint8)
    image = Image.fromarray(pixels).resize((1500, 2000))
    turned = Image.Exif()
    turned[0x112] = 6
    image.save("a.png", exif=turned, compress_level=1)
    image.convert("RGBA").save("b.png", exif=turned, compress_level=1)
    image.convert("P").save("c.png")
    image.save("d.bmp")
    image.save("e.jpg", progressive=True, exif=turned)
    image.convert("CMYK").save("f.jpg")
    image.convert("RGBA").save("g.webp", lossless=True, method=0)
    one_strip = {278: 2000, 274: 6}
    image.convert("CMYK").save("h.tif", compression="tiff_adobe_deflate", tiffinfo=one_strip)
    program = """
import pathlib, sys
from PIL import Image
from roialign_cy._jobs import images

def peak():
    status = pathlib.Path("/proc/self/status").read_text().split()
    return int(status[status.index("VmHWM:") + 1]) << 10

Image.init()
path, before = pathlib.Path(sys.argv[1]), peak()
with images.open_image(path, 1 << 30) as image:
    allowed = images.memory_of(image)
del image
images.load_pixels(path, allowed)
print(peak() - before - allowed)
"""
    for path in sorted(Path().glob("?.[bpjwt]*")):
        # A shell between, so that the peak does not begin at that of pytest.
        command = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", program, path]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) <= 4 << 20, path  # decoders have some memory of their own


def large_chunk():
    zarr = pytest.importorskip("zarr", reason=NEEDS_ZARR)
    zarr.create_array("m.zarr", shape=(1, 1, 9000, 9000), chunks=(1, 1, 9000, 9000), dtype="f4")
    return "m.zarr"


@pytest.mark.parametrize("image", [image_of(20_000, 8000), large_chunk])
def test_what_would_take_more_than_the_memory(run, image):
    name = image()
    arguments = (name, "boxes.csv", "-o", "out.npy", "--memory", "64")
    assert_refused(
        run(*arguments), f"'{name}'", "MiB to read, more than 64 MiB: --memory allows more"
    )


def test_zarr_runs_no_code(run):
    zarr = pytest.importorskip("zarr", reason=NEEDS_ZARR)
    zarr.create_array("m.zarr", data=np.load("maps.npy"), zarr_format=2, compressors=None)
    metadata = json.loads(Path("m.zarr/.zarray").read_text())
    metadata["compressor"] = {"id": "pickle"}
    Path("m.zarr/.zarray").write_text(json.dumps(metadata))
    for chunk in Path("m.zarr").glob("[0-9]*"):
        chunk.write_bytes(pickle.dumps(Path("out.pickle").touch))
    assert_refused(run("m.zarr", "boxes.csv", "-o", "out.npy"), "'m.zarr'")


@pytest.mark.parametrize(
    ("make", "texts"),
    [
        (lambda: "none.npy", ["cannot read 'none.npy': No such file"]),
        (truncated, ["'m.npy': it is truncated: 1727 of 1728 bytes of shape (2, 3, 8, 9)"]),
        (cut_in_its_header, ["'m.npy'"]),
        (written("m.npy"), ["'m.npy'"]),
        (written("m.npy", b""), ["'m.npy'"]),
        (saved(np.ones((3, 8, 9), np.float32)), ["'m.npy'", "four axes", "(3, 8, 9)"]),
        (saved(np.ones((2, 3, 8, 9), np.int32)), ["'m.npy'", "int32", "astype(np.float32)"]),
        (saved(np.ones((2, 3, 8, 9), complex)), ["'m.npy'", "complex128"]),
        (saved(np.full((2, 3, 8, 9), None)), ["'m.npy'", "Python objects"]),
        (saved(np.asfortranarray(np.ones((2, 3, 8, 9)))), ["'m.npy'", "Fortran order"]),
        (saved(np.ones((1, 3, 8, 9))), ["'boxes.csv', line 2", "0 .. 1 - 1"]),
        (two_arrays, ["'m.npz' holds the arrays 'first', 'second': name one", "--array"]),
        (written("m.npz"), ["cannot read 'm.npz'"]),
        (broken_zip, ["cannot read 'm.npz'"]),
        (corrupt_lzma, ["'m.npz': 'maps.npy' in it is packed as NumPy does not"]),
        (packed(zipfile.ZIP_BZIP2), ["'m.npz': 'maps.npy' in it is packed as NumPy does not"]),
        (patched(0, 1), ["cannot read 'm.npz'", "encrypted"]),
        (patched(2, 77), ["'m.npz': 'maps.npy' in it is packed as NumPy does not"]),
        (more_than_its_header_says, ["'m.npz': 'maps.npy' in it goes on after its array"]),
        (less_than_its_header_says, ["'m.npz': it is truncated: 64 of 256 bytes"]),
        (more_than_the_disk_has, ["cannot unpack into", "'m.npz'"]),
        (written("m.png"), ["cannot read 'm.png'"]),
        (image_of_dtype(np.int32), ["'m.tif': its values (I) are not of 8 or 16 bits"]),
        (image_of_dtype(np.float32), ["'m.tif': its values (F) are not of 8 or 16 bits"]),
        (sixteen_bits_a_colour, ["'m.png': its colours are of 16 bits"]),
        (two_frames, ["'m.tif': it has 2 frames"]),
        (pipe, ["'m.npy' is no file"]),
        (written("m.bin"), ["'m.bin' must be a directory of Zarr or end in one of .npy, .npz"]),
    ],
)  # fmt: skip
def test_bad_maps(run, make, texts):
    assert_refused(run(make(), "boxes.csv", "-o", "out.npy"), *texts)


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["-o", "out.txt"], ["the output must end in one of .npy, .zarr, got 'out.txt'"]),
        (["-o", "/dev/full/out.npy"], ["cannot write '/dev/full/out.npy': Not a directory"]),
        (["-o", "missing/out.npy"], ["cannot write 'missing/out.npy': No such file"]),
        (["-o", "maps.npy", "--overwrite"], ["'maps.npy', for the output, is one of the inputs"]),
        (["-o", "out.npy", "--array", "a"], ["'maps.npy' holds one array"]),
        (["-o", "out.npy", "--backend", "cpuu"], ["backend must be one of", "did you mean 'cpu'"]),
        (["-o", "out.npy", "--backend", "gpu"], ["'gpu'"]),
        (["-o", "out.npy", "--spatial-scale", "0"], ["spatial_scale must be > 0"]),
        (["-o", "out.npy", "--output-size", "0"], ["output_size must be at least 1"]),
        (["-o", "out.npy", "--sampling-ratio", "2x5000"], ["sampling_ratio"]),
    ],
)  # fmt: skip
def test_bad_arguments(run, arguments, texts):
    if "gpu" in arguments and ra.backends.unavailable_reason("gpu") is None:
        pytest.skip("the gpu backend is installed")
    assert_refused(run("maps.npy", "boxes.csv", *arguments), *texts)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--output-size", "7x"],
        ["--output-size", "7y7"],
        ["--output-size", "1x2x3"],
        ["--spatial-scale", "1/0"],
    ],
)
def test_bad_options_are_usage_errors(run, arguments):
    result = run("maps.npy", "boxes.csv", "-o", "out.npy", *arguments)
    assert result.exit_code == 2
    assert repr(arguments[1]) in result.stderr


@pytest.mark.parametrize("content", ["no store", "bad chunk"])
def test_bad_zarr(run, content):
    zarr = pytest.importorskip("zarr", reason=NEEDS_ZARR)
    if content == "no store":
        Path("m.zarr").mkdir()
    else:
        zarr.create_array("m.zarr", data=np.load("maps.npy"), chunks=(1, 3, 8, 9))
        Path("m.zarr/c/1/0/0/0").write_bytes(b"nonsense")
    assert_refused(run("m.zarr", "boxes.csv", "-o", "out.npy"), "cannot read 'm.zarr'")


# The disk is full.

POOL = "from roialign_cy._cli import main; main()"


def pool_in_a_process(folder, out, maps, sections, **options):
    """Run the command; not in its folder, so that a relative PYTHONPATH still leads to it."""
    np.save(folder / "maps.npy", maps)
    (folder / "boxes.csv").write_text(BOXES)
    command = [sys.executable, "-c", POOL, "pool", folder / "maps.npy", folder / "boxes.csv"]
    command += ["-o", out, "--output-size", str(sections)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


@pytest.fixture(params=["out.npy", "out.zarr"])
def out(request):
    if request.param == "out.zarr":
        pytest.importorskip("zarr", reason=NEEDS_ZARR)
    return request.param


MAPS = np.random.default_rng(0).random((2, 30, 8, 9))


def test_limit_of_file_size(tmp_path, out):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    done = pool_in_a_process(tmp_path, tmp_path / out, MAPS, 40, preexec_fn=limit)
    assert done.returncode == 2
    text = f"Error: cannot write {str(tmp_path / out)!r}: {os.strerror(errno.EFBIG)}\n"
    assert done.stderr == text
    assert not [*tmp_path.glob("out*")]


@pytest.fixture
def small_disk(tmp_path):
    """Give a file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_full_disk(tmp_path, small_disk, out):
    done = pool_in_a_process(tmp_path, small_disk / out, MAPS, 100)
    assert done.returncode == 2
    text = f"Error: cannot write {str(small_disk / out)!r}: {os.strerror(errno.ENOSPC)}\n"
    assert done.stderr == text
    assert not [*small_disk.iterdir()]
