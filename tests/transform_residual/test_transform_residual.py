"""Transformed residuals: nearly orthonormal, exact in integers, the same bytes everywhere, damage noticed."""

import hashlib
import math
import random

import pytest
import torch
from residual_cases import AMBIENTS, ambient, pair

from pylatent.coding.container import TRANSFORMED, varint
from pylatent.coding.rans import encode
from pylatent.errors import FormatError
from pylatent.evaluation import psnr
from pylatent.pixel_residual import lattice
from pylatent.pixel_residual.tables import LARGEST, tables
from pylatent.transform_residual import check_section, context, decode_coefficients, encode_coefficients, transform
from pylatent.transform_residual.section import LARGEST_STEP, SMALLEST_STEP
from pylatent.transform_residual.steps import BANDS, ORDER, SIDE, UNITS, steps
from pylatent.transform_residual.transform import coefficients, restored
from pylatent.transform_residual.weights import WEIGHTS


def orthonormal(pixels):
    """The transform without any rounding, float64."""
    colours = torch.tensor([[1, 1, 1], [1, 0, -1], [-1, 2, -1]], dtype=torch.float64)
    colours /= colours.norm(dim=1, keepdim=True)
    k, n = torch.arange(SIDE, dtype=torch.float64)[:, None], torch.arange(SIDE, dtype=torch.float64)
    basis = torch.cos(math.pi * (2 * n + 1) * k / (2 * SIDE)) * math.sqrt(2 / SIDE)
    basis[0] /= math.sqrt(2)
    blocks = torch.einsum("ij,jhw->ihw", colours, pixels.double()).unfold(1, SIDE, SIDE).unfold(2, SIDE, SIDE)
    found = basis @ blocks @ basis.T
    return found.flatten(3)[..., list(ORDER)].permute(0, 3, 1, 2)


def test_the_transform_is_nearly_orthonormal_and_loses_nothing_of_whole_pixels():
    generator = torch.Generator().manual_seed(0)
    pixels, others = torch.randint(0, 256, (2, 3, 48, 64), dtype=torch.uint8, generator=generator)
    for found, of in ((coefficients(pixels), pixels), (coefficients(pixels, others), pixels.int() - others)):
        assert (found / UNITS - orthonormal(of)).abs().max() < 0.5 / UNITS + 2e-4 * 255 * SIDE
    assert torch.equal(restored(coefficients(pixels, others), 1, others), pixels)


def test_sums_stay_where_floats_are_exact_and_16_and_32_bits_hold():
    """Of the largest inputs there are: 255 in all pixels, the largest values times the largest step."""
    matrix, colours = transform._MATRIX.abs(), transform._COLOUR_MATRIX.abs()
    largest = float(matrix.sum(1).max() * colours.sum(1).max()) * 255
    assert largest < 2**53
    assert largest / 2**35 + 1 < 2**15
    blocks = float(matrix.sum(0).max()) * LARGEST * LARGEST_STEP
    assert blocks < 2**53
    assert blocks / 2**23 * float(colours.sum(0).max()) < 2**53
    for step in steps():
        known = context.Context(torch.full((3, BANDS, 3, 3), 2**15 - 1, dtype=torch.int16), 4)
        known.sizes.fill_(context._LARGEST)
        first, *weights = WEIGHTS[step.group][2 * step.colour + step.second]
        total = first + sum(w * int(f.max()) for f, w in zip(known.features(step), weights, strict=True))
        assert total < 2**31


def test_steps_have_every_coefficient_once():
    seen = torch.zeros(3, BANDS, 5, 4)
    known = context.Context(torch.zeros(3, BANDS, 5, 4, dtype=torch.int16), 50)
    for step in steps():
        part = seen[step.colour, step.bands]
        part.view(len(part), -1)[:, known.places(step)] += 1
    assert bool((seen == 1).all())
    assert sorted(ORDER) == list(range(BANDS))


@pytest.mark.parametrize("step", [SMALLEST_STEP, 40, LARGEST_STEP])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (17, 31), (96, 64), (130, 260)])
def test_every_size_decodes_to_what_was_shown(size, step):
    original, hat = pair(*size)
    section, shown = encode_coefficients(original, hat, step)
    check_section(section, size)
    assert section[0] == 128
    assert torch.equal(decode_coefficients(section, hat), shown)


