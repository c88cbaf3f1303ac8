"""One band of rows, coded or decoded: the same walk, in which either an encoder chooses or a decoder reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from pylatent.coding.container import Cursor, varint
from pylatent.coding.rans import decode, encode
from pylatent.errors import FormatError
from pylatent.pixel_residual import fit
from pylatent.pixel_residual.context import (
    CLASSES,
    ORDER,
    PREDICTORS,
    Context,
    Planes,
    classes,
    context_of,
    default_sizes,
    default_weights,
    predictions,
)
from pylatent.pixel_residual.lattice import Step, steps, with_margin
from pylatent.pixel_residual.tables import LARGEST, tables

FEWEST = 512  # pixels that have weights of their own


class Coder(Protocol):
    """Where weights, tables and symbols come from."""

    def start(self, step: Step, channel: int) -> None: ...
    def weights(self, context: Context, chosen: Tensor) -> Tensor: ...
    def sizes(self, context: Context, predicted: Tensor) -> Tensor: ...
    def symbols(self, predicted: Tensor, kinds: Tensor, occupied: Tensor) -> Tensor: ...


@torch.no_grad()
@torch.autocast("cpu", enabled=False)
def walk(hat: Tensor, max_error: int, coder: Coder) -> Tensor:
    """hat: uint8 (3, H, W), what the codec decodes -> the pixels with their residual, uint8 (3, H, W)."""
    padded = with_margin(hat)
    planes = Planes(padded, padded.clone(), torch.zeros_like(padded))
    for step in steps(*hat.shape[1:]):
        for place, channel in enumerate(ORDER):
            coder.start(step, channel)
            context = context_of(planes, step, place)
            weights = default_weights(step, place).repeat(PREDICTORS, 1)
            for number in range(PREDICTORS):
                chosen = (context.predictor == number).nonzero()[:, 0]
                if len(chosen) >= FEWEST:
                    weights[number] = coder.weights(context, chosen)
            predicted = predictions(context, weights)
            few = len(predicted) < FEWEST
            sizes = default_sizes(place) if few else coder.sizes(context, predicted)
            kinds = classes(context, sizes)
            occupied = torch.bincount(kinds, minlength=CLASSES).nonzero()[:, 0]
            symbols = coder.symbols(predicted, kinds, occupied)
            reached = (predicted + symbols * (2 * max_error + 1)).clamp_(0, 255).to(torch.int16)
            shown = step.of(planes.known[channel])
            shown.copy_(reached.view_as(shown))
            step.of(planes.errors[channel]).copy_((reached - predicted).abs_().view_as(shown))
    return Step(0, 0, 1, ()).of(planes.known).to(torch.uint8)


@dataclass
class BandEncoder:
    """original: int16 (3, H, W) with margins."""

    original: Tensor
    max_error: int
    out: bytearray = field(default_factory=bytearray)

    def start(self, step: Step, channel: int) -> None:
        self.wanted = step.of(self.original[channel]).reshape(-1)

    def weights(self, context: Context, chosen: Tensor) -> Tensor:
        return self._put(fit.fit(context.values, self.wanted - context.hat, chosen, ridge=1e-3))

    def sizes(self, context: Context, predicted: Tensor) -> Tensor:
        return self._put(fit.fit_sizes(context.signs, self.wanted - predicted))

    def symbols(self, predicted: Tensor, kinds: Tensor, occupied: Tensor) -> Tensor:
        error = (self.wanted - predicted).to(torch.int32)
        step = 2 * self.max_error + 1
        symbols = error if step == 1 else error.sign() * ((error.abs() + self.max_error) // step)
        chosen = fit.choose_tables(symbols, kinds).to(torch.uint8)
        stream = encode(symbols, chosen[kinds], tables())
        self.out += bytes(chosen[occupied].tolist()) + varint(len(stream)) + stream
        return symbols

    def _put(self, weights: Tensor) -> Tensor:
        self.out += weights.to(torch.int8).numpy().tobytes()
        return weights


@dataclass
class BandDecoder:
    """cursor: over the bytes of the band."""

    cursor: Cursor

    def start(self, step: Step, channel: int) -> None:
        pass

    def weights(self, context: Context, chosen: Tensor) -> Tensor:
        return self._take(len(context.values))

    def sizes(self, context: Context, predicted: Tensor) -> Tensor:
        sizes = self._take(len(context.signs))
        if bool((sizes < 0).any()):
            raise FormatError("pixel residual: an expected error has a weight below 0")
        return sizes

    def symbols(self, predicted: Tensor, kinds: Tensor, occupied: Tensor) -> Tensor:
        chosen = torch.zeros(CLASSES, dtype=torch.uint8)
        found = torch.tensor(list(self.cursor.take(len(occupied), "the tables of a pixel residual")), dtype=torch.uint8)
        if int(found.max()) >= tables().num_tables:
            raise FormatError(f"pixel residual: there is no table {int(found.max())}")
        chosen[occupied] = found
        stream = self.cursor.take(self.cursor.varint("the length of a residual stream"), "a residual stream")
        symbols = decode(stream, chosen[kinds], tables())
        if int(symbols.min()) < -LARGEST or int(symbols.max()) > LARGEST:
            raise FormatError(f"pixel residual: a value is beyond {LARGEST}")
        return symbols

    def _take(self, count: int) -> Tensor:
        return torch.frombuffer(
            bytearray(self.cursor.take(count, "weights of a pixel residual")), dtype=torch.int8
        ).float()
