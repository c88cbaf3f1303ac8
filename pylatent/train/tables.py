"""Tables of the entropy coder fitted to what is coded, in place of exact Gaussians; decoding is as fast with them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from pylatent.codecs import Codec, Latents
from pylatent.codecs.walk import Here, Walk, over
from pylatent.coding.tables import CdfTables

_PRIOR_COUNT = 200.0  # symbols that the Gaussian counts for in every table


@torch.no_grad()
def fit_tables(codec: Codec, latents: Iterable[Latents]) -> CdfTables:
    """The tables of a codec's Gaussian levels from unquantised latents of training pictures.

    Every table's frequencies become those of the symbols coded with it, symmetric around 0 and mixed with the
    Gaussian's; what it covers stays the same. Pass them to `codec.update`. Raises ModelError before a first `update`.
    """
    scales, last = codec.scales_of(0), codec.num_levels - 1
    assert scales is not None
    gaussian = CdfTables.gaussian(scales)
    most = int(-gaussian.offset.min())  # supports are symmetric
    counts = torch.zeros(len(scales), most + 2)

    def take(here: Here) -> Tensor:
        symbols = torch.round(here.of(of_pictures).contiguous() - here.mean)
        if here.step.level != last:
            places = here.indexes.int() * (most + 2) + symbols.abs().clamp_max(most + 1).int()
            counts.add_(torch.bincount(places.flatten(), minlength=counts.numel()).view(counts.shape))
        return symbols

    for of_pictures in latents:
        Walk(codec, over(codec, of_pictures, codec.exact), take).end()

    pmfs, tails = [], []
    for row, cdf, length, offset in zip(counts.numpy(), gaussian.cdf, gaussian.length, gaussian.offset, strict=True):
        prior = np.diff(cdf[:length]) / cdf[length - 1]  # the last is the escape
        magnitudes = np.abs(np.arange(length - 2) + offset)
        occurred = np.where(magnitudes == 0, 1.0, 0.5) * row[magnitudes]
        total = row.sum() + _PRIOR_COUNT
        pmfs.append((occurred + _PRIOR_COUNT * prior[:-1]) / total)
        tails.append((row[-int(offset) + 1 :].sum() + _PRIOR_COUNT * prior[-1]) / total)
    return CdfTables.from_pmf(pmfs, gaussian.offset, tail=np.array(tails))
