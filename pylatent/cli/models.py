"""pylatent models: what is installed, and adding to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pylatent.cli._report import bytes_text, check_name, complain, failures_reported

app = typer.Typer(help="List, add and import models.", no_args_is_help=True)


@app.command("list")
def list_models() -> None:
    """Show the installed models."""
    with failures_reported():
        from pylatent import zoo

        infos = zoo.models()
        if not infos:
            complain("no models are installed")
        width = max((len(info.name) for info in infos), default=0)
        for info in infos:
            kind = "shipped" if info.shipped else "added"
            print(f"{info.name:<{width}}  {bytes_text(info.size):>8}  {kind:<7}  {info.header.architecture}")


@app.command("add")
def add(path: Annotated[Path, typer.Argument(help="A model file (.safetensors) that pylatent wrote.")]) -> None:
    """Install a model file, so that the .lat files that name it can be decompressed."""
    with failures_reported():
        from pylatent import zoo

        info = zoo.add(path)
        print(f"added {info.name}: {info.path}")


@app.command("import")
def import_checkpoint(
    path: Annotated[
        Path, typer.Argument(help="A PyTorch checkpoint of CompressAI's mbt2018-mean or bmshj2018-hyperprior.")
    ],
    name: Annotated[str, typer.Argument(help="The model's new name, such as mbt2018-mean-3.")],
) -> None:
    """Convert a published checkpoint to a model that pylatent codes with, and install it."""
    check_name(name)
    with failures_reported():
        from pylatent import zoo

        info = zoo.import_checkpoint(path, name)
        print(f"imported {info.name}: {info.path}")
