"""What a perceptual fine-tuning depends on, and what it needs."""

from __future__ import annotations

from dataclasses import dataclass

from pylatent.codecs import Codec, TinyLIC
from pylatent.evaluation.lpips import LPIPS

_SMALLEST_TINYLIC = 192  # pixels at which its hyper-latents fill the window of their attention


@dataclass(frozen=True)
class PerceptualRecipe:
    """Everything that a run depends on. `minutes`, when given, replaces `steps`.

    rates: λ_rate, one a quality, of bits per pixel; none to keep to the start's bits. distortion, perception,
    adversarial: λ_d, λ_perc, λ_G. alone: the part of the run before there is a discriminator. average: of the weights.
    """

    qualities: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
    rates: tuple[float, ...] = ()
    receiver_only: bool = False
    distortion: float = 1.0
    perception: float = 1.0
    adversarial: float = 0.8
    alone: float = 0.5
    crop: int = 256
    batch: int = 8
    steps: int = 100_000
    minutes: float | None = None
    learning_rate: float = 1e-4
    weight_decay: float = 0.02
    average: float = 0.999
    clip: float = 1.0
    seed: int = 0


def natural_rate(codec: Codec, quality: float, distortion: float) -> float:
    """λ_rate at which the bits weigh against MSE as in the training for MSE."""
    weight = 0.0067 if codec.lambdas is None else codec.lambdas[round(quality) - 1]
    return 4 * distortion / (255**2 * weight)


def check_recipe(codec: Codec, metric: LPIPS | None, recipe: PerceptualRecipe) -> None:
    """Raises ValueError for what does not fit together."""
    if codec.qualities is None:
        raise ValueError("the codec must have a variable rate: a discriminator belongs to a quality")
    lowest, highest = codec.qualities
    if not recipe.qualities or any(not lowest <= each <= highest for each in recipe.qualities):
        raise ValueError(f"`qualities` must lie in {lowest:g} to {highest:g}, got {recipe.qualities}")
    if recipe.rates and len(recipe.rates) != len(recipe.qualities):
        raise ValueError(f"`rates` must be {len(recipe.qualities)}, one a quality, got {len(recipe.rates)}")
    if recipe.rates and recipe.receiver_only:
        raise ValueError("`rates` have no meaning for the receiver alone: its files stay as they are")
    smallest = _SMALLEST_TINYLIC if isinstance(codec, TinyLIC) else 64
    if recipe.crop % codec.alignment or recipe.crop < smallest:
        raise ValueError(
            f"`crop` must be a multiple of {codec.alignment} and at least {smallest} pixels for "
            f"{type(codec).__name__}, got {recipe.crop}"
        )
    if (metric is None) != (recipe.perception == 0):
        raise ValueError("`metric` must be given where the recipe has a weight of perception, and nowhere else")
    if metric is not None and metric.net != "vgg":
        raise ValueError(f"`metric` must be LPIPS on vgg, got {metric.net}")
