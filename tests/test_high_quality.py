"""Qualities that are a lower one and a residual: which, in files, archives and evaluation, and where they are not."""

from dataclasses import replace

import pytest
import torch
from hostile_pictures import hostile_pictures
from small_codec import make_codec, make_residual, picture

import pylatent
from pylatent import correction, zoo
from pylatent.archive.encode import _encode
from pylatent.archive.sources import Source
from pylatent.coding.container import LatFile
from pylatent.evaluation import psnr
from pylatent.evaluation.comparison import OtherModel
from pylatent.evaluation.measure import round_trip
from pylatent.high_quality import Rung, completed, rung
from pylatent.refine import Plan

PHOTO = picture(40, 56, seed=3)[0].mul(255).round().byte()


@pytest.fixture(scope="module")
def codec():
    """Qualities 1 to 3, of which the last one was trained with a weight above 0.015."""
    codec = make_residual()
    codec.calibrate(picture(64, 64, seed=seed) for seed in range(3))
    return codec


def test_the_rungs(codec):
    assert rung(codec, 2.0) == Rung(2.0, None)
    assert rung(codec, None) == rung(codec, codec.default_quality)
    assert rung(codec, 2 + 1 / 200) == Rung(2 + 1 / 200, None)  # rounds to 2
    assert rung(codec, 2 + 1 / 64) == Rung(2.0, 536)
    assert rung(codec, 3.0) == Rung(2.0, 340)


def test_not_without_defined_pixels_or_weights(codec):
    assert rung(make_residual(), 3.0) == Rung(3.0, None)
    assert rung(make_codec(gains=0), None) == Rung(None, None)
    codec = make_residual()
    codec.calibrate([picture(64, 64)])
    for lambdas in (None, (0.03, 0.1, 0.2)):
        codec.lambdas = lambdas
        assert rung(codec, 3.0) == Rung(3.0, None)


def test_the_shipped_model():
    default = zoo.shared("default")
    rungs = [rung(default, float(quality)) for quality in range(1, 9)]
    assert rungs[:4] == [Rung(float(quality), None) for quality in range(1, 5)]
    assert rungs[4:] == [Rung(4.0, step) for step in (340, 214, 135, 85)]


def test_every_way_to_code_gives_the_same_file(codec):
    stream = LatFile.from_bytes(pylatent.compress(PHOTO, model=codec, quality=3)).stream
    assert (stream.quality, stream.residual_step) == (2.0, 340 / 8)
    plain = LatFile.from_bytes(pylatent.compress(PHOTO, model=codec, quality=2)).stream
    assert replace(stream, residual=None) == plain
    photo = (Source("photo", None, "photo.png"), PHOTO)
    assert [record.stream for record in _encode(codec, [photo, photo], 3.0, [])] == [stream, stream]
    trip = round_trip(codec, PHOTO, 3.0, receivers=("full",))
    assert trip.exact
    assert LatFile.from_bytes(trip.data).stream == stream
    assert LatFile.from_bytes(OtherModel(codec).compress(PHOTO, 3.0)).stream == stream
    shown = pylatent.decode_image(trip.data, model=codec)
    assert torch.equal(trip.shown["full"], shown)
    assert psnr(PHOTO, shown) > psnr(PHOTO, codec.decompress_bytes([plain])[0])


def test_with_refinement_and_with_a_bound(codec):
    refined = LatFile.from_bytes(pylatent.compress(PHOTO, model=codec, quality=3, refine=2)).stream
    assert (refined.quality, refined.residual_step) == (2.0, 340 / 8)
    assert round_trip(codec, PHOTO, 3.0, plan=Plan(steps=2)).exact
    bounded = LatFile.from_bytes(pylatent.compress(PHOTO, model=codec, quality=3, max_error=2)).stream
    assert (bounded.quality, bounded.max_error) == (2.0, 2)


def test_a_picture_that_falls_apart_all_the_same_gets_a_bounded_residual(codec, monkeypatch):
    board = torch.from_numpy(hostile_pictures()["checkerboard 2"]).permute(2, 0, 1).contiguous()
    stream = codec.compress(board[None] / 255, 2.0)[0]
    assert completed(stream, codec, board, 340).residual_step == 340 / 8
    monkeypatch.setattr("pylatent.high_quality.encode_coefficients", lambda original, hat, step: (b"", hat))
    found = completed(stream, codec, board, 340)
    assert found.max_error is not None
    assert psnr(board, codec.decompress_bytes([found])[0]) >= correction.LOWEST_PSNR
