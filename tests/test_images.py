"""Pictures of every kind become 8-bit sRGB, what was converted is reported, and bad ones raise ImageError."""

import io
import os
import random
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from pylatent import images
from pylatent.errors import ImageError

RAMP = np.arange(24 * 16 * 3, dtype=np.uint32).reshape(24, 16, 3)


def rgb() -> Image.Image:
    return Image.fromarray((RAMP * 7 % 256).astype(np.uint8))


def file_of(image: Image.Image, format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def pixels(picture: images.Picture) -> np.ndarray:
    return picture.tensor.permute(1, 2, 0).numpy()


def png16(values: np.ndarray, colour_type: int) -> bytes:
    """A 16-bit PNG; Pillow cannot write colour ones."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def linear_profile() -> bytes:
    """sRGB's primaries with linear curves (the three share one), so that it differs visibly."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", profile, 128)[0]
    for number in range(count):
        name, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        if name == b"rTRC":
            profile[offset : offset + size] = b"curv" + bytes(4) + struct.pack(">I", 0) + bytes(size - 12)
    return bytes(profile)


def test_plain_rgb_is_taken_as_it_is():
    picture = images.read(file_of(rgb()))
    assert picture.tensor.dtype == torch.uint8
    assert picture.tensor.is_contiguous()
    assert picture.notes == ()
    assert np.array_equal(pixels(picture), np.asarray(rgb()))


def test_paths_bytes_and_pillow_images_are_the_same(tmp_path):
    path = tmp_path / "a.png"
    rgb().save(path)
    for source in (path, str(path), path.read_bytes(), rgb()):
        assert np.array_equal(pixels(images.read(source)), np.asarray(rgb()))


@pytest.mark.parametrize(
    ("mode", "note"),
    [("L", "grey converted to RGB"), ("1", "grey converted to RGB"), ("P", "palette converted to RGB")],
)
def test_grey_and_palette(mode, note):
    picture = images.read(file_of(rgb().convert(mode)))
    assert picture.notes == (note,)
    assert np.array_equal(pixels(picture), np.asarray(rgb().convert(mode).convert("RGB")))


def test_cmyk():
    picture = images.read(file_of(rgb().convert("CMYK"), "TIFF"))
    assert picture.notes == ("CMYK converted to RGB",)
    assert np.array_equal(pixels(picture), np.asarray(rgb().convert("CMYK").convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_composited_on_white(mode):
    image = rgb().convert(mode)
    image.putalpha(Image.fromarray((RAMP[..., 0] % 256).astype(np.uint8)))
    picture = images.read(file_of(image))
    assert "transparency composited on white" in picture.notes
    alpha = (RAMP[..., :1] % 256) / 255
    expected = np.asarray(image.convert("RGB")) * alpha + 255 * (1 - alpha)
    assert np.abs(pixels(picture) - expected).max() <= 1


def test_an_opaque_alpha_channel_changes_nothing():
    picture = images.read(file_of(rgb().convert("RGBA")))
    assert picture.notes == ("opaque alpha channel dropped",)
    assert np.array_equal(pixels(picture), np.asarray(rgb()))


def test_transparent_palette_entries_become_white():
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 1), 1)
    picture = images.read(file_of(image, transparency=0))
    assert pixels(picture)[0, 0].tolist() == [255, 255, 255]
    assert pixels(picture)[1, 1].tolist() == [40, 50, 60]


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (6, 4)])
def test_16_bit_png_is_rounded_not_truncated(colour_type, channels):
    value = np.random.default_rng(3).integers(0, 1 << 16, (19, 23, channels)).astype(np.uint16)
    if channels == 4:
        value[..., 3] = 0xFFFF
    picture = images.read(png16(value, colour_type))
    assert picture.notes[0] == "16 bits rounded to 8"
    assert np.array_equal(pixels(picture), np.broadcast_to(np.round(value[..., :3] / 257), (19, 23, 3)))


def test_16_bit_tiff_grey(tmp_path):
    value = np.random.default_rng(3).integers(0, 1 << 16, (9, 7)).astype(np.uint16)
    picture = images.read(file_of(Image.fromarray(value), "TIFF"))
    assert "16 bits rounded to 8" in picture.notes
    assert np.array_equal(pixels(picture)[..., 0], np.round(value / 257))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 2), np.float32), "floating-point"),
        (np.full((2, 2), -3, np.int32), "32-bit"),
        (np.full((2, 2), 200, np.int32), "32-bit"),  # as 16 bits it would be black
    ],
)
def test_other_depths_are_refused(array, message):
    with pytest.raises(ImageError, match=f"the picture: .*{message}"):
        images.read(file_of(Image.fromarray(array), "TIFF"))


def test_a_32_bit_picture_in_memory_is_refused():
    with pytest.raises(ImageError, match="32-bit grey pixels are not supported: convert the picture to 8 bits, or 16"):
        images.read(Image.fromarray(np.full((2, 2), 200, np.int32)))


@pytest.mark.parametrize(
    ("bits", "photometric", "signed", "message"),
    [(12, 1, 1, "12-bit"), (16, 0, 1, "inverted 16-bit"), (16, 1, 2, "signed 16-bit"), (16, 1, 1, None)],
)
def test_kinds_of_grey_tiff(bits, photometric, signed, message):
    """Two pixels, written by hand: Pillow writes none of these."""
    data = struct.pack("<2H", 0x1234, 0x0ABC) if bits == 16 else bytes([0x12, 0x3A, 0xBC])
    tags = [(256, 2), (257, 1), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, 1)]
    tags += [(279, len(data)), (339, signed)]
    start = 8 + len(data) + len(data) % 2
    entries = b"".join(struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags)
    file = b"II*\0" + struct.pack("<I", start) + data + bytes(len(data) % 2)
    file += struct.pack("<H", len(tags)) + entries + bytes(4)
    if message is None:
        assert pixels(images.read(file))[0, :, 0].tolist() == [round(0x1234 / 257), round(0x0ABC / 257)]
        return
    with pytest.raises(ImageError, match=f"the picture: {message} grey pixels are not supported"):
        images.read(file)


