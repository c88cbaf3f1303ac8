"""pylatent models: what is installed, and adding to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pylatent.cli._check import check_name, numbers
from pylatent.cli._examples import examples
from pylatent.cli._report import bytes_text, complain, failures_reported

if TYPE_CHECKING:
    from pylatent.zoo import ModelInfo

app = typer.Typer(help="List, add, import and remove models.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list", epilog=examples("models list"))
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with the model's card.")] = False,
) -> None:
    """Show the installed models."""
    with failures_reported():
        from pylatent import zoo

        infos = zoo.models()
        if as_json:
            for info in infos:
                print(json.dumps(_facts(info)))
            return
        if not infos:
            complain("no models are installed")
        width = max((len(info.name) for info in infos), default=0)
        for info in infos:
            kind = "shipped" if info.shipped else "added"
            print(f"{info.name:<{width}}  {bytes_text(info.size):>8}  {kind:<7}  {info.header.architecture}")


@app.command("add", epilog=examples("models add"))
def add(
    path: Annotated[
        Path, typer.Argument(help="A model file (.safetensors) that pylatent wrote, or a folder that holds one.")
    ],
) -> None:
    """Install a model file, so that the .lat files that name it can be decompressed."""
    with failures_reported():
        from pylatent import zoo

        known = zoo.installed(zoo.read_header(path).name)
        info = zoo.add(path)
        print(f"{_done(known, info, 'added')}: {info.path}")


@app.command("import", epilog=examples("models import"))
def import_checkpoint(
    path: Annotated[
        Path,
        typer.Argument(
            help="A checkpoint of CompressAI's mbt2018-mean or bmshj2018-hyperprior, TCM, TinyLIC, ResidualHyperprior."
        ),
    ],
    name: Annotated[str, typer.Argument(help="The model's new name, such as mbt2018-mean-3.")],
    lambdas: Annotated[
        str | None, typer.Option(help="Weights of 255² MSE that it was trained with, one a quality: 0.0018,0.0035,….")
    ] = None,
) -> None:
    """Convert a published checkpoint to a model that pylatent codes with, and install it."""
    check_name(name)
    with failures_reported():
        from pylatent import zoo

        known = zoo.installed(name)
        info = zoo.import_checkpoint(path, name, lambdas=numbers("--lambdas", lambdas))
        print(f"{_done(known, info, 'imported')}: {info.path}")


@app.command("remove", epilog=examples("models remove"))
def remove(name: Annotated[str, typer.Argument(help="Name of a model that was added or imported.")]) -> None:
    """Remove a model; files that were written with it can then no longer be decompressed here."""
    with failures_reported():
        from pylatent import zoo

        info = zoo.remove(name)
        print(f"removed {info.name}: {info.path}")


def _facts(info: ModelInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "path": str(info.path),
        "bytes": info.size,
        "shipped": info.shipped,
        "architecture": info.header.architecture,
        "hash": info.header.hash,
        "qualities": info.header.qualities,
        "card": info.header.card,
    }


def _done(known: ModelInfo | None, info: ModelInfo, verb: str) -> str:
    return f"{info.name} is installed already" if known == info else f"{verb} {info.name}"
