"""Latents to bytes and back: the walk with exact parameters, integer symbols and the lane coder.

What steers the coder is computed in integers (codecs/exact.py), so the encoder's walk and the decoder's agree on every
machine; the stream carries a checksum of the table indexes all the same, which is compared before the last section is
decoded. A codec without exact networks walks in float, and its streams say so. Nothing here depends on autocast, TF32,
the default dtype or the memory format.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pylatent.codecs.latents import Latents
from pylatent.codecs.steps import symbols_of
from pylatent.codecs.walk import Done, Here, Walk, over
from pylatent.coding.container import Bitstream
from pylatent.coding.rans import decode_batch, encode_batch
from pylatent.errors import FormatError, MismatchError

if TYPE_CHECKING:
    from pylatent.codecs.definition import CodecDefinition

_LARGEST_SYMBOL = 1 << 30
_SLACK_BITS = 64  # of a section, when its length is held against the symbols that it must hold


@torch.no_grad()
def encode(codec: CodecDefinition, latents: Latents, threads: int | None = None) -> list[Bitstream]:
    """Unquantised latents -> one Bitstream per picture. Raises ValueError for latents that cannot be coded."""
    streams, walk = _encode(codec, latents, threads)
    walk.end()
    return streams


@torch.no_grad()
def encode_and_decode(
    codec: CodecDefinition, latents: Latents, threads: int | None = None
) -> tuple[list[Bitstream], Latents]:
    """What `encode` returns, and what `decode` makes of it, without means and scales."""
    streams, walk = _encode(codec, latents, threads)
    with torch.autocast(latents.y.device.type, enabled=False):
        return streams, walk.latents(latents.quality, parameters=False)


def _encode(codec: CodecDefinition, latents: Latents, threads: int | None) -> tuple[list[Bitstream], Walk]:
    _check_latents(codec, latents)
    sections: list[list[bytes]] = [[] for _ in range(len(latents))]
    crcs = [0] * len(latents)

    def take(here: Here) -> Tensor:
        symbols = _nearest_symbols(here.of(latents), here.mean)
        tables = codec.tables_of(here.step.level)
        coded = encode_batch(list(symbols.cpu()), list(here.indexes), tables, threads=threads)
        for number, section in enumerate(coded):
            sections[number].append(section)
        _extend(crcs, here)
        return symbols

    with torch.autocast(latents.y.device.type, enabled=False):
        walk = Walk(codec, over(codec, latents, codec.exact), take)
    qualities = latents.quality or (None,) * len(latents)
    streams = [
        Bitstream(latents.size, quality, tuple(parts), crc, codec.exact)
        for quality, parts, crc in zip(qualities, sections, crcs, strict=True)
    ]
    return streams, walk


@torch.no_grad()
def decode(
    codec: CodecDefinition, streams: Sequence[Bitstream], threads: int | None = None, *, parameters: bool = True
) -> Latents:
    """Bitstreams of pictures of one size -> quantised latents, with means and scales if wanted, on the codec's device.

    Raises FormatError for streams that are damaged, MismatchError for streams of another model.
    """
    size, quality = _check_streams(codec, streams)
    crcs, last = [0] * len(streams), len(streams[0].sections) - 1
    place = -1

    def take(here: Here) -> Tensor:
        nonlocal place
        place += 1
        _extend(crcs, here)
        if place == last:
            _check_indexes(codec, streams, crcs)
        data = [stream.sections[place] for stream in streams]
        tables = codec.tables_of(here.step.level)
        try:
            symbols = decode_batch(data, list(here.indexes), tables, threads=threads)
        except FormatError as error:
            if codec.exact or not here.given.computed:
                raise
            raise MismatchError(f"section {place} cannot be decoded: {_INEXACT.format(codec.name)} ({error})") from None
        return torch.stack(symbols).to(here.mean.device)

    done = Done(size, codec.level_shapes(size), len(streams), codec.device, codec.exact, quality)
    with torch.autocast(codec.device.type, enabled=False):
        return Walk(codec, done, take).latents(quality, parameters=parameters)


@torch.no_grad()
def as_coded(codec: CodecDefinition, latents: Latents) -> Latents:
    """What `decode(encode(latents))` returns, without the detour through bytes."""
    _check_latents(codec, latents)

    def take(here: Here) -> Tensor:
        return _nearest_symbols(here.of(latents), here.mean)

    with torch.autocast(latents.y.device.type, enabled=False):
        return Walk(codec, over(codec, latents, codec.exact), take).latents(latents.quality)


_INEXACT = (
    "model {} has no exact form, so another machine, thread count or version of torch than the writer's may compute "
    "other table indexes; decode where the file was written"
)


def _extend(crcs: list[int], here: Here) -> None:
    """Chains the CRC of the step's table indexes, if they are computed from earlier steps, to those before."""
    if here.given.computed:
        for number, indexes in enumerate(here.indexes):
            crcs[number] = zlib.crc32(indexes.numpy().data, crcs[number])


