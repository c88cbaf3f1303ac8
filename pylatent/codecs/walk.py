"""The walk over a codec's steps, the same for training, refinement, encoding and decoding.

At each step the codec gives mean and scale (or table indexes) from what is done so far; `take` turns them into the
step's residual, by rounding a latent or by reading a stream; mean + residual, and the codec's correction if it has one,
join what is done. Whether the parameters are the float networks' or the exact ones' is an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pylatent.codecs.exact import ACTIVATION_BITS
from pylatent.codecs.latents import Latents
from pylatent.codecs.rounding import Rounding
from pylatent.codecs.steps import Shape, Step, check_steps

if TYPE_CHECKING:
    from pylatent.codecs.definition import CodecDefinition

_ONE = 2.0**ACTIVATION_BITS


@dataclass
class Done:
    """What a step may depend on.

    size: of the pictures; shapes: (C, h, w) of the levels; batch: number of pictures; device: of all tensors.
    quality: of each picture, None for a fixed rate.
    exact: whether values are integers over 2^8 in float64, or floats.
    levels: (B, C, h, w) each, 0 where nothing is done yet, None before a level's first step; to be read with `level`,
        which first puts in what is done. They change in place where gradients are off.
    taken: the residuals of the steps that are done, of their elements.
    kept: the codec's own, empty when a walk begins: what it computes at one step and needs at another.
    """

    size: tuple[int, int]
    shapes: tuple[Shape, ...]
    batch: int
    device: torch.device
    exact: bool
    quality: tuple[float, ...] | None = None
    levels: list[Tensor | None] = field(init=False)
    taken: dict[Step, Tensor] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    pending: list[Callable[[], None]] = field(default_factory=list)  # what puts steps into `levels`

    def __post_init__(self) -> None:
        self.levels = [None] * len(self.shapes)

    def level(self, number: int) -> Tensor:
        """One of `levels`; zeros before its first step."""
        while self.pending:
            self.pending.pop(0)()
        value = self.levels[number]
        if value is None:
            dtype = torch.float64 if self.exact else torch.float32
            value = torch.zeros(self.batch, *self.shapes[number], dtype=dtype, device=self.device)
        return value


class Here:
    """A step with its parameters; tensors are of its own elements: (B, C, h, w) of a whole step, else (B, n).

    given: what the codec said; done: what it was told. mean: what residuals are relative to, as float; in_units: the
    same in the walk's units, 1 or 2^-8.
    """

    def __init__(self, codec: CodecDefinition, step: Step, done: Done) -> None:
        self.step, self.done = step, done
        self._codec, self._batch, self._shape = codec, done.batch, done.shapes[step.level]
        self._scale: Tensor | None = None
        self._indexes: Tensor | None = None
        self.given = codec.parameters_of(step, done)
        self.mean = self.in_units = self._own(self.given.mean)
        if done.exact:
            mean = self.in_units.float() / _ONE
            self.mean = mean.expand(done.batch, *self._shape) if step.is_whole else mean

    def gathered(self, values: Tensor) -> Tensor:
        """The step's elements of what is given for its channels."""
        return self.step.gather(values, self._batch, self._shape)

    def _own(self, given: Tensor) -> Tensor:
        return given if self.given.gathered else self.gathered(given)

    def of(self, latents: Latents) -> Tensor:
        """The step's elements of its level."""
        level = latents.levels[self.step.level]
        return level if self.step.is_whole else self.gathered(level[:, slice(*self.step.channels(self._shape))])

    @property
    def scale(self) -> Tensor | None:
        """The standard deviation, in an exact walk that of the table; None under a prior, or if nothing is coded."""
        if self._scale is None:
            self._scale = self._deviations()
        return self._scale

    def _deviations(self) -> Tensor | None:
        if not self.step.coded:
            return None
        if self.given.scale is not None:
            return self._own(self.given.scale)
        table = self._codec.scales_of(self.step.level)
        if table is None:
            return None
        assert self.given.indexes is not None
        indexes = self._own(self.given.indexes)
        # index_select takes a third of the time of table[indexes].
        return table.to(indexes.device).index_select(0, indexes.int().flatten()).view(indexes.shape)

    def nothing(self) -> Tensor:
        """The residual of a step that is not coded, to be read only: its zeros are one."""
        shape = (self._batch, *self._shape) if self.step.is_whole else self.mean.shape
        return torch.zeros((), device=self.mean.device).expand(shape)

    @property
    def indexes(self) -> Tensor:
        """The table of every element, uint8, contiguous, on the CPU."""
        if self._indexes is None:
            self._indexes = self._tables()
        return self._indexes

    def _tables(self) -> Tensor:
        if self.given.indexes is not None:
            indexes = self._own(self.given.indexes)
        else:
            scale, table = self.scale, self._codec.scales_of(self.step.level)
            assert scale is not None, "under a prior, table indexes must be given"
            assert table is not None
            indexes = torch.bucketize(scale.contiguous(), table[:-1].to(scale.device)).to(torch.uint8)
        if self.step.is_whole:
            indexes = indexes.expand(self._batch, *self._shape)
        return indexes.contiguous().cpu()

    def joined(self, level: Tensor | None, elements: Tensor, *, partly: bool = True) -> Tensor:
        """A level with these elements put in: a new one where gradients may need the old one, or there is none.

        partly: whether others may be read before all steps have been here; they are zeros then.
        """
        if self.step.is_whole:
            return elements
        if level is None:
            shape = (self._batch, *self._shape)
            level = elements.new_zeros(shape) if partly else elements.new_empty(shape)
        elif torch.is_grad_enabled():
            level = level.clone()
        self.step.scatter(elements, level)
        return level


