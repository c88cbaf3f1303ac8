"""Making one shard: the unit of work, of commit and of retry."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from pylatent import images
from pylatent.archive.plan import read_plan, read_sources, shard_path
from pylatent.archive.recover import records
from pylatent.archive.report import ShardReport, count_records, write_report
from pylatent.archive.shard import Record, write_shard
from pylatent.archive.sources import Source, SourceReader
from pylatent.codecs.base import Codec
from pylatent.coding.container import HASH_BYTES
from pylatent.errors import MismatchError

# Pictures of one size are coded together up to so many pixels; beyond, that gains nothing.
_BATCH_PIXELS = 1 << 16
_MAX_BATCH = 32
_WAITING_PIXELS = 1 << 24
_SAMPLED_PIXELS = 1 << 25


@torch.no_grad()
def make_shard(
    codec: Codec, folder: Path, number: int, *, advance: Callable[[int], None] = lambda n: None
) -> ShardReport:
    """Encodes the pictures that are planned for a shard and not in it, and writes it anew with those that are.

    A picture that fails is recorded in the report. `advance` is told how many more pictures are dealt with. The bytes
    of the shard depend on the pictures, codec and quality alone. A damaged shard is kept as `….lats.damaged`, and what
    can be read of it used. Raises MismatchError for another codec than the plan's, FormatError, OSError.
    """
    start = time.monotonic()
    plan, sources = read_plan(folder), read_sources(folder, number)
    path, model_hash = shard_path(folder, number), codec.fingerprint()[:HASH_BYTES]
    if model_hash.hex() != plan.model_hash:
        raise MismatchError(
            f"{folder} is made with model {plan.model} ({plan.model_hash}), not with {codec.name} ({model_hash.hex()})"
        )
    found: dict[str, Record] = {}
    damaged = False
    if path.exists():
        count_records(folder, number, plan.model_hash)  # refuses another model's
        for item in records(path, recover=True):
            if isinstance(item, Record):
                found[item.key] = item
            else:
                damaged = True
        advance(sum(source.key in found for source in sources))
    kept = len(found) if path.exists() and not damaged else -1
    failures: list[tuple[str, str]] = []
    converted: Counter[str] = Counter()
    missing = [source for source in sources if source.key not in found]
    for batch in _batches(missing, failures, converted, advance):
        for record in _encode(codec, batch, plan.quality, failures):
            found[record.key] = record
        advance(len(batch))
    wanted = [found[source.key] for source in sources if source.key in found]
    wanted.sort(key=lambda record: record.key.encode())
    pixels = sum(record.stream.size[0] * record.stream.size[1] for record in wanted)
    seconds = round(time.monotonic() - start, 3)
    report = ShardReport(number, len(sources), len(wanted), failures, dict(converted), pixels, seconds)
    write_report(folder, report)
    if damaged:
        os.replace(path, path.with_name(f"{path.name}.damaged"))
    if len(wanted) != kept:
        write_shard(path, codec.name, model_hash, wanted)
    return report


def mean_bytes(codec: Codec, quality: float | None, sample: list[Source]) -> float:
    """Mean size of the records of some pictures in bytes, or of the first that have 32 megapixels together.

    Pictures that fail are passed over.
    """
    failures: list[tuple[str, str]] = []
    count = size = pixels = 0
    for batch in _batches(sample, failures, Counter(), lambda n: None):
        for record in _encode(codec, batch, quality, failures):
            count += 1
            size += len(record.key.encode()) + len(record.stream.to_record())
            pixels += record.stream.size[0] * record.stream.size[1]
        if pixels > _SAMPLED_PIXELS:
            break
    return size / max(1, count)


def _batches(
    sources: list[Source],
    failures: list[tuple[str, str]],
    converted: Counter[str],
    advance: Callable[[int], None],
) -> Iterator[list[tuple[Source, torch.Tensor]]]:
    """Pictures that could be read, gathered by size."""
    waiting: dict[tuple[int, int], list[tuple[Source, torch.Tensor]]] = {}
    pixels = 0
    reader = SourceReader()
    for source in sources:
        try:
            picture = images.read(reader.read(source))
        except Exception as error:
            failures.append((source.key, _reason(source, error)))
            advance(1)
            continue
        converted.update(picture.notes)
        size = (picture.tensor.shape[1], picture.tensor.shape[2])
        batch = waiting.setdefault(size, [])
        batch.append((source, picture.tensor))
        pixels += size[0] * size[1]
        if pixels > _WAITING_PIXELS:
            size = max(waiting, key=lambda size: size[0] * size[1] * len(waiting[size]))
        full = len(waiting[size]) >= min(_MAX_BATCH, _BATCH_PIXELS // (size[0] * size[1]))
        if full or pixels > _WAITING_PIXELS:
            pixels -= size[0] * size[1] * len(waiting[size])
            yield waiting.pop(size)
    reader.close()
    yield from waiting.values()


def _encode(
    codec: Codec,
    batch: list[tuple[Source, torch.Tensor]],
    quality: float | None,
    failures: list[tuple[str, str]],
) -> list[Record]:
    """The records of pictures of one size; where the batch fails, its pictures are tried one by one."""
    try:
        x = torch.stack([pixels for _, pixels in batch]).to(codec.device).float().div_(255)
        streams = codec.compress(x, quality, threads=1)
    except Exception as error:
        if len(batch) == 1:
            failures.append((batch[0][0].key, _reason(batch[0][0], error)))
            return []
        return [record for one in batch for record in _encode(codec, [one], quality, failures)]
    return [Record(source.key, source.label, stream) for (source, _), stream in zip(batch, streams, strict=True)]


def _reason(source: Source, error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if source.path in text else f"{source.path}: {text}"
