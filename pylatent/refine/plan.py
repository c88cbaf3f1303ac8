"""How to refine one picture, as `pylatent.compress(..., refine=...)` takes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from pylatent.codecs.checks import check_float32
from pylatent.coding.container import Bitstream
from pylatent.refine.sga import Method, Reading, Refined, SgaPlus, trained_lambda

if TYPE_CHECKING:
    from pylatent.codecs.base import Codec


@dataclass(frozen=True)
class Plan:
    """Arguments of `SgaPlus` and of `SgaPlus.refine`; what is not given has their defaults.

    lam: the weight of the distortion; None for the one that the model was trained with at the quality.
    """

    steps: int = 500
    method: Method = "ssl"
    classes: Literal[2, 3] = 2
    lam: float | None = None
    time_budget: float | None = None
    bf16: bool | None = None
    report: Callable[[Reading], None] | None = None
    stop: Callable[[], bool] | None = None

    def run(self, codec: Codec, x: Tensor, quality: float | None, factor: float = 1.0) -> Refined:
        """Refine pixels (B, 3, H, W) at a quality, with `factor` times the plan's lambda."""
        if self.lam is None:
            known = quality if quality is not None else codec.default_quality
            lam = trained_lambda(codec, None if known is None else (known,))
        else:
            lam = self.lam
        return SgaPlus(codec, method=self.method, classes=self.classes, bf16=self.bf16).refine(
            x,
            lam=lam * factor,
            quality=quality,
            steps=self.steps,
            time_budget=self.time_budget,
            report=self.report,
            stop=self.stop,
        )

    def compress(self, codec: Codec, x: Tensor, quality: float | None, factor: float = 1.0) -> Bitstream:
        """The stream of one picture, pixels (1, 3, H, W), refined."""
        check_float32(codec)
        with torch.autocast(x.device.type, enabled=False):
            return codec.encode(self.run(codec, x, quality, factor).latents)[0]
