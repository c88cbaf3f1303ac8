"""`.lat` files in Pillow: opened lazily, saved with our options, errors of Pillow's kinds with our texts."""

import io
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, UnidentifiedImageError
from small_codec import make_codec, picture

import pylatent
from pylatent import zoo
from pylatent.coding.container import Bitstream, LatFile, LatHead
from pylatent.errors import FormatError, ImageError, PylatentWarning

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "pillow.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def model(tmp_path, monkeypatch):
    """A small default model."""
    monkeypatch.setenv("PYLATENT_HOME", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    path = tmp_path / "models" / "small-1.safetensors"
    zoo.save_codec(make_codec(), path, name="small-1", card={"recipe": {"lambdas": [0.001, 0.002, 0.004, 0.008]}})
    monkeypatch.setitem(zoo.registry.ALIASES, "default", "small-1")
    return path


@pytest.fixture
def photo():
    return Image.fromarray((picture(40, 56)[0] * 255).round().byte().permute(1, 2, 0).numpy())


@pytest.fixture
def lat(tmp_path, photo):
    path = tmp_path / "photo.lat"
    path.write_bytes(pylatent.compress(photo, quality=2))
    return path


def test_opening_reads_the_header_alone(lat, monkeypatch):
    def load(*arguments, **options):
        raise AssertionError("the model was loaded")

    with monkeypatch.context() as patch:
        patch.setattr(zoo.registry, "load", load)
        image = Image.open(lat)
    assert (image.format, image.size, image.mode, image.format_description) == (
        "LAT",
        (56, 40),
        "RGB",
        "pylatent picture",
    )
    assert image.get_format_mimetype() == "image/x-lat"
    assert image.info["model"] == "small-1"
    assert image.info["quality"] == 2.0
    assert np.array_equal(np.asarray(image), np.asarray(pylatent.decompress(lat)))
    assert image.fp is None


def test_what_is_opened_is_a_picture_like_any_other(lat):
    expected = pylatent.decompress(lat)
    with open(lat, "rb") as file:
        image = Image.open(file)
        assert image.resize((7, 5)).tobytes() == expected.resize((7, 5)).tobytes()
        assert not file.closed
    image.putpixel((0, 0), (1, 2, 3))
    assert image.getpixel((0, 0)) == (1, 2, 3)
    assert Image.open(io.BytesIO(lat.read_bytes())).rotate(90).tobytes() == expected.rotate(90).tobytes()
    assert pickle.loads(pickle.dumps(Image.open(lat))).tobytes() == expected.tobytes()
    with Image.open(lat) as image:
        pass
    with pytest.raises(ValueError, match="Operation on closed image"):
        image.load()


def test_many_files_load_the_model_once(lat, monkeypatch):
    loaded = []
    load = zoo.registry.load
    monkeypatch.setattr(zoo.registry, "load", lambda path, **options: loaded.append(path) or load(path, **options))
    zoo.registry._cached.cache_clear()
    data = pylatent.compress(torch.zeros(3, 8, 8))
    assert len(loaded) == 1
    for _ in range(100):
        Image.open(io.BytesIO(data)).load()
    assert len(loaded) == 1


def test_saving(tmp_path, photo):
    photo.save(tmp_path / "a.lat", quality=3)
    assert (tmp_path / "a.lat").read_bytes() == pylatent.compress(photo, quality=3)
    photo.save(tmp_path / "b.LAT", optimize=True)  # options of other formats are left alone
    assert (tmp_path / "b.LAT").read_bytes() == pylatent.compress(photo)
    buffer = io.BytesIO()
    photo.save(buffer, "LAT", model=make_codec(gains=0), refine=0)
    assert LatFile.from_bytes(buffer.getvalue()).stream.quality is None
    Image.open(tmp_path / "a.lat").save(tmp_path / "c.png")
    assert Image.open(tmp_path / "c.png").tobytes() == pylatent.decompress(tmp_path / "a.lat").tobytes()


def test_options_that_are_wrong_leave_no_file(tmp_path, photo):
    for options, error, text in (
        ({"quality": 75}, ValueError, "the quality must be from 1 to 4 for small-1, got 75"),
        ({"quality": 1, "target_bpp": 1.0}, ValueError, "give only one of"),
        ({"model": "none"}, OSError, "there is no model named none"),
    ):
        with pytest.raises(error, match=text):
            photo.save(tmp_path / "a.lat", **options)
        assert not (tmp_path / "a.lat").exists()
    with pytest.warns(PylatentWarning, match="transparency composited"):
        Image.new("RGBA", (8, 8)).save(tmp_path / "a.lat")
    with pytest.raises(OSError, match="floating-point pixels are not supported"):
        Image.new("F", (8, 8)).save(tmp_path / "b.lat")


def test_a_model_that_is_not_installed(lat, model):
    model.unlink()
    image = Image.open(lat)
    assert image.size == (56, 40)
    image.verify()
    for _ in range(2):
        image = Image.open(lat)
        with pytest.raises(OSError, match=r"photo\.lat: .*model small-1 with hash \w{16}.*pylatent models add FILE"):
            image.load()


def test_damage(lat, tmp_path):
    data = lat.read_bytes()
    (tmp_path / "cut.lat").write_bytes(data[:20])
    with pytest.raises(UnidentifiedImageError, match=r"cut\.lat: byte 15: truncated: the model hash needs 8 bytes"):
        Image.open(tmp_path / "cut.lat")
    (tmp_path / "new.lat").write_bytes(data[:6] + b"\x09" + data[7:])
    with pytest.raises(UnidentifiedImageError, match="needs a newer pylatent"):
        Image.open(tmp_path / "new.lat")
    (tmp_path / "cut.lat").write_bytes(data[:-9])
    image = Image.open(tmp_path / "cut.lat")
    for check in (image.load, image.verify):
        with pytest.raises(OSError, match=r"cut\.lat: byte \d+: truncated"):
            check()
    (tmp_path / "no.lat").write_bytes(b"\xecLAX" + data[4:])
    with pytest.raises(UnidentifiedImageError, match="cannot identify image file"):
        Image.open(tmp_path / "no.lat")


def test_large_pictures_are_pillows_business(tmp_path, monkeypatch):
    stream = Bitstream((1 << 20, 1 << 20), 1.0, (b"x",), 0)
    LatFile("small-1", bytes(8), stream).write(tmp_path / "a.lat")
    with pytest.raises(Image.DecompressionBombError):
        Image.open(tmp_path / "a.lat")


def test_what_is_a_lat_file_is_not_compressed_again(lat):
    for source in (lat, lat.read_bytes()):
        with pytest.raises(ImageError, match="this is a .lat file already"):
            pylatent.compress(source)
    with pytest.raises(ImageError, match="'.lat' names no picture format"):
        pylatent.images.write(pylatent.decompress(lat), "b.lat")


def test_the_head_is_what_the_file_says(lat):
    file, head = LatFile.read(lat), LatHead.from_bytes(lat.read_bytes()[:200])
    assert (head.model, head.model_hash) == (file.model, file.model_hash)
    assert (head.size, head.quality) == (file.stream.size, file.stream.quality)
    longest = LatFile("m" * 64, bytes(8), Bitstream((1 << 20, 1 << 20), 255.0, (b"x" * 70_000,) * 64, 0)).to_bytes()
    from pylatent.coding.container import HEAD_BYTES

    assert LatHead.from_bytes(longest[:HEAD_BYTES]).model == "m" * 64
    with pytest.raises(FormatError, match="truncated"):
        LatHead.from_bytes(longest[:100])


def test_decode_image(lat):
    expected = torch.from_numpy(np.array(pylatent.decompress(lat))).permute(2, 0, 1)
    data = lat.read_bytes()
    for source in (lat, str(lat), data, torch.tensor(list(data), dtype=torch.uint8), io.BytesIO(data)):
        found = pylatent.decode_image(source, threads=1)
        assert found.dtype == torch.uint8
        assert torch.equal(found, expected)
    with pytest.raises(TypeError, match=r"`input` must be a uint8 tensor \(N,\), got torch.int64 \(3,\)"):
        pylatent.decode_image(torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize("module", ["pylatent", "pylatent.pillow"])
@pytest.mark.parametrize("first", ["PIL.Image", "sys"])
def test_registered_without_torch(lat, module, first):
    script = f"""
import {first}, {module}, sys
from PIL import Image
assert Image.open({str(lat)!r}).size == (56, 40)
assert Image.registered_extensions()[".lat"] == "LAT"
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "tests" / "data" / "pictures" / "rgb_96x64.png", "photo.png")
    names = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(re.sub(r"refine=\d+", "refine=2", code), names)
    assert names["image"].size == (96, 64)
    assert names["pixels"].shape == (3, 64, 96)
