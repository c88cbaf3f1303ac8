"""The coder classes of `compressai.ans`, and its quantisation of probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pylatent.compat.compressai._tables import RecentTables, as_int32, coder, prepare


class RansEncoder:
    """Encodes one stream per call."""

    def encode_with_indexes(
        self, symbols: Any, indexes: Any, cdfs: Any, cdfs_sizes: Any = None, offsets: Any = None
    ) -> bytes:
        """The stream of `symbols`, each coded with the table that its entry in `indexes` names.

        symbols: n integers that fit int32.
        indexes: n integers in [0, K).
        cdfs: (K, W) integers; row k holds `cdfs_sizes[k]` valid entries, 0 first, strictly increasing, 65536 last.
            Rows of a list may differ in length. Or a `CdfTables`, and nothing after it.
        cdfs_sizes: (K,) integers, at least 3. The last bin of a row is the escape.
        offsets: (K,) integers: the symbol of the first bin.

        Raises ValueError, TypeError, IndexError: naming the argument and the place.
        """
        tables = prepare(cdfs, cdfs_sizes, offsets)
        return coder().encode_batch(as_int32("symbols", symbols), as_int32("indexes", indexes), 1, tables, 1)[0]


class BufferedRansEncoder:
    """Collects the symbols of several calls for one stream, in coding order."""

    def __init__(self) -> None:
        self._encoder = coder().Encoder()
        self._recent = RecentTables()

    def encode_with_indexes(
        self, symbols: Any, indexes: Any, cdfs: Any, cdfs_sizes: Any = None, offsets: Any = None
    ) -> None:
        """Appends symbols; arguments and errors as in `RansEncoder`. A call that raises appends nothing."""
        tables = self._recent.get(cdfs, cdfs_sizes, offsets)
        self._encoder.append(as_int32("symbols", symbols), as_int32("indexes", indexes), tables)

    def flush(self) -> bytes:
        """The stream of all symbols since the last `flush`."""
        return self._encoder.flush()


class RansDecoder:
    """Decodes whole streams, or one stream bit by bit."""

    def __init__(self) -> None:
        self._decoder: Any = None
        self._recent = RecentTables()

    def decode_with_indexes(
        self, encoded: bytes, indexes: Any, cdfs: Any, cdfs_sizes: Any = None, offsets: Any = None
    ) -> Any:
        """The symbols of a whole stream: a list, an int32 array or an int32 tensor, as `indexes` is.

        Raises FormatError: the bytes are not a stream of that many symbols with these tables and indexes. ValueError,
        TypeError, IndexError: naming the argument and the place.
        """
        data, flat = _as_bytes("encoded", encoded), as_int32("indexes", indexes)
        symbols = np.empty_like(flat)
        coder().decode_batch([data], flat, symbols, prepare(cdfs, cdfs_sizes, offsets), 1)
        return _like(indexes, symbols)

    def set_stream(self, encoded: bytes) -> None:
        """Starts decoding `encoded` from its beginning. Raises FormatError if it cannot be a stream."""
        self._decoder = coder().Decoder(_as_bytes("encoded", encoded))

    def decode_stream(self, indexes: Any, cdfs: Any, cdfs_sizes: Any = None, offsets: Any = None) -> Any:
        """The next symbols of the stream, as `decode_with_indexes`; a call that raises does not move on."""
        decoder = self._started()
        tables = self._recent.get(cdfs, cdfs_sizes, offsets)
        if type(indexes) is list:
            return decoder.decode_list(indexes, tables)
        flat = as_int32("indexes", indexes)
        symbols = np.empty_like(flat)
        decoder.decode(flat, symbols, tables)
        return _like(indexes, symbols)

    def check_end(self) -> None:
        """Raises FormatError unless the symbols decoded so far are exactly those that the stream was made of."""
        self._started().expect_end()

    def _started(self) -> Any:
        if self._decoder is None:
            raise RuntimeError("there is no stream: call `set_stream` first")
        return self._decoder


def pmf_to_quantized_cdf(pmf: Any, precision: int = 16) -> Any:
    """The integer CDF of a probability mass function, exactly as CompressAI quantises it.

    pmf: n probabilities, used in float32; they need not add up to 1.
    precision: bits; the last entry is 2**precision.

    Returns n + 1 integers, strictly increasing from 0: a list for a list, an int32 array or tensor otherwise.

    Raises ValueError: negative, NaN or infinite entries, a sum of zero, or more entries than 2**precision.
    """
    values = pmf.detach().cpu().numpy() if isinstance(pmf, torch.Tensor) else np.asarray(pmf)
    if values.ndim != 1 or values.dtype.kind not in "fiu":
        raise ValueError(f"`pmf` must be 1-D numbers, got shape {values.shape} of {values.dtype}")
    cdf = coder().quantize_pmf(np.ascontiguousarray(values, dtype=np.float32), precision)
    return _like(pmf, cdf, on_cpu=True)


def _like(argument: Any, result: np.ndarray, on_cpu: bool = False) -> Any:
    """`result` as a list, array or tensor, whichever `argument` is; on its device unless `on_cpu`."""
    if isinstance(argument, torch.Tensor):
        tensor = torch.from_numpy(result)
        return tensor if on_cpu or argument.is_cpu else tensor.to(argument.device)
    if isinstance(argument, (list, tuple)):
        return coder().to_list(result)
    return result


def _as_bytes(name: str, data: Any) -> bytes:
    if isinstance(data, bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    raise TypeError(f"`{name}` must be bytes, got {type(data).__name__}")
