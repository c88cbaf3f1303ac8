"""The command `pylatent`: one file per verb.

Nothing here imports torch before a verb needs it, so that `--help` and `--version` answer at once.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pylatent import _interrupt
from pylatent.cli import archive, bench, classify, clc, compare, compress, config, decompress, info, models, train
from pylatent.cli._examples import examples
from pylatent.cli._report import EXIT_FAILED, EXIT_INTERRUPTED, complain, drop_output, show_warnings
from pylatent.cli.eval import evaluate
from pylatent.cli.eval_classifier import evaluate_classifier
from pylatent.cli.train_classifier import classifier
from pylatent.cli.train_clc import clc as train_clc
from pylatent.cli.train_context import context
from pylatent.cli.train_light import light
from pylatent.cli.train_perceptual import perceptual

_HELP = {"help_option_names": ["-h", "--help"]}


class _CodecUnlessNamed(TyperGroup):
    """`pylatent eval PICTURES` measures a codec; a subcommand's name first means the subcommand."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["codec", *args]
        return super().parse_args(ctx, args)


# Help is plain text, as of man pages: rich's takes as long to import as everything else together.
evaluations = typer.Typer(
    cls=_CodecUnlessNamed, help="Measure a model on pictures, or a head on labels.", rich_markup_mode=None
)
evaluations.command("codec", epilog=examples("eval codec"))(evaluate)
evaluations.command("classifier", epilog=examples("eval classifier"))(evaluate_classifier)
train.app.command("classifier", epilog=examples("train classifier"))(classifier)
train.app.command("clc", epilog=examples("train clc"))(train_clc)
train.app.command("context", epilog=examples("train context"))(context)
train.app.command("light", epilog=examples("train light"))(light)
train.app.command("perceptual", epilog=examples("train perceptual"))(perceptual)

app = typer.Typer(
    name="pylatent",
    help="Learned image compression: photo.png to a small photo.lat and back.",
    epilog=examples("pylatent"),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=_HELP,
)
app.command("compress", epilog=examples("compress"))(compress.compress)
app.command("decompress", epilog=examples("decompress"))(decompress.decompress)
app.command("compare", epilog=examples("compare"))(compare.compare)
app.command("info", epilog=examples("info"))(info.info)
app.add_typer(archive.app, name="archive")
app.add_typer(models.app, name="models")
app.add_typer(clc.app, name="clc")
app.command("classify", epilog=examples("classify"))(classify.classify)
app.add_typer(evaluations, name="eval")
app.command("bench", epilog=examples("bench"))(bench.bench)
app.add_typer(train.app, name="train")
app.command("config", epilog=examples("config"))(config.config)


def _print_version(wanted: bool) -> None:
    if wanted:
        from pylatent._versions import version_line

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
    """The command line; exits with 0, 1 (failed), 2 (wrong usage), 130 (interrupted) or 143 (terminated)."""
    _open_closed_streams()
    show_warnings()
    # Pillow logs details of damaged pictures; our error says that they are.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with _interrupt.handled():
        code = _run(arguments)
    sys.exit(code)


def _run(arguments: list[str] | None) -> int:
    code: Any = 0
    try:
        app(args=arguments)
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
        complain(_interrupt.message(code))
    pressed = _interrupt.pressed()
    if pressed is not None:
        complain(_interrupt.message(pressed))
        return pressed
    try:
        sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            complain(f"standard output: {error.strerror}")
        drop_output()
        code = code or EXIT_FAILED
    return code or 0


def _open_closed_streams() -> None:
    """Standard streams that are closed (`>&-`) become ones that fail, before a file gets their number."""
    for number, (name, flags, mode) in enumerate(
        (("stdin", os.O_WRONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w"))
    ):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, flags)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, open(number, mode))  # noqa: SIM115
