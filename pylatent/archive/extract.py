"""Records out of an archive, as the bytes of files: those of some keys, or all, damaged ones as failures."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pylatent.archive.folder import Archive, shard_files
from pylatent.archive.reader import Failure, read_header
from pylatent.archive.recover import records
from pylatent.archive.shard import Record
from pylatent.archive.storage import open_bytes
from pylatent.coding.container import LatFile
from pylatent.errors import FormatError, MismatchError

if TYPE_CHECKING:
    from pylatent._receivers import Receiver


def chosen(archive: Archive, keys: Sequence[str]) -> Iterator[Record | Failure]:
    """The records of some keys, in their order."""
    for key in keys:
        position = archive.find(key)
        if position is None:
            text = f"{archive.path} has no record {key!r}; `pylatent archive ls` lists the keys"
            yield Failure(str(archive.path), key, text)
            continue
        try:
            yield archive[position]
        except FormatError as error:
            yield Failure(archive.source(position), key, str(error))


def everything(path: Path | str, *, recover: bool = False) -> Iterator[Record | Failure]:
    """All records of a folder of shards, or of one; with `recover`, damaged shards are read from the front."""
    for file in shard_files(path):
        yield from records(file, recover=recover)


def model_of(path: Path | str) -> tuple[str, bytes]:
    """Name and hash of the model of all shards whose headers are legible; FormatError, MismatchError."""
    models = set()
    reason = ""
    for file in shard_files(path):
        try:
            header = read_header(open_bytes(file))
            models.add((header.model, header.model_hash))
        except FormatError as error:
            reason = f"{file}: {error}"
    if len(models) > 1:
        raise MismatchError(f"{path} mixes models: {', '.join(sorted(name for name, _ in models))}")
    if not models:
        raise FormatError(reason)
    return models.pop()


def converter(suffix: str, model: str, model_hash: bytes, *, receiver: Receiver = "full") -> Callable[[Record], bytes]:
    """Makes the bytes of a file of a record: `.lat`, or a picture's as a receiver shows it.

    Raises ImageError for unknown formats, ModelError for a model that is not installed or has no such receiver.
    """
    if suffix == ".lat":
        return lambda record: LatFile(model, model_hash, record.stream).to_bytes()
    from pylatent import images, zoo

    format = images.format_of(f"-{suffix}")
    codec = zoo.find(model, model_hash)
    codec.check_receiver(receiver)

    def picture(record: Record) -> bytes:
        return images.to_bytes(images.to_image(codec.decompress_bytes([record.stream], receiver=receiver)[0]), format)

    return picture


class TarWriter:
    """A WebDataset tar that is written from front to end: for each record its file, and its label as `.cls`.

    In the block, `add` writes; the tar is complete when the block has ended. Times and owners are zero, so the bytes
    depend on the records alone.
    """

    def __init__(self, file: BinaryIO, suffix: str) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._suffix = suffix

    def __enter__(self) -> TarWriter:
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        if kind is None:
            self._tar.close()

    def add(self, record: Record, data: bytes) -> None:
        self._add(record.key + self._suffix, data)
        if record.label is not None:
            self._add(f"{record.key}.cls", record.label.encode())

    def _add(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data))
        self._tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep them all
