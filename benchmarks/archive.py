"""An archive of 100,000 small pictures: making, checking, random access, bytes; killed at ten moments; and by Ray.

The pictures are crops of 48x48, 56x56 and 64x64 pixels at random places of photographs, which are halved none, one or
two times and mirrored or not, in ten WebDataset tars; their label is the photograph. Whole files are compared with a
tar and a zip of the same records as .lat files, and access by key with `zipfile` on the latter, in the same run. One of
the tars is archived once more by a command that is killed at ten moments, and once by Ray.

    python benchmarks/archive.py PHOTOS WORK -o results/archive-NAME.json     # --ray-python: an interpreter with Ray
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import environment, take_turns, write_json
from PIL import Image

import pylatent
from pylatent.archive import Archive, decode_batches
from pylatent.archive.encode import mean_bytes
from pylatent.archive.sources import SourceReader, find_sources
from pylatent.coding.container import LatFile

SIDES = (48, 56, 64)
TARS = 10
KILLS = 10
WHOLE_SHARD, PART_SHARD = 5000, 500  # pictures of a shard
CLI = [sys.executable, "-c", "from pylatent.cli import main; main()"]


def make_tars(photos: Path, work: Path, count: int) -> list[Path]:
    """The tars, made once."""
    tars = [work / f"crops-{number}.tar" for number in range(TARS)]
    missing = [tar for tar in tars if not tar.exists()]
    if not missing:
        return tars
    pyramids = []
    for path in sorted(photos.glob("*")):
        image = Image.open(path).convert("RGB")
        pyramids.append([np.asarray(image.reduce(factor)) for factor in (1, 2, 4)])
    for tar_path in missing:
        draw = random.Random(tar_path.name)
        temporary = tar_path.with_suffix(".tmp")
        with tarfile.open(temporary, "w") as tar:
            for number in range(count // TARS):
                photo, side = draw.randrange(len(pyramids)), draw.choice(SIDES)
                pixels = draw.choice(pyramids[photo])
                top, left = (draw.randrange(length - side) for length in pixels.shape[:2])
                crop = pixels[top : top + side, left : left + side, :: draw.choice((1, -1))]
                data = io.BytesIO()
                Image.fromarray(crop).save(data, "PNG", compress_level=1)
                name = f"{tar_path.stem}/{number:06}"
                add_member(tar, f"{name}.png", data.getvalue())
                add_member(tar, f"{name}.cls", str(photo).encode())
        temporary.rename(tar_path)
    return tars


def add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def timed(command: list[str]) -> dict[str, float]:
    """Seconds by the clock and of processors of a command that must succeed."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": time.perf_counter() - start, "processor_seconds": used}


def create_command(archive: Path, tars: list[Path], workers: int, shard_records: int, *more: str) -> list[str]:
    options = ["--workers", str(workers), "--shard-records", str(shard_records), "--quiet", *more]
    return [*CLI, "archive", "create", str(archive), *map(str, tars), *options]


def contents(archive: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(archive.glob("*.lats"))}


def sizes(archive: Archive, work: Path) -> dict[str, Any]:
    """Bytes of a record, and of the same records as .lat files in a tar and in a zip."""
    keys = sections = 0
    tar_path, zip_path = work / "lat.tar", work / "lat.zip"
    with tarfile.open(tar_path, "w") as tar, zipfile.ZipFile(zip_path, "w") as zipped:
        for record in archive:
            keys += len(record.key.encode())
            sections += sum(map(len, record.stream.sections))
            data = LatFile(archive.model, archive.model_hash, record.stream).to_bytes()
            add_member(tar, f"{record.key}.lat", data)
            zipped.writestr(zipfile.ZipInfo(f"{record.key}.lat"), data)
    count = len(archive)
    return {
        "sections_per_record": sections / count,
        "key_per_record": keys / count,
        "overhead_per_record": (archive.file_bytes - keys - sections) / count,
        "archive": archive.file_bytes,
        "tar_of_lat": tar_path.stat().st_size,
        "zip_of_lat": zip_path.stat().st_size,
    }


ACCESS = """
import json, sys, time, zipfile
kind, path, keys = sys.argv[1], sys.argv[2], json.loads(sys.stdin.read())
if kind == "zip":
    from pylatent.coding.container import LatFile
    start = time.perf_counter()
    archive = zipfile.ZipFile(path)
    read = lambda key: LatFile.from_bytes(archive.read(key + ".lat")).stream
else:
    from pylatent.archive import Archive
    start = time.perf_counter()
    archive = Archive(path)
    read = archive.__getitem__
opened = time.perf_counter() - start
times, walls = [], []
for key in keys:
    wall, start = time.perf_counter(), time.thread_time()
    read(key)
    times.append(time.thread_time() - start)
    walls.append(time.perf_counter() - wall)
first, times, walls = walls[0], sorted(times), sorted(walls)
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"open_ms": 1e3 * opened, "first_us": 1e6 * first, "p50_us": 1e6 * times[len(times) // 2],
                  "p99_us": 1e6 * times[len(times) * 99 // 100],
                  "wall_p50_us": 1e6 * walls[len(walls) // 2], "wall_p99_us": 1e6 * walls[len(walls) * 99 // 100],
                  "peak_memory_mb": peak / 1024}))
"""


