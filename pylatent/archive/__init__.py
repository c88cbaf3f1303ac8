"""Archives of millions of coded pictures: indexed shards of records, made by many processes, read at random."""

from typing import TYPE_CHECKING

from pylatent import _lazy

if TYPE_CHECKING:
    from pylatent.archive.dataset import LatentBatch, LatentDataset, LatentItem, collate
    from pylatent.archive.decode import Batch, decode_batches
    from pylatent.archive.folder import Archive
    from pylatent.archive.reader import Failure
    from pylatent.archive.shard import Record, write_shard
    from pylatent.archive.stream import LatentStream

__all__ = [
    "Archive",
    "Batch",
    "Failure",
    "LatentBatch",
    "LatentDataset",
    "LatentItem",
    "LatentStream",
    "Record",
    "collate",
    "decode_batches",
    "write_shard",
]

# Decoding imports torch, and `pylatent archive ls` reads shards without it.
__getattr__, __dir__ = _lazy.names(
    __name__,
    {
        "dataset": ("LatentBatch", "LatentDataset", "LatentItem", "collate"),
        "decode": ("Batch", "decode_batches"),
        "folder": ("Archive",),
        "reader": ("Failure",),
        "shard": ("Record", "write_shard"),
        "stream": ("LatentStream",),
    },
)
