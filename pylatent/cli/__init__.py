"""The command `pylatent`: one file per verb.

Nothing here imports torch before a verb needs it, so that `--help` and `--version` answer at once.
"""

from __future__ import annotations

import signal
import sys
import warnings
from typing import Annotated, Any

import typer

from pylatent.cli import bench, compress, config, decompress, info, models
from pylatent.cli._report import EXIT_INTERRUPTED, complain

app = typer.Typer(
    name="pylatent",
    help="Learned image compression: photo.png to a small photo.lat and back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("compress")(compress.compress)
app.command("decompress")(decompress.decompress)
app.command("info")(info.info)
app.add_typer(models.app, name="models")
app.command("bench")(bench.bench)
app.command("config")(config.config)


def _print_version(wanted: bool) -> None:
    if wanted:
        from pylatent.config import version_line

        print(version_line())
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


# Verbs whose options are defined beside heavy imports: they are loaded when called.

_FORWARDED: dict[str, Any] = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command("eval", context_settings=_FORWARDED)
def _eval(context: typer.Context) -> None:
    """Compress a folder and measure it: bpp, PSNR, MS-SSIM, speed, against JPEG and WebP."""
    from pylatent.cli.eval import evaluate

    _forward(evaluate, "eval", context.args)


@app.command("train", context_settings=_FORWARDED)
def _train(context: typer.Context) -> None:
    """Train a model on a folder of pictures."""
    from pylatent.cli.train import train

    _forward(train, "train", context.args)


def _forward(function: Any, verb: str, arguments: list[str]) -> None:
    inner = typer.Typer(pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]})
    inner.command(verb)(function)
    inner(args=arguments, prog_name=f"pylatent {verb}")


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script; exits with 0, 1 (failed), 2 (wrong usage) or 130 (interrupted)."""
    warnings.showwarning = lambda message, *_, **__: complain(f"warning: {message}")
    # So that a terminated command cleans up its temporary files as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        app(args=arguments)
    except KeyboardInterrupt:
        complain("interrupted")
        sys.exit(EXIT_INTERRUPTED)