def access(path: Path, work: Path, keys: list[str], rounds: int = 3) -> dict[str, Any]:
    """Random access in fresh processes, which take turns; the files are in the page cache. The median round counts.

    Of the processor's time and by the clock, which other processes on the machine disturb.
    """
    draw = random.Random(0)
    chosen = [draw.randrange(len(keys)) for _ in range(10_000)]
    sides: dict[str, tuple[Path, list[Any]]] = {
        "position": (path, chosen),
        "key": (path, [keys[number] for number in chosen]),
        "zip": (work / "lat.zip", [keys[number] for number in chosen]),
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, (file, wanted) in sides.items():
            command = [sys.executable, "-c", ACCESS, name, str(file)]
            done = subprocess.run(command, input=json.dumps(wanted), capture_output=True, text=True, check=True)
            found[name].append(json.loads(done.stdout))
    return {name: sorted(runs, key=lambda run: run["p50_us"])[rounds // 2] for name, runs in found.items()}


def coding(archive: Archive, tars: list[Path]) -> dict[str, Any]:
    """Images in a second of one thread: encoding one by one and in batches, decoding to latents likewise."""
    codec = pylatent.load()
    sources = list(find_sources(tars[:1]))[:256]
    reader = SourceReader()
    pictures: dict[int, list[torch.Tensor]] = {}
    for source in sources:
        pixels = pylatent.images.read(reader.read(source)).tensor
        pictures.setdefault(pixels.shape[1], []).append(pixels.float() / 255)
    groups = [torch.stack(group) for group in pictures.values()]

    def encode(batch: int) -> None:
        for group in groups:
            for part in group.split(batch):
                codec.compress(part, threads=1)

    def decode(batch: int) -> None:
        for _ in decode_batches(archive, codec, batch=batch, threads=1, positions=range(256)):
            pass

    calls: dict[str, Any] = {"encode, one by one": lambda: encode(1), "encode, 16": lambda: encode(16)}
    calls |= {"decode, one by one": lambda: decode(1), "decode, 64": lambda: decode(64)}
    calls["all of a shard's work, 256 pictures"] = lambda: mean_bytes(codec, None, sources)
    with torch.no_grad():
        return {name: 256 / seconds for name, seconds in take_turns(calls, 3).items()}


def kill_and_resume(
    archive: Path, tars: list[Path], workers: int, duration: float, wanted: dict[str, bytes]
) -> dict[str, Any]:
    """Kills the command ten times, alternately alone and with its whole group, and lets the eleventh run end.

    Each kill comes after the run has finished a shard, at a moment drawn from the next 1/40 of the time of a whole run:
    work that is done is at stake, and work that is begun.
    """
    command = create_command(archive, tars, workers, PART_SHARD)
    draw = random.Random(1)
    moments = []
    for number in range(KILLS):
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
        start = time.perf_counter()
        before = len(contents(archive))
        while process.poll() is None and len(contents(archive)) == before:
            time.sleep(0.01)
        try:
            process.wait(draw.uniform(0, duration / 40))
        except subprocess.TimeoutExpired:
            if number % 2:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        ended = process.wait()
        moments.append(
            {
                "seconds": time.perf_counter() - start,
                "killed": ended == -signal.SIGKILL,
                "group": bool(number % 2),
                "shards": len(contents(archive)),
            }
        )
    subprocess.run(command, check=True)
    keys = list(Archive(archive).keys())
    return {
        "pictures": len(keys),
        "kills": moments,
        "records_twice": len(keys) - len(set(keys)),
        "same_shards_as_uninterrupted": contents(archive) == wanted,
        "temporary_files_left": len(list(archive.glob(".*.tmp"))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--ray-python", help="an interpreter that has Ray")
    parser.add_argument("--part", action="store_true", help="only what is done with a tenth of the pictures")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    work, workers = options.work, options.workers
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    result: dict[str, Any] = {"environment": environment("numpy"), "pictures": options.pictures, "workers": workers}
    result["load_at_start"] = os.getloadavg()
    tars = make_tars(options.photos, work, options.pictures)

    def report(name: str, value: Any) -> None:
        result[name] = value
        print(name, json.dumps(value), flush=True)
        write_json(options.output, result)

    def new(name: str) -> Path:
        if (work / name).exists():
            raise SystemExit(f"{work / name} is of an earlier run: its making is to be timed, so remove it")
        return work / name

    if not options.part:
        whole = new("all")
        report("create", timed(create_command(whole, tars, workers, WHOLE_SHARD)))
        report("verify", timed([*CLI, "archive", "verify", str(whole), "--quiet"]))
        archive = Archive(whole)
        report("records", len(archive))
        report("bytes", sizes(archive, work))
        report("access", access(whole, work, list(archive.keys())))
        report("images_per_second_of_one_thread", coding(archive, tars))
    part = new("part")
    report("create_part", timed(create_command(part, tars[:1], workers, PART_SHARD)))
    wanted = contents(part)
    report("kill_9", kill_and_resume(new("killed"), tars[:1], workers, result["create_part"]["seconds"], wanted))
    if options.ray_python:
        ray = new("ray")
        CLI[0] = options.ray_python
        seconds = timed(create_command(ray, tars[:1], workers, PART_SHARD, "--engine", "ray"))
        report("ray", seconds | {"pictures": len(Archive(ray)), "same_shards": contents(ray) == wanted})
    report("load_at_end", os.getloadavg())


if __name__ == "__main__":
    main()
