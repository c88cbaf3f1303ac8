"""pylatent archive extract: records to .lat files or pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pylatent._files import write_bytes
from pylatent.cli._rate import rate_bar
from pylatent.cli._report import EXIT_FAILED, complain, count, explain, failures_reported

if TYPE_CHECKING:
    from pylatent.archive import Archive, Failure, Record


def extract(
    path: Annotated[Path, typer.Argument(help="An archive's folder, or one shard.", show_default=False)],
    keys: Annotated[list[str] | None, typer.Argument(help="Keys; all by default.", show_default=False)] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the files.")] = Path("."),
    format: Annotated[str, typer.Option(help="lat, or a picture's: png, webp, jpg ...")] = "lat",
    recover: Annotated[
        bool,
        typer.Option("--recover", help="Read shards that were cut off, or whose index is damaged, from the front."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Overwrite existing files.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")] = False,
) -> None:
    """Write records as files: the key is the path below the output folder.

    A record that is damaged is reported and does not stop the others; the exit code is 1 if there was any.
    """
    with failures_reported():
        from pylatent.archive import Archive, Record
        from pylatent.errors import PylatentError

        archive = Archive(path, failures=[])  # shards that cannot be opened are reported below
        suffix = f".{format.lower().lstrip('.')}"
        to_bytes = _converter(suffix, *_model(path))
        done = failed = 0
        with rate_bar("extracting", quiet=quiet) as show:
            for item in _chosen(archive, keys) if keys else _all(path, recover):
                try:
                    if not isinstance(item, Record):
                        raise PylatentError(item.reason)
                    target = output / f"{item.key}{suffix}"
                    if target.exists() and not force:
                        raise PylatentError(f"{target} exists: --force overwrites it, -o names another folder")
                    data = to_bytes(item)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    write_bytes(target, data)
                except Exception as error:
                    text = explain(error)
                    complain(text if item.key is None or item.key in text else f"{item.key}: {text}")
                    failed += 1
                else:
                    done += 1
                show(done + failed, len(keys or archive))
        if not quiet:
            complain(f"{output}: {count(done, 'file')}" + (f"; {count(failed, 'failure')}" if failed else ""))
        if failed:
            raise typer.Exit(EXIT_FAILED)


def _chosen(archive: Archive, keys: Sequence[str]) -> Iterator[Record | Failure]:
    from pylatent.archive import Failure
    from pylatent.errors import FormatError

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


def _all(path: Path, recover: bool) -> Iterator[Record | Failure]:
    from pylatent.archive.folder import shard_files
    from pylatent.archive.recover import records

    for file in shard_files(path):
        yield from records(file, recover=recover)


def _model(path: Path) -> tuple[str, bytes]:
    """Name and hash of the model of all shards whose headers are legible; FormatError, MismatchError."""
    from pylatent.archive.folder import shard_files
    from pylatent.archive.reader import map_file, read_header
    from pylatent.errors import FormatError, MismatchError

    models = set()
    reason = ""
    for file in shard_files(path):
        try:
            header = read_header(map_file(file))
            models.add((header.model, header.model_hash))
        except FormatError as error:
            reason = f"{file}: {error}"
    if len(models) > 1:
        raise MismatchError(f"{path} mixes models: {', '.join(sorted(name for name, _ in models))}")
    if not models:
        raise FormatError(reason)
    return models.pop()


def _converter(suffix: str, model: str, model_hash: bytes) -> Callable[[Record], bytes]:
    """Makes the bytes of a file of a record. Raises ImageError for an unknown format, ModelError."""
    if suffix == ".lat":
        from pylatent.coding.container import LatFile

        return lambda record: LatFile(model, model_hash, record.stream).to_bytes()
    from pylatent import images, zoo

    format = images.format_of(f"-{suffix}")
    codec = zoo.find(model, model_hash)
    return lambda record: images.to_bytes(images.to_image(codec.decompress([record.stream])[0]), format)
