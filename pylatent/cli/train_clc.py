"""`pylatent train clc`: a conditional codec, from a trained codec and a dictionary that was built for it."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from pylatent.cli._check import check_model, check_name
from pylatent.cli._progress import progress
from pylatent.cli._report import complain, failures_reported, misused


class Conditioning(str, Enum):
    after = "after"
    parameters = "parameters"


@failures_reported()
def clc(
    photos: Annotated[Path, typer.Argument(help="Folder of pictures, searched recursively.", exists=True)],
    model: Annotated[str, typer.Option(help="Name or file of the codec below; its file stays as it is.")],
    dictionary: Annotated[Path, typer.Option(help="Dictionary that `pylatent clc build` made for it.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Model file to write.")] = Path("clc.safetensors"),
    name: Annotated[str, typer.Option(help="Versioned name of the model that is exported.")] = "mymodel-1",
    validate: Annotated[
        Path | None, typer.Option(help="Folder of validation pictures, by which weights are chosen.", exists=True)
    ] = None,
    references: Annotated[int, typer.Option(min=1, help="Entries of the dictionary that a picture uses.")] = 3,
    published: Annotated[
        bool, typer.Option("--published", help="Matching and blend of the paper's size, not the codec's.")
    ] = False,
    conditioning: Annotated[
        Conditioning, typer.Option(help="References after entropy decoding, or for y's parameters, too: not exact.")
    ] = Conditioning.after,
    steps: Annotated[int, typer.Option(min=1, help="Steps with the codec below as it is.")] = 10_000,
    joint_steps: Annotated[int, typer.Option(min=0, help="Steps of all weights after these.")] = 0,
    crop: Annotated[int, typer.Option(min=16, help="Side of the crops in pixels.")] = 256,
    batch: Annotated[int, typer.Option(min=1, help="Crops per step.")] = 4,
    learning_rate: Annotated[float, typer.Option(min=0, help="Peak rate; it falls linearly to 0.")] = 3e-4,
    every: Annotated[int, typer.Option(min=1, help="Steps between validations.")] = 500,
    seed: Annotated[int, typer.Option(help="Seed of weights, crops and noise.")] = 0,
) -> None:
    """Train a codec that looks up references in a dictionary, around one that is trained."""
    check_name(name)
    check_model(model)
    from pylatent.codecs import CLC, Dictionary
    from pylatent.codecs.clc import PUBLISHED
    from pylatent.codecs.model_file import dictionary_beside, save_codec
    from pylatent.train.clc import ClcRecipe, train_clc
    from pylatent.train.data import load_images
    from pylatent.train.validate import load_centres
    from pylatent.zoo import load

    base = load(model)
    recipe = ClcRecipe(steps, joint_steps, crop, batch, learning_rate, seed=seed)
    known = Dictionary.load(dictionary)
    try:
        widths = dict(PUBLISHED) if published else {}
        if published:  # which aligns all channels of y
            widths["inner"] = base.level_shapes((1, 1))[0][0]
        codec = CLC.around(base, known, references=references, **widths, conditioning=conditioning.value)
    except ValueError as error:
        raise misused(str(error)) from None
    if not codec.lambdas:
        raise misused(f"--model {model} does not tell the weights of the distortion that it was trained with")
    pictures = load_images(photos, crop)
    centres = load_centres(validate, 256) if validate is not None else []
    total = steps + joint_steps
    with progress("training", share=True) as show:
        train_clc(
            codec,
            pictures,
            recipe,
            validation=centres,
            every=every,
            report=lambda step, loss: show(step / total, 1.0, f"step {step}  {loss:.4f}"),
        )
    card = {"made from": base.name, "dictionary": known.hash, "recipe": {**asdict(recipe), "lambdas": codec.lambdas}}
    save_codec(codec, out, name=name, card=card)
    beside = dictionary_beside(out, codec)
    if not beside.exists():
        known.save(beside)
    complain(f"{out}: trained for {total} steps, dictionary {beside}; `pylatent models add {out}` installs both")