def test_16_bit_pgm_is_understood():
    data = b"P5 2 1 65535\n" + struct.pack(">2H", 514, 65535)
    assert pixels(images.read(data))[0, :, 0].tolist() == [2, 255]


def test_max_pixels(monkeypatch):
    data = file_of(rgb())
    width, height = rgb().size
    assert images.read(data, max_pixels=width * height).tensor.shape == (3, height, width)
    with pytest.raises(ImageError, match=f"{width * height} pixels are more than the limit of {width * height - 1}"):
        images.read(data, max_pixels=width * height - 1)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ImageError, match="more than the limit of 20: raise it with --max-pixels"):
        images.read(data)
    assert images.read(data, max_pixels=1000).tensor.shape == (3, height, width)
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = images.read(file_of(rgb(), exif=exif))
    array = np.asarray(rgb())
    turned = {1: array, 2: array[:, ::-1], 3: array[::-1, ::-1], 4: array[::-1], 5: array.swapaxes(0, 1)}
    turned |= {6: np.rot90(array, -1), 7: np.rot90(array, 2).swapaxes(0, 1), 8: np.rot90(array)}
    assert np.array_equal(pixels(picture), turned[orientation])
    assert picture.notes == (() if orientation == 1 else ("turned as its EXIF orientation says",))


def test_a_colour_profile_is_converted_and_reported():
    picture = images.read(file_of(rgb(), icc_profile=linear_profile()))
    assert picture.notes == ("colours converted from the embedded profile to sRGB",)
    linear = np.asarray(rgb()) / 255
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    assert np.abs(pixels(picture) - srgb).max() <= 3


def test_an_srgb_profile_changes_nothing():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = images.read(file_of(rgb(), icc_profile=profile))
    assert picture.notes == ()
    assert np.array_equal(pixels(picture), np.asarray(rgb()))


@pytest.mark.parametrize("profile", [b"nonsense", linear_profile()[:200]])
def test_a_broken_profile_is_ignored_and_reported(profile):
    picture = images.read(file_of(rgb(), icc_profile=profile))
    assert picture.notes == ("unusable colour profile ignored",)


def test_the_first_frame_of_an_animation():
    frames = [rgb().convert("P"), Image.new("P", (16, 24), 3)]
    picture = images.read(file_of(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert "first of 2 pictures taken" in picture.notes


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b"just a text file", "it begins 6a 75 73 74"),
        (file_of(rgb())[:-40], "damaged picture"),
        (file_of(rgb(), "JPEG")[:300], "not a picture|damaged picture"),
    ],
)
def test_bad_pictures(data, message):
    with pytest.raises(ImageError, match=message) as caught:
        images.read(data)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_mutated_pictures_are_read_or_refused():
    draw = random.Random(4)
    kinds = [file_of(rgb(), format) for format in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM")]
    kinds += [png16(RAMP * 85, 2), file_of(rgb().convert("RGBA")), file_of(rgb(), icc_profile=linear_profile())]
    results = set()
    for _ in range(200):
        data = bytearray(draw.choice(kinds))
        for _ in range(draw.choice((1, 3, 20))):
            data[draw.randrange(min(len(data), draw.choice((60, 10**6))))] = draw.randrange(256)
        try:
            results.add(type(images.read(bytes(data))))
        except ImageError as error:
            results.add(f"{len(str(error).splitlines())} line")
    assert results == {images.Picture, "1 line"}


def test_a_decompression_bomb_is_refused():
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    with pytest.raises(ImageError, match="3,600,000,000 pixels are more than the limit of 178,956,970"):
        images.read(b"\x89PNG\r\n\x1a\n" + chunk + png16(np.zeros((1, 1, 3)), 2)[33:])


def test_unreadable_paths(tmp_path):
    with pytest.raises(ImageError, match=r"none\.png: cannot be read: No such file"):
        images.read(tmp_path / "none.png")
    with pytest.raises(ImageError, match="cannot be read"):
        images.read(tmp_path)


@pytest.mark.parametrize("extension", [".png", ".webp", ".tif", ".bmp", ".PPM"])
def test_lossless_writing(tmp_path, extension):
    path = tmp_path / f"a{extension}"
    images.write(rgb(), path)
    assert np.array_equal(np.asarray(Image.open(path)), np.asarray(rgb()))
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("name", ["a", "a.xyz", "a.lat"])
def test_unknown_extensions_are_refused(tmp_path, name):
    with pytest.raises(ImageError, match="can be written"):
        images.write(rgb(), tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_tensors_to_images():
    x = torch.tensor([-0.1, 0.0, 0.5 / 255 + 1e-4, 1.0, 1.7]).expand(3, 2, 5)
    assert np.asarray(images.to_image(x))[0, :, 0].tolist() == [0, 0, 1, 255, 255]
    assert np.asarray(images.to_image(torch.full((3, 2, 2), 7, dtype=torch.uint8))).max() == 7
    with pytest.raises(ValueError, match=r"`tensor` must have shape \(3, H, W\), got \(1, 2, 2\)"):
        images.to_image(torch.zeros(1, 2, 2))
    with pytest.raises(TypeError, match="int64"):
        images.to_image(torch.zeros(3, 2, 2, dtype=torch.int64))
