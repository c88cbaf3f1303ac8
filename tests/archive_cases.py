"""Records and small shards for the tests of archives."""

from pathlib import Path

from pylatent.archive import Record, write_shard
from pylatent.coding.container import Bitstream

MODEL, HASH = "tiny-1", b"\x01\x23\x45\x67\x89\xab\xcd\xef"


def record(key: str, label: str | None = None, seed: int = 0, size: tuple[int, int] = (48, 64)) -> Record:
    return Record(key, label, Bitstream(size, 4.0, (bytes([seed % 256]) * 5, key.encode() * 2), seed))


def records(count: int, *, labels: bool = True) -> list[Record]:
    return [record(f"class{n % 3}/{n:05}", f"class{n % 3}" if labels else None, n) for n in range(count)]


def write(path: Path, wanted: list[Record], model: str = MODEL, model_hash: bytes = HASH) -> Path:
    write_shard(path, model, model_hash, sorted(wanted, key=lambda record: record.key.encode()))
    return path
