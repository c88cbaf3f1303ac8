"""`pylatent train perceptual`: fine-tune a model for what people see, with LPIPS and a discriminator."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from pylatent.cli._check import check_model, check_name, numbers
from pylatent.cli._progress import progress
from pylatent.cli._report import complain, failures_reported, misused, need_extra

_NAME = "mymodel-1"


@failures_reported()
def perceptual(
    photos: Annotated[Path, typer.Argument(help="Folder of pictures, searched recursively.", exists=True)],
    model: Annotated[str, typer.Option(help="Name or file of the model to start from; it stays as it is.")] = "default",
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the run: checkpoint, log, model.")] = Path(
        "runs/perceptual"
    ),
    validate: Annotated[Path | None, typer.Option(help="Folder of validation pictures.", exists=True)] = None,
    lpips: Annotated[
        Path | None,
        typer.Option(
            help="Folder with LPIPS's features and heads; if not given, PYLATENT_LPIPS or torchvision and lpips.",
            exists=True,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Versioned name of the model that is exported, mymodel-1 if not given; a receiver has none."),
    ] = None,
    qualities: Annotated[
        str | None, typer.Option(help="Those that learn, each with a discriminator: 1,3,5; all if not given.")
    ] = None,
    receiver_only: Annotated[
        bool,
        typer.Option(
            "--receiver-only",
            help="Train the synthesis alone, as the model's perceptual receiver: files stay exactly as they are.",
        ),
    ] = False,
    rates: Annotated[
        str | None, typer.Option(help="Weight of bits per pixel, one a quality; kept to the start's bits if not given.")
    ] = None,
    distortion: Annotated[float, typer.Option(min=0, help="Weight of MSE, of pixels in [-1, 1].")] = 1.0,
    perception: Annotated[float, typer.Option(min=0, help="Weight of LPIPS on VGG.")] = 1.0,
    adversarial: Annotated[float, typer.Option(min=0, help="Weight of the discriminator.")] = 0.8,
    alone: Annotated[float, typer.Option(min=0, max=1, help="Part of the run before the discriminator begins.")] = 0.5,
    steps: Annotated[int, typer.Option(min=1, help="Length of the run in steps.")] = 100_000,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Length by the clock, instead of --steps.")] = None,
    crop: Annotated[int, typer.Option(min=64, help="Side of the crops in pixels.")] = 256,
    batch: Annotated[int, typer.Option(min=1, help="Crops per step (and per device).")] = 8,
    learning_rate: Annotated[float, typer.Option(min=0, help="Peak rate; it falls linearly to 0.")] = 1e-4,
    precision: Annotated[str, typer.Option(help="auto, bf16-mixed or 32-true.")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Number of GPUs.")] = 1,
    every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints, each with a line in log.jsonl.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of discriminators, crops and noise.")] = 0,
) -> None:
    """Fine-tune a model for perception at equal bits: pictures look sharper, and differ more from the original.

    A run that was cut resumes from its folder.
    """
    check_name(name or _NAME)
    check_model(model)
    chosen, weights = numbers("--qualities", qualities), numbers("--rates", rates)
    need_extra("lightning_fabric")
    from pylatent import zoo
    from pylatent.codecs.base import Codec
    from pylatent.evaluation.lpips import LPIPS
    from pylatent.train.perceptual import PerceptualTrainer
    from pylatent.train.perceptual_recipe import PerceptualRecipe
    from pylatent.train.perceptual_terms import Progress
    from pylatent.train.validate import load_centres, rate_distortion

    codec = zoo.load(model)
    if codec.qualities is None:
        raise misused(f"--model must be one of several qualities, {model} has a fixed rate")
    keeps_name = receiver_only and codec.defines_pixels
    if keeps_name and name is not None:
        raise misused(f"--name is for a model of its own: with --receiver-only {codec.name} gets a receiver")
    name = codec.name if keeps_name else name or _NAME
    recipe = PerceptualRecipe(
        qualities=tuple(chosen or (float(each) for each in range(1, int(codec.qualities[1]) + 1))),
        rates=tuple(weights or ()),
        receiver_only=receiver_only,
        distortion=distortion,
        perception=perception,
        adversarial=adversarial,
        alone=alone,
        crop=crop,
        batch=batch,
        steps=steps,
        minutes=minutes,
        learning_rate=learning_rate,
        seed=seed,
    )
    metric = LPIPS.load("vgg", lpips) if perception > 0 else None
    try:
        trainer = PerceptualTrainer(codec, metric, recipe, out, precision=precision, devices=devices)
    except ValueError as error:
        raise misused(str(error)) from None
    pictures = load_centres(validate, 256) if validate is not None else []

    with progress("training", quiet=trainer.fabric.global_rank != 0, share=True) as show:

        def report(step: Progress) -> None:
            if step.step % 20 < 2:
                bpp, mse, distance = step.means.tolist()
                right = ", ".join(f"{each:.2f}" for each in step.accuracy.tolist())
                show(
                    step.fraction,
                    1.0,
                    f"step {step.step}  {bpp:.3f} bpp  MSE {mse:.5f}  LPIPS {distance:.3f}  discriminator {right}",
                )

        def measure(trained: Codec) -> dict[str, Any]:
            rows = rate_distortion(trained, pictures, recipe.qualities, [] if metric is None else [metric.cpu()])
            if metric is not None:
                metric.to(trainer.fabric.device)
            complain(
                "  ".join(
                    f"q{row['quality']:g} {row['bpp']:.3f}/{row['psnr']:.2f}/{row.get('lpips vgg', 0):.3f}"
                    for row in rows
                )
            )
            return {"validation": rows}

        trainer.run(photos, validate=measure if pictures else None, every=every, report=report)
    if trainer.fabric.global_rank == 0:
        trained = trainer.finished(photos)
        told = {"steps": trainer.step, "recipe": asdict(recipe)}
        if keeps_name:
            card = {**(codec.card or {}), "perceptual receiver": told}
        else:
            card = {"made from": codec.name, **told, "recipe": _for_card(asdict(recipe), codec)}
        path = out / f"{name}.safetensors"
        zoo.save_codec(trained, path, name=name, card=card)
        complain(f"{path}: trained for {trainer.step} steps; `pylatent models add {path}` installs it")


def _for_card(recipe: dict[str, Any], codec: Any) -> dict[str, Any]:
    """The recipe with the lambdas of the start, where it has some: files are refined with them."""
    return recipe if codec.lambdas is None else recipe | {"lambdas": list(codec.lambdas)}
