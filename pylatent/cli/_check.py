"""Checks of options that several verbs have: one line and exit code 2, where possible before torch is imported."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pylatent._quality import check_quality
from pylatent._receivers import RECEIVERS, Receiver
from pylatent.cli._inputs import STREAM
from pylatent.cli._report import misused

PICTURE_METRICS = ("lpips-vgg", "lpips-alex")
METRICS = (*PICTURE_METRICS, "fid", "kid")


def check_model(
    model: str, qualities: Sequence[float | None] = (), *, target: float | None = None, refined: bool = False
) -> None:
    """Ends the command unless the model has the qualities, and can meet a target; ModelError if there is no model."""
    from pylatent import zoo

    header = zoo.read_header(zoo.path_of(model))
    if header.qualities is None and target is not None and not refined:
        raise misused(f"model {header.name} has one fixed rate: a target needs --refine")
    for quality in qualities:
        try:
            check_quality(header.name, header.qualities, quality)
        except ValueError as error:
            raise misused(f"--quality: {error}") from None


def check_device(device: str) -> None:
    """Ends the command if torch cannot use `device`."""
    if device == "cpu":
        return
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise misused(f"--device {device} cannot be used: {reason}") from None


def check_name(name: str) -> None:
    """Ends the command if no model can have this name."""
    from pylatent.coding.container import check_model_name

    try:
        check_model_name(name)
    except ValueError as error:
        raise misused(str(error)) from None


def receiver_of(name: str | None, fast: bool) -> Receiver:
    """The receiver that --receiver and --fast mean together; ends the command where they mean none."""
    if fast and name not in (None, "light"):
        raise misused(f"--fast means --receiver light, and --receiver says {name}: leave one of them out")
    for known in RECEIVERS:
        if known == (name or ("light" if fast else "full")):
            return known
    raise misused(f"--receiver must be {', '.join(RECEIVERS[:-1])} or {RECEIVERS[-1]}, got {name}")


def receivers_of(names: Sequence[str] | None) -> tuple[Receiver, ...]:
    """Those that --receiver names, each once; the full one where there is none. Ends the command as `receiver_of`."""
    return tuple(dict.fromkeys(receiver_of(name, False) for name in names or ["full"]))


def check_metrics(names: Sequence[str], known: Sequence[str]) -> None:
    """Ends the command unless every metric is one of those that are known."""
    for name in names:
        if name not in known:
            raise misused(f"--metric must be {', '.join(known[:-1])} or {known[-1]}, got {name}")


def check_positive(*, infinite: bool = False, **options: float | None) -> None:
    """Ends the command unless every option that is given is a number above 0, or infinite where that is said."""
    for name, value in options.items():
        if value is not None and not (0 < value < math.inf or (infinite and value == math.inf)):
            raise misused(f"--{name.replace('_', '-')} must be above 0, got {value:g}")


def check_terminal(target: Path) -> None:
    """Ends the command where binary data would go to a terminal."""
    if target == STREAM and sys.stdout.isatty():
        raise misused("not writing binary data to a terminal: give -o, or redirect standard output")


def check_writable(option: str, path: Path | None) -> None:
    """Ends the command unless a report can be written there: hours of work may come before it."""
    if path is None or path == STREAM:
        return
    folder = path.parent
    if not folder.is_dir():
        raise misused(f"{option} {path}: there is no folder {folder}")
    if path.is_dir():
        raise misused(f"{option} {path}: this is a folder")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise misused(f"{option} {path}: it may not be written")


def numbers(option: str, text: str | None) -> list[float] | None:
    """The numbers of an option such as "0.1,0.2"; None where it is not given. Ends the command with a usage error."""
    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise misused(f"{option} must be numbers with commas between them, got {text}") from None


def whole_numbers(option: str, text: str | None, count: int) -> tuple[int, ...] | None:
    """`count` whole numbers above 0 of an option such as "64,128"; None where it is not given. Ends the command."""
    values = numbers(option, text)
    if values is None:
        return None
    if len(values) != count or any(value != int(value) or value < 1 for value in values):
        raise misused(f"{option} must be {count} whole numbers above 0 with commas between them, got {text}")
    return tuple(int(value) for value in values)


def check_jobs(jobs: int, device: str, threads: int | None) -> None:
    """Ends the command where several processes make no sense with the other options."""
    if jobs > 1 and device != "cpu":
        raise misused("--jobs is for the CPU: one process keeps another --device busy")
    if jobs > 1 and threads is not None:
        raise misused("--jobs gives each process one thread: leave --threads out")
