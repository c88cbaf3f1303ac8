"""Making an archive: shards are planned once, then made one by one by processes of this machine or by Ray.

Nothing is kept but the plan and the shards, so a run that was killed at any moment is continued by the same command:
it makes the shards that are missing, and tries again the pictures that failed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal

import torch

from pylatent import zoo
from pylatent._model_header import SUFFIX as SUFFIX_OF_MODELS
from pylatent._quality import check_quality
from pylatent._walk import PassedOver
from pylatent.archive.encode import mean_bytes
from pylatent.archive.local import make_shards
from pylatent.archive.plan import Plan, extend_plan, has_plan, read_plan
from pylatent.archive.report import Summary, count_records, summarize
from pylatent.archive.shard import SUFFIX
from pylatent.archive.sources import Source, find_sources, read_labels
from pylatent.codecs.base import QUALITY_STEP, Codec
from pylatent.coding.container import HASH_BYTES
from pylatent.errors import FormatError, MismatchError, PylatentError

SHARD_BYTES = 128 << 20
SHARD_RECORDS = 20_000


@dataclass(frozen=True)
class Progress:
    """How far a run is: pictures of the missing shards that are dealt with, and how many there are."""

    done: int
    total: int


def create(
    folder: str | os.PathLike[str],
    inputs: Sequence[str | os.PathLike[str]] = (),
    *,
    model: str | os.PathLike[str] = "default",
    quality: float | None = None,
    labels: Literal["folder"] | os.PathLike[str] | None = None,
    keep_extensions: bool = False,
    coded: bool = False,
    max_pixels: int | None = None,
    shard_bytes: int = SHARD_BYTES,
    shard_records: int = SHARD_RECORDS,
    workers: int | None = None,
    engine: Literal["local", "ray"] = "local",
    report: Callable[[Progress], None] = lambda progress: None,
) -> Summary:
    """Makes an archive of pictures, or continues, completes or extends one.

    inputs: folders of pictures, WebDataset tars, and Parquet files of Hugging Face's datasets. Pictures whose keys are
        planned already are not planned again; with no inputs, the run does what the plan says.
    model, quality: as for `pylatent.compress`; an archive has one of each, and refuses another.
    labels: "folder" for the first folder of a key, or a CSV file of keys and labels. A tar's `.cls` count without it.
    coded: the inputs' .lat files are taken as they are, in place of pictures; they must be of the archive's model.
    max_pixels: pictures of more are refused; by default Pillow's limit.
    shard_bytes, shard_records: a shard is cut at whichever comes first; sizes are guessed from a few pictures.
    workers: processes, each with one thread; by default as many as torch would use threads (Ray: as Ray decides).

    Failed pictures are in the summary, and in `shard-*.json`, and are tried again by the next run. Raises FormatError,
    MismatchError, ModelError, ValueError, OSError; PylatentError if another run is working on the archive.
    """
    folder = Path(folder)
    if shard_bytes < 1 or shard_records < 1 or (workers is not None and workers < 1):
        raise ValueError("`shard_bytes`, `shard_records` and `workers` must be at least 1")
    name = os.fspath(model)
    if name.endswith(SUFFIX_OF_MODELS) or os.sep in name:
        name = os.path.abspath(name)  # for processes that run in other folders
    codec = zoo.shared(name)
    _check_folder(folder, inputs)
    passed: list[PassedOver] = []
    sources = find_sources(
        inputs, folder_labels=labels == "folder", keep_extensions=keep_extensions, coded=coded, passed=passed.append
    )
    if labels is not None and labels != "folder":
        sources = _labelled(sources, read_labels(labels))
    if inputs and not has_plan(folder):
        sources = _some(sources, "no .lat files" if coded else "no pictures", inputs)
    existed = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder):
        _clean(folder)
        try:
            plan = _plan(folder, codec, quality)
            if inputs:
                plan = extend_plan(
                    folder,
                    plan,
                    sources,
                    bytes_of=lambda sample: mean_bytes(codec, plan.quality, list(sample), max_pixels),
                    shard_bytes=shard_bytes,
                    shard_records=shard_records,
                )
        except BaseException:
            if not has_plan(folder):
                _discard(folder, existed)
            raise
        counts = [count_records(folder, number, plan.model_hash) for number in range(len(plan.shards))]
        todo = [number for number, planned in enumerate(plan.shards) if counts[number] != planned]
        progress = Progress(0, sum(plan.shards[number] for number in todo))
        report(progress)

        def advance(count: int) -> None:
            nonlocal progress
            progress = replace(progress, done=progress.done + count)
            report(progress)

        if engine == "ray":
            from pylatent.archive import on_ray

            outcomes = on_ray.make_shards(folder, todo, name, workers, advance, max_pixels)
        else:
            outcomes = make_shards(folder, todo, name, workers or torch.get_num_threads(), advance, max_pixels)
        try:
            with contextlib.closing(outcomes):
                lost = {number: outcome for number, outcome in outcomes if isinstance(outcome, str)}
        finally:
            _clean(folder)
    return replace(
        summarize(folder, plan, lost), passed=[(str(item.path), item.reason, item.failed) for item in passed]
    )


def _some(sources: Iterator[Source], nothing: str, inputs: Sequence[str | os.PathLike[str]]) -> Iterator[Source]:
    """The same sources; FormatError if there are none."""
    first = next(sources, None)
    if first is None:
        raise FormatError(f"there are {nothing} in {', '.join(os.fspath(path) for path in inputs)}")
    return itertools.chain([first], sources)


def _discard(folder: Path, existed: bool) -> None:
    """Removes what a run has made that could not even be planned."""
    shutil.rmtree(folder / "plan", ignore_errors=True)
    with contextlib.suppress(OSError):
        (folder / ".lock").unlink()
        if not existed:
            folder.rmdir()


def _clean(folder: Path) -> None:
    """Removes what killed processes have left."""
    for stale in folder.glob(".*.tmp"):
        stale.unlink(missing_ok=True)


def _check_folder(folder: Path, inputs: Sequence[str | os.PathLike[str]]) -> None:
    if has_plan(folder):
        return
    if not inputs:
        raise FormatError(f"{folder} has no plan to continue: name the folders or tars that it is to be made of")
    if folder.exists() and not folder.is_dir():
        raise FormatError(f"{folder} is a file: an archive is a folder")
    if any(folder.glob(f"*{SUFFIX}")):
        raise FormatError(f"{folder} holds shards, but no plan: take a new folder")


def _plan(folder: Path, codec: Codec, quality: float | None) -> Plan:
    """The plan of an archive, without shards if it is new. Raises where codec or quality are not the plan's."""
    model_hash = codec.fingerprint()[:HASH_BYTES].hex()
    check_quality(codec.name, codec.qualities, quality)
    if quality is not None:
        quality = round(quality / QUALITY_STEP) * QUALITY_STEP
    if not has_plan(folder):
        return Plan(codec.name, model_hash, codec.default_quality if quality is None else quality)
    plan = read_plan(folder)
    if plan.model_hash != model_hash:
        raise MismatchError(
            f"{folder} is made with model {plan.model} ({plan.model_hash}), not with {codec.name} ({model_hash}): an "
            f"archive has one model"
        )
    if quality is not None and quality != plan.quality:
        raise MismatchError(f"{folder} is made with quality {plan.quality}, not {quality}: an archive has one quality")
    return plan


def _labelled(sources: Iterator[Source], labels: dict[str, str]) -> Iterator[Source]:
    for source in sources:
        extension = os.path.splitext(source.path)[1] if source.size is None else ""
        label = labels.get(source.key, labels.get(source.key + extension))
        if label is None:
            raise FormatError(f"{source.path}: the key {source.key!r} has no label in the CSV file")
        yield replace(source, label=label)


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Held while a run works on an archive; the system lets go of it however the process ends."""
    with open(folder / ".lock", "wb") as file:
        if not _try_lock(file):
            raise PylatentError(f"another run is working on {folder}")
        yield


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
