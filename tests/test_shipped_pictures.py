"""The pictures that travel with the project: sourced, unchanged, small, and of the kinds that tests rely on."""

import csv
import hashlib
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PHOTOS = ROOT / "examples" / "photos"
PICTURES = ROOT / "tests" / "data" / "pictures"


def test_every_photo_has_a_source_and_is_unchanged():
    rows = list(csv.DictReader((PHOTOS / "SOURCES.tsv").open(encoding="utf-8"), delimiter="\t"))
    assert sorted(row["file"] for row in rows) == sorted(path.name for path in PHOTOS.glob("*.png"))
    for row in rows:
        assert hashlib.sha256((PHOTOS / row["file"]).read_bytes()).hexdigest() == row["sha256"], row["file"]
        assert row["licence"] == "CC0-1.0"
        with Image.open(PHOTOS / row["file"]) as image:
            assert image.size == (int(row["width"]), int(row["height"]))


def test_pictures_stay_small():
    total = sum(path.stat().st_size for folder in (PHOTOS, PICTURES) for path in folder.iterdir())
    assert total < 2_500_000


@pytest.mark.parametrize(
    ("name", "mode", "size"),
    [
        ("rgb_1x1.png", "RGB", (1, 1)),
        ("rgb_17x31.png", "RGB", (17, 31)),
        ("rgb_96x64.png", "RGB", (96, 64)),
        ("grey_96x64.png", "L", (96, 64)),
        ("bilevel_96x64.png", "1", (96, 64)),
        ("palette_96x64.png", "P", (96, 64)),
        ("alpha_96x64.png", "RGBA", (96, 64)),
        ("alpha_opaque_96x64.png", "RGBA", (96, 64)),
        ("rgb16_96x64.png", "RGB", (96, 64)),
        ("exif_rotated_64x96.jpg", "RGB", (96, 64)),
        ("icc_p3_96x64.png", "RGB", (96, 64)),
        ("cmyk_96x64.jpg", "CMYK", (96, 64)),
    ],
)
def test_pictures_are_what_their_names_say(name, mode, size):
    with Image.open(PICTURES / name) as image:
        assert (image.mode, image.size) == (mode, size)
        assert ("icc_profile" in image.info) == name.startswith("icc")
        assert (image.getexif().get(0x0112) == 6) == name.startswith("exif")


@pytest.mark.parametrize("name", ["grey16_96x64.png", "rgb16_96x64.png"])
def test_sixteen_bit_pictures_are_stored_with_sixteen_bits(name):
    assert (PICTURES / name).read_bytes()[24] == 16  # the bit depth in IHDR
