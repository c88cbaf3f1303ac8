"""Which values an encoder chooses for coefficients: the nearest, or the next ones towards 0 where that saves more bits
than it is worth."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from pylatent.pixel_residual.tables import COST_BITS, LARGEST, costs
from pylatent.transform_residual.context import Context
from pylatent.transform_residual.steps import Step

_LAMBDA = 0.12  # squared steps that a bit is worth


def choose(wanted: Tensor, quantum: int, tables: Tensor, step: Step, context: Context) -> Tensor:
    """Values of a step, in quanta, which the context then has: int16 (bands, blocks of the step).

    wanted: int16 (3, 64, h, w), coefficients. tables: uint8, of the values.
    """
    if context.core is not None:
        values, saved = torch.empty(tables.shape, dtype=torch.int16), _saved()
        of = wanted.data_ptr(), quantum, tables.data_ptr(), saved.data_ptr(), (len(saved), LARGEST)
        to = values.data_ptr(), context.coded.data_ptr(), context.sizes.data_ptr()
        context.core.choose(*of, step.numbers, context.shape, torch.get_num_threads(), *to)
        return values
    exact = context.of(step, wanted[step.colour, step.bands]).double() / quantum
    size, chosen = exact.abs().flatten(), tables.flatten()
    near = (size + 0.5).floor_().clamp_(max=LARGEST)
    some = near.nonzero()[:, 0]
    kept = near[some]
    farther = 2 * (size[some] - kept) + 1  # squared distance of the next value, less that of this one
    near[some] -= (farther < _saved()[chosen[some].long(), kept.long()]).to(near.dtype)
    values = near.view_as(exact).copysign_(exact).int()
    context.put(step, values, LARGEST)
    return values.to(torch.int16)


def worth(wanted: Tensor, quantum: int, values: Tensor, step: Step, context: Context, nbytes: int) -> bool:
    """Whether what the values of a step, as `choose` found them, bring is worth so many bytes."""
    some, blocks = values.nonzero(as_tuple=True)
    exact = wanted[step.colour, step.bands].flatten(1)[some, context.places(step)[blocks]].long()
    values = values[some, blocks].long()
    brought = int((2 * exact * values - quantum * values.square()).sum())  # squared steps, times the quantum
    return brought > _LAMBDA * 8 * nbytes * quantum


@cache
def _saved() -> Tensor:
    """(tables, 1 + LARGEST): what bits of each size are worth beyond those of the next smaller one; of 0 nothing."""
    bits = torch.from_numpy(costs()[:, LARGEST:]).double() / (1 << COST_BITS)
    return F.pad(_LAMBDA * bits.diff(dim=1), (1, 0))
