"""What the verbs refuse, and in which words; what they accept though it is not float32."""

from __future__ import annotations

import pytest
import torch
from small_codec import make_codec, picture

from pylatent.errors import ModelError


@pytest.mark.parametrize("precision", ["half", "bfloat16", "double"])
def test_models_of_another_precision_are_refused(precision):
    codec = getattr(make_codec(), precision)()
    x = picture(16, 16)
    latents = make_codec().analyze(x)
    message = r"must be float32, but \S+ is torch.*: undo it with `.float\(\)`.*torch.autocast"
    for verb in (
        lambda: codec.analyze(x),
        lambda: codec.analyze(x.to(next(codec.parameters()).dtype)),
        lambda: codec.synthesize(latents),
        lambda: codec.compress(x),
        lambda: codec(x),
    ):
        with pytest.raises(ModelError, match=message):
            verb()


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_pixels_of_another_precision_become_float32(codec, dtype):
    x = picture(32, 48).to(dtype)
    latents = codec.analyze(x)
    assert all(torch.equal(a, b) for a, b in zip(latents.levels, codec.analyze(x.float()).levels, strict=True))
    assert codec.encode(latents)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_verbs_under_autocast(codec, dtype):
    """Latents stay float32, so that they can be coded, and are about the same."""
    x = picture(32, 48)
    expected = codec.analyze(x)
    with torch.autocast("cpu", dtype):
        latents = codec.analyze(x)
        streams = codec.encode(latents)
        x_hat = codec.synthesize(codec.decode(streams))
        out = codec(x)
    assert latents.y.dtype == torch.float32
    assert (latents.y - expected.y).abs().max() < 0.05 * expected.y.abs().max()
    exact = codec.synthesize(codec.decode(streams))
    assert (x_hat.float() - exact).abs().max() < 0.05
    assert out.x_hat.shape == x.shape


WRONG = [
    (lambda c, x: c.analyze([x]), TypeError, r"`x` must be a tensor of pixels \(B, 3, H, W\) in \[0, 1\], got list"),
    (lambda c, x: c.analyze(x[0]), ValueError, r"`x` must have shape \(B, 3, H, W\), got \(3, 16, 16\)"),
    (lambda c, x: c.analyze(x.mul(255).byte()), ValueError, "got torch.uint8: divide by 255"),
    (
        lambda c, x: c.analyze(torch.linspace(0, 255, 768).view(1, 3, 16, 16)),
        ValueError,
        r"`x` must be in \[0, 1\], got values from 0 to 255: divide 8-bit pixels by 255",
    ),
    (lambda c, x: c.encode(x), TypeError, r"`latents` must be Latents.*got a tensor of shape \(1, 3, 16, 16\); pixels"),
    (lambda c, x: c.as_coded(x), TypeError, "`latents` must be Latents"),
    (lambda c, x: c.synthesize([1]), TypeError, "`latents` must be Latents, as .* return them, got list$"),
    (lambda c, x: c.decode(c.compress(x)[0]), TypeError, r"got one Bitstream: put it into a list, \[stream\]"),
    (lambda c, x: c.decompress(c.compress(x)[0]), TypeError, "got one Bitstream"),
    (lambda c, x: c.decode(b"abc"), TypeError, "got bytes: `pylatent.decompress` takes a file's bytes"),
    (lambda c, x: c.decode([*c.compress(x), b"abc"]), TypeError, "must be a list of Bitstreams, got bytes as number 1"),
    (lambda c, x: c.decode(c.analyze(x)), TypeError, "must be a list of Bitstreams.* got Latents"),
    (lambda c, x: c.decode([]), ValueError, "`streams` must hold at least one Bitstream, got none"),
]


@torch.no_grad()
@pytest.mark.parametrize(("call", "error", "message"), WRONG, ids=[each[2][:50] for each in WRONG])
def test_wrong_arguments(codec, call, error, message):
    with pytest.raises(error, match=message):
        call(codec, picture(16, 16))


@torch.no_grad()
def test_filters_may_overshoot(codec):
    assert codec.analyze(picture(16, 16) * 1.4 - 0.2)
