"""Inputs and `-o` of a command line -> an output for every file, or why it has none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pylatent.cli._inputs import STREAM, Inputs, Kind, Remark, find
from pylatent.cli._report import misused


@dataclass(frozen=True)
class Job:
    """One input and the output that it becomes; `-` stands for standard input and output."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Plan:
    """What becomes of every file."""

    jobs: list[Job]
    skipped: list[Remark]
    failed: list[Remark]

    @property
    def total(self) -> int:
        return len(self.jobs) + len(self.skipped) + len(self.failed)


def plan(
    inputs: Sequence[Path], output: str | None, suffix: str, kind: Kind, *, force: bool, skip_existing: bool
) -> Plan:
    """The jobs of a command line, in the order of the inputs.

    Without `output`, an output lies beside its input under its name with `suffix`; otherwise `output` names the file,
    or for several inputs, for folders, and where it ends in a slash the folder, in which an input folder's structure is
    kept. No output replaces an input, an output of this very command, or without `force` any file. Ends the command
    where inputs and output make no sense together.
    """
    if force and skip_existing:
        raise misused("--force and --skip-existing contradict each other")
    into = _folder(inputs, output)
    found = find(inputs, kind)
    identities = {_identity(source): source for source, _ in found.files if source != STREAM}
    taken: dict[str, Path] = {}
    jobs = []
    for source, below in found.files:
        if into is not None:
            target = (into / below).with_suffix(suffix)
        elif output is not None:
            target = Path(output)
        else:
            target = STREAM if source == STREAM else source.with_suffix(suffix)
        if target == STREAM or _is_free(source, target, identities, taken, found, force, skip_existing):
            jobs.append(Job(source, target))
    return Plan(jobs, found.skipped, found.failed)


def _folder(inputs: Sequence[Path], output: str | None) -> Path | None:
    """The folder that -o names, or None where it names a file or is not given."""
    many = len(inputs) > 1 or (inputs[0] != STREAM and os.path.isdir(inputs[0]))
    if many and (STREAM in inputs or output == str(STREAM)):
        raise misused("standard input and output ('-') carry one picture, not several")
    if output is None or output == str(STREAM):
        return None
    slash = output.endswith((os.sep, "/"))
    if (many or slash) and os.path.exists(output.rstrip("/" + os.sep)) and not os.path.isdir(output):
        reason = "several inputs" if many else "a name that ends in a slash"
        raise misused(f"-o must be a folder for {reason}, but {output} is a file")
    if not (many or slash or os.path.isdir(output)):
        return None
    if STREAM in inputs:
        raise misused(f"what comes from standard input has no name: -o must name a file in {output}")
    return Path(output)


def _is_free(
    source: Path,
    target: Path,
    identities: dict[object, Path],
    taken: dict[str, Path],
    found: Inputs,
    force: bool,
    skip_existing: bool,
) -> bool:
    """Whether `target` may be written; if not, the reason goes to `found`."""
    real = os.path.realpath(target)
    earlier = taken.setdefault(real, source)
    if earlier is not source:
        if _identity(earlier) == _identity(source):
            found.skipped.append(Remark(source, f"the same file as {earlier}"))
        else:
            reason = f"{target} is made from {earlier} already: give the inputs different names"
            found.failed.append(Remark(source, reason))
        return False
    replaced = identities.get(_identity(target))
    if replaced is not None:
        which = "the input itself" if replaced == source else f"the input {replaced}"
        found.failed.append(Remark(source, f"the output {target} would replace {which}: name another with -o"))
    elif target.is_dir():
        found.failed.append(Remark(source, f"the output {target} is a folder"))
    elif not target.is_file() or force:
        return True
    elif skip_existing:
        found.skipped.append(Remark(source, f"{target} exists"))
    else:
        remedy = "--force overwrites it, --skip-existing passes it over, -o names another output"
        found.failed.append(Remark(source, f"{target} exists: {remedy}"))
    return False


def _identity(path: Path) -> object:
    """What two names of one file have in common."""
    try:
        status = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino
