"""Archives of millions of coded pictures: indexed shards of records, made by many processes, read at random."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pylatent.archive.dataset import LatentDataset, LatentItem
    from pylatent.archive.decode import Batch, decode_batches
    from pylatent.archive.folder import Archive
    from pylatent.archive.reader import Failure
    from pylatent.archive.shard import Record, write_shard

__all__ = ["Archive", "Batch", "Failure", "LatentDataset", "LatentItem", "Record", "decode_batches", "write_shard"]

# At first use: decoding imports torch, and `pylatent archive ls` reads shards without it.
_HOMES = {
    "Archive": "folder",
    "Batch": "decode",
    "Failure": "reader",
    "LatentDataset": "dataset",
    "LatentItem": "dataset",
    "Record": "shard",
    "decode_batches": "decode",
    "write_shard": "shard",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pylatent.archive' has no attribute '{name}'")
    return getattr(importlib.import_module(f"pylatent.archive.{_HOMES[name]}"), name)
