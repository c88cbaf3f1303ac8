"""Checking an archive: every record's CRC, the order of the keys, and that no key is there twice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pylatent.archive.digest import digests_of, key_digest
from pylatent.archive.folder import Archive
from pylatent.archive.plan import has_plan, read_plan
from pylatent.archive.reader import Failure
from pylatent.archive.recover import records
from pylatent.archive.report import summarize
from pylatent.archive.shard import Record


def verify_archive(archive: Archive, failures: list[Failure], advance: Callable[[int], None]) -> int:
    """Appends what is wrong to `failures`; returns the number of intact records. Memory: 16 bytes a record.

    `advance` is told now and then how many records were looked at.
    """
    digests = bytearray()
    done = good = 0
    for shard in archive.shards():
        for item in records(shard.path):
            done += 1
            if isinstance(item, Record):
                digests += key_digest(item.key)
                good += 1
            else:
                failures.append(item)
            if done % 1000 == 0:
                advance(done)
    unique, counts = np.unique(digests_of(digests), return_counts=True)
    if len(unique) < good:
        twice = set(unique[counts > 1].tolist())
        for shard in archive.shards():
            keys = (item.key for item in records(shard.path) if isinstance(item, Record))
            found = [key for key in keys if key_digest(key) in twice]
            failures += [
                Failure(shard.path, key, f"{shard.path}: the key {key!r} is in several shards") for key in found
            ]
        good -= int(counts[counts > 1].sum())
    failures += _missing(archive)
    advance(done)
    return good


def _missing(archive: Archive) -> list[Failure]:
    """What the plan of the archive, if there is one, has and its shards have not."""
    if isinstance(archive.path, str) or not archive.path.is_dir() or not has_plan(archive.path):
        return []
    summary = summarize(archive.path, read_plan(archive.path))
    failures = [Failure(str(archive.path), key, f"missing: {key}: {reason}") for key, reason in summary.failures]
    unexplained = summary.planned - summary.records - len(failures)
    if unexplained > 0:
        text = f"{archive.path}: {unexplained} planned pictures are missing: run `pylatent archive create` again"
        failures.append(Failure(str(archive.path), None, text))
    return failures
