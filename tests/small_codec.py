"""A codec small enough for tests, and pictures for it."""

import torch

from pylatent.codecs.hyperprior import MeanScaleHyperprior


def make_codec(architecture=MeanScaleHyperprior, *, gains=4, seed=0):
    """A small codec with random weights whose latents spread over many symbols and scales."""
    torch.manual_seed(seed)
    codec = architecture(8, 12, gains=gains).eval()
    with torch.no_grad():
        codec.g_a[-1].weight.mul_(40)
        codec.h_a[-1].weight.mul_(20)
        codec.h_s[4].weight.mul_(6)
        codec.h_s[4].bias[:12].add_(torch.linspace(-1, 4, 12))
        if gains:
            codec.gain.copy_(torch.linspace(0.5, 2, gains)[:, None].expand(-1, 12))
            codec.inverse_gain.copy_(1 / codec.gain)
    codec.entropy_bottleneck.fit_quantiles()
    codec.update()
    return codec


def picture(height, width, batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, -(-height // 8), -(-width // 8), generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
