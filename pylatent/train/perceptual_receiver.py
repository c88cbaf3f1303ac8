"""From a synthesis that was trained for perception to a receiver of the model that it started from, in integers."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from pylatent.codecs.chain import Chain
from pylatent.codecs.integer_convert import convert
from pylatent.codecs.integer_ranges import calibrate
from pylatent.codecs.receivers import SideReceiver

WEIGHT_LIMIT = 127  # of 8-bit weights


@torch.no_grad()
def with_perceptual(start: Chain, trained: Chain, pictures: Iterable[Tensor]) -> Chain:
    """The start, whose files and full receiver stay as they are, with the trained synthesis as its perceptual receiver.

    trained: the start with other weights in the synthesis alone. pictures: pixels (B, 3, H, W) in [0, 1], which tell
    the ranges of activations, each at another quality in turn. Raises ModelError if there is no integer form.
    """

    def inputs() -> Iterator[Tensor]:
        for number, x in enumerate(pictures):
            quality = None if trained.gain is None else 1.0 + number % len(trained.gain)
            latents = trained.as_coded(trained.analyze(x, quality))
            yield trained.for_synthesis(latents.y, trained._quality_tensor(latents.quality, x.device))

    codec = copy.deepcopy(start)
    full = codec._ready().synthesis
    assert full is not None  # the caller has asked `defines_pixels`
    ranges = calibrate(trained.g_s, inputs())
    synthesis = convert(trained.g_s, trained.inverse_gain, ranges, largest=WEIGHT_LIMIT, name="perceptual")
    codec.set_receiver("perceptual", SideReceiver.apart(full, synthesis))
    return codec
