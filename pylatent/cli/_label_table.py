"""Tables of labels: CSV, Parquet, or lines on standard output. Files appear whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from pylatent._files import atomic_writer
from pylatent.archive.classify import Row
from pylatent.cli._report import misused, need_extra

_ROWS_IN_GROUP = 1 << 16


class Table(Protocol):
    """Something that rows are written to."""

    def write(self, rows: Sequence[Row]) -> None: ...


@contextlib.contextmanager
def open_table(path: Path | None) -> Iterator[Table]:
    """The table that the extension asks for; None: standard output. Ends the command where it cannot be written."""
    if path is None:
        yield _Lines()
    elif path.suffix == ".csv":
        with atomic_writer(path) as file:
            yield _Csv(file)
    elif path.suffix == ".parquet":
        need_extra("pyarrow")
        with atomic_writer(path) as file, _Parquet(file) as table:
            yield table
    else:
        raise misused(f"-o must end in .csv or .parquet, got {path}")


class _Lines:
    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            print(f"{row.key}\t{row.predicted}\t{row.confidence:.4f}")
        sys.stdout.flush()


class _Csv:
    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._write([Row._fields])

    def write(self, rows: Sequence[Row]) -> None:
        self._write([(row.key, row.label or "", row.predicted, f"{row.confidence:.6f}") for row in rows])

    def _write(self, rows: Sequence[Sequence[object]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        self.file.write(text.getvalue().encode())


class _Parquet:
    """key, label, predicted as strings, confidence as float32, 65,536 rows to a group."""

    def __init__(self, file: BinaryIO) -> None:
        import pyarrow
        from pyarrow.parquet import ParquetWriter

        types = (pyarrow.string(), pyarrow.string(), pyarrow.string(), pyarrow.float32())
        self.schema = pyarrow.schema(list(zip(Row._fields, types, strict=True)))
        self.writer = ParquetWriter(file, self.schema)
        self.rows: list[Row] = []

    def write(self, rows: Sequence[Row]) -> None:
        self.rows += rows
        if len(self.rows) >= _ROWS_IN_GROUP:
            self._flush()

    def __enter__(self) -> _Parquet:
        return self

    def __exit__(self, kind: object, *exception: Any) -> None:
        if kind is None:
            self._flush()
        self.writer.close()

    def _flush(self) -> None:
        import pyarrow

        columns = [list(column) for column in zip(*self.rows, strict=True)] if self.rows else [[]] * len(Row._fields)
        arrays = [pyarrow.array(column, field.type) for column, field in zip(columns, self.schema, strict=True)]
        self.writer.write_table(pyarrow.Table.from_arrays(arrays, schema=self.schema))
        self.rows = []
