"""Colours that few photographs have, so that a codec learns not to fail on them."""

from __future__ import annotations

import torch
from torch import Tensor


def unusual_colours(x: Tensor, share: float) -> Tensor:
    """Pixels (B, 3, H, W) in [0, 1] -> the same with other colours, on their device, without synchronising.

    Of the pictures, a part `share` each gets its channels permuted, its saturation multiplied by 0.5 to 2.5, its
    brightness by 0.6 to 1.4; independently, so that some get all three.
    """
    draws = torch.rand(5, len(x), device=x.device)
    order = torch.argsort(torch.rand(len(x), 3, device=x.device), 1)
    order = torch.where((draws[0] < share)[:, None], order, torch.arange(3, device=x.device))
    x = torch.gather(x, 1, order[:, :, None, None].expand_as(x))
    saturation = torch.where(draws[1] < share, 0.5 + 2 * draws[2], 1.0)[:, None, None, None]
    brightness = torch.where(draws[3] < share, 0.6 + 0.8 * draws[4], 1.0)[:, None, None, None]
    grey = x.mean(1, keepdim=True)
    return ((grey + saturation * (x - grey)) * brightness).clamp(0, 1)
