"""Lossless and nearly lossless files: sizes against PNG and WebP, and what they and the look at patterns cost.

    python benchmarks/max_error.py PHOTOS [--pictures N] [-o RESULT.json]

Bits per pixel of whole files, at some qualities of the picture below, means over the pictures. Seconds of processor
time on one thread of a picture of 1920x1080, a photograph enlarged to it.
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path
from statistics import median

import torch
from harness import environment, write_json
from PIL import Image

import pylatent
from pylatent import images
from pylatent.coding import LatFile
from pylatent.correction import busyness, corrected
from pylatent.pixel_residual import decode_pixels, encode_pixels
from pylatent.train.data import find_images

QUALITIES, BOUNDS = (1.0, 2.0, 4.0, 8.0), (0, 1, 2, 4)
PEERS = {"PNG, optimised": ("PNG", {"optimize": True}), "WebP, lossless": ("WEBP", {"lossless": True, "method": 6})}


def sizes(picture: Image.Image, codec: pylatent.codecs.Codec) -> dict[str, float]:
    """Bits per pixel by the name of the coder."""
    x = images.read(picture).tensor
    pixels, found = x[0].numel(), {}
    for name, (kind, options) in PEERS.items():
        file = io.BytesIO()
        picture.save(file, kind, **options)
        found[name] = 8 * file.tell() / pixels
    for quality in QUALITIES:
        stream = codec.compress(x[None] / 255, quality)[0]
        for bound in BOUNDS if quality == codec.default_quality else (0,):
            whole = corrected(stream, codec, x, bound)
            size = len(LatFile(codec.name, codec.fingerprint()[:8], whole).to_bytes())
            found[f"quality {quality:g}, max_error {bound}"] = 8 * size / pixels
    return found


def seconds(picture: Image.Image, codec: pylatent.codecs.Codec) -> dict[str, float]:
    """Of one thread, by the name of what it does."""
    x = images.read(picture.resize((1920, 1080), Image.Resampling.LANCZOS)).tensor
    stream = codec.compress(x[None] / 255)[0]
    hat = codec.decompress_bytes([stream])[0]
    section, _ = encode_pixels(x, hat, 0)
    floats = x / 255
    calls = {
        "the look at patterns": lambda: busyness(floats),
        "compress, without": lambda: codec.compress(floats[None]),
        "decompress, without": lambda: codec.decompress_bytes([stream]),
        "coding the residual": lambda: encode_pixels(x, hat, 0),
        "decoding the residual": lambda: decode_pixels(section, hat),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(3):
        for name, call in calls.items():
            start = time.process_time()
            call()
            times[name].append(time.process_time() - start)
    return {name: median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--pictures", type=int, default=6)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    codec = pylatent.load("default")
    paths = find_images(arguments.photos)
    paths = paths[:: max(1, len(paths) // arguments.pictures)][: arguments.pictures]
    each = {}
    for path in paths:
        each[path.stem] = sizes(Image.open(path).convert("RGB"), codec)
        print(path.stem, {name: round(value, 3) for name, value in each[path.stem].items()}, flush=True)
    names = next(iter(each.values()))
    means = {name: sum(one[name] for one in each.values()) / len(each) for name in names}
    times = seconds(Image.open(paths[0]).convert("RGB"), codec)
    for name, value in (means | times).items():
        print(f"{name:<32} {value:8.3f}")
    if arguments.output:
        result = {"bits per pixel": means, "pictures": each, "seconds, 1920x1080": times}
        write_json(arguments.output, environment("pillow") | result)


if __name__ == "__main__":
    main()
