"""`max_error`: pixels within a bound, in files, archives, Pillow, on the command line; and what `compress` looks at."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hostile_pictures import hostile_pictures
from PIL import Image
from small_codec import make_calibrated, make_codec, picture

import pylatent
from pylatent import cli, correction, images
from pylatent.archive.encode import _encode
from pylatent.archive.sources import Source
from pylatent.codecs.pixel_crc import pixel_crc
from pylatent.coding.container import LatFile
from pylatent.errors import FormatError, ModelError

PHOTO = picture(40, 56, seed=3)[0].mul(255).round().byte()


@pytest.fixture(scope="module")
def codec():
    return make_calibrated()


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    return caught.value.code or 0


def pixels_of(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


@pytest.mark.parametrize("max_error", [0, 3])
def test_the_bound_holds_in_every_form(codec, max_error):
    data = pylatent.compress(PHOTO, model=codec, max_error=max_error, verify=True)
    stream = LatFile.from_bytes(data).stream
    assert stream.max_error == max_error
    shown = pixels_of(pylatent.decompress(data, model=codec))
    assert int((shown.int() - PHOTO.int()).abs().max()) <= max_error
    assert stream.pixel_crc == pixel_crc(shown)
    assert torch.equal(pylatent.decode_image(data, model=codec), shown)
    assert torch.equal(pylatent.decompress(data, model=codec, as_tensor=True), shown / 255)
    assert torch.equal(codec.decompress_bytes([stream, stream])[1], shown)
    plain = LatFile.from_bytes(pylatent.compress(PHOTO, model=codec)).stream
    assert replace(stream, residual=None, pixel_crc=None) == replace(plain, residual=None)
    assert torch.equal(codec.decode([stream]).y, codec.decode([plain]).y)


def test_pixels_in_floating_point_are_taken_in_8_bits(codec):
    values = picture(33, 20, seed=5)[0]
    data = pylatent.compress(values, model=codec, max_error=0, quality=1.5)
    assert torch.equal(pixels_of(pylatent.decompress(data, model=codec)), values.mul(255).round().byte())


def test_what_makes_no_sense_is_refused(codec):
    with pytest.raises(ValueError, match=r"0 \(lossless\) to 127 grey levels, got 128"):
        pylatent.compress(PHOTO, model=codec, max_error=128)
    with pytest.raises(TypeError, match=r"whole number of grey levels, got 0\.5"):
        pylatent.compress(PHOTO, model=codec, max_error=0.5)
    with pytest.raises(ValueError, match="no target beside it"):
        pylatent.compress(PHOTO, model=codec, max_error=1, target_bpp=1)
    with pytest.raises(ModelError, match="no integer synthesis.*leave `max_error` out"):
        pylatent.compress(PHOTO, model=make_codec(), max_error=0)


def test_a_residual_needs_defined_pixels_and_whole_bands(codec):
    other = make_codec()
    stream = replace(other.compress(PHOTO[None] / 255)[0], residual=b"\0")
    for call in (other.decompress, other.decompress_bytes):
        with pytest.raises(FormatError, match="needs pixels that are the same everywhere"):
            call([stream])
    stream = LatFile.from_bytes(pylatent.compress(PHOTO, model=codec, max_error=0)).stream
    with pytest.raises(FormatError):
        codec.decompress_bytes([replace(stream, residual=stream.residual[:-1])])


def test_patterns_are_looked_at_and_photographs_are_not():
    boards = {name: pixels for name, pixels in hostile_pictures().items() if name.startswith("checkerboard")}
    for pixels in boards.values():
        x = torch.from_numpy(pixels).permute(2, 0, 1)
        assert correction.busyness(x) > 3000
        assert correction.busyness(x / 255) == pytest.approx(correction.busyness(x), rel=1e-4)
    part = torch.full((3, 320, 320), 128, dtype=torch.uint8)
    part[:, 64:224, 100:260] = torch.from_numpy(boards["checkerboard 4"]).permute(2, 0, 1)
    assert correction.busyness(part) > correction.LOOKED_AT
    assert correction.busyness(torch.zeros(3, 1, 1)) == 0
    assert correction.busyness(PHOTO) == 0


def test_a_picture_that_falls_apart_gets_a_residual_and_an_archive_gives_it_too(codec):
    board = torch.from_numpy(hostile_pictures()["checkerboard 2"]).permute(2, 0, 1).contiguous()
    data = pylatent.compress(board, model=codec, quality=2)
    shown = pixels_of(pylatent.decompress(data, model=codec))
    assert pylatent.evaluation.psnr(board, shown) >= correction.LOWEST_PSNR
    failures = []
    batch = [(Source("board", None, "board.png"), board), (Source("photo", None, "photo.png"), board // 8 + 100)]
    made = _encode(codec, batch, 2.0, failures)
    assert not failures
    assert made[0].stream == LatFile.from_bytes(data).stream
    assert made[1].stream.residual is None


def test_a_stream_of_little_or_float_pixels_is_left_alone(codec):
    board = torch.from_numpy(hostile_pictures()["checkerboard 2"]).permute(2, 0, 1) / 255
    other = make_codec()
    for model, x in ((other, board), (codec, PHOTO / 255)):
        stream = model.compress(x[None])[0]
        assert correction.bounded(stream, model, x) is stream


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images.write(images.to_image(PHOTO), tmp_path / "a.png")
    return tmp_path


def test_the_command_line_codes_tells_and_checks_it(folder, capsys):
    assert run("compress", "a.png", "--max-error", "0", "--verify") == 0
    assert run("decompress", "a.lat", "-o", "b.png") == 0
    assert Image.open("b.png") == Image.open("a.png")
    assert run("decompress", "a.lat", "-o", "c.png", "--fast") == 0
    assert Image.open("c.png") != Image.open("a.png")
    capsys.readouterr()
    assert run("info", "--check", "a.lat") == 0
    told = capsys.readouterr().out
    assert "lossless" in told
    assert "the same pixels are decoded here" in told
    assert run("info", "--json", "a.lat") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["max_error"] == 0
    sections = sum(part["bytes"] for part in facts["sections"])
    assert facts["bytes"] == sections + facts["residual_bytes"] + facts["overhead_bytes"]
    assert run("compress", "a.png", "-o", "d.lat", "--max-error", "4") == 0
    assert run("info", "d.lat") == 0
    assert "no pixel is off by more than 4 grey levels" in capsys.readouterr().out


def test_the_command_line_tells_what_a_target_made(folder, capsys):
    assert run("compress", "a.png", "--target-psnr", "40") == 0
    step = LatFile.read(folder / "a.lat").stream.residual_step
    assert run("info", "a.lat") == 0
    told = " ".join(capsys.readouterr().out.split())
    meant = "for the quality, PSNR or size that was asked for: a pixel may be off by any amount"
    assert f"in steps of {step:g} grey levels, {meant}" in told
    assert run("compress", "a.png", "-o", "b.lat", "--target-psnr", "inf") == 0
    assert run("info", "--json", "b.lat") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["max_error"], facts["residual_step"]) == (0, 1)
    assert run("compress", "a.png", "-o", "c.lat", "--target-psnr", "-inf") == 2


def test_the_command_line_refuses_what_makes_no_sense(folder, capsys):
    assert run("compress", "a.png", "--max-error", "1", "--target-bpp", "1") == 2
    assert "--max-error has no target beside it" in capsys.readouterr().err
    assert run("compress", "a.png", "--max-error", "0", "--model", "default-1") == 1
    assert "no integer synthesis" in capsys.readouterr().err
    assert not (folder / "a.lat").exists()


def test_pillow_saves_and_opens_it(folder):
    Image.open("a.png").save("e.lat", max_error=0)
    assert np.array_equal(Image.open("e.lat"), Image.open("a.png"))
