"""What a run of rate-distortion training depends on, and the codec that it trains."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from pylatent.codecs.base import Codec
from pylatent.codecs.hyperprior import MeanScaleHyperprior
from pylatent.codecs.nested import NestedCodec, PriorName
from pylatent.codecs.residual import ResidualHyperprior
from pylatent.codecs.tinylic import TinyLIC

LAMBDAS = (0.0018, 0.0035, 0.0067, 0.013, 0.025, 0.0483, 0.0932, 0.18)  # times 255^2 MSE; qualities 1 to 8


@dataclass(frozen=True)
class Nested:
    """What makes a recipe's codec a nested one: arguments of `NestedCodec`, whose channels are N and M."""

    levels: int = 4
    prior: PriorName = "logistic"
    common_dim: bool = True
    predict_mean: bool = True
    logistic_scale: float = 1.0
    bin_width: float = 1.0


@dataclass(frozen=True)
class Residual:
    """What makes it a residual hyperprior: arguments of `ResidualHyperprior`, whose other channels are N and M."""

    widths: tuple[int, int, int] = (64, 128, 192)
    hyper: tuple[int, int] = (160, 192)


@dataclass(frozen=True)
class Recipe:
    """Everything that a run depends on. `minutes`, when given, replaces `steps`: the rate then falls by the clock.

    tinylic: of N and M; with one lambda, at a fixed rate. colours: the part of the crops that `unusual_colours`
    changes, of each kind. weight_decay: of convolutions and matrices.
    """

    N: int = 64
    M: int = 128
    nested: Nested | None = None
    residual: Residual | None = None
    tinylic: bool = False
    lambdas: tuple[float, ...] = LAMBDAS
    crop: int = 192
    batch: int = 4
    steps: int = 100_000
    minutes: float | None = None
    learning_rate: float = 1e-3
    average: float = 0.999
    weight_decay: float = 0.1
    colours: float = 0.2
    clip: float = 1.0
    seed: int = 0


def make_codec(recipe: Recipe) -> Codec:
    """The codec that a recipe trains, with random weights. Raises ValueError for one that cannot be."""
    gains = len(recipe.lambdas)
    if recipe.tinylic:
        return TinyLIC(recipe.N, recipe.M, gains=gains if gains > 1 else 0)
    if recipe.residual is not None:
        return ResidualHyperprior(M=recipe.M, N=recipe.N, lambdas=recipe.lambdas, **asdict(recipe.residual))
    if recipe.nested is None:
        return MeanScaleHyperprior(recipe.N, recipe.M, gains=gains)
    return NestedCodec(channels=recipe.N, latent_channels=recipe.M, gains=gains, **asdict(recipe.nested))