def _check_indexes(codec: CodecDefinition, streams: Sequence[Bitstream], crcs: list[int]) -> None:
    for number, (stream, crc) in enumerate(zip(streams, crcs, strict=True)):
        if crc != stream.index_crc:
            reason = f"the stream was written by another model than {codec.name}"
            raise MismatchError(
                f"picture {number}: the table indexes computed here have CRC {crc:08x}, the encoder's "
                f"{stream.index_crc:08x}; {reason if codec.exact else _INEXACT.format(codec.name)}"
            )


def _nearest_symbols(values: Tensor, mean: Tensor) -> Tensor:
    return torch.round(values.contiguous() - mean).to(torch.int32)


def _check_latents(codec: CodecDefinition, latents: Latents) -> None:
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


def _check_streams(
    codec: CodecDefinition, streams: Sequence[Bitstream]
) -> tuple[tuple[int, int], tuple[float, ...] | None]:
    """Refuse what cannot be a stream of this codec, before anything of the declared size is allocated."""
    size, steps = streams[0].size, [step for step in codec.steps if step.coded]
    counts = symbols_of(steps, codec.level_shapes(size))
    least = [float(codec.tables_of(level).min_bits.min()) for level in range(codec.num_levels)]
    qualities = codec.qualities
    for number, stream in enumerate(streams):
        if stream.size != size:
            raise ValueError(f"`streams` must be of pictures of one size, got {size} and {stream.size}")
        if len(stream.sections) != len(steps):
            raise FormatError(
                f"picture {number} has {len(stream.sections)} sections, model {codec.name} needs {len(steps)}"
            )
        if stream.exact != codec.exact:
            raise MismatchError(
                f"picture {number} was written by a model {'with' if stream.exact else 'without'} exact networks, "
                f"model {codec.name} is one {'with' if codec.exact else 'without'}"
            )
        _check_quality(codec.name, qualities, stream.quality, number)
        for section, step, count in zip(stream.sections, steps, counts, strict=True):
            needed = least[step.level] * count
            if 8 * len(section) + _SLACK_BITS < needed:
                raise FormatError(
                    f"picture {number} declares {size[0]}x{size[1]} pixels, at least {needed / 8:.0f} bytes "
                    f"at level {step.level}, but that section has {len(section)}"
                )
    if qualities is None:
        return size, None
    return size, tuple(stream.quality for stream in streams if stream.quality is not None)


def _check_quality(name: str, qualities: tuple[float, float] | None, quality: float | None, number: int) -> None:
    if (quality is None) != (qualities is None):
        kind = "a fixed rate" if qualities is None else "a variable rate"
        raise MismatchError(f"picture {number} has quality {quality}, but model {name} has {kind}")
    if qualities is not None and quality is not None and not qualities[0] <= quality <= qualities[1]:
        lowest, highest = qualities
        raise FormatError(f"picture {number} has quality {quality}, expected {lowest:g} to {highest:g}")
