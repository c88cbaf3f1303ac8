"""`pylatent train light`: a light receiver for a trained model, which keeps its name, its hash and its files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pylatent.cli._check import check_model, whole_numbers
from pylatent.cli._progress import progress
from pylatent.cli._report import complain, failures_reported, misused


@failures_reported()
def light(
    photos: Annotated[Path, typer.Argument(help="Folder of pictures, searched recursively.", exists=True)],
    model: Annotated[str, typer.Option(help="Name or file of the model; it stays as it is.")] = "default",
    out: Annotated[Path, typer.Option("-o", "--out", help="Model file to write.")] = Path("light.safetensors"),
    validate: Annotated[Path | None, typer.Option(help="Folder of validation pictures.", exists=True)] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="File that a run that was cut resumes from.")] = None,
    widths: Annotated[str, typer.Option(help="Channels at 1/8 and 1/4 of the sides.")] = "48,44",
    steps: Annotated[int, typer.Option(min=1, help="Length of the training in steps.")] = 20_000,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Length by the clock, instead of --steps.")] = None,
    crop: Annotated[int, typer.Option(min=4, help="Side of the crops in latents, 16 pixels each.")] = 12,
    learning_rate: Annotated[float, typer.Option(min=0, help="Peak rate; it falls linearly to 0.")] = 1.2e-3,
    seed: Annotated[int, typer.Option(help="Seed of weights and crops.")] = 0,
) -> None:
    """Train a light receiver: a second, cheaper synthesis for previews (`pylatent decompress --fast`).

    The pictures are decoded once, at a few qualities each, and held in memory with what the full synthesis shows.
    """
    middle, fine = whole_numbers("--widths", widths, 2) or (0, 0)
    check_model(model)
    from pylatent.codecs import ResidualHyperprior
    from pylatent.codecs.receivers import products_a_pixel
    from pylatent.train.data import load_images
    from pylatent.train.light import LightRecipe, LightTrainer, decibels_lost, examples, give_light
    from pylatent.zoo import load, path_of, read_header, save_codec

    codec = load(model)
    if not isinstance(codec, ResidualHyperprior) or not codec.defines_pixels:
        raise misused(f"--model must be a residual hyperprior whose pixels are defined in integers, {model} is not")
    recipe = LightRecipe(
        widths=(middle, fine), crop=crop, steps=steps, minutes=minutes, learning_rate=learning_rate, seed=seed
    )
    pictures = load_images(photos, 16 * crop)
    with progress("training", share=True) as show:
        show(doing="decoding")
        data = list(examples(codec, pictures, recipe))
        try:
            trainer = LightTrainer(codec, data, recipe, checkpoint)
        except ValueError as error:
            raise misused(str(error)) from None

        def report(run: LightTrainer) -> None:
            show(run.fraction, 1.0, f"step {run.step}")

        network = trainer.run(every=min(1000, steps), report=report)
        made = give_light(codec, network, data, recipe)
    card = read_header(path_of(model)).card | {"light receiver": {"steps": trainer.step, "recipe": asdict(recipe)}}
    save_codec(codec, out, name=codec.name, card=card)
    if validate is not None:
        for quality, lost in decibels_lost(codec, load_images(validate, 16)).items():
            complain(f"quality {quality:g}: {lost:.2f} dB below the full synthesis")
    products = products_a_pixel(made.synthesis) / 1000
    complain(f"{out}: {products:.1f} thousand products a pixel; pass it as --model, or `pylatent models add {out}`")
