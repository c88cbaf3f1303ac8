"""What `compress` and `decompress` take: every kind of input gives the same bytes, and what is lost is said."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from small_codec import make_codec

import pylatent
from pylatent.errors import FormatError, PylatentWarning


@pytest.fixture(scope="module")
def codec():
    return make_codec()


@pytest.fixture(scope="module")
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))


@pytest.fixture
def png(image, tmp_path):
    path = tmp_path / "photo.png"
    image.save(path)
    return path


def test_pictures_of_every_kind(codec, image, png):
    expected = pylatent.compress(image, model=codec)
    array, data = np.asarray(image), png.read_bytes()
    with open(png, "rb") as file:
        for source in (
            str(png),
            png,
            data,
            bytearray(data),
            memoryview(data),
            io.BytesIO(data),
            file,
            array,
            array[::-1][::-1],
            torch.from_numpy(array.copy()).permute(2, 0, 1),
            torch.from_numpy(array.copy()).permute(2, 0, 1).double() / 255,
        ):
            assert pylatent.compress(source, model=codec) == expected, type(source)


def test_arrays_of_other_shapes(codec, image):
    grey = np.asarray(image.convert("L"))
    assert pylatent.compress(grey, model=codec) == pylatent.compress(image.convert("L"), model=codec)
    opaque = np.asarray(image.convert("RGBA"))
    assert pylatent.compress(opaque, model=codec) == pylatent.compress(image, model=codec)


def test_files_of_every_kind(codec, image, tmp_path):
    data = pylatent.compress(image, model=codec)
    (tmp_path / "a.lat").write_bytes(data)
    expected = pylatent.decompress(data, model=codec, as_tensor=True)
    with open(tmp_path / "a.lat", "rb") as file:
        for source in (bytearray(data), memoryview(data), io.BytesIO(data), file, tmp_path / "a.lat"):
            assert torch.equal(pylatent.decompress(source, model=codec, as_tensor=True), expected)
    with pytest.raises(FormatError):
        pylatent.decompress(io.BytesIO(), model=codec)


WRONG = [
    (
        np.zeros((3, 20, 30), np.uint8),
        TypeError,
        r"\(H, W, 4\), or a tensor .3, H, W., got .* uint8 and shape \(3, 20, 30",
    ),
    (np.zeros((20, 30, 3), np.float32), TypeError, "`image` must be a uint8 array .* of float32"),
    (np.zeros((0, 30, 3), np.uint8), ValueError, "`image` must have pixels"),
    (
        io.StringIO("text"),
        TypeError,
        r"`image` must be a file that is open in binary mode \('rb'\), got one that gives str",
    ),
    (5, TypeError, "`image` must be a path, .*, got int"),
    (torch.full((3, 8, 8), 200.0), ValueError, r"`image` must be in \[0, 1\], got values from 200 to 200: divide"),
    (torch.zeros(8, 8, 3), ValueError, r"`image` must have shape \(3, H, W\), got \(8, 8, 3\)"),
    (torch.zeros(3, 8, 8, dtype=torch.int32), TypeError, "`image` must be uint8 or floating point"),
]


@pytest.mark.parametrize(("image", "error", "message"), WRONG, ids=[each[2][:40] for each in WRONG])
def test_wrong_pictures(codec, image, error, message):
    with pytest.raises(error, match=message):
        pylatent.compress(image, model=codec)


def test_wrong_files(codec):
    with pytest.raises(TypeError, match="`data` must be the bytes of a .lat file, a path or an open file, got int"):
        pylatent.decompress(5)
    with pytest.raises(TypeError, match="`data` must be a file that is open in binary mode"):
        pylatent.decompress(io.StringIO("text"))


def test_what_is_not_kept_is_said(codec, image, tmp_path):
    image = image.copy()
    image.putalpha(128)
    image.save(tmp_path / "alpha.png")
    with pytest.warns(PylatentWarning, match="alpha.png: transparency composited on white") as caught:
        pylatent.compress(tmp_path / "alpha.png", model=codec)
    assert caught[0].filename == __file__
    with pytest.warns(PylatentWarning, match="^the picture: transparency composited on white$"):
        pylatent.compress(np.asarray(image), model=codec)
    frames = io.BytesIO()
    Image.new("RGB", (16, 16)).save(frames, "GIF", save_all=True, append_images=[Image.new("RGB", (16, 16), "red")])
    with pytest.warns(PylatentWarning, match="first of 2 pictures taken"):
        pylatent.compress(frames.getvalue(), model=codec)
