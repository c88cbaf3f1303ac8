"""Conditioning of y's probabilities on references: what CLC does before entropy decoding, if it is asked to.

    mean, deviation of the base ─► y_a = CLM(mean, references) ─► mean and deviation that are coded with

CLM computes in floating point, so what steers the coder is not exact, and files say so.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from pylatent.codecs.base import Codec
from pylatent.codecs.latents import Parameters
from pylatent.codecs.walk import Done
from pylatent.layers.matching import LatentMatching, ParameterConditioning

Conditioning: TypeAlias = Literal["after", "parameters"]


def check_conditioning(conditioning: str, base: Codec) -> None:
    """Raises ValueError for an unknown one, and for a base whose y is not one step, which the networks are made for."""
    if conditioning not in ("after", "parameters"):
        raise ValueError(f"`conditioning` must be 'after' or 'parameters', got {conditioning!r}")
    steps = [step for step in base.steps if step.level == 0]
    if conditioning == "parameters" and not (len(steps) == 1 and steps[0].is_whole):
        raise ValueError(
            f"conditioning of parameters needs a base that codes y in one step, {type(base).__name__} has "
            f"{len(steps)}: take conditioning='after'"
        )


def conditioned_parameters(
    base: Codec,
    given: Parameters,
    done: Done,
    matching: LatentMatching,
    known: tuple[Tensor, Tensor],
    network: ParameterConditioning,
) -> Parameters:
    """What y is coded with, given the base's parameters and what the matching knows of the references."""
    assert given.scale is not None, "y is Gaussian"
    quality = None if done.quality is None else torch.tensor(done.quality, dtype=torch.float32, device=done.device)
    ones = torch.ones(done.batch, *done.shapes[0], device=done.device)
    unit = base.for_synthesis(ones, quality)  # as references are
    mean = given.mean * unit
    mean, deviation = network(mean, given.scale * unit, matching.fused(mean, *known))
    return Parameters(mean / unit, deviation / unit)
