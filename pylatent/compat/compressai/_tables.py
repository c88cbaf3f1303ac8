"""What the coder classes take: integers as lists, arrays or tensors, and tables prepared once for many calls."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch

from pylatent import _native
from pylatent.coding.tables import CdfTables
from pylatent.compat.compressai import _reference
from pylatent.errors import PylatentWarning

_warned = False


def coder() -> Any:
    """The native coder, or the Python one after saying once that it is slow."""
    global _warned
    reason = _native.why_not_native()
    if reason is None:
        module: ModuleType = _native.core().compat
        return module
    if not _warned:
        _warned = True
        message = f"coding CompressAI streams in Python, about a hundred times slower than natively: {reason}"
        warnings.warn(message, PylatentWarning, stacklevel=4)
    return _reference


def as_int32(name: str, values: Any) -> np.ndarray:
    """`values` (list, array or tensor of integers, any shape) as a contiguous int32 array of that shape.

    Raises TypeError: not integers. ValueError: an integer does not fit 32 bits.
    """
    if isinstance(values, torch.Tensor):
        if values.dtype is torch.int32 and values.is_cpu and values.is_contiguous():
            return values.numpy()  # the shortest way: autoregressive models come here for every position
        if values.dtype.is_floating_point or values.dtype.is_complex or values.dtype is torch.bool:
            raise TypeError(f"`{name}` must hold integers, got a tensor of {values.dtype}")
        values = values.cpu().numpy()
    elif isinstance(values, (list, tuple)):
        return coder().ints(values, name)
    elif not isinstance(values, np.ndarray):
        raise TypeError(f"`{name}` must be a list, an array or a tensor of integers, got {type(values).__name__}")
    if values.dtype != np.int32:
        if values.dtype.kind not in "iu":
            raise TypeError(f"`{name}` must hold integers, got an array of {values.dtype}")
        if values.dtype.itemsize >= 4 and values.size and (values.min() < -(2**31) or values.max() >= 2**31):
            raise ValueError(f"`{name}` must fit 32-bit integers, got {values.min()} to {values.max()}")
        values = values.astype(np.int32)
    return np.ascontiguousarray(values)


def prepare(cdfs: Any, sizes: Any, offsets: Any) -> Any:
    """The coder's tables for `cdfs`: remembered for tensors (until they change) and `CdfTables`, else built anew.

    Raises ValueError, TypeError: the tables are not valid; the message names the argument and the row.
    """
    if isinstance(cdfs, CdfTables):
        if sizes is not None or offsets is not None:
            raise TypeError("`cdfs_sizes` and `offsets` must be left out: `cdfs` is a CdfTables and holds them")
        return _remembered.get((cdfs,), (), lambda: _build_from_cdf_tables(cdfs))
    versions = _versions(cdfs, sizes, offsets)
    if versions is None:
        return _build(cdfs, sizes, offsets)
    return _remembered.get((cdfs, sizes, offsets), versions, lambda: _build(cdfs, sizes, offsets))


def _build_from_cdf_tables(tables: CdfTables) -> Any:
    if tables.precision != 16:
        raise ValueError(f"`cdfs` must have precision 16, which this format fixes, got {tables.precision}")
    return _build(tables.cdf, tables.length, tables.offset)


def _build(cdfs: Any, sizes: Any, offsets: Any) -> Any:
    module = coder()
    if isinstance(cdfs, list | tuple) and all(isinstance(row, list | tuple) for row in cdfs):
        values, begin = module.flatten_rows(cdfs)
    elif isinstance(cdfs, list | tuple):
        rows = [as_int32(f"cdfs[{k}]", row).reshape(-1) for k, row in enumerate(cdfs)]
        values = np.concatenate(rows)
        begin = np.cumsum([0] + [len(row) for row in rows], dtype=np.int64)
    else:
        values = as_int32("cdfs", cdfs)
        if values.ndim != 2:
            raise ValueError(f"`cdfs` must have shape (tables, entries), got {values.shape}")
        begin = np.arange(values.shape[0] + 1, dtype=np.int64) * values.shape[1]
    lengths, firsts = as_int32("cdfs_sizes", sizes), as_int32("offsets", offsets)
    return module.Tables(values.reshape(-1), begin, lengths.reshape(-1), firsts.reshape(-1))


class _Remembered:
    """Tables by the identity of the objects they were made of, for as long as all of those live."""

    def __init__(self) -> None:
        self._entries: dict[tuple[int, ...], tuple[tuple[weakref.ref, ...], Any, Any]] = {}

    def get(self, owners: tuple, versions: Any, build: Callable[[], Any]) -> Any:
        key, versions = tuple(map(id, owners)), (versions, coder())
        entry = self._entries.get(key)
        # An id may have been given to a new object by now: the references tell.
        if entry is not None and entry[1] == versions and all(r() is o for r, o in zip(entry[0], owners, strict=True)):
            return entry[2]
        tables = build()

        def forget(_: Any) -> None:
            self._entries.pop(key, None)

        self._entries[key] = (tuple(weakref.ref(o, forget) for o in owners), versions, tables)
        return tables


_remembered = _Remembered()


class RecentTables:
    """The last few tables of one coder object, by the identity of what they were made of, which is kept alive.

    Tensors that were changed in place are noticed; lists, arrays and inference tensors cannot tell.
    """

    LIMIT = 4

    def __init__(self) -> None:
        self._entries: list[tuple[Any, Any, Any, Any, Any]] = []

    def get(self, cdfs: Any, sizes: Any, offsets: Any) -> Any:
        for entry in self._entries:
            if entry[0] is cdfs and entry[1] is sizes and entry[2] is offsets:
                if entry[3] is None or entry[3] == _versions(cdfs, sizes, offsets):
                    return entry[4]
                self._entries.remove(entry)
                break
        tables = prepare(cdfs, sizes, offsets)
        self._entries.insert(0, (cdfs, sizes, offsets, _versions(cdfs, sizes, offsets), tables))
        del self._entries[self.LIMIT :]
        return tables


def _versions(cdfs: Any, sizes: Any, offsets: Any) -> tuple[int, ...] | None:
    """What changes when one of three tensors is written to through torch; None if any of them is something else."""
    try:
        return (cdfs._version, sizes._version, offsets._version, cdfs.data_ptr())  # which `cdfs.data = ...` changes
    except (AttributeError, RuntimeError):  # not tensors; or inference tensors, which do not count their versions
        return None
