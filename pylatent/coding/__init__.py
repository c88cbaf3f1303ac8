"""Integer tables, the coder that turns symbols into bytes and back, and the files they are stored in."""

from typing import TYPE_CHECKING

from pylatent import _lazy

if TYPE_CHECKING:
    from pylatent.coding.container import Bitstream, LatFile
    from pylatent.coding.rans import decode, decode_batch, encode, encode_batch
    from pylatent.coding.tables import CdfTables

__all__ = ["Bitstream", "CdfTables", "LatFile", "decode", "decode_batch", "encode", "encode_batch"]

# The coder imports torch, and `pylatent info` reads files without it.
__getattr__, __dir__ = _lazy.names(
    __name__,
    {
        "container": ("Bitstream", "LatFile"),
        "rans": ("decode", "decode_batch", "encode", "encode_batch"),
        "tables": ("CdfTables",),
    },
)
