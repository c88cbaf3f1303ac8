"""An archive over HTTP, each answer 20 ms late, against the same archive on disk: decoding, and reading alone.

By the clock, since waiting is what is measured; the sides take turns. The server is a process of its own
(tests/range_server.py). Pictures are 64x64 crops of a photograph, coded by the default model and repeated.

    python benchmarks/remote_archive.py -o results/remote-archive-NAME.json
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from harness import environment, write_json

import pylatent
from pylatent import images
from pylatent.archive import Archive, Record, decode_batches, storage, write_shard
from pylatent.coding.container import HASH_BYTES

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "examples" / "photos" / "leaves.png"
SIDE, DISTINCT = 64, 96
LATENCY = 0.02  # seconds


def make_archive(folder: Path, codec: Any, shards: int, records: int) -> None:
    """`shards` shards of `records` each."""
    pixels = images.read(PHOTO).tensor
    places = torch.Generator().manual_seed(0)
    corners = [
        (
            int(torch.randint(0, pixels.shape[1] - SIDE, (), generator=places)),
            int(torch.randint(0, 400, (), generator=places)),
        )
        for _ in range(DISTINCT)
    ]
    crops = torch.stack([pixels[:, top : top + SIDE, left : left + SIDE] for top, left in corners])
    streams = [stream for some in crops.split(32) for stream in codec.compress(some.float() / 255, 4)]
    for shard in range(shards):
        wanted = [Record(f"{shard:02}/{n:06}", None, streams[n % DISTINCT]) for n in range(records)]
        write_shard(folder / f"shard-{shard:05}.lats", codec.name, codec.fingerprint()[:HASH_BYTES], wanted)


def seconds(call: Callable[[], int]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(places: dict[str, str], work: Callable[[Archive], int], rounds: int) -> dict[str, Any]:
    """Seconds of each place, opening included, and the throughput over HTTP as a part of the local one."""
    times: dict[str, list[float]] = {name: [] for name in places}
    for turn in range(rounds + 1):
        for name, place in places.items():
            took = seconds(lambda place=place: work(Archive(place)))  # type: ignore[misc]
            if turn:
                times[name].append(took)
    found = {name: median(each) for name, each in times.items()}
    of_local = median(local / http for local, http in zip(times["local"], times["http"], strict=True))
    return {"seconds": found, "http_of_local": round(of_local, 3), "rounds": times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--records", type=int, default=2000, help="of each of four shards that are decoded")
    options = parser.parse_args()
    torch.set_num_threads(1)
    codec = pylatent.load("default")

    def decoded(archive: Archive) -> int:
        return sum(len(batch.keys) for batch in decode_batches(archive, codec, threads=1))

    def read(archive: Archive) -> int:
        return sum(1 for _ in archive)

    results: dict[str, Any] = {"environment": environment("fsspec", "aiohttp"), "latency_ms": 1000 * LATENCY}
    with tempfile.TemporaryDirectory() as scratch:
        small, large = Path(scratch) / "small", Path(scratch) / "large"
        for folder, records in ((small, options.records), (large, 25 * options.records)):
            folder.mkdir()
            make_archive(folder, codec, 4, records)
        command = [sys.executable, str(ROOT / "tests" / "range_server.py"), scratch, str(LATENCY)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            for name, folder, work in (("decode", small, decoded), ("read", large, read)):
                places = {"local": str(folder), "http": f"{url}/{folder.name}"}
                results[name] = {"records": len(Archive(folder)), "bytes": Archive(folder).file_bytes}
                results[name] |= measure(places, work, options.rounds)
                ahead, storage._AHEAD = storage._AHEAD, 0
                results[name]["without_read_ahead"] = measure(places, work, 1)["http_of_local"]
                storage._AHEAD = ahead
                print(name, {key: value for key, value in results[name].items() if key != "rounds"})
            server.stdin.close()  # type: ignore[union-attr]
            server.kill()
    write_json(options.output, results)


if __name__ == "__main__":
    main()
