"""Pixel residuals on top of what a codec decodes: within a bound that is asked for, or so that no picture falls apart.

The networks code photographs. Patterns that they cannot (fine checkerboards, noise in black and white) come out with 6
to 20 dB. `bounded` finds them by how much neighbouring pixels differ, decodes its own result, and adds a residual where
that is below 20 dB: a bound of 25 grey levels alone gives 20.2.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from pylatent.coding.container import MAX_ERROR, Bitstream
from pylatent.errors import ModelError
from pylatent.evaluation.distortion import psnr
from pylatent.pixel_residual import encode_pixels

if TYPE_CHECKING:
    from pylatent.codecs.base import Codec

LOWEST_PSNR = 20.0  # dB, below which a picture is hardly recognised
BUSY = 1500  # mean square of the differences of neighbours in a block of pixels that may be lost
LOOKED_AT = 300.0  # the same of a picture, over its busy blocks, from which it is decoded to be looked at
_BOUNDS = (60, 40, 25)  # the last is enough for any picture: 10 log10(255^2 / 25^2) = 20.2
_BLOCK = 64


def check_max_error(max_error: int) -> None:
    """TypeError or ValueError unless it is a whole number from 0 to 127."""
    if isinstance(max_error, bool) or not isinstance(max_error, int):
        raise TypeError(f"`max_error` must be a whole number of grey levels, got {max_error!r}")
    if not 0 <= max_error <= MAX_ERROR:
        raise ValueError(f"`max_error` must be 0 (lossless) to {MAX_ERROR} grey levels, got {max_error}")


def check_defines_pixels(codec: Codec) -> None:
    """ModelError unless the codec decodes the same pixels everywhere, to which a residual can be added."""
    if not codec.defines_pixels:
        raise ModelError(
            f"model {codec.name} has no integer synthesis: its pixels may differ by a grey level between machines, so "
            "that no residual makes them exact; leave `max_error` out, or take the default model"
        )


def corrected(stream: Bitstream, codec: Codec, original: Tensor, max_error: int) -> Bitstream:
    """The stream with a residual, so that no value of `original` (3, H, W), in 8 bits, is off by more than `max_error`.

    Raises ModelError as `check_defines_pixels` does.
    """
    check_defines_pixels(codec)
    hat = codec.decompress_bytes([stream])[0].cpu()
    return replace(stream, residual=encode_pixels(in_bytes(original), hat, max_error)[0])


def bounded(stream: Bitstream, codec: Codec, original: Tensor) -> Bitstream:
    """The stream as it is, or of a picture that falls apart one with a residual that makes it at least 20 dB.

    original: (3, H, W), uint8 or in [0, 1]. Streams of codecs whose pixels are not defined in
    integers stay as they are.
    """
    if not codec.defines_pixels or busyness(original) < LOOKED_AT:
        return stream
    hat, wanted = codec.decompress_bytes([stream])[0].cpu(), in_bytes(original)
    if psnr(wanted, hat) >= LOWEST_PSNR:
        return stream
    section = b""
    for bound in _BOUNDS:
        section, shown = encode_pixels(wanted, hat, bound)
        if psnr(wanted, shown) >= LOWEST_PSNR:
            break
    return replace(stream, residual=section)


def busyness(x: Tensor) -> float:
    """Mean square of the differences of neighbours, both ways, in grey levels, where blocks below BUSY count as 0.

    x: pixels (3, H, W), uint8 or in [0, 1]. A pattern that is lost costs at most about twice as much in mean square.
    """
    total, width = 0.0, x.shape[2]
    widths = torch.full((-(-width // _BLOCK),), _BLOCK)
    widths[-1] = width - (len(widths) - 1) * _BLOCK
    for rows in range(0, x.shape[1], _BLOCK):
        part = x[:, rows : rows + _BLOCK + 1]  # and the first row of the next
        part = part.to(torch.int16) if part.dtype == torch.uint8 else part * 255
        columns = (part[:, 1:] - part[:, :-1]).float().square_().sum((0, 1))
        columns[1:] += (part[:, :_BLOCK, 1:] - part[:, :_BLOCK, :-1]).float().square_().sum((0, 1))
        sums = F.pad(columns, (0, -width % _BLOCK)).view(-1, _BLOCK).sum(1)
        busy = sums >= BUSY * 6 * min(_BLOCK, x.shape[1] - rows) * widths  # two differences of three colours a pixel
        total += float(sums[busy].sum())
    return total / (2 * x.numel())


def in_bytes(x: Tensor) -> Tensor:
    """(3, H, W), uint8 or in [0, 1] -> uint8 on the CPU; plane by plane, for a float copy of large ones is larger."""
    if x.dtype == torch.uint8:
        return x.cpu()
    return torch.stack([plane.mul(255).round_().clamp_(0, 255).to(torch.uint8) for plane in x]).cpu()
