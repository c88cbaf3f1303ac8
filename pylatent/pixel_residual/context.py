"""What is known of a step's pixels in one channel before they are coded, and what follows for their values.

Integers throughout. They are kept in float32, whose products and sums here are exact: values up to 255 and weights
below 128, of which even bfloat16 loses nothing, and sums below 2^24.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pylatent.pixel_residual.lattice import DIAGONALS, SIDES, Step

ORDER = (1, 0, 2)  # green, red, blue
UNIT_BITS = 6  # of weights
ACTIVITIES = (0, 2, 6, 14, 30)  # above which the next predictor is taken
PREDICTORS = len(ACTIVITIES) + 1
# Expected errors over 2^UNIT_BITS, ceil(2^(n / 2)), from which the next class begins.
LEVELS = torch.tensor(
    (6, 8, 12, 16, 23, 32, 46, 64, 91, 128, 182, 256, 363, 512, 725, 1024, 1449, 2048, 2897, 4096, 5793, 8192, 11586)
)
CLASSES = len(LEVELS) + 1
_CLASS_OF = torch.bucketize(torch.arange(int(LEVELS[-1]) + 1), LEVELS, right=True).to(torch.uint8)
_BIAS = 4
_NEAR = 4


@dataclass
class Planes:
    """A band with its margins, int16 (3, H + 2 MARGIN, W + 2 MARGIN).

    hat: the pixels that the codec decodes. known: the result, as far as it is known; hat elsewhere. errors: by how much
    predictions were off, 0 where there are none yet.
    """

    hat: Tensor
    known: Tensor
    errors: Tensor


@dataclass
class Context:
    """Of n pixels in one channel.

    hat: (n,) int16. values: (J, n) what predictions are sums of. predictor: (n,) which of them, int64. signs: (M, n)
    what the size of errors is expected from.
    """

    hat: Tensor
    values: Tensor
    predictor: Tensor
    signs: Tensor


def context_of(planes: Planes, step: Step, place: int) -> Context:
    """Of the channel ORDER[place], after those before it in this step."""
    channel, before = ORDER[place], ORDER[:place]
    hat = step.of(planes.hat[channel])
    n = hat.numel()
    values = torch.empty(count_of_values(step, place), n, dtype=torch.float32)
    rows = iter(values.view(-1, *hat.shape))
    for offset in step.neighbours:
        torch.sub(step.of(planes.known[channel], offset), hat, out=next(rows))
    own = values[: len(step.neighbours)]
    slopes = [step.of(planes.hat[channel], offset) - hat for offset in SIDES]
    torch.sub(sum(slopes[1:], slopes[0]) >> 2, 0, out=next(rows))
    corners = [step.of(planes.hat[channel], offset) for offset in DIAGONALS]
    torch.sub(sum(corners[1:], corners[0]) >> 2, hat, out=next(rows))
    for other in before:
        there = step.of(planes.hat[other])
        torch.sub(step.of(planes.known[other]), there, out=next(rows))
        torch.sub(there, hat, out=next(rows))
    for other in before[:1]:
        for offset in step.neighbours:
            torch.sub(step.of(planes.known[other], offset), step.of(planes.hat[other]), out=next(rows))
    next(rows).fill_(_BIAS)

    signs = torch.zeros(count_of_signs(place), n, dtype=torch.float32)
    rows = iter(signs.view(-1, *hat.shape))
    activity, steepness = next(rows), next(rows)
    torch.sub(sum((slope.abs() for slope in slopes[1:]), slopes[0].abs()) >> 2, 0, out=steepness)
    if step.neighbours:
        torch.sub(own[:4].amax(0), own[:4].amin(0), out=activity.view(-1))
    else:
        activity.copy_(steepness)
    for other in before:
        error = step.of(planes.errors[other])
        next(rows).copy_(error)
        activity += error
    predictor = torch.zeros(n, dtype=torch.int64)
    for limit in ACTIVITIES:
        predictor += (activity > limit).view(-1)
    activity.clamp_(max=255)
    for first in range(0, len(step.neighbours), 4):
        near = [step.of(planes.errors[channel], offset) for offset in step.neighbours[first : first + 4]]
        torch.sub(sum(near[1:], near[0]) >> 2, 0, out=next(rows))
    signs[-1] = 1
    return Context(hat.reshape(-1), values, predictor, signs)


def count_of_values(step: Step, place: int) -> int:
    return len(step.neighbours) * (1 + (place > 0)) + 3 + 2 * place


def count_of_signs(place: int) -> int:
    """Activity, steepness, errors of other channels, of nearer and farther neighbours, 1."""
    return 5 + place


def default_weights(step: Step, place: int) -> Tensor:
    """(J,) of few pixels, which have no weights of their own: the mean of the four nearest neighbours, or where these
    are far, what the codec decodes, and three quarters of what the channel before is off by."""
    weights = torch.zeros(count_of_values(step, place), dtype=torch.float32)
    if step.stride <= _NEAR:
        weights[:4] = (1 << UNIT_BITS) / 4
    elif place:
        weights[len(step.neighbours) + 2 * place] = 3 * (1 << UNIT_BITS) / 4
    return weights


def default_sizes(place: int) -> Tensor:
    """(M,) of few pixels."""
    sizes = torch.full((count_of_signs(place),), (1 << UNIT_BITS) / 4, dtype=torch.float32)
    sizes[-1] = 1
    return sizes


def predictions(context: Context, weights: Tensor) -> Tensor:
    """weights (PREDICTORS, J) -> (n,) int16 pixels, 0 to 255."""
    sums = (weights @ context.values).gather(0, context.predictor[None])[0].to(torch.int32)
    sums += 1 << UNIT_BITS - 1
    return (context.hat + (sums >> UNIT_BITS)).clamp_(0, 255).to(torch.int16)


def classes(context: Context, sizes: Tensor) -> Tensor:
    """sizes (M,) -> (n,) int64: the class of the expected error."""
    expected = (sizes @ context.signs).clamp_(max=float(LEVELS[-1])).to(torch.int64)
    return _CLASS_OF[expected].long()
