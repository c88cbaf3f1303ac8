"""A conditional codec small enough for tests, with a dictionary of random pictures."""

import torch
from small_codec import make_residual, picture

from pylatent.codecs import CLC, Dictionary
from pylatent.codecs.dictionary import Facts, pooled, stored


@torch.no_grad()
def make_dictionary(codec, entries=5, crop=64, name="tiny-1", *, half=False, seed=1):
    torch.manual_seed(seed)
    crop = max(crop, codec.alignment)
    x = picture(crop, crop, batch=entries, seed=seed)
    latents = codec.analyze(x)
    quality = None if latents.quality is None else torch.tensor(latents.quality)
    y = codec.ungained(latents.y, quality)
    wide, mean = pooled(y), pooled(y).mean(0)
    axes = torch.linalg.qr(torch.randn(wide.shape[1], 6)).Q.contiguous()
    facts = Facts(name, codec.name, codec.fingerprint().hex(), crop, entries, seed)
    return Dictionary(facts, *stored(y, half=half), (wide - mean) @ axes, mean, axes)


@torch.no_grad()
def make_clc(base=None, *, references=2, entries=5):
    base = base or make_residual()
    torch.manual_seed(3)
    codec = CLC.around(base, make_dictionary(base, entries), references=references, width=6, inner=6, hidden=4).eval()
    torch.nn.init.normal_(codec.matching.widen.weight)
    codec.blend.weights[-1].bias.zero_()  # half of the result from the references
    return codec
