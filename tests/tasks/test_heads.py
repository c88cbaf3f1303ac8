import pytest
import torch
from small_codec import make_codec, picture

from pylatent.codecs.hyperprior import MeanScaleHyperprior, ScaleHyperprior
from pylatent.codecs.latents import Latents
from pylatent.tasks import ConcatResNet, FusionGated, LatentMLP, LatentResNet, ScalesResNet, SelfGated

RESNETS = [LatentResNet, FusionGated, SelfGated, ScalesResNet, ConcatResNet]
USING_SCALES = [FusionGated, ScalesResNet, ConcatResNet]


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def random_latents(batch=2, channels=12, side=14, *, scales=True):
    torch.manual_seed(1)
    y = torch.randn(batch, channels, side, side).mul(5).round()
    s = torch.rand(batch, channels, side, side).mul(4) if scales else None
    return Latents((y,), (16 * side, 16 * side), (3.0,) * batch, None, (s,))


@pytest.mark.parametrize("architecture", ["mean-scale", "scale only", "fixed rate"])
@pytest.mark.parametrize("kind", [LatentMLP, *RESNETS])
def test_a_head_takes_what_decode_returns_at_224(kind, architecture):
    kind_of_codec = ScaleHyperprior if architecture == "scale only" else MeanScaleHyperprior
    codec = make_codec(kind_of_codec, gains=0 if architecture == "fixed rate" else 4)
    streams = codec.compress(picture(224, 224, batch=2), None)
    latents = codec.decode(streams)
    assert latents.levels[0].shape == latents.scales[0].shape == (2, 12, 14, 14)  # h_s alone would give 16 x 16
    head = kind(12, 3).eval()
    logits = head(latents)
    assert logits.shape == (2, 3)
    torch.testing.assert_close(head(codec.decode(streams[1:]))[0], logits[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", RESNETS)
def test_any_size_of_picture(kind):
    assert kind(12, 3).eval()(random_latents(side=5)).shape == (2, 3)


def test_parameter_counts_of_the_sheet():
    assert round(parameters(LatentMLP(192, 5)) / 1e6, 1) == 19.3
    assert round(parameters(LatentResNet(192, 5)) / 1e6, 2) == 1.75
    assert parameters(FusionGated(192, 5)) - parameters(LatentResNet(192, 5)) == 2 * 192 * 193
    assert parameters(SelfGated(192, 5)) == parameters(FusionGated(192, 5))


def test_the_gate_is_equation_1_on_log_scales():
    torch.manual_seed(0)
    head, latents = FusionGated(12, 3).eval(), random_latents()
    y, s = latents.levels[0], latents.scales[0]
    gate, latent = head.fusion.gate, head.fusion.latent
    fused = torch.sigmoid(gate(s.clamp_min(0.11).log())) * latent(y)
    torch.testing.assert_close(head(latents), head.trunk(fused), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [LatentMLP, *RESNETS])
def test_what_an_answer_depends_on(kind):
    torch.manual_seed(0)
    head, latents = kind(12, 3).eval(), random_latents()
    other = Latents((latents.levels[0].flip(0),), latents.size, latents.quality, None, latents.scales)
    assert torch.equal(head(other), head(latents)) == (kind is ScalesResNet)
    other = Latents(latents.levels, latents.size, latents.quality, None, (latents.scales[0].flip(0),))
    assert torch.equal(head(other), head(latents)) == (kind not in USING_SCALES)


@pytest.mark.parametrize("kind", [LatentMLP, *RESNETS])
def test_wrong_latents(kind):
    head = kind(12, 3)
    with pytest.raises(ValueError, match=r"\(B, 12, h, w\), got \(2, 8, 14, 14\)"):
        head(random_latents(channels=8))
    if kind in USING_SCALES:
        with pytest.raises(ValueError, match="needs the latents' scales"):
            head(random_latents(scales=False))
    if kind is LatentMLP:
        with pytest.raises(ValueError, match=r"\(14, 14\), got \(7, 7\)"):
            head(random_latents(side=7))


def test_scales_of_another_shape():
    latents = random_latents()
    latents = Latents(latents.levels, latents.size, None, None, (torch.ones(2, 12, 16, 16),))
    with pytest.raises(ValueError, match="latents' shape"):
        FusionGated(12, 3)(latents)


def test_a_head_needs_classes():
    with pytest.raises(ValueError, match="positive, got 12 and 0"):
        LatentResNet(12, 0)
