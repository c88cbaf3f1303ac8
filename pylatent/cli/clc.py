"""pylatent clc: dictionaries of conditional codecs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pylatent.cli._check import check_model, check_name
from pylatent.cli._examples import examples
from pylatent.cli._options import Engine, EngineOption, Workers
from pylatent.cli._progress import progress
from pylatent.cli._report import bytes_text, complain, failures_reported, misused, need_extra

app = typer.Typer(
    help="Build and inspect dictionaries of conditional codecs (CLC).", no_args_is_help=True, rich_markup_mode=None
)


@app.command("build", epilog=examples("clc build"))
@failures_reported()
def build(
    pictures: Annotated[Path, typer.Argument(help="Folder of pictures, searched recursively.", exists=True)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Dictionary to write, NAME.dictionary.")],
    model: Annotated[str, typer.Option(help="Name or file of the codec whose latents are stored.")] = "default",
    entries: Annotated[int, typer.Option(min=2, help="Number of clusters, of each of which one crop is kept.")] = 3000,
    crop: Annotated[int, typer.Option(min=16, help="Side of the crops in pixels.")] = 256,
    axes: Annotated[int, typer.Option(min=1, help="Principal axes of the features, at most.")] = 256,
    features: Annotated[
        str | None,
        typer.Option(help="A model of timm whose features find references; the codec's own by default."),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Latents in 16 bits instead of 8.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of PCA and clustering.")] = 42,
    workers: Workers = None,
    engine: EngineOption = Engine.local,
) -> None:
    """Build a dictionary of a folder's pictures. A build that was cut goes on when it is started again.

    The result is the same for any number of workers; pictures, model and output must lie at the same paths on all
    machines of a Ray cluster.
    """
    from pylatent.codecs.dictionary import SUFFIX

    if out.suffix != SUFFIX:
        raise misused(f"-o must end with {SUFFIX}, got {out}")
    check_name(out.stem)
    check_model(model)
    need_extra("sklearn")
    if features is not None:
        need_extra("timm")
    import torch

    from pylatent.codecs.features import timm_features
    from pylatent.train.dictionary import Build, build_dictionary, make_here
    from pylatent.train.dictionary_jobs import by_processes, by_ray
    from pylatent.zoo import load, path_of

    settings, codec, pictures = Build(out.stem, entries, axes, crop, half, seed), load(model), pictures.absolute()
    chosen = None if features is None else timm_features(features)
    path = str(path_of(model).absolute())
    count = workers or torch.get_num_threads()
    if engine is Engine.ray:
        make_parts = by_ray(path, pictures, features, workers)
    else:
        make_parts = make_here if count == 1 else by_processes(path, pictures, features, count)
    try:
        with progress("analysing") as show:
            made = build_dictionary(codec, pictures, out, settings, show, features=chosen, make_parts=make_parts)
    except ValueError as error:
        raise misused(str(error)) from None
    complain(f"{out}: {len(made)} of {made.facts.chosen_from} crops, {bytes_text(out.stat().st_size)}")


@app.command("info", epilog=examples("clc info"))
@failures_reported()
def info(
    path: Annotated[Path, typer.Argument(help="A dictionary.")],
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Describe a dictionary, and check that it is not damaged."""
    from pylatent.codecs.dictionary import Dictionary, read_facts

    head = read_facts(path)
    Dictionary.load(path)
    if as_json:
        print(json.dumps({"file": str(path), "bytes": path.stat().st_size, **head}))
        return
    count, channels, height, width = head["shape"]
    kind = {"I8": "8-bit", "F16": "16-bit"}[head["dtype"]]
    print(f"{path}: dictionary {head['name']}, version {head['version']}")
    print(f"  hash      {head['hash']}")
    print(f"  entries   {count}, of {head['chosen_from']} crops of {head['crop']} pixels, seed {head['seed']}")
    print(f"  latents   {channels}x{height}x{width}, {kind}")
    print(f"  codec     {head['codec']}, hash {head['codec_hash'][:16]}")
    backbone = head.get("backbone")
    found = "the codec's own" if backbone is None else f"{backbone['name']}, hash {backbone['hash'][:16]}"
    print(f"  features  {found}")
    print(f"  size      {bytes_text(path.stat().st_size)}")
