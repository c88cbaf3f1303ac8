"""What the verbs say and how they end: text on stderr, one line an error, exit codes."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import warnings
from collections.abc import Iterator

import typer

from pylatent import _interrupt
from pylatent._interrupt import INTERRUPTED as EXIT_INTERRUPTED
from pylatent._text import bytes_text, count
from pylatent.errors import PylatentError, PylatentWarning

__all__ = ["EXIT_FAILED", "EXIT_INTERRUPTED", "EXIT_USAGE", "bytes_text", "count"]

EXIT_FAILED = 1
EXIT_USAGE = 2

_EXTRAS = {
    "lightning_fabric": "train",
    "matplotlib": "plot",
    "pyarrow": "tasks",
    "ray": "ray",
    "sklearn": "clc",
    "timm": "tasks",
}


def complain(message: str) -> None:
    """One line on stderr, whatever the terminal's encoding."""
    line = f"pylatent: {' '.join(message.split())}\n"
    encoding = sys.stderr.encoding or "utf-8"
    with contextlib.suppress(OSError):  # nobody listens
        sys.stderr.write(line.encode(encoding, "backslashreplace").decode(encoding))
        sys.stderr.flush()


def show_warnings() -> None:
    """Makes warnings one line on stderr, too."""
    warnings.showwarning = lambda message, *_, **__: complain(f"warning: {message}")


def misused(message: str) -> typer.Exit:
    """What to raise for options that contradict each other: one line on stderr and exit code 2."""
    complain(message)
    return typer.Exit(EXIT_USAGE)


def need_extra(module: str) -> None:
    """Ends the command with one line and exit code 2 if an optional package is not installed."""
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise misused(_missing(module))


def _missing(module: str) -> str:
    return f"this needs {module}, which is not installed: pip install 'pylatent[{_EXTRAS[module]}]'"


def explain(error: Exception) -> str:
    """One line that says what went wrong; with PYLATENT_TRACEBACK=1 the exception itself is raised instead.

    After Ctrl-C, which libraries may have turned into any error, it ends the command.
    """
    if (code := _interrupt.pressed()) is not None:
        raise SystemExit(code)
    if os.environ.get("PYLATENT_TRACEBACK", "") not in ("", "0"):
        raise error
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if (needed := _memory_needed(error)) is not None:
        return f"out of memory{needed}: free some, or take smaller pictures, fewer processes or another --device"
    if isinstance(error, ModuleNotFoundError) and error.name in _EXTRAS:
        return _missing(error.name)
    if isinstance(error, PylatentError | PylatentWarning | OSError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error} (PYLATENT_TRACEBACK=1 shows where; please report it)"


def _memory_needed(error: Exception) -> str | None:
    """How much memory could not be had, in words, or None for any other error; torch has several of them."""
    text = str(error)
    known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if not known and "can't allocate memory" not in text and "not enough memory" not in text:
        return None
    found = re.search(r"allocate (\d+) bytes|allocate ([\d.]+ [GMK]iB)", text)
    if found is None:
        return ""
    return f" when {bytes_text(int(found[1])) if found[1] else found[2]} more were needed"


@contextlib.contextmanager
def failures_reported() -> Iterator[None]:
    """Turns failures into one line on stderr and exit code 1, Ctrl-C into exit code 130."""
    try:
        yield
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        complain(_interrupt.message(EXIT_INTERRUPTED))
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except BrokenPipeError:  # whoever read our output has gone
        drop_output()
        raise typer.Exit(EXIT_FAILED) from None
    except Exception as error:
        complain(explain(error))
        raise typer.Exit(EXIT_FAILED) from None


def drop_output() -> None:
    """What is left for standard output, which fails, is lost; Python would complain once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def write_output(data: bytes) -> None:
    """Writes to standard output; OSError that names it."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        drop_output()
        error.filename = "standard output"
        raise
