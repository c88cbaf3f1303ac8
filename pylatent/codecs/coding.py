"""Encode and decode: the walk over the levels with exact parameters, integer symbols and the lane coder.

What steers the coder is computed in integers (codecs/exact.py), so the encoder's walk and the decoder's agree on every
machine; the stream carries a checksum of the table indexes all the same, and a disagreement raises MismatchError before
a symbol is trusted. Nothing here depends on autocast, TF32, the default dtype or the memory format.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pylatent.codecs.exact import ACTIVATION_BITS
from pylatent.codecs.latents import Latents
from pylatent.coding.container import Bitstream
from pylatent.coding.rans import decode_batch, encode_batch
from pylatent.errors import FormatError, MismatchError, ModelError

if TYPE_CHECKING:
    from pylatent.codecs.base import Codec, ExactParameters

_LARGEST_SYMBOL = 1 << 30
_SLACK_BITS = 64  # of a section, when its length is held against the symbols that it must hold

_Coder = Callable[[int, Tensor, Tensor, bool], Tensor]  # level, means, indexes, computed -> symbols


@torch.no_grad()
def encode(codec: Codec, latents: Latents, threads: int | None = None) -> list[Bitstream]:
    """Unquantised latents -> one Bitstream per picture. Raises ValueError for latents that cannot be coded."""
    _check_latents(codec, latents)
    batch = latents.levels[0].shape[0]
    sections: list[list[bytes]] = [[] for _ in range(batch)]
    crcs = [0] * batch

    def code(level: int, mean: Tensor, indexes: Tensor, computed: bool) -> Tensor:
        symbols = _nearest_symbols(latents.levels[level], mean)
        streams = encode_batch(list(symbols.cpu()), list(indexes), codec.tables_of(level), threads=threads)
        for number, stream in enumerate(streams):
            sections[number].append(stream)
            if computed:
                crcs[number] = zlib.crc32(indexes[number].numpy().data, crcs[number])
        return symbols

    _walk(codec, batch, latents.size, latents.levels[0].device, code)
    qualities = latents.quality or (None,) * batch
    return [
        Bitstream(latents.size, quality, tuple(parts), crc)
        for quality, parts, crc in zip(qualities, sections, crcs, strict=True)
    ]


@torch.no_grad()
def decode(codec: Codec, streams: Sequence[Bitstream], threads: int | None = None) -> Latents:
    """Bitstreams of pictures of one size -> quantised latents with means and scales, on the codec's device.

    Raises FormatError for streams that are damaged, MismatchError for streams of another model.
    """
    size, quality = _check_streams(codec, streams)
    crcs = [0] * len(streams)

    def code(level: int, mean: Tensor, indexes: Tensor, computed: bool) -> Tensor:
        place = codec.num_levels - 1 - level
        if computed:
            for number, stream in enumerate(streams):
                crcs[number] = zlib.crc32(indexes[number].numpy().data, crcs[number])
                if level == 0 and crcs[number] != stream.index_crc:
                    raise MismatchError(
                        f"picture {number}: the table indexes computed here have CRC {crcs[number]:08x}, the encoder's "
                        f"{stream.index_crc:08x}; the stream was written by another model than {codec.name}"
                    )
        data = [stream.sections[place] for stream in streams]
        symbols = decode_batch(data, list(indexes), codec.tables_of(level), threads=threads)
        return torch.stack(symbols).to(mean.device)

    return _values(codec, _walk(codec, len(streams), size, codec.device, code), size, quality)


@torch.no_grad()
def quantized(codec: Codec, latents: Latents) -> Latents:
    """What `decode(encode(latents))` returns, without the detour through bytes."""
    _check_latents(codec, latents)

    def code(level: int, mean: Tensor, indexes: Tensor, computed: bool) -> Tensor:
        return _nearest_symbols(latents.levels[level], mean)

    first = latents.levels[0]
    walked = _walk(codec, first.shape[0], latents.size, first.device, code)
    return _values(codec, walked, latents.size, latents.quality)


@dataclass(frozen=True)
class _Level:
    """A level as coded: its symbols, the mean that they are relative to, and what it was coded with."""

    symbols: Tensor
    mean: Tensor
    parameters: ExactParameters


def _walk(codec: Codec, batch: int, size: tuple[int, int], device: torch.device, code: _Coder) -> list[_Level]:
    """From the deepest level to the shallowest: exact parameters, then symbols. The shallowest comes first."""
    levels, unit = codec.num_levels, 2.0**-ACTIVATION_BITS
    shapes = codec.level_shapes(size)
    grids: list[Tensor | None] = [None] * levels
    walked: list[_Level] = []
    with torch.autocast(device.type, enabled=False):
        for level in reversed(range(levels)):
            parameters = codec.exact_parameters_of(level, grids, size, device)
            shape = (batch, *shapes[level])
            mean = (parameters.mean.float() * unit).expand(shape)
            indexes = parameters.indexes.expand(shape).contiguous().cpu()
            symbols = code(level, mean, indexes, parameters.computed)
            if level > 0:
                grids[level] = symbols.double() * 2.0**ACTIVATION_BITS + parameters.mean
            walked.append(_Level(symbols, mean, parameters))
    return walked[::-1]


def _values(codec: Codec, walked: list[_Level], size: tuple[int, int], quality: tuple[float, ...] | None) -> Latents:
    """The values that symbols stand for."""
    hats = tuple(level.symbols.float() + level.mean for level in walked)
    scales = tuple(_scales(codec.scales_of(number), level.parameters) for number, level in enumerate(walked))
    return Latents(hats, size, quality, tuple(level.mean for level in walked), scales)


def _scales(table: Tensor | None, parameters: ExactParameters) -> Tensor | None:
    if table is None:
        return None
    indexes = parameters.indexes.int()  # index_select takes a third of the time of table[indexes]
    return table.to(indexes.device).index_select(0, indexes.flatten()).view(indexes.shape)


def _nearest_symbols(values: Tensor, mean: Tensor) -> Tensor:
    return torch.round(values.contiguous() - mean).to(torch.int32)


def _check_latents(codec: Codec, latents: Latents) -> None:
    if len(latents.levels) != codec.num_levels:
        raise ValueError(f"`latents` must have {codec.num_levels} levels, got {len(latents.levels)}")
    batch = latents.levels[0].shape[0]
    for level, (values, shape) in enumerate(zip(latents.levels, codec.level_shapes(latents.size), strict=True)):
        if tuple(values.shape) != (batch, *shape):
            raise ValueError(f"level {level} of `latents` must have shape {(batch, *shape)}, got {tuple(values.shape)}")
        if values.dtype != torch.float32:
            raise ValueError(
                f"level {level} of `latents` must be float32, got {values.dtype}: half precision loses digits"
            )
        largest = float(values.abs().amax()) if values.numel() else 0.0
        if not largest < _LARGEST_SYMBOL:
            raise ValueError(f"level {level} of `latents` must be finite and below 2^30, the largest is {largest}")


def _check_streams(codec: Codec, streams: Sequence[Bitstream]) -> tuple[tuple[int, int], tuple[float, ...] | None]:
    """Refuse what cannot be a stream of this codec, before anything of the declared size is allocated."""
    if not streams:
        raise ValueError("`streams` must hold at least one Bitstream, got none")
    size = streams[0].size
    shapes = codec.level_shapes(size)
    for number, stream in enumerate(streams):
        if stream.size != size:
            raise ValueError(f"`streams` must be of pictures of one size, got {size} and {stream.size}")
        if len(stream.sections) != codec.num_levels:
            raise FormatError(
                f"picture {number} has {len(stream.sections)} sections, model {codec.name} needs {codec.num_levels}"
            )
        _check_quality(codec, stream, number)
        for level, (channels, height, width) in enumerate(shapes):
            section = stream.sections[codec.num_levels - 1 - level]
            needed = float(codec.tables_of(level).min_bits.min()) * channels * height * width
            if 8 * len(section) + _SLACK_BITS < needed:
                raise FormatError(
                    f"picture {number} declares {size[0]}x{size[1]} pixels, at least {needed / 8:.0f} bytes "
                    f"at level {level}, but that section has {len(section)}"
                )
    if codec.qualities is None:
        return size, None
    return size, tuple(stream.quality for stream in streams if stream.quality is not None)


def _check_quality(codec: Codec, stream: Bitstream, number: int) -> None:
    if (stream.quality is None) != (codec.qualities is None):
        kind = "a fixed rate" if codec.qualities is None else "a variable rate"
        raise MismatchError(f"picture {number} has quality {stream.quality}, but model {codec.name} has {kind}")
    if codec.qualities is not None and stream.quality is not None:
        lowest, highest = codec.qualities
        if not lowest <= stream.quality <= highest:
            raise FormatError(f"picture {number} has quality {stream.quality}, expected {lowest:g} to {highest:g}")


def check_float32(codec: Codec) -> None:
    """Raise ModelError if the codec was converted to half precision, which encoding cannot honour."""
    for name, parameter in codec.named_parameters():
        if parameter.dtype != torch.float32:
            raise ModelError(f"model {codec.name} must be float32 to encode, but {name} is {parameter.dtype}")
