"""What came of each shard of an archive, and of the whole: records, and pictures that failed with the reasons."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pylatent._files import write_bytes
from pylatent.archive.plan import Plan, shard_path
from pylatent.archive.reader import Shard
from pylatent.errors import FormatError, MismatchError


@dataclass(frozen=True)
class ShardReport:
    """What came of a shard, as its JSON file says: written before the shard itself, so that no failure goes unrecorded.

    failures: key and reason of each picture that is planned and not in the shard. converted: how many pictures were
    changed on reading, by kind. seconds: of the run that wrote it.
    """

    number: int
    planned: int
    records: int
    failures: list[tuple[str, str]] = field(default_factory=list)
    converted: dict[str, int] = field(default_factory=dict)
    pixels: int = 0
    seconds: float = 0.0


def report_path(folder: Path, number: int) -> Path:
    """Where the report of a shard lies."""
    return shard_path(folder, number).with_suffix(".json")


def report_of(content: dict[str, Any]) -> ShardReport:
    """The report that JSON stands for; raises TypeError, ValueError, KeyError."""
    return ShardReport(**{**content, "failures": [(str(key), str(reason)) for key, reason in content["failures"]]})


def read_report(folder: Path, number: int) -> ShardReport | None:
    """The report of a shard, or None where there is none that can be read."""
    try:
        return report_of(json.loads(report_path(folder, number).read_bytes()))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_report(folder: Path, report: ShardReport) -> None:
    write_bytes(report_path(folder, report.number), json.dumps(asdict(report), indent=1).encode() + b"\n")


def count_records(folder: Path, number: int, model_hash: str) -> int | None:
    """How many records a shard holds, or None if it is missing or damaged. Raises MismatchError for another model's."""
    try:
        shard = Shard(shard_path(folder, number))
    except (FileNotFoundError, FormatError):
        return None
    with_hash, count = shard.header.model_hash.hex(), len(shard)
    shard.close()
    if with_hash != model_hash:
        raise MismatchError(f"{shard.path} was written by a model with hash {with_hash}, the archive's is {model_hash}")
    return count


@dataclass(frozen=True)
class Summary:
    """An archive after a run: its shards, records, and the pictures that are planned but missing, with the reasons.

    lost: shards that could not be made at all, with the reason. passed: folders and files among the inputs that were
    not looked into, with the reason, and whether that is an error.
    """

    shards: int
    planned: int
    records: int
    failures: list[tuple[str, str]]
    lost: dict[int, str]
    passed: list[tuple[str, str, bool]] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether all that is planned is there, and all inputs could be looked into."""
        return self.records == self.planned and not any(failed for _, _, failed in self.passed)


def summarize(folder: Path, plan: Plan, lost: dict[int, str] | None = None) -> Summary:
    """What an archive holds, held against its plan."""
    records, failures = 0, []
    for number, planned in enumerate(plan.shards):
        count = count_records(folder, number, plan.model_hash)
        records += count or 0
        if count is not None and count != planned:
            found = read_report(folder, number)
            failures += found.failures if found is not None else []
    return Summary(len(plan.shards), sum(plan.shards), records, failures, lost or {})