class Walk:
    """All steps of a codec, in order; `take`: a coded step -> its residual, of its elements."""

    def __init__(self, codec: CodecDefinition, done: Done, take: Callable[[Here], Tensor]) -> None:
        self.done = done
        self._codec, self._steps = codec, codec.steps
        self._correction = codec.correction_of
        check_steps(self._steps, tuple(shape[0] for shape in done.shapes))
        self._taken: list[tuple[Here, Tensor]] = []
        for step in self._steps:
            here = Here(codec, step, done)
            residual = take(here) if step.coded else here.nothing()
            self._taken.append((here, residual))
            done.taken[step] = residual
            if step != self._steps[-1]:
                self._settle(here, residual)

    def _settle(self, here: Here, residual: Tensor) -> None:
        """Adds the outcome of a step to what is done: now, if there is a correction, else when it is asked for."""
        if self._correction is None:
            self.done.pending.append(partial(self._join, here, residual))
        else:
            self._join(here, residual)

    def _join(self, here: Here, residual: Tensor) -> None:
        step, levels = here.step, self.done.levels
        values = (residual.double() * _ONE if self.done.exact else residual) + here.in_units
        levels[step.level] = here.joined(levels[step.level], values)
        if self._correction is not None and (added := self._correction(step, self.done)) is not None:
            levels[step.level] = here.joined(levels[step.level], values + here.gathered(added))

    def latents(self, quality: tuple[float, ...] | None, *, parameters: bool = True) -> Latents:
        """The values that result, as float, with their means and scales if these are wanted; to be asked for once."""
        count = len(self.done.shapes)
        values: list[Tensor | None] = [None] * count
        means: list[Tensor | None] = [None] * count
        scales: list[Tensor | None] = [None] * count
        for here, residual in self._taken:
            level = here.step.level
            if parameters:
                means[level] = here.joined(means[level], here.mean, partly=False)
                if here.scale is not None:
                    scales[level] = here.joined(scales[level], here.scale)
            if self._correction is None and (here.step.is_whole or self.done.exact):
                values[level] = here.joined(values[level], self._value(here, residual), partly=False)
        if any(value is None for value in values):
            self._settle(*self._taken[-1])
        for level, value in enumerate(values):
            if value is None:
                values[level] = (self.done.level(level) / _ONE).float() if self.done.exact else self.done.level(level)
        complete = tuple(value for value in values if value is not None)
        given = (tuple(means), tuple(scales)) if parameters else (None, None)
        self.end()
        return Latents(complete, self.done.size, quality, *given)

    def end(self) -> None:
        """Forgets what nobody has asked for. It refers to the walk: a circle, which would keep all tensors in memory
        until Python happens to look for such."""
        self.done.pending.clear()

    def _value(self, here: Here, residual: Tensor) -> Tensor:
        """A step's values, as float, without a correction."""
        if here.step.is_whole:
            done = None if self.done.exact else self.done.levels[here.step.level]
            return residual + here.mean if done is None else done
        if not here.step.coded:
            return residual + here.mean  # 0, where the mean is -0
        return residual.to(torch.float64, copy=True).mul_(_ONE).add_(here.in_units).div_(_ONE).float()


def over(codec: CodecDefinition, latents: Latents, exact: bool) -> Done:
    """The beginning of a walk over given latents."""
    shapes = codec.level_shapes(latents.size)
    return Done(latents.size, shapes, len(latents), latents.y.device, exact, latents.quality)


def quantize(
    codec: CodecDefinition, latents: Latents, rounding: Rounding, exact: bool
) -> tuple[Latents, tuple[list[Tensor], ...]]:
    """Unquantised latents -> what rounding makes of them, and the bits of the elements, by level and step."""
    bits: tuple[list[Tensor], ...] = tuple([] for _ in latents.levels)

    def take(here: Here) -> Tensor:
        paid, passed = rounding(here.of(latents) - here.mean, here.step.level)
        bits[here.step.level].append(codec.bits_of(here, paid))
        return passed

    walked = Walk(codec, over(codec, latents, exact), take)
    return walked.latents(latents.quality), bits
