"""compress and decompress around a codec: every kind of input, targets, errors."""

import numpy as np
import pytest
import torch
from fake_codec import FakeCodec, install
from PIL import Image

import pylatent
from pylatent.coding.container import LatFile
from pylatent.errors import FormatError, ModelError, PylatentWarning
from pylatent.evaluation import psnr


def photo(height: int = 40, width: int = 56) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(1).normal(0, 6, (height, width, 3))
    smooth = np.stack([x * 255 / width, y * 255 / height, 127 + 100 * np.sin(x / 9)], axis=-1)
    return Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8))


@pytest.fixture
def codec(monkeypatch):
    codec = FakeCodec()
    install(monkeypatch, codec, FakeCodec("fixed-1", variable=False))
    return codec


def as_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


@pytest.mark.usefixtures("codec")
def test_every_kind_of_input_gives_the_same_file(tmp_path):
    path = tmp_path / "a.png"
    photo().save(path)
    x = as_tensor(photo())
    expected = pylatent.compress(photo())
    for image in (path, str(path), path.read_bytes(), x, x.float() / 255, x.double() / 255):
        assert pylatent.compress(image) == expected
    assert LatFile.from_bytes(expected).model == "fake-1"


@pytest.mark.usefixtures("codec")
def test_round_trip(tmp_path):
    data = pylatent.compress(photo(), quality=8)
    image = pylatent.decompress(data)
    assert image.size == (56, 40)
    assert np.array_equal(np.asarray(image), np.asarray(photo()))
    x_hat = pylatent.decompress(data, as_tensor=True)
    assert torch.equal(x_hat.mul(255).round().byte(), as_tensor(photo()))
    (tmp_path / "a.lat").write_bytes(data)
    assert pylatent.decompress(tmp_path / "a.lat") == image


def test_a_device_is_for_named_models(codec):
    with pytest.raises(ValueError, match="`device` is for named models"):
        pylatent.compress(photo(), model=codec, device="cpu")


def test_quality_is_stored_on_its_grid(codec):
    data = pylatent.compress(photo(), quality=3.3, model=codec)
    assert LatFile.from_bytes(data).stream.quality == round(3.3 * 64) / 64


def test_target_bpp_is_not_exceeded(codec):
    data = pylatent.compress(photo(), target_bpp=9.0, model=codec)
    bpp = 8 * len(data) / (40 * 56)
    assert bpp <= 9.0
    step = LatFile.from_bytes(data).stream.quality + 1 / 64
    assert bpp >= 9.0 * 0.99 or 8 * len(pylatent.compress(photo(), quality=step)) / (40 * 56) > 9.0
    assert codec.calls <= 20


@pytest.mark.usefixtures("codec")
def test_target_psnr_is_reached():
    data = pylatent.compress(photo(), target_psnr=33.0)
    quality = LatFile.from_bytes(data).stream.quality
    reached, less = (
        psnr(as_tensor(photo()), as_tensor(pylatent.decompress(pylatent.compress(photo(), quality=q))))
        for q in (quality, quality - 0.25)
    )
    assert reached >= 33.0 > less


@pytest.mark.usefixtures("codec")
@pytest.mark.parametrize(
    ("target", "quality"),
    [({"target_bpp": 0.01}, 1), ({"target_bpp": 99}, 8), ({"target_psnr": 1}, 1), ({"target_psnr": 99.0}, None)],
)
def test_unreachable_targets_warn_and_give_the_nearest(target, quality):
    if quality is None:
        assert LatFile.from_bytes(pylatent.compress(photo(), **target)).stream.max_error == 0  # lossless
        return
    with pytest.warns(PylatentWarning, match=f"out of reach for this picture: quality {quality}"):
        data = pylatent.compress(photo(), **target)
    assert LatFile.from_bytes(data).stream.quality == quality


@pytest.mark.usefixtures("codec")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quality": 4, "target_bpp": 1}, "only one of"),
        ({"target_bpp": 0}, "`target_bpp` must be above 0, got 0"),
        ({"target_psnr": float("nan")}, "`target_psnr` must be above 0"),
        ({"target_psnr": 30, "model": "fixed-1"}, "fixed-1 has one fixed rate"),
        ({"threads": 0}, "`threads` must be at least 1"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        pylatent.compress(photo(), **options)


@pytest.mark.usefixtures("codec")
def test_wrong_inputs():
    with pytest.raises(ValueError, match=r"`image` must have shape \(3, H, W\), got \(1, 3, 4, 4\)"):
        pylatent.compress(torch.zeros(1, 3, 4, 4))
    with pytest.raises(TypeError, match=r"`image` must be uint8 or floating point in \[0, 1\], got torch.int32"):
        pylatent.compress(torch.zeros(3, 4, 4, dtype=torch.int32))
    with pytest.raises(ModelError, match="no model other"):
        pylatent.compress(photo(), model="other")
    with pytest.raises(FormatError, match=r"not a \.lat file"):
        pylatent.decompress(b"something")


def test_a_file_of_another_model_is_refused(codec, monkeypatch):
    data = pylatent.compress(photo(), model=FakeCodec("other-2"))
    with pytest.raises(ModelError, match="other-2"):
        pylatent.decompress(data)


@pytest.mark.usefixtures("codec")
def test_threads_are_restored():
    before = torch.get_num_threads()
    pylatent.compress(photo(), threads=before + 1)
    assert torch.get_num_threads() == before
