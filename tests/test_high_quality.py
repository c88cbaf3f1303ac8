"""Qualities with a residual: which, in files, archives and evaluation, and where they are not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hostile_pictures import hostile_pictures
from small_codec import make_calibrated, make_residual, picture

import pylatent
from pylatent import correction, zoo
from pylatent.archive.encode import _encode
from pylatent.archive.sources import Source
from pylatent.coding.container import LatFile
from pylatent.evaluation import psnr
from pylatent.evaluation.comparison import OtherModel
from pylatent.evaluation.measure import round_trip
from pylatent.high_quality import completed, residual_step
from pylatent.refine import Plan

PHOTO = picture(40, 56, seed=3)[0].mul(255).round().byte()


@pytest.fixture(scope="module")
def codec():
    """Qualities 1 to 3, of which the last one was trained with a weight above 0.025."""
    return make_calibrated()


def test_the_steps(codec):
    steps = {quality: residual_step(codec, quality) for quality in (None, 1.0, 2.0, 2 + 1 / 64, 2.5, 3.0)}
    assert steps == {None: None, 1.0: None, 2.0: None, 2 + 1 / 64: 563, 2.5: 476, 3.0: 400}


def test_not_without_defined_pixels_or_weights(codec):
    assert residual_step(make_residual(), 3.0) is None
    codec = make_residual()
    codec.calibrate([picture(64, 64)])
    codec.lambdas = None
    assert residual_step(codec, 3.0) is None


def test_the_shipped_model():
    found = [residual_step(zoo.shared("default"), float(quality)) for quality in range(1, 9)]
    assert found == [None] * 5 + [400, 283, 200]


def test_a_wrong_quality_is_named_before_anything_is_computed(codec, monkeypatch):
    expected = pylatent.compress(PHOTO, model=codec, quality=2.5)
    assert pylatent.compress(PHOTO, model=codec, quality=np.float32(2.5)) == expected
    monkeypatch.setattr(type(codec), "analyses", None)
    monkeypatch.setattr(type(codec), "compress", None)
    for wrong in ("3", [3.0]):
        with pytest.raises(TypeError, match="quality must be a number, got"):
            pylatent.compress(PHOTO, model=codec, quality=wrong)
    for wrong in (0, 9, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="quality must be from 1 to 3"):
            pylatent.compress(PHOTO, model=codec, quality=wrong)


def test_every_way_to_code_gives_the_same_file(codec):
    stream = LatFile.from_bytes(pylatent.compress(PHOTO, model=codec, quality=3)).stream
    assert (stream.quality, stream.residual_step) == (3.0, 400 / 8)
    plain = codec.compress(PHOTO[None] / 255, 3.0)[0]
    assert replace(stream, residual=None) == plain
    assert completed(plain, codec, PHOTO) == stream
    photo = (Source("photo", None, "photo.png"), PHOTO)
    assert [record.stream for record in _encode(codec, [photo, photo], 3.0, [])] == [stream, stream]
    trip = round_trip(codec, PHOTO, 3.0)
    assert trip.exact
    assert LatFile.from_bytes(trip.data).stream == stream
    assert LatFile.from_bytes(OtherModel(codec).compress(PHOTO, 3.0)).stream == stream
    shown = pylatent.decode_image(trip.data, model=codec)
    assert torch.equal(trip.shown["full"], shown)
    assert psnr(PHOTO, shown) > psnr(PHOTO, codec.decompress_bytes([plain])[0])


def test_with_refinement_and_with_a_bound(codec):
    refined = LatFile.from_bytes(pylatent.compress(PHOTO, model=codec, quality=3, refine=2)).stream
    assert (refined.quality, refined.residual_step) == (3.0, 400 / 8)
    assert round_trip(codec, PHOTO, 3.0, plan=Plan(steps=2)).exact
    assert LatFile.from_bytes(pylatent.compress(PHOTO, model=codec, quality=3, max_error=2)).stream.max_error == 2


def test_nothing_to_add_and_a_picture_that_falls_apart_all_the_same(codec, monkeypatch):
    board = torch.from_numpy(hostile_pictures()["checkerboard 2"]).permute(2, 0, 1).contiguous()
    stream = codec.compress(board[None] / 255, 3.0)[0]
    assert completed(stream, codec, board).residual_step == 400 / 8
    assert completed(stream, codec, codec.decompress_bytes([stream])[0]) is stream
    monkeypatch.setattr("pylatent.high_quality.encode_coefficients", lambda original, hat, step: (b"", hat))
    found = completed(stream, codec, board)
    assert found.max_error is not None
    assert psnr(board, codec.decompress_bytes([found])[0]) >= correction.LOWEST_PSNR