def test_finer_steps_cost_more_and_come_nearer():
    original, hat = pair(200, 304)
    found = [encode_coefficients(original, hat, step) for step in (16, 40, 100, 250)]
    sizes, quality = [len(section) for section, _ in found], [psnr(original, shown) for _, shown in found]
    assert sizes == sorted(sizes, reverse=True)
    assert quality == sorted(quality, reverse=True)
    assert quality[0] > 50
    assert quality[-1] > psnr(original, hat)


@pytest.mark.parametrize("kind", ["black to white", "noise", "alike"])
def test_what_hardly_resembles_is_clipped_and_what_is_alike_costs_little(kind):
    original, hat = pair(152, 200)
    if kind == "black to white":
        original, hat = torch.zeros_like(hat), torch.full_like(hat, 255)
    elif kind == "noise":
        original = torch.randint(0, 256, hat.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    else:
        original = hat
    section, shown = encode_coefficients(original, hat, 24)
    assert torch.equal(decode_coefficients(section, hat), shown)
    assert psnr(original, shown) > psnr(original, hat) or kind == "alike"
    if kind == "alike":
        assert torch.equal(shown, original)
        assert len(section) < original.numel() / 25


def test_bands_of_rows_are_coded_one_by_one(monkeypatch):
    original, hat = pair(100, 64)
    monkeypatch.setattr(lattice, "BAND_PIXELS", 2048)
    section, shown = encode_coefficients(original, hat, 40)
    assert torch.equal(decode_coefficients(section, hat), shown)
    with pytest.raises(FormatError):
        check_section(section[:4], (100, 64))


@pytest.mark.parametrize("kind", AMBIENTS)
def test_the_bytes_depend_on_the_pixels_alone(kind, monkeypatch):
    original, hat = pair(120, 140)
    expected, _ = encode_coefficients(original, hat, 60)
    assert hashlib.sha256(expected).hexdigest() == BYTES
    with ambient(kind, monkeypatch):
        section, shown = encode_coefficients(original, hat, 60)
        assert section == expected
        assert torch.equal(decode_coefficients(section, hat), shown)


def test_damage_is_refused_or_decodes_to_something():
    original, hat = pair(60, 80)
    section, _ = encode_coefficients(original, hat, 30)
    draw, refused = random.Random(5), 0
    for _ in range(60):
        data = bytearray(section)
        for _ in range(draw.choice((1, 3))):
            data[draw.randrange(len(data))] = draw.randrange(256)
        data[0] = section[0]
        try:
            shown = decode_coefficients(bytes(data), hat)
        except FormatError:
            refused += 1
        else:
            assert shown.shape == hat.shape
    assert refused > 20
    for end in range(0, len(section), 97):
        with pytest.raises(FormatError):
            decode_coefficients(section[:end], hat)
    with pytest.raises(FormatError, match="left over"):
        decode_coefficients(section + b"\0", hat)
    for step in (SMALLEST_STEP - 1, LARGEST_STEP + 1):
        with pytest.raises(FormatError, match=f"its step is {step}"):
            check_section(section[:1] + varint(step) + section[2:], (60, 80))


def test_streams_without_values_take_a_byte_or_none():
    original, hat = pair(16, 16)
    coarse, shown = encode_coefficients(original, hat, 700)
    assert len(coarse) < 40
    assert torch.equal(decode_coefficients(coarse, hat), shown)
    nothing, shown = encode_coefficients(hat, hat, 60)
    assert nothing == bytes([TRANSFORMED]) + varint(60)
    assert torch.equal(shown, hat)
    assert torch.equal(decode_coefficients(nothing + b"\0", hat), hat)


def test_values_beyond_the_largest_are_refused():
    hat = torch.full((3, 8, 8), 100, dtype=torch.uint8)
    known = context.Context(coefficients(hat), 50)
    chosen = known.tables(next(steps()))
    stream = encode(torch.tensor([[LARGEST + 1]], dtype=torch.int32), chosen, tables())
    section = bytes([128]) + varint(50) + varint(len(stream)) + stream
    with pytest.raises(FormatError, match=f"a value is beyond {LARGEST}"):
        decode_coefficients(section, hat)


BYTES = "1872975ef03f9b699ac099929527b50443c9c09a349e6489b68e83b5b5a98e61"
