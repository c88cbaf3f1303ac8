"""The command `pylatent`: one file per verb.

Nothing here imports torch before a verb needs it, so that `--help` and `--version` answer at once.
"""

from __future__ import annotations

import logging
import signal
import sys
import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pylatent.cli import archive, bench, classify, compress, config, decompress, info, models, train
from pylatent.cli._report import EXIT_INTERRUPTED, complain
from pylatent.cli.eval import evaluate
from pylatent.cli.eval_classifier import evaluate_classifier
from pylatent.cli.train_classifier import classifier

_HELP = {"help_option_names": ["-h", "--help"]}


class _CodecUnlessNamed(TyperGroup):
    """`pylatent eval PICTURES` measures a codec; a subcommand's name first means the subcommand."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["codec", *args]
        return super().parse_args(ctx, args)


evaluations = typer.Typer(cls=_CodecUnlessNamed, help="Measure a model on pictures, or a head on labels.")
evaluations.command("codec")(evaluate)
evaluations.command("classifier")(evaluate_classifier)
train.app.command("classifier")(classifier)

app = typer.Typer(
    name="pylatent",
    help="Learned image compression: photo.png to a small photo.lat and back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=_HELP,
)
app.command("compress")(compress.compress)
app.command("decompress")(decompress.decompress)
app.command("info")(info.info)
app.add_typer(archive.app, name="archive")
app.add_typer(models.app, name="models")
app.command("classify")(classify.classify)
app.add_typer(evaluations, name="eval")
app.command("bench")(bench.bench)
app.add_typer(train.app, name="train")
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


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script; exits with 0, 1 (failed), 2 (wrong usage) or 130 (interrupted)."""
    warnings.showwarning = lambda message, *_, **__: complain(f"warning: {message}")
    # Pillow logs details of damaged pictures; our error says that they are.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    # So that a terminated command cleans up its temporary files as an interrupted one does.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        app(args=arguments)
    except KeyboardInterrupt:
        complain("interrupted")
        sys.exit(EXIT_INTERRUPTED)
    finally:
        signal.signal(signal.SIGTERM, before)
