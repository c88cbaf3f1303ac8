"""From an archive's bytes to latents, in batches, ahead of the consumer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pylatent.archive.folder import Archive
from pylatent.archive.order import by_size, order
from pylatent.archive.reader import Failure
from pylatent.archive.shard import Record
from pylatent.codecs.base import Codec
from pylatent.codecs.latents import Latents
from pylatent.coding.container import HASH_BYTES
from pylatent.errors import FormatError, MismatchError, PylatentError

_AHEAD = 2  # decoded batches that wait for the consumer


@dataclass(frozen=True)
class Batch:
    """Records of one picture size: `latents` as `codec.decode` returns them, in the order of `keys` and `labels`.

    positions: where the records stand in the archive.
    """

    positions: list[int]
    keys: list[str]
    labels: list[str | None]
    latents: Latents


def check_model(archive: Archive, codec: Codec) -> None:
    """Raises MismatchError unless `codec` is the model that the archive was written with."""
    fingerprint = codec.fingerprint()[:HASH_BYTES]
    if len(archive) and fingerprint != archive.model_hash:
        raise MismatchError(
            f"{archive.path} was written by model {archive.model} with hash {archive.model_hash.hex()}, "
            f"but the codec given is {codec.name} with hash {fingerprint.hex()}"
        )


def decode_batches(
    archive: Archive,
    codec: Codec,
    *,
    batch: int = 64,
    threads: int | None = None,
    failures: list[Failure] | None = None,
    positions: Iterable[int] | None = None,
    seed: int | None = None,
    part: tuple[int, int] = (0, 1),
) -> Iterator[Batch]:
    """Decodes the records of an archive to latents, up to `batch` of one size together, each exactly once.

    A background thread decodes ahead, in native threads that do not hold the GIL. Records of one size are gathered
    across other sizes, so the order is the archive's only where all pictures have one size.

    threads: CPU threads of the coder. failures: where given, records that are damaged or of another model are recorded
    there and left out; otherwise the first one raises. positions: which records, in which order; all by default.
    seed: shuffle these, before records of one size are gathered. part: (i, n) for the i-th of n processes, whose parts
    together hold every record once.

    Raises ValueError, MismatchError if `codec` is not the archive's model, and FormatError.
    """
    if batch < 1:
        raise ValueError(f"`batch` must be at least 1, got {batch}")
    check_model(archive, codec)
    given = range(len(archive)) if positions is None else list(positions)
    chosen = (given[place] for place in order(len(given), seed=seed, part=part))
    return _ahead(_decoded(archive, codec, batch, threads, failures, chosen))


def _decoded(
    archive: Archive,
    codec: Codec,
    batch: int,
    threads: int | None,
    failures: list[Failure] | None,
    positions: Iterable[int],
) -> Iterator[Batch]:
    for group in by_size(_records(archive, failures, positions), batch):
        try:
            yield _decode(codec, group, threads)
        except PylatentError:
            good = []
            for position, record in group:
                try:
                    good.append(_decode(codec, [(position, record)], threads))
                except PylatentError as error:
                    _fail(failures, archive.source(position), record.key, error)
            yield from good


def _records(
    archive: Archive, failures: list[Failure] | None, positions: Iterable[int]
) -> Iterator[tuple[tuple[int, Record], tuple[int, int]]]:
    """Readable records with their positions, and the sizes of their pictures."""
    for position in positions:
        try:
            record = archive[position]
        except FormatError as error:
            _fail(failures, archive.source(position), key_or_none(archive, position), error)
            continue
        yield (position, record), record.stream.size


def _decode(codec: Codec, group: list[tuple[int, Record]], threads: int | None) -> Batch:
    latents = codec.decode([record.stream for _, record in group], threads=threads)
    return Batch(
        [position for position, _ in group],
        [record.key for _, record in group],
        [record.label for _, record in group],
        latents,
    )


def key_or_none(archive: Archive, position: int) -> str | None:
    """The key of a damaged record, if it is legible."""
    try:
        return archive.key(position)
    except FormatError:
        return None


def _fail(failures: list[Failure] | None, source: str, key: str | None, error: PylatentError) -> None:
    if failures is None:
        raise error
    failures.append(Failure(source, key, str(error)))


def _ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, made in a thread that is `_AHEAD` of the consumer and ends with it."""
    ready: queue.Queue[Batch | BaseException | None] = queue.Queue(_AHEAD)
    stop = threading.Event()

    def offer(item: Batch | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for batch in batches:
                if not offer(batch):
                    return
            offer(None)
        except BaseException as error:  # raised again where the consumer waits
            offer(error)

    thread = threading.Thread(target=work, name="pylatent-decode", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
