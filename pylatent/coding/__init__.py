"""Integer tables and the coder that turns symbols into bytes and back."""

from pylatent.coding.rans import decode, decode_batch, encode, encode_batch
from pylatent.coding.tables import CdfTables

__all__ = ["CdfTables", "decode", "decode_batch", "encode", "encode_batch"]
