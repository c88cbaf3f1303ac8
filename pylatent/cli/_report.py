"""What the verbs say and how they end: text on stderr, one line an error, exit codes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import typer

from pylatent.errors import PylatentError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def complain(message: str) -> None:
    """One line on stderr, whatever the terminal's encoding."""
    line = f"pylatent: {' '.join(message.split())}\n"
    encoding = sys.stderr.encoding or "utf-8"
    sys.stderr.write(line.encode(encoding, "backslashreplace").decode(encoding))
    sys.stderr.flush()


def misused(message: str) -> typer.Exit:
    """What to raise for options that contradict each other: one line on stderr and exit code 2."""
    complain(message)
    return typer.Exit(EXIT_USAGE)


def check_device(device: str) -> None:
    """Ends the command with one line and exit code 2 if torch cannot use `device`."""
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise misused(f"--device {device} cannot be used: {reason}") from None


def check_name(name: str) -> None:
    """Ends the command with one line and exit code 2 if no model can have this name."""
    from pylatent.coding.container import check_model_name

    try:
        check_model_name(name)
    except ValueError as error:
        raise misused(str(error)) from None


def explain(error: Exception) -> str:
    """One line that says what went wrong; with PYLATENT_TRACEBACK=1 the exception itself is raised instead."""
    if os.environ.get("PYLATENT_TRACEBACK", "") not in ("", "0"):
        raise error
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"out of memory: {error}"
    if isinstance(error, PylatentError | OSError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error} (PYLATENT_TRACEBACK=1 shows where; please report it)"


@contextlib.contextmanager
def failures_reported() -> Iterator[None]:
    """Turns failures into one line on stderr and exit code 1, Ctrl-C into exit code 130."""
    try:
        yield
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        complain("interrupted")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except BrokenPipeError:
        # Whoever read our output has gone; without this, the interpreter complains once more when it flushes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(EXIT_FAILED) from None
    except Exception as error:
        complain(explain(error))
        raise typer.Exit(EXIT_FAILED) from None


def bytes_text(count: int) -> str:
    """`912 B`, `23.4 kB`, `1.18 MB`: three digits."""
    if count < 1000:
        return f"{count} B"
    for unit in ("kB", "MB", "GB"):
        if count < 999_500:
            return f"{count / 1000:.{3 - len(str(int(count / 1000)))}f} {unit}"
        count = round(count / 1000)
    return f"{count} TB"


def count(number: int, what: str) -> str:
    """`1 picture`, `2,000 pictures`."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")
