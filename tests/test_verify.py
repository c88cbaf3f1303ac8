"""Checksums of pixels: written, compared on decoding, told by info; and pictures that fall apart."""

import json
import zlib
from dataclasses import replace

import pytest
import torch
from hostile_pictures import hostile_pictures
from small_codec import make_calibrated, make_codec, picture

import pylatent
from pylatent import _native, cli, images
from pylatent.codecs import _integer_native
from pylatent.codecs.integer_gains import gains_of
from pylatent.codecs.pixel_crc import check_pixel_crcs, pixel_crc
from pylatent.coding.container import LatFile
from pylatent.errors import DistortionWarning, MismatchError, ModelError

PHOTO = picture(40, 56, seed=3)[0]


@pytest.fixture(scope="module")
def codec():
    return make_calibrated()


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    return caught.value.code or 0


def changed(data: bytes, crc: int | None) -> bytes:
    """The file with another checksum of its pixels, in itself intact."""
    file = LatFile.from_bytes(data)
    return replace(file, stream=replace(file.stream, pixel_crc=crc)).to_bytes()


def test_the_checksum_is_of_the_pixels_as_a_ppm_file_has_them():
    pixels = torch.arange(24, dtype=torch.uint8).view(2, 4, 3)  # rows, columns, colours
    assert pixel_crc(pixels.permute(2, 0, 1)) == zlib.crc32(bytes(range(24)))


@pytest.mark.filterwarnings("ignore::pylatent.errors.DistortionWarning")
def test_it_is_stored_and_compared(codec):
    plain = pylatent.compress(PHOTO, model=codec, quality=2)
    data = pylatent.compress(PHOTO, model=codec, quality=2, verify=True)
    stream = LatFile.from_bytes(data).stream
    assert LatFile.from_bytes(plain).stream.pixel_crc is None
    assert changed(data, None) == plain
    assert len(data) == len(plain) + 5
    assert stream.pixel_crc == pixel_crc(codec.decompress_bytes([stream])[0])
    assert pylatent.decompress(data, model=codec) == pylatent.decompress(plain, model=codec)
    for as_tensor in (False, True):
        with pytest.raises(MismatchError, match=r"intact: this machine, or this release, computes other pixels"):
            pylatent.decompress(changed(data, stream.pixel_crc ^ 1), model=codec, as_tensor=as_tensor)


@pytest.mark.filterwarnings("ignore::pylatent.errors.DistortionWarning")
def test_it_is_the_same_with_all_kernels_and_a_target_gets_one(codec):
    data = pylatent.compress(PHOTO, model=codec, target_bpp=0.5, verify=True)
    stream = LatFile.from_bytes(data).stream
    decoded, synthesis = codec.decode([stream]), codec._ready().synthesis
    gains = gains_of(synthesis.gains, stream.quality)[None]
    shown = [synthesis.reference(decoded.y, gains)]
    if _native.why_not_native() is None:
        packed = _integer_native.pack(synthesis.largest, synthesis.layers)
        shown += [_integer_native.run(packed, decoded.y, gains, 16, n) for n in range(len(_integer_native.variants()))]
    for pixels in shown:
        check_pixel_crcs([stream], pixels[..., :40, :56])
    with pytest.raises(MismatchError):
        check_pixel_crcs([stream], 255 - shown[0][..., :40, :56])


def test_models_without_defined_pixels_have_none():
    with pytest.raises(ModelError, match="leave `verify` out"):
        pylatent.compress(PHOTO, model=make_codec(), verify=True)


@pytest.mark.filterwarnings("ignore::pylatent.errors.TargetWarning")
def test_a_picture_that_falls_apart_for_its_size_is_reported():
    board = torch.from_numpy(hostile_pictures()["checkerboard 1"]).permute(2, 0, 1).contiguous()
    with pytest.warns(DistortionWarning, match=r"the decoded picture has \d+\.\d dB.*higher quality, up to 8, or keep"):
        data = pylatent.compress(board, target_bpp=0.3, verify=True)
    assert 8 * len(data) / board[0].numel() <= 0.3  # with the checksum
    with pytest.warns(DistortionWarning, match=r"recognised: keep it in another format, PNG or WebP"):
        pylatent.compress(board, target_bpp=0.8, verify=True)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = torch.nn.functional.interpolate(picture(5, 7, seed=1), size=(40, 56), mode="bilinear")
    images.write(images.to_image(x[0]), tmp_path / "a.png")
    return tmp_path


def test_the_command_line_stores_tells_and_checks_it(folder, capsys):
    assert run("compress", "a.png", "--verify") == 0
    crc = LatFile.read("a.lat").stream.pixel_crc
    assert crc is not None
    assert run("info", "--check", "a.lat") == 0
    told = capsys.readouterr().out
    assert f"pixels    CRC {crc:08x}" in told
    assert "check     the same pixels are decoded here" in told
    assert run("decompress", "a.lat", "-o", "b.png") == 0
    (folder / "a.lat").write_bytes(changed((folder / "a.lat").read_bytes(), crc ^ 255))
    assert run("info", "--check", "--json", "a.lat") == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["pixel_crc"] == f"{crc ^ 255:08x}"
    assert facts["check"] == f"other pixels are decoded here, CRC {crc:08x}"
    assert run("decompress", "a.lat", "-o", "c.png") == 1
    assert f"their CRC is {crc:08x}" in capsys.readouterr().err
    assert not (folder / "c.png").exists()


def test_a_file_without_one_says_so(folder, capsys):
    assert run("compress", "a.png") == 0
    assert run("info", "a.lat") == 0
    assert "CRC" not in capsys.readouterr().out
    assert run("info", "--check", "a.lat") == 1
    assert "holds no checksum of its pixels; `pylatent compress --verify` stores one" in capsys.readouterr().out
