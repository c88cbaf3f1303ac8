"""Labels from latents: archives and .lat files -> rows, in batches; failures are collected."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from pylatent import zoo
from pylatent.archive.decode import decode_batches
from pylatent.archive.folder import Archive
from pylatent.archive.order import by_size
from pylatent.archive.reader import Failure
from pylatent.codecs.base import Codec
from pylatent.codecs.latents import Latents
from pylatent.coding.container import LatFile
from pylatent.errors import PylatentError
from pylatent.tasks import load_head


class Row(NamedTuple):
    """A labelled picture; `label` is what the archive says, `confidence` the probability of `predicted`."""

    key: str
    label: str | None
    predicted: str
    confidence: float


@dataclass(frozen=True)
class Unlabelled:
    """A picture, or a part of an archive, that got no label."""

    source: str
    key: str
    reason: str


class Labels:
    """Iterates over lists of rows, each once; afterwards `failures` holds what got no label.

    head: path of a head file (ModelError). archives: folders of shards, and shards, or their URLs. files: .lat files,
    whose bytes `read` gives. batch: pictures decoded together. threads: CPU threads of the coder.
    """

    def __init__(
        self,
        head: Path,
        archives: Sequence[Path | str],
        files: Sequence[Path] = (),
        *,
        batch: int = 64,
        threads: int | None = None,
        read: Callable[[Path], bytes] = Path.read_bytes,
    ) -> None:
        self.head, self.header = load_head(head)
        self.batch, self.threads, self.read = batch, threads, read
        self.failures: list[Unlabelled] = []
        self.done = 0
        broken: list[Failure] = []
        self.archives = []
        for path in archives:
            try:
                self.archives.append(Archive(path, failures=broken))
            except (PylatentError, OSError) as error:  # it mixes models, or is not there
                broken.append(Failure(str(path), None, str(error)))
        self._add(broken)
        self.files = list(files)
        self.total = sum(len(archive) for archive in self.archives) + len(self.files)

    def __iter__(self) -> Iterator[list[Row]]:
        for archive in self.archives:
            yield from self._counted(self._of_archive(archive))
        yield from self._counted(self._of_files())

    def _counted(self, rows: Iterator[list[Row]]) -> Iterator[list[Row]]:
        for some in rows:
            self.done += len(some)
            yield some

    def _of_archive(self, archive: Archive) -> Iterator[list[Row]]:
        if not len(archive):
            return
        failures: list[Failure] = []
        try:
            codec = zoo.find(archive.model, archive.model_hash)
            for batch in decode_batches(archive, codec, batch=self.batch, threads=self.threads, failures=failures):
                yield self._rows(batch.keys, batch.labels, batch.latents, codec)
        except PylatentError as error:  # the whole archive is of no use to this head, or its model is not installed
            failures.append(Failure(str(archive.path), None, f"{archive.path}: {error}"))
        self._add(failures)

    def _of_files(self) -> Iterator[list[Row]]:
        for group in by_size(self._readable(), self.batch):
            yield from self._of_group(group)

    def _readable(self) -> Iterator[tuple[tuple[Path, LatFile], Hashable]]:
        """Files that can be read, with what those of a batch have in common: model and size."""
        for path in self.files:
            try:
                file = LatFile.from_bytes(self.read(path))
            except (PylatentError, OSError) as error:
                self._fail(path, error)
                continue
            yield (path, file), (file.model_hash, file.stream.size)

    def _of_group(self, group: list[tuple[Path, LatFile]]) -> Iterator[list[Row]]:
        """Files of one model and one size; where that fails as a whole, one by one."""
        try:
            codec = zoo.find(group[0][1].model, group[0][1].model_hash)
            latents = codec.decode([file.stream for _, file in group], threads=self.threads)
            yield self._rows([str(path) for path, _ in group], [None] * len(group), latents, codec)
        except PylatentError as error:
            if len(group) == 1:
                self._fail(group[0][0], error)
                return
            for one in group:
                yield from self._of_group([one])

    @torch.inference_mode()
    def _rows(self, keys: Sequence[str], labels: Sequence[str | None], latents: Latents, codec: Codec) -> list[Row]:
        self.header.check(latents, codec.fingerprint().hex())
        confidences, numbers = self.head(latents).softmax(1).max(1)
        found = [self.header.classes[number] for number in numbers.tolist()]
        return [Row(*row) for row in zip(keys, labels, found, confidences.tolist(), strict=True)]

    def _add(self, failures: Sequence[Failure]) -> None:
        self.failures += [Unlabelled(failure.source, failure.key or "", failure.reason) for failure in failures]

    def _fail(self, path: Path, error: Exception) -> None:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        self.failures.append(Unlabelled(str(path), str(path), reason))
