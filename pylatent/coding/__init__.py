"""Integer tables, the coder that turns symbols into bytes and back, and the files they are stored in."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pylatent.coding.container import Bitstream, LatFile
    from pylatent.coding.rans import decode, decode_batch, encode, encode_batch
    from pylatent.coding.tables import CdfTables

__all__ = ["Bitstream", "CdfTables", "LatFile", "decode", "decode_batch", "encode", "encode_batch"]

# At first use: the coder imports torch, and `pylatent info` reads files without it.
_HOMES = {"Bitstream": "container", "CdfTables": "tables", "LatFile": "container"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'pylatent.coding' has no attribute '{name}'")
    return getattr(importlib.import_module(f"pylatent.coding.{_HOMES.get(name, 'rans')}"), name)
