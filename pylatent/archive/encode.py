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
from pylatent.coding.container import HASH_BYTES, MAGIC, LatFile
from pylatent.errors import MismatchError
from pylatent.high_quality import compressed

# Pictures of one size are coded together up to so many pixels; beyond, that gains nothing.
_BATCH_PIXELS = 1 << 16
_MAX_BATCH = 32
_WAITING_PIXELS = 1 << 24
_SAMPLED_PIXELS = 1 << 25


@torch.no_grad()
def make_shard(
    codec: Codec,
    folder: Path,
    number: int,
    *,
    max_pixels: int | None = None,
    advance: Callable[[int], None] = lambda n: None,
) -> ShardReport:
    """Encodes the pictures that are planned for a shard and not in it, and writes it anew with those that are.

    A source that is a .lat file is taken as it is. Pictures of more than `max_pixels` (None: Pillow's limit) fail.
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
    coded: list[Record] = []
    for batch in _batches(missing, model_hash, max_pixels, coded, failures, converted, advance):
        for record in _encode(codec, batch, plan.quality, failures):
            found[record.key] = record
        advance(len(batch))
    found |= {record.key: record for record in coded}
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


def mean_bytes(codec: Codec, quality: float | None, sample: list[Source], max_pixels: int | None = None) -> float:
    """Mean size of the records of some pictures in bytes, or of the first that have 32 megapixels together.

    Pictures that fail are passed over.
    """
    failures: list[tuple[str, str]] = []
    records: list[Record] = []
    pixels = 0
    model_hash = codec.fingerprint()[:HASH_BYTES]
    for batch in _batches(sample, model_hash, max_pixels, records, failures, Counter(), lambda n: None):
        made = _encode(codec, batch, quality, failures)
        records += made
        pixels += sum(record.stream.size[0] * record.stream.size[1] for record in made)
        if pixels > _SAMPLED_PIXELS:
            break
    size = sum(len(record.key.encode()) + len(record.stream.to_record()) for record in records)
    return size / max(1, len(records))


def _batches(
    sources: list[Source],
    model_hash: bytes,
    max_pixels: int | None,
    coded: list[Record],
    failures: list[tuple[str, str]],
    converted: Counter[str],
    advance: Callable[[int], None],
) -> Iterator[list[tuple[Source, torch.Tensor]]]:
    """Pictures that could be read, gathered by size; sources that are .lat files become records in `coded`."""
    waiting: dict[tuple[int, int], list[tuple[Source, torch.Tensor]]] = {}
    pixels = 0
    reader = SourceReader()
    for source in sources:
        try:
            data = reader.read(source)
            if data.startswith(MAGIC):
                coded.append(_coded(source, data, model_hash))
                advance(1)
                continue
            picture = images.read(data, max_pixels=max_pixels)
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
        streams = compressed(codec, x, quality, [pixels for _, pixels in batch], threads=1)
    except Exception as error:
        if len(batch) == 1:
            failures.append((batch[0][0].key, _reason(batch[0][0], error)))
            return []
        return [record for one in batch for record in _encode(codec, [one], quality, failures)]
    return [Record(source.key, source.label, stream) for (source, _), stream in zip(batch, streams, strict=True)]


def _coded(source: Source, data: bytes, model_hash: bytes) -> Record:
    """The record of a .lat file. Raises FormatError, and MismatchError for one of another model."""
    file = LatFile.from_bytes(data)
    if file.model_hash != model_hash:
        raise MismatchError(
            f"coded by model {file.model} with hash {file.model_hash.hex()}, the archive's has hash {model_hash.hex()}"
        )
    return Record(source.key, source.label, file.stream)


def _reason(source: Source, error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    text = text.removeprefix("the picture: ")
    return text if source.path in text else f"{source.path}: {text}"
