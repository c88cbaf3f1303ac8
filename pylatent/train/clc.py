"""Training of a conditional codec: its matching and blend first, with the codec below as it is, then all together.

    loss = mean over pictures of log(bits per pixel + lambda 255² MSE),    the references' numbers among the bits

One lambda a picture, over all qualities in turn; the logarithm lets low and high rates count alike. What is kept are
the weights that are best on validation pictures, if there are any, else the last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pylatent.codecs.clc import CLC
from pylatent.codecs.rounding import mixed, nearest
from pylatent.train.data import random_crops


@dataclass(frozen=True)
class ClcRecipe:
    """steps: with the codec below frozen; joint_steps: of all weights, after that, at a tenth of the rate."""

    steps: int = 10_000
    joint_steps: int = 0
    crop: int = 256
    batch: int = 4
    learning_rate: float = 3e-4
    clip: float = 1.0
    seed: int = 0


Report = Callable[[int, float], None]


def train_clc(
    codec: CLC,
    pictures: Sequence[Tensor],
    recipe: ClcRecipe,
    *,
    validation: Sequence[Tensor] = (),
    every: int = 500,
    report: Report = lambda step, loss: None,
) -> None:
    """Train in place; afterwards the codec is in eval mode and ready for coding.

    pictures: uint8 (3, H, W), sides of at least `recipe.crop`; validation: the same, of any size. report: of step and
    loss. Raises ValueError for a codec whose lambdas are not known.
    """
    if not codec.lambdas:
        raise ValueError("the weights of the distortion that the codec was trained with must be known: its lambdas")
    torch.manual_seed(recipe.seed)
    crops = random_crops(pictures, recipe.crop, recipe.batch, recipe.seed)
    best: tuple[float, dict[str, Tensor]] | None = None
    done, total = 0, recipe.steps + recipe.joint_steps
    for steps, joint in ((recipe.steps, False), (recipe.joint_steps, True)):
        weights = _trained(codec, joint)
        peak = recipe.learning_rate * (0.1 if joint else 1.0)
        optimizer = torch.optim.Adam(weights, lr=peak)
        codec.train(joint)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = peak * min(1.0, (step + 1) / 50) * (1 - step / steps)
            loss = _loss(codec, next(crops).float() / 255, done * recipe.batch, joint)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, recipe.clip)
            optimizer.step()
            done += 1
            report(done, float(loss.detach()))
            if validation and (done % every == 0 or done == total):
                found = validation_loss(codec, validation)
                if best is None or found < best[0]:
                    best = found, {name: value.clone() for name, value in codec.float_state().items()}
    if best is not None:
        with torch.no_grad():  # in place: what steers the coder stays with weights that have not changed
            for name, value in codec.float_state().items():
                value.copy_(best[1][name])
    for name, parameter in codec.named_parameters():
        parameter.requires_grad_(not name.endswith("quantiles"))
    if recipe.joint_steps:
        codec.fit_prior()
        codec.update()
    codec.eval()


@torch.no_grad()
def validation_loss(codec: CLC, pictures: Sequence[Tensor]) -> float:
    """The loss on whole pictures, as they are coded, mean over pictures and qualities."""
    was_training = codec.training
    codec.eval()
    assert codec.lambdas
    losses = []
    for picture in pictures:
        x = picture[None].to(codec.device).float() / 255
        for number, weight in enumerate(codec.lambdas):
            output = codec(x, None if codec.qualities is None else float(number + 1), nearest)
            mse = (output.x_hat - x).square().mean()
            losses.append(torch.log(output.bpp[0] + weight * 255**2 * mse))
    codec.train(was_training)
    return float(torch.stack(losses).mean())


def _trained(codec: CLC, joint: bool) -> list[Tensor]:
    """The weights that a phase trains; others need no gradients."""
    weights: list[Tensor] = []
    for name, parameter in codec.named_parameters():
        wanted = not name.endswith("quantiles") and (joint or not name.startswith("base."))
        parameter.requires_grad_(wanted)
        if wanted:
            weights.append(parameter)
    return weights


def _loss(codec: CLC, x: Tensor, first: int, joint: bool) -> Tensor:
    assert codec.lambdas
    x = x.to(codec.device)
    picks = (torch.arange(len(x)) + first) % len(codec.lambdas)
    qualities = None if codec.qualities is None else (picks + 1.0).tolist()
    learning = joint or codec.conditioning == "parameters"  # of what comes before the synthesis
    with torch.set_grad_enabled(learning):
        latents = codec.analyze(x, qualities)
        rated = codec.quantize(latents, mixed if learning else nearest)
    quality = None if qualities is None else torch.tensor(qualities, device=x.device)
    x_hat = codec.synthesis(rated.latents.levels, quality)[..., : x.shape[2], : x.shape[3]]
    mse = (x_hat - x).square().mean((1, 2, 3))
    bpp = torch.stack(rated.bits).sum(0) / (x.shape[2] * x.shape[3])
    weights = torch.tensor(codec.lambdas, device=x.device)[picks]
    return torch.log(bpp + weights * 255**2 * mse).mean()
