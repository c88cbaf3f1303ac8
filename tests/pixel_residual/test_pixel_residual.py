"""Pixel residuals: the bound holds for any picture, the bytes say the same everywhere, and damage is noticed."""

import hashlib
import itertools
import random

import pytest
import torch
from residual_cases import AMBIENTS, ambient, pair

from pylatent.errors import FormatError
from pylatent.pixel_residual import check_section, decode_pixels, encode_pixels, lattice
from pylatent.pixel_residual.band import FEWEST
from pylatent.pixel_residual.tables import LARGEST, costs, tables


def off(a, b):
    return int((a.int() - b.int()).abs().max())


@pytest.mark.parametrize("max_error", [0, 1, 4, 60, 127])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3), (17, 31), (96, 64), (130, 260)])
def test_every_pixel_is_within_the_bound(size, max_error):
    original, hat = pair(*size)
    section, shown = encode_pixels(original, hat, max_error)
    check_section(section, size)
    assert off(shown, original) <= max_error
    assert torch.equal(decode_pixels(section, hat), shown)


@pytest.mark.parametrize("kind", ["black to white", "noise", "alike"])
def test_what_hardly_resembles_or_is_the_same_is_exact_too(kind):
    original, hat = pair(150, 200)
    if kind == "black to white":
        original, hat = torch.zeros_like(hat), torch.full_like(hat, 255)
    elif kind == "noise":
        original = torch.randint(0, 256, hat.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    else:
        original = hat
    section, shown = encode_pixels(original, hat, 0)
    assert torch.equal(shown, original)
    assert torch.equal(decode_pixels(section, hat), original)
    if kind == "alike":
        assert len(section) < original.numel() / 12


def test_a_larger_bound_costs_less():
    original, hat = pair(200, 300)
    sizes = [len(encode_pixels(original, hat, bound)[0]) for bound in (0, 1, 2, 4, 8)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] < 0.75 * original.numel()
    assert sizes[4] < 0.5 * sizes[0]


def test_bands_are_coded_one_by_one(monkeypatch):
    original, hat = pair(100, 64)
    monkeypatch.setattr(lattice, "BAND_PIXELS", 2048)
    assert lattice.bands(100, 64) == [slice(0, 32), slice(32, 64), slice(64, 96), slice(96, 100)]
    section, shown = encode_pixels(original, hat, 0)
    assert torch.equal(shown, original)
    assert torch.equal(decode_pixels(section, hat), original)
    with pytest.raises(FormatError):
        check_section(section[:4], (100, 64))


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (37, 50)])
def test_the_lattices_have_every_pixel_once_and_know_their_neighbours(size):
    planes = torch.zeros(1, *(side + 2 * lattice.MARGIN for side in size), dtype=torch.int16)
    inside = lattice.Step(0, 0, 1, ())
    planes -= 1
    inside.of(planes).zero_()
    for step in lattice.steps(*size):
        for offset in step.neighbours:
            assert bool((step.of(planes, offset) != 0).all())  # done, or outside
        assert bool((step.of(planes) == 0).all())
        step.of(planes).fill_(1)
    assert bool((inside.of(planes) == 1).all())


def test_bands_of_large_pictures_are_bounded():
    for height, width in ((6000, 8000), (1, 1 << 20), (1 << 20, 1), (1080, 1920)):
        rows = lattice.bands(height, width)
        assert rows[0].start == 0
        assert rows[-1].stop == height
        assert all(a.stop == b.start and a.start % 16 == 0 for a, b in itertools.pairwise(rows))
        assert max((part.stop - part.start) * width for part in rows) <= max(lattice.BAND_PIXELS, 16 * width)


def test_tables_are_the_format():
    found = tables()
    assert found.num_tables == 245
    assert found.digest.hex() == DIGEST
    for row, length, offset in zip(found.cdf, found.length, found.offset, strict=True):
        frequencies = row[1:length] - row[: length - 1]
        assert (frequencies[:-1] == frequencies[-2::-1]).all()  # without the escape
        assert len(frequencies) - 1 == 1 - 2 * offset
    assert costs().shape == (245, 2 * LARGEST + 1)


@pytest.mark.parametrize("kind", AMBIENTS)
def test_the_bytes_depend_on_the_pixels_alone(kind, monkeypatch):
    original, hat = pair(120, 140)
    expected, _ = encode_pixels(original, hat, 1)
    assert hashlib.sha256(expected).hexdigest() == BYTES
    with ambient(kind, monkeypatch):
        section, shown = encode_pixels(original, hat, 1)
        assert section == expected
        assert torch.equal(decode_pixels(section, hat), shown)


def test_damage_is_refused_or_decodes_to_something():
    original, hat = pair(60, 80)
    assert FEWEST < 60 * 80 // 4  # so that weights are read
    section, _ = encode_pixels(original, hat, 2)
    draw = random.Random(5)
    refused = 0
    for _ in range(60):
        data = bytearray(section)
        for _ in range(draw.choice((1, 3))):
            data[draw.randrange(len(data))] = draw.randrange(256)
        try:
            shown = decode_pixels(bytes(data), hat)
        except FormatError:
            refused += 1
        else:
            assert shown.shape == hat.shape
    assert refused > 20
    for end in range(0, len(section), 97):
        with pytest.raises(FormatError):
            decode_pixels(section[:end], hat)
    with pytest.raises(FormatError, match="left over"):
        decode_pixels(section + b"\0", hat)
    with pytest.raises(FormatError, match="first byte is 128"):
        check_section(b"\x80" + section[1:], (60, 80))


DIGEST = "891799f437ea8323817dae4310c79ab6ce509437a497661c4fa514f573807696"
BYTES = "e0a3adc1e04b25db6a0c38817f7316c3dcb97761cddf5ead9a5b59ba87a98c84"
