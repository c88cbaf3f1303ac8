"""Targets beyond a model's qualities: the search over steps, and files that reach them by a residual."""

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_codec import make_calibrated, make_codec, picture

import pylatent
from pylatent.coding.container import LatFile
from pylatent.errors import TargetWarning
from pylatent.residual_control import PLACES, find_place, residual_at

PHOTO = picture(40, 56, seed=3)[0].mul(255).round().byte()
CURVES = {
    "a decibel or bit per octave": lambda place: 50 - place / 5,
    "flat where the base decides": lambda place: 34 + 20 / (2 * place + 1),
    "lossless is infinite": lambda place: math.inf if place == 0 else 55 - 6 * math.log2(2 * place + 1),
    "steps": lambda place: 40 - place // 3,
}


@pytest.fixture(scope="module")
def codec():
    return make_calibrated()


def psnr_of(data, codec):
    shown = torch.from_numpy(np.array(pylatent.decompress(data, model=codec))).permute(2, 0, 1)
    return pylatent.evaluation.psnr(PHOTO, shown)


def alone(codec, quality):
    """The file of the networks at a quality, without a residual."""
    stream = codec.compress(PHOTO[None] / 255, quality)[0]
    return LatFile(codec.name, codec.fingerprint()[:8], stream).to_bytes()


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
@pytest.mark.parametrize("at_most", [True, False])
@pytest.mark.parametrize("target", [0.0, 21.3, 34.01, 36.0, 44.0, 99.0])
@pytest.mark.parametrize("first", [0, 3, 127])
def test_against_exhaustive_search(curve, at_most, target, first):
    asked = []

    def measure(place):
        asked.append(place)
        return curve(place)

    found = find_place(measure, target, first, 0.2, PLACES, at_most=at_most)
    wanted = [curve(p) for p in range(PLACES) if (curve(p) <= target if at_most else curve(p) >= target)]
    if not wanted:
        assert found is None
    else:
        assert curve(found) == (max(wanted) if at_most else min(wanted))
    assert len(asked) == len(set(asked)) <= 14


@pytest.mark.parametrize("wanted", [38.0, 45.0])
def test_psnr_beyond_the_qualities_is_reached_by_the_coarsest_residual(codec, wanted):
    assert psnr_of(alone(codec, codec.qualities[1]), codec) < wanted
    with warnings.catch_warnings():
        warnings.simplefilter("error", TargetWarning)
        data = pylatent.compress(PHOTO, model=codec, target_psnr=wanted, verify=True)
    stream = LatFile.from_bytes(data).stream
    assert stream.quality < codec.qualities[1]
    assert psnr_of(data, codec) >= wanted
    hat = codec.decompress_bytes([replace(stream, residual=None, pixel_crc=None)])[0]
    sections = [residual_at(place, PHOTO, hat) for place in range(PLACES)]
    place = [section for section, _ in sections].index(stream.residual)
    assert pylatent.evaluation.psnr(PHOTO, sections[place + 1][1]) < wanted


@pytest.mark.parametrize("share", [0.9, 0.98])
def test_a_high_quality_is_replaced_where_a_lower_one_with_a_residual_is_smaller(codec, share, monkeypatch):
    """Whichever is smaller is taken, and reaches what is wanted."""
    low, high = codec.qualities
    top = psnr_of(alone(codec, high), codec)
    wanted = psnr_of(alone(codec, low), codec) * (1 - share) + top * share
    data = pylatent.compress(PHOTO, model=codec, target_psnr=wanted)
    monkeypatch.setattr("pylatent.rate_control._WORTH_A_RESIDUAL", 1.5)
    assert len(data) <= len(pylatent.compress(PHOTO, model=codec, target_psnr=wanted))
    assert psnr_of(data, codec) >= wanted


@pytest.mark.parametrize("target", [{"target_psnr": 1e6}, {"target_psnr": math.inf}, {"target_bpp": math.inf}])
def test_targets_without_an_end_are_lossless(codec, target):
    data = pylatent.compress(PHOTO, model=codec, **target)
    assert LatFile.from_bytes(data).stream.max_error == 0
    assert psnr_of(data, codec) == math.inf


def test_bits_beyond_the_qualities_are_spent_on_a_residual(codec):
    best = alone(codec, codec.qualities[1])
    wanted = 8 * (len(best) + 700) / PHOTO[0].numel()
    data = pylatent.compress(PHOTO, model=codec, target_bpp=wanted)
    assert LatFile.from_bytes(data).stream.residual is not None
    assert 8 * len(data) / PHOTO[0].numel() <= wanted
    assert psnr_of(data, codec) > psnr_of(best, codec)


def test_bits_that_no_residual_fits_into_give_the_highest_quality(codec):
    best = alone(codec, codec.qualities[1])
    wanted = 8 * (len(best) + 20) / PHOTO[0].numel()
    with pytest.warns(TargetWarning, match="out of reach"):
        assert pylatent.compress(PHOTO, model=codec, target_bpp=wanted) == best


def test_a_codec_of_float_pixels_says_what_it_reaches():
    with pytest.warns(TargetWarning, match="60 dB is out of reach for this picture"):
        data = pylatent.compress(PHOTO, model=make_codec(), target_psnr=60)
    assert LatFile.from_bytes(data).stream.residual is None
