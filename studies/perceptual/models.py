"""The models of the study: the start, what two short trainings made of it, and the receiver that is shipped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pylatent import zoo
from pylatent.codecs import Codec
from pylatent.codecs.integer_convert import load_float_synthesis
from pylatent.evaluation.lpips import LPIPS
from pylatent.train.perceptual import PerceptualTrainer
from pylatent.train.perceptual_recipe import PerceptualRecipe

QUALITIES = (1.0, 3.0, 5.0)
EVERY = 200  # steps between checkpoints
# Weights near those of HiFiC (Mentzer et al. 2020), which keep closer to the original than POLC's own.
_COMMON = {"qualities": QUALITIES, "distortion": 8.0, "crop": 128, "batch": 4, "average": 0.99, "learning_rate": 1e-4}
RECIPES = {
    "joint": PerceptualRecipe(**_COMMON, adversarial=0.15, alone=0.4, steps=1000),
    # As many steps of the codec as "joint" has.
    "control": PerceptualRecipe(**_COMMON, adversarial=0.0, perception=0.0, steps=700),
    # From the receiver that is shipped, and for 80 minutes of a core.
    "longer": PerceptualRecipe(**{**_COMMON, "distortion": 4.0}, adversarial=0.15, alone=0.7, steps=3500),
}


def start() -> Codec:
    """The default model, pixels by the float networks."""
    codec = zoo.load("default")
    codec.drop_synthesis()
    return codec.eval()


def shipped() -> Codec:
    """The default model with its perceptual receiver, by the float networks that its integers stand for."""
    codec = zoo.load("default")
    synthesis = codec.receivers["perceptual"].synthesis
    codec.drop_synthesis()
    load_float_synthesis(codec.g_s, codec.inverse_gain, synthesis)
    return codec.eval().requires_grad_(False)


def trained(
    name: str,
    recipe: PerceptualRecipe,
    run: Path,
    photos: Path,
    lpips: Path,
    validate: Callable[[Codec], dict[str, Any]],
) -> Codec:
    """The averaged weights of a run, which is trained to its end if it is not yet; pixels by the float networks, bits
    estimated by them."""
    metric = LPIPS.load("vgg", lpips) if recipe.perception else None
    begun = shipped().requires_grad_(True) if name == "longer" else zoo.load("default")
    trainer = PerceptualTrainer(begun, metric, recipe, run)
    if trainer.fraction < 1:
        trainer.run(photos, validate=validate, every=EVERY)
    return trainer.averaged().requires_grad_(False)
