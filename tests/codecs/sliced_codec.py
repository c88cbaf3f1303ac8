"""A codec in one file: five channel slices of two checkerboard phases each, and a latent residual prediction.

Its transforms are as small as they can be; what is coded goes through all that the walk provides.
"""

import torch
from torch import nn

from pylatent.codecs import Codec, Step, checkerboard
from pylatent.entropy import FactorizedPrior

SLICES = 5


class SlicedCodec(Codec):
    num_levels, alignment = 2, 16

    def __init__(self, width=3):
        super().__init__()
        self.width, channels = width, SLICES * width
        self.g_a, self.g_s = nn.Conv2d(3, channels, 16, 16), nn.ConvTranspose2d(channels, 3, 16, 16)
        self.h_a = nn.Conv2d(channels, 4, 3, 2, padding=1)
        self.h_s = nn.Sequential(nn.ConvTranspose2d(4, channels, 2, 2), nn.LeakyReLU())
        self.context = nn.ModuleList(self._network(2 * width) for _ in range(SLICES))
        self.correction = nn.ModuleList(self._network(width) for _ in range(SLICES))
        self.entropy_bottleneck = FactorizedPrior(4)

    def _network(self, outputs):
        inputs = 2 * SLICES * self.width
        return nn.Sequential(nn.Conv2d(inputs, 8, 3, padding=1), nn.LeakyReLU(), nn.Conv2d(8, outputs, 1))

    @property
    def config(self):
        return {"width": self.width}

    @property
    def prior(self):
        return self.entropy_bottleneck

    @property
    def exact_networks(self):
        slices = {f"{name}.{i}": getattr(self, name)[i] for name in ("context", "correction") for i in range(SLICES)}
        return {"h_s": self.h_s, **slices}

    def level_shapes(self, size):
        height, width = -(-size[0] // 16), -(-size[1] // 16)
        return (SLICES * self.width, height, width), (4, -(-height // 2), -(-width // 2))

    @property
    def steps(self):
        starts = range(0, SLICES * self.width, self.width)
        slices = (checkerboard(colour, at, at + self.width) for at in starts for colour in (0, 1))
        return Step(1), *(Step(0, parts) for parts in slices)

    def analysis(self, x, quality):
        y = self.g_a(x)
        return y, self.h_a(y)

    def synthesis(self, levels, quality):
        return self.g_s(levels[0])

    def _run(self, name, step, done):
        if "hyper" not in done.kept:
            _, height, width = done.shapes[0]
            done.kept["hyper"] = self.network("h_s", done)(done.level(1))[..., :height, :width]
        inputs = torch.cat([done.kept["hyper"], done.level(0)], 1)
        return self.network(f"{name}.{step.parts[0].start // self.width}", done)(inputs)

    def parameters_of(self, step, done):
        if step.level == 1:
            return self.prior_parameters(done)
        return self.gaussian(*self._run("context", step, done).chunk(2, 1), done)

    def correction_of(self, step, done):
        if step.level == 1:
            return None
        unit = 256 if done.exact else 1  # a power of two, so that halves of it are exact
        return self._run("correction", step, done).clamp(-unit / 2, unit / 2)
