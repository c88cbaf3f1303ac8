"""The layers that the codecs' transforms are built of, and the analysis and synthesis that they share."""

from __future__ import annotations

from torch import nn

from pylatent.layers.deconv import FewOutputsDeconv
from pylatent.layers.gdn import GDN


def conv(inputs: int, outputs: int, kernel: int = 5, stride: int = 2) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)


def deconv(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 5, stride=2, padding=2, output_padding=1)


def analysis_transform(N: int, M: int) -> nn.Sequential:
    """g_a of Ballé et al. 2018: pixels (B, 3, 16 h, 16 w) -> (B, M, h, w), N channels between."""
    return nn.Sequential(conv(3, N), GDN(N), conv(N, N), GDN(N), conv(N, N), GDN(N), conv(N, M))


def synthesis_transform(N: int, M: int) -> nn.Sequential:
    """g_s, its mirror: (B, M, h, w) -> pixels (B, 3, 16 h, 16 w)."""
    return nn.Sequential(
        deconv(M, N),
        GDN(N, inverse=True),
        deconv(N, N),
        GDN(N, inverse=True),
        deconv(N, N),
        GDN(N, inverse=True),
        FewOutputsDeconv(N, 3),
    )
