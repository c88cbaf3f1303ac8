"""Measuring a set with a codec simple enough to know the answers: one latent a pixel, coded as bytes."""

import json
import zlib

import pytest
import torch
from torch import nn

from pylatent.codecs.latents import Latents
from pylatent.coding.container import Bitstream
from pylatent.errors import ModelError
from pylatent.evaluation.classical import JPEG, WEBP
from pylatent.evaluation.measure import measure, round_trip
from pylatent.evaluation.report import evaluate
from pylatent.evaluation.ways import Way


class PixelCodec(nn.Module):
    """Pixels in steps of 17 - 2 quality grey levels, as compressed bytes; `slip` is added to a latent in decoding."""

    name, defines_pixels, lambdas = "pixels-1", False, None

    def __init__(self, slip=0):
        super().__init__()
        self.slip = slip
        self.device = torch.device("cpu")

    def fingerprint(self):
        return bytes(range(32))

    def analyze(self, x, quality, *, integers):
        return Latents((x * 255 / (17 - 2 * quality),), tuple(x.shape[-2:]), (quality,))

    def encode(self, latents):
        symbols = latents.levels[0].round().to(torch.uint8)
        return [Bitstream(latents.size, latents.quality[0], (zlib.compress(symbols.numpy().tobytes()),), 0)]

    def decode(self, streams):
        (stream,) = streams
        symbols = torch.frombuffer(bytearray(zlib.decompress(stream.sections[0])), dtype=torch.uint8).float()
        symbols[0] += self.slip
        return Latents((symbols.view(1, 3, *stream.size),), stream.size, (stream.quality,))

    def as_coded(self, latents):
        return Latents((latents.levels[0].round(),), latents.size, latents.quality)

    def synthesize(self, latents):
        return (latents.levels[0] * (17 - 2 * latents.quality[0]) / 255).clamp(0, 1)

    def check_receiver(self, receiver):
        if receiver == "light":
            raise ModelError("model pixels-1 has no light receiver")

    def decompress_bytes(self, streams, receiver):
        """The perceptual receiver shows a grey level more."""
        self.check_receiver(receiver)
        pixels = self.synthesize(self.decode(streams)).mul(255).round()
        return (pixels + (receiver == "perceptual")).clamp(0, 255).to(torch.uint8)


def wave(height, width):
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    plane = 127 + 60 * torch.sin(x / 9.0) + 50 * torch.cos(y / 5.0 + x / 30.0)
    return torch.stack([plane, plane.flip(0), plane.roll(20, 1)]).clamp(0, 255).to(torch.uint8)


def test_round_trip():
    picture = wave(40, 61)
    trip = round_trip(PixelCodec(), picture, 8.0, repeats=3)
    assert torch.equal(trip.shown["full"], picture)  # quality 8 has steps of one grey level
    assert trip.exact
    assert 0 < trip.encode_seconds < 10
    assert 0 < trip.decode_seconds["full"] < 10


def test_measure_counts_the_whole_file():
    picture = wave(170, 165)
    codec = PixelCodec()
    point = measure(codec, picture, 2.0)
    trip = round_trip(codec, picture, 2.0)
    assert (point.nbytes, point.pixels) == (len(trip.data), 170 * 165)
    assert point.bpp == pytest.approx(8 * len(trip.data) / (170 * 165))
    assert 30 < point.psnr < 40
    assert 0.9 < point.ms_ssim < 1
    assert measure(codec, wave(20, 20), 2.0).ms_ssim is None


def test_a_latent_that_is_off_by_one_is_a_mismatch():
    assert measure(PixelCodec(slip=0), wave(30, 30), 2.0).exact is True
    assert measure(PixelCodec(slip=1), wave(30, 30), 2.0).exact is False


def test_report():
    pictures = [("a.png", wave(33, 50)), ("b.png", wave(64, 64))]
    steps = []
    report = evaluate(PixelCodec(), pictures, [1.0, 2.0, 4.0], baselines=(JPEG, WEBP), advance=lambda: steps.append(1))
    assert len(steps) == 2 * (3 + 2)
    assert report.mismatches == 0
    assert [point.quality for point in report.mean] == [1.0, 2.0, 4.0]
    assert report.mean[0].nbytes == pytest.approx(sum(p.curves[Way()][0].nbytes for p in report.pictures) / 2)
    assert report.bd_rate("JPEG").pictures == 2

    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert document["model"] == "pixels-1"
    assert document["model_hash"] == "0001020304050607"
    assert document["baselines"]["JPEG"].startswith("JPEG (Pillow")
    assert set(document["bd_rate_percent"]) == {"JPEG", "WebP"}
    first = document["pictures"][0]
    assert (first["name"], first["width"], first["height"]) == ("a.png", 50, 33)
    assert len(first["codec"]) == 3
    assert len(first["WebP"]) == len(WEBP.qualities)


def test_receivers_share_files_and_are_shown_side_by_side():
    pictures, steps = [("a.png", wave(33, 50)), ("b.png", wave(64, 64))], []
    receivers = ("full", "perceptual")
    report = evaluate(
        PixelCodec(slip=1),
        pictures,
        [1.0, 8.0],
        receivers=receivers,
        baselines=(JPEG,),
        advance=lambda: steps.append(1),
    )
    full, perceptual = report.ways
    assert len(steps) == 2 * (2 + 1)
    assert report.mismatches == 4  # files, whatever shows them
    assert [report.name_of(side) for side in (*report.ways, "JPEG")] == [
        "pixels-1, full",
        "pixels-1, perceptual",
        "JPEG",
    ]
    for picture in report.pictures:
        for one, other in zip(picture.curves[full], picture.curves[perceptual], strict=True):
            assert (one.nbytes, one.encode_seconds) == (other.nbytes, other.encode_seconds)
            assert one.psnr != other.psnr
    assert report.anchors(full) == ["JPEG"]
    assert report.anchors(perceptual) == [full, "JPEG"]
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert list(document["mean"]) == ["codec", "perceptual", "JPEG"]
    assert list(document["perceptual_bd_rate_percent"]) == ["codec", "JPEG"]
    assert document["pictures"][0]["perceptual"][0]["psnr"] == report.pictures[0].curves[perceptual][0].psnr
    alone = evaluate(PixelCodec(), pictures[:1], [8.0], receivers=("perceptual",))
    assert alone.name_of(alone.ways[0]) == "pixels-1, perceptual"
    assert 47 < alone.mean[0].psnr < 49  # a grey level
    with pytest.raises(ModelError, match="has no light receiver"):
        evaluate(PixelCodec(), pictures, [1.0], receivers=("full", "light"))


def test_report_counts_mismatches_and_infinite_psnr_is_null():
    report = evaluate(PixelCodec(slip=1), [("a.png", wave(9, 9)), ("b.png", wave(8, 8))], [1.0, 2.0])
    assert report.mismatches == 4
    assert report.mean[0].exact is False
    perfect = evaluate(PixelCodec(), [("a.png", wave(9, 9))], [8.0])
    assert perfect.to_json()["mean"]["codec"][0]["psnr"] is None


def test_nothing_to_evaluate():
    with pytest.raises(ValueError, match="no pictures"):
        evaluate(PixelCodec(), [], [1.0])
    with pytest.raises(ValueError, match="`repeats` must be at least 1"):
        round_trip(PixelCodec(), wave(4, 4), 1.0, repeats=0)
