"""The entropy coder: integer symbols and their table indexes to bytes and back, in the lane format (docs/format.md).

    data = encode(symbols, indexes, tables)      # indexes: which table each symbol is coded with
    symbols = decode(data, indexes, tables)

Any int32 symbol can be coded; those outside a table's range cost an escape. The bytes depend on the arguments alone:
not on the thread count, the SIMD level, or on whether the native core or NumPy wrote them. A stream holds neither its
symbol count nor its tables. A wrong state or length at its end shows nearly every damage, but is no checksum of the
symbols: files add one (pylatent.coding.container).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from pylatent import _native
from pylatent.coding._lane_stream import decode_stream, encode_stream
from pylatent.coding.tables import CdfTables
from pylatent.errors import FormatError, PylatentWarning

_SYMBOL_CODES = {torch.int32: 0, torch.int16: 1}
_INDEX_CODES = {torch.int32: 0, torch.int16: 1, torch.uint8: 2}


def encode(symbols: torch.Tensor, indexes: torch.Tensor, tables: CdfTables, *, threads: int | None = None) -> bytes:
    """Codes `symbols`, element by element in row-major order.

    symbols: int32 or int16, any shape.
    indexes: int32, int16 or uint8, the same shape; table of each symbol, 0 <= index < tables.num_tables.
    threads: CPU threads; torch's own number by default. Only large streams (above 2**22 bits) use several.

    Raises ValueError, TypeError: shape or dtype is wrong. IndexError: an index is out of range.
    """
    return encode_batch([symbols], [indexes], tables, threads=threads)[0]


def decode(data: bytes, indexes: torch.Tensor, tables: CdfTables, *, threads: int | None = None) -> torch.Tensor:
    """The symbols that `encode` coded with these indexes and tables: int32, of the shape of `indexes`, on the CPU.

    Raises FormatError: `data` is damaged, or was coded with other indexes or tables. TypeError: dtype is wrong.
    IndexError: an index is out of range.
    """
    return decode_batch([data], [indexes], tables, threads=threads)[0]


def encode_batch(
    symbols: Sequence[torch.Tensor],
    indexes: Sequence[torch.Tensor],
    tables: CdfTables,
    *,
    threads: int | None = None,
) -> list[bytes]:
    """Many streams in one call: item i is `encode(symbols[i], indexes[i], tables)`, streams spread over the threads."""
    workers = _native.thread_count(threads)
    if len(symbols) != len(indexes):
        raise ValueError(f"`indexes` must have as many items as `symbols`, {len(symbols)}, got {len(indexes)}")
    values = [_checked("symbols", s, _SYMBOL_CODES) for s in symbols]
    which = [_checked("indexes", i, _INDEX_CODES) for i in indexes]
    for v, w in zip(values, which, strict=True):
        if v.shape != w.shape:
            raise ValueError(f"`indexes` must have the shape of `symbols`, {tuple(v.shape)}, got {tuple(w.shape)}")
    if _native.why_not_native() is None:
        addresses = [(v.data_ptr(), _SYMBOL_CODES[v.dtype]) for v in values]
        return tables.native.encode(addresses, _addresses(which), [v.numel() for v in values], workers)
    _warn_slow()
    items = list(zip(values, which, strict=True))
    return [
        _in_numpy(n, items, lambda v, w: encode_stream(_flat(v), _index_array(w, tables), tables.lanes))
        for n in range(len(items))
    ]


def decode_batch(
    data: Sequence[bytes], indexes: Sequence[torch.Tensor], tables: CdfTables, *, threads: int | None = None
) -> list[torch.Tensor]:
    """Many streams in one call: item i is `decode(data[i], indexes[i], tables)`, streams spread over the threads."""
    workers = _native.thread_count(threads)
    if len(data) != len(indexes):
        raise ValueError(f"`indexes` must have as many items as `data`, {len(data)}, got {len(indexes)}")
    which = [_checked("indexes", i, _INDEX_CODES) for i in indexes]
    for d in data:
        if not isinstance(d, bytes):
            raise TypeError(f"`data` must be bytes, got {type(d).__name__}")
    if _native.why_not_native() is None:
        out = [torch.empty(w.shape, dtype=torch.int32) for w in which]
        sizes = [w.numel() for w in which]
        tables.native.decode(list(data), _addresses(which), [o.data_ptr() for o in out], sizes, workers)
        return out
    _warn_slow()
    pairs = list(zip(data, which, strict=True))
    flat = [
        _in_numpy(n, pairs, lambda d, w: decode_stream(d, _index_array(w, tables), tables.lanes))
        for n in range(len(pairs))
    ]
    return [torch.from_numpy(f.astype(np.int32)).view(w.shape) for f, w in zip(flat, which, strict=True)]


def _checked(name: str, tensor: Any, codes: dict[torch.dtype, int]) -> torch.Tensor:
    if not isinstance(tensor, torch.Tensor) or tensor.dtype not in codes:
        expected = ", ".join(str(dtype) for dtype in codes)
        got = tensor.dtype if isinstance(tensor, torch.Tensor) else type(tensor).__name__
        raise TypeError(f"`{name}` must be a tensor of {expected}, got {got}")
    return tensor.detach().cpu().contiguous()


def _in_numpy(number: int, items: list[Any], code: Callable[[Any, Any], Any]) -> Any:
    """`code` on one item, with the item's number in its error where there are several, as in the native core."""
    try:
        return code(*items[number])
    except (FormatError, IndexError) as error:
        if len(items) == 1:
            raise
        raise type(error)(f"item {number}: {error}") from None


def _flat(tensor: torch.Tensor) -> np.ndarray:
    return tensor.numpy().ravel().astype(np.int64)


def _addresses(indexes: list[torch.Tensor]) -> list[tuple[int, int]]:
    return [(i.data_ptr(), _INDEX_CODES[i.dtype]) for i in indexes]


def _index_array(indexes: torch.Tensor, tables: CdfTables) -> np.ndarray:
    flat = _flat(indexes)
    wrong = (flat < 0) | (flat >= tables.num_tables)
    if wrong.any():
        at = int(wrong.argmax())
        raise IndexError(f"`indexes` must lie in [0, {tables.num_tables}), got {flat[at]} at position {at}")
    return flat


_warned = False


def _warn_slow() -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"the entropy coder runs in NumPy, which is slow: {_native.why_not_native()}", PylatentWarning, stacklevel=4
        )
