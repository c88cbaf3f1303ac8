"""Drop-in for `compressai.ans`: the same classes, methods and bytes, several times faster, and safe on bad input.

The classes take what CompressAI's take, lists of ints (`cdfs` a list of rows), and also integer arrays and tensors of
any shape, which cost no conversion, and a `pylatent.coding.CdfTables` in the place of `cdfs`, `cdfs_sizes` and
`offsets`. Decoding gives back what it was given: a list for a list of indexes, an int32 array or tensor of the same
shape for an array or tensor.

Streams are those of CompressAI byte for byte, wherever it produces one. Where it crashes, hangs or returns garbage,
these classes raise: ValueError, TypeError or IndexError for arguments, `pylatent.FormatError` for bytes. An empty list
gives the 8 bytes `0000008000000000`. `decode_with_indexes` also requires that the stream ends with the last symbol; to
decode only the front of a stream, use `set_stream` and `decode_stream`.

Tables are prepared once: for tensors and `CdfTables` as long as these live (a tensor changed in place, through torch,
is prepared again), and by `decode_stream` and `BufferedRansEncoder` also for lists and arrays, which are recognised by
identity. So do not change lists or arrays between calls on the same object; pass new ones instead.

`install()` makes CompressAI's own models and entropy models use this coder; `as_compressai(codec)` is the other way
round: one of our codecs behind CompressAI's interface.
"""

from pylatent.compat.compressai._coder import BufferedRansEncoder, RansDecoder, RansEncoder, pmf_to_quantized_cdf
from pylatent.compat.compressai._install import install, installed, uninstall
from pylatent.compat.compressai._view import CompressAIView, as_compressai

__all__ = [
    "BufferedRansEncoder",
    "CompressAIView",
    "RansDecoder",
    "RansEncoder",
    "as_compressai",
    "install",
    "installed",
    "pmf_to_quantized_cdf",
    "uninstall",
]
