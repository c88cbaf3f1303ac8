"""`pylatent train rd`: train a variable-rate codec on a folder of pictures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from pylatent.cli._check import check_name, numbers, whole_numbers
from pylatent.cli._examples import examples
from pylatent.cli._progress import progress
from pylatent.cli._report import complain, failures_reported, misused, need_extra

app = typer.Typer(
    no_args_is_help=True,
    help="Train codecs and classifiers on your own pictures.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


_CHANNELS = {"hyperprior": (64, 128), "nested": (70, 150), "residual": (128, 256), "tinylic": (128, 320)}  # N and M


@app.command("rd", epilog=examples("train rd"))
@failures_reported()
def rd(
    photos: Annotated[Path, typer.Argument(help="Folder of pictures, searched recursively.", exists=True)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the run: checkpoint, log, model.")] = Path(
        "runs/rd"
    ),
    validate: Annotated[Path | None, typer.Option(help="Folder of validation pictures.", exists=True)] = None,
    start: Annotated[Path | None, typer.Option(help="Checkpoint or model file to start from.", exists=True)] = None,
    name: Annotated[str, typer.Option(help="Versioned name of the model that is exported.")] = "mymodel-1",
    steps: Annotated[int, typer.Option(min=1, help="Length of the run in steps.")] = 100_000,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Length by the clock, instead of --steps.")] = None,
    codec: Annotated[str, typer.Option(help="hyperprior, nested, residual or tinylic.")] = "hyperprior",
    n: Annotated[
        int | None,
        typer.Option(
            "--N", min=1, max=256, help="Channels of the transforms: 64, nested 70, TinyLIC 128; residual: of z, 128."
        ),
    ] = None,
    m: Annotated[
        int | None, typer.Option("--M", min=1, help="Channels of y: 128, nested 150, residual 256, TinyLIC 320.")
    ] = None,
    lambdas: Annotated[
        str | None,
        typer.Option(
            help="Weights of 255² MSE, one a quality: 0.0018,0.0035,… (eight if not given); TinyLIC: one makes a fixed "
            "rate."
        ),
    ] = None,
    widths: Annotated[
        str | None, typer.Option(help="Residual: channels at 1/4, 1/8 and 1/16 of the sides; 64,128,192.")
    ] = None,
    hyper: Annotated[str | None, typer.Option(help="Residual: channels of the hyper-networks; 160,192.")] = None,
    levels: Annotated[int | None, typer.Option(help="Nested: levels of latents, from 2; 4 if not given.")] = None,
    prior: Annotated[str | None, typer.Option(help="Nested: logistic (if not given) or factorized.")] = None,
    common_dim: Annotated[
        bool | None,
        typer.Option("--common-dim/--shrinking-dim", help="Nested: channels of levels, M or halved each."),
    ] = None,
    predict_mean: Annotated[
        bool | None, typer.Option("--predict-mean/--zero-mean", help="Nested: means of levels from deeper ones, or 0.")
    ] = None,
    logistic_scale: Annotated[float | None, typer.Option(help="Nested: scale of the logistic; 1.")] = None,
    bin_width: Annotated[float | None, typer.Option(help="Nested: bin width of the deepest level; 1.")] = None,
    crop: Annotated[int, typer.Option(min=64, help="Side of the crops in pixels, a multiple of 64.")] = 192,
    batch: Annotated[int, typer.Option(min=1, help="Crops per step (and per device).")] = 4,
    learning_rate: Annotated[float, typer.Option(min=0, help="Peak rate; it falls as (1 - t/T)^2.")] = 1e-3,
    weight_decay: Annotated[float, typer.Option(min=0, help="Of the convolutions.")] = 0.1,
    colours: Annotated[
        float, typer.Option(min=0, max=1, help="Part of the crops that get unusual colours, of three kinds each.")
    ] = 0.2,
    precision: Annotated[str, typer.Option(help="auto, bf16-mixed or 32-true.")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Number of GPUs.")] = 1,
    every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints, each with a line in log.jsonl.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of weights, crops and noise.")] = 0,
) -> None:
    """Train rate and distortion for several qualities in one model. A run that was cut resumes from its folder."""
    check_name(name)
    if crop % 64:
        raise misused(f"--crop must be a multiple of 64, got {crop}")
    if codec not in _CHANNELS:
        raise misused(f"--codec must be hyperprior, nested, residual or tinylic, got {codec}")
    weights = numbers("--lambdas", lambdas)
    shape = {"widths": whole_numbers("--widths", widths, 3), "hyper": whole_numbers("--hyper", hyper, 2)}
    given_shape: dict[str, Any] = {name: value for name, value in shape.items() if value is not None}
    if given_shape and codec != "residual":
        raise misused(f"--{next(iter(given_shape))} is for --codec residual")
    need_extra("lightning_fabric")
    from pylatent import zoo
    from pylatent._model_header import is_model
    from pylatent.codecs.base import Codec
    from pylatent.train.rd import Progress, Trainer
    from pylatent.train.recipe import LAMBDAS, Nested, Recipe, Residual
    from pylatent.train.validate import load_centres, rate_distortion
    from pylatent.zoo.checkpoints import codec_from_checkpoint

    chain: dict[str, Any] = {
        "levels": levels,
        "prior": prior,
        "common_dim": common_dim,
        "predict_mean": predict_mean,
        "logistic_scale": logistic_scale,
        "bin_width": bin_width,
    }
    given = {name: value for name, value in chain.items() if value is not None}
    if given and codec != "nested":
        raise misused(f"--{next(iter(given)).replace('_', '-')} is for --codec nested")
    recipe = Recipe(
        N=n or _CHANNELS[codec][0],
        M=m or _CHANNELS[codec][1],
        nested=Nested(**given) if codec == "nested" else None,
        residual=Residual(**given_shape) if codec == "residual" else None,
        tinylic=codec == "tinylic",
        lambdas=LAMBDAS if weights is None else tuple(weights),
        crop=crop,
        batch=batch,
        steps=steps,
        minutes=minutes,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        colours=colours,
        seed=seed,
    )
    try:
        trainer = Trainer(recipe, out, precision=precision, devices=devices)
    except ValueError as error:
        raise misused(str(error)) from None
    if start is not None:
        known = zoo.load(start.resolve()) if is_model(start) else codec_from_checkpoint(start, recipe.lambdas)
        trainer.start_from(known.float_state())
    trainer.prepare()
    pictures = load_centres(validate, 256) if validate is not None else []

    with progress("training", quiet=trainer.fabric.global_rank != 0, share=True) as show:

        def report(step: Progress) -> None:
            if step.step % 20 == 0:
                show(step.fraction, 1.0, f"step {step.step}  {step.bpp:.3f} bpp  {step.psnr:.2f} dB")

        def measure(codec: Codec) -> dict[str, object]:
            qualities = [None] if codec.qualities is None else range(1, len(recipe.lambdas) + 1)
            rows = rate_distortion(codec, pictures, qualities)
            complain("  ".join(f"q{row['quality'] or 1:g} {row['bpp']:.3f}/{row['psnr']:.2f}" for row in rows))
            return {"validation": rows}

        trainer.run(photos, validate=measure if pictures else None, every=every, report=report)
    if trainer.fabric.global_rank == 0:
        trained = trainer.averaged()
        trained.update()
        card = {"recipe": asdict(recipe), "steps": trainer.step, "minutes": round(trainer.elapsed / 60, 1)}
        path = out / f"{name}.safetensors"
        zoo.save_codec(trained, path, name=name, card=card)
        complain(f"{path}: trained for {trainer.step} steps; `pylatent models add {path}` installs it")
