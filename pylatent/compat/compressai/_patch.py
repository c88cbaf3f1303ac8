"""CompressAI's entropy models with our coder and our fused rate, for single modules: what `pylatent.patch` puts in."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn

from pylatent.compat._patched import Patched, names_called
from pylatent.compat.compressai._install import _build_indexes, _compress, _decompress
from pylatent.ops.gaussian_bits import gaussian_bits


def faster(module: nn.Module) -> type[Patched] | str | None:
    """What to mix into this module's class, or why it stays as it is, or None if it has no part in coding."""
    models = sys.modules.get("compressai.entropy_models.entropy_models")
    if models is None:
        return None
    cls = type(module)
    if cls is models.GaussianConditional:
        return _why_not_gaussian(module) or _Gaussian
    if cls is models.EntropyBottleneck:
        return _Coding
    if isinstance(module, models.EntropyModel):
        return f"only CompressAI's EntropyBottleneck and GaussianConditional are replaced, not {cls.__name__}"
    if names_called(cls) & {"BufferedRansEncoder", "RansEncoder", "RansDecoder"}:
        return "its methods name CompressAI's coder: pylatent.compat.compressai.install() replaces that"
    return None


def _why_not_gaussian(module: Any) -> str | None:
    if not module.use_likelihood_bound:
        return "it does not bound the likelihood, as the fused kernel does"
    for name, bound, expected in (
        ("scale", module.lower_bound_scale.bound, 0.11),
        ("likelihood", module.likelihood_lower_bound.bound, 1e-9),
    ):
        if abs(float(bound) / expected - 1) > 1e-6:
            return f"its lower bound of the {name} is {float(bound):g}, and the fused kernel has {expected:g}"
    return None


class _Coding(Patched):
    now = "codes with pylatent's coder"

    @classmethod
    def bases(cls, theirs: type) -> tuple[type, ...]:
        base: Any = next(base for base in theirs.__mro__ if base.__name__ == "EntropyModel")
        coding = {"compress": _compress(base.compress, base.quantize), "decompress": _decompress(base.decompress)}
        return (type("EntropyModel", (base,), coding),)


class _Gaussian(_Coding):
    now = "codes with pylatent's coder; the rate is pylatent.ops.gaussian_bits"

    def forward(
        self: Any, inputs: Tensor, scales: Tensor, means: Tensor | None = None, training: bool | None = None
    ) -> tuple[Tensor, Tensor]:
        noisy = self.training if training is None else training
        outputs = self.quantize(inputs, "noise" if noisy else "dequantize", means)
        residual = outputs if means is None else outputs - means
        return outputs, torch.exp2(-gaussian_bits(residual, scales)).to(outputs.dtype)

    def build_indexes(self: Any, scales: Tensor) -> Tensor:
        return _build_indexes(self.theirs.build_indexes)(self, scales)
