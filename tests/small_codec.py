"""A codec small enough for tests, and pictures for it."""

import torch

from pylatent.codecs.context_hyperprior import ContextHyperprior
from pylatent.codecs.hyperprior import MeanScaleHyperprior
from pylatent.codecs.nested import NestedCodec
from pylatent.codecs.residual import ResidualHyperprior


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


def make_nested(levels, prior="logistic", *, seed=0, **options):
    """The same for a nested codec with qualities 1 to 4; every level has symbols to code."""
    torch.manual_seed(seed)
    codec = NestedCodec(levels, channels=6, latent_channels=10, prior=prior, gains=4, **options).eval()
    with torch.no_grad():
        codec.g_a[-1].weight.mul_(40)
        for h_a, h_s, width in zip(codec.h_a, codec.h_s, codec.channels_of, strict=False):
            h_a[-1].weight.mul_(4)
            h_s[-1].weight.mul_(2)
            h_s[-1].bias[:width].add_(torch.linspace(2, 6, width))
        codec.gain.copy_(torch.linspace(0.5, 2, 4)[:, None].expand(-1, 10))
        codec.inverse_gain.copy_(1 / codec.gain)
    codec.fit_prior()
    codec.update()
    return codec


def make_residual(*, seed=0):
    """The same for a residual hyperprior with qualities 1 to 3."""
    torch.manual_seed(seed)
    codec = ResidualHyperprior((6, 8, 10), M=12, N=8, hyper=(8, 10), lambdas=(0.001, 0.01, 0.1)).eval()
    with torch.no_grad():
        codec.g_a[-1].weight.mul_(4)
        codec.h_a[-1].weight.mul_(10)
        codec.h_s[-1].weight.mul_(6)
        codec.h_s[-1].bias[:12].add_(torch.linspace(2, 6, 12))
    codec.fit_prior()
    codec.update()
    return codec


def make_calibrated():
    """`make_residual`, whose pixels are defined in integers."""
    codec = make_residual()
    codec.calibrate(picture(64, 64, seed=seed) for seed in range(3))
    return codec


def make_context(*, seed=0):
    """The same for a context hyperprior with qualities 1 to 4 in two bands; 10 of 12 and 6 of 8 channels are coded."""
    torch.manual_seed(seed)
    options = {"coded": (10, 6), "hyper": (8, 10), "context": (8, 12), "bands": 2, "lambdas": (0.001, 0.01, 0.1, 0.2)}
    codec = ContextHyperprior((6, 8, 10), M=12, N=8, **options).eval()
    with torch.no_grad():
        codec.g_a[-1].weight.mul_(4)
        codec.h_a[-1].weight.mul_(10)
        codec.h_s[-1].weight.mul_(6)
        codec.h_s[-1].bias[:10].add_(torch.linspace(2, 6, 10))
        codec.context.fuse[-1].weight.mul_(30)
        codec.constants.copy_(torch.tensor([0.3, -1.7]))
    codec.fit_prior()
    codec.update()
    return codec


def picture(height, width, batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, -(-height // 8), -(-width // 8), generator=generator)
    # In float32, the last bit depends on the number of threads.
    return torch.nn.functional.interpolate(coarse.double(), size=(height, width), mode="bilinear").float()
