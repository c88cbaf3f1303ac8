"""Pictures in Parquet files as Hugging Face's `datasets` writes them: a column of {bytes, path}, perhaps one of labels.

Files are read a row group at a time. They need pyarrow (the extra `tasks`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pylatent.errors import FormatError, PylatentError

Made = TypeVar("Made")


def rows(path: str, source: Callable[..., Made]) -> Iterator[tuple[Made, str]]:
    """A source of each row, (key, label, path, row, None, row group), and the extension of its picture's own name.

    The key is the file's name and the row's number in it. The label is that of the column `label`: a string, or the
    name that the file gives a number. Raises FormatError for a file that holds no pictures, OSError, PylatentError.
    """
    file = _open(path)
    column, names = _pictures(file, path), _names_of_labels(file)
    fields = file.schema_arrow.names
    wanted = [f"{column}.path"] + (["label"] if "label" in fields else [])
    stem, number = Path(path).stem, 0
    for group in range(file.num_row_groups):
        table = _read(file, path, group, wanted)
        paths = table.column(column).to_pylist() if column in table.column_names else [None] * table.num_rows
        labels = table.column("label").to_pylist() if "label" in table.column_names else [None] * table.num_rows
        for row, (picture, label) in enumerate(zip(paths, labels, strict=True)):
            named = (picture or {}).get("path") or ""
            label = names[label] if names is not None and isinstance(label, int) and 0 <= label < len(names) else label
            text = None if label is None else str(label)
            yield source(f"{stem}/{number:08}", text, path, row, None, group), Path(named).suffix
            number += 1


class RowReader:
    """Reads the pictures of rows; keeps the last row group, which sources are best read in the order of."""

    def __init__(self) -> None:
        self._at: tuple[str, int] | None = None
        self._group: Any = None

    def read(self, path: str, group: int, row: int) -> bytes:
        """The bytes of a picture file. Raises FormatError where there are none, OSError, PylatentError."""
        if self._at != (path, group):
            file = _open(path)
            column = _pictures(file, path)
            self._group = _read(file, path, group, [f"{column}.bytes"]).column(column)
            self._at = (path, group)
        data = self._group[row].as_py()["bytes"] if row < len(self._group) else None
        if not data:
            raise FormatError(f"{path}: row {row} of row group {group} holds no bytes of a picture")
        return data


def _open(path: str) -> Any:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise PylatentError(f"{path}: Parquet needs pyarrow: pip install 'pylatent[tasks]' ({error})") from error
    try:
        return ParquetFile(path)
    except ArrowException as error:
        raise FormatError(f"{path}: no intact Parquet file: {error}") from error


def _read(file: Any, path: str, group: int, columns: list[str]) -> Any:
    from pyarrow import ArrowException

    try:
        return file.read_row_group(group, columns=columns)
    except (ArrowException, OSError) as error:
        raise FormatError(f"{path}: row group {group} cannot be read: {error}") from error


def _pictures(file: Any, path: str) -> str:
    """The first column of structs that hold `bytes`."""
    import pyarrow

    for field in file.schema_arrow:
        if pyarrow.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            return str(field.name)
    raise FormatError(
        f"{path}: no column of pictures, which is a struct with a field `bytes`; there are "
        f"{', '.join(file.schema_arrow.names)}"
    )


def _names_of_labels(file: Any) -> list[str] | None:
    """What Hugging Face's metadata call the numbers of the column `label`."""
    try:
        features = json.loads(file.schema_arrow.metadata[b"huggingface"])["info"]["features"]
        return [str(name) for name in features["label"]["names"]]
    except (TypeError, KeyError, ValueError):
        return None
