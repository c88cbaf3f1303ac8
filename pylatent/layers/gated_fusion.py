"""Gated fusion of quantised latents with the scales that the hyperprior gives them."""

from __future__ import annotations

from torch import Tensor, nn

from pylatent import ops

_LEAST_SCALE = 0.11  # CompressAI's bound: what entropy models raise smaller scales to


def log_scales(s: Tensor) -> Tensor:
    """log max(s, 0.11): scales are positive and spread over orders of magnitude."""
    return s.clamp_min(_LEAST_SCALE).log()


class GatedFusion(nn.Module):
    """sigmoid(gate * s) ⊙ (latent * y), * being 1x1 convolutions: Equation 1 of "An Empirical Analysis of Hyperprior
    Side-Information in Direct Latent-Space Image Classification" (OpenReview VPfzijDmiV), with optional biases.

    y (B, latent_channels, H, W) and s (B, scale_channels, H, W) -> (B, out_channels, H, W). With `log_scales`, the
    gate sees log max(s, 0.11).
    """

    def __init__(
        self,
        latent_channels: int,
        scale_channels: int,
        out_channels: int,
        *,
        log_scales: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.log_scales = log_scales
        self.latent = nn.Conv2d(latent_channels, out_channels, 1, bias=bias)
        self.gate = nn.Conv2d(scale_channels, out_channels, 1, bias=bias)

    def forward(self, y: Tensor, s: Tensor) -> Tensor:
        if self.log_scales:
            s = log_scales(s)
        return ops.gated_fusion(y, s, self.latent.weight, self.gate.weight, self.latent.bias, self.gate.bias)

    def extra_repr(self) -> str:
        return "log_scales=True" if self.log_scales else ""
