"""`pylatent train context`: a context, and an integer synthesis, for a residual hyperprior that is trained."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pylatent.cli._check import check_model, check_name
from pylatent.cli._progress import progress
from pylatent.cli._report import complain, failures_reported, misused


@failures_reported()
def context(
    photos: Annotated[Path, typer.Argument(help="Folder of pictures, searched recursively.", exists=True)],
    model: Annotated[str, typer.Option(help="Name or file of the residual hyperprior; it stays as it is.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Model file to write.")] = Path("context.safetensors"),
    name: Annotated[str, typer.Option(help="Versioned name of the model that is exported.")] = "mymodel-1",
    steps: Annotated[int, typer.Option(min=1, help="Length of the training in steps.")] = 15_000,
    crop: Annotated[int, typer.Option(min=4, help="Side of the crops in latents, 16 pixels each.")] = 20,
    learning_rate: Annotated[float, typer.Option(min=0, help="Peak rate; it falls linearly to 0.")] = 1.5e-3,
    bands: Annotated[int, typer.Option(min=1, help="Priors of z, each for as many qualities as the others.")] = 4,
    seed: Annotated[int, typer.Option(help="Seed of weights, crops and noise.")] = 0,
) -> None:
    """Train a context of two steps on a model's latents: the same pictures in smaller files."""
    check_name(name)
    check_model(model)
    from pylatent.codecs import ResidualHyperprior
    from pylatent.train.context import ContextRecipe, analyzed, train_context, with_context
    from pylatent.train.data import load_images
    from pylatent.zoo import load, save_codec

    base = load(model)
    if not isinstance(base, ResidualHyperprior) or base.lambdas is None:
        raise misused(f"--model must be a ResidualHyperprior of several qualities, {model} is {type(base).__name__}")
    if bands > len(base.lambdas):
        raise misused(f"--bands must be at most {len(base.lambdas)}, the model's qualities, got {bands}")
    recipe = ContextRecipe(bands=bands, crop=crop, steps=steps, learning_rate=learning_rate, seed=seed)
    pictures = load_images(photos, 16 * crop)
    with progress("training", share=True) as show:
        show(doing="analysing")
        ys = analyzed(base, pictures)
        codec = with_context(base, ys, recipe)
        train_context(
            codec, ys, recipe, report=lambda step, bpp: show(step / steps, 1.0, f"step {step}  {bpp:.3f} bpp")
        )
        show(doing="calibrating")
        codec.calibrate(picture[None].float() / 255 for picture in pictures)
    save_codec(codec, out, name=name, card={"made from": base.name, "recipe": asdict(recipe)})
    complain(f"{out}: trained for {steps} steps; `pylatent models add {out}` installs it")
