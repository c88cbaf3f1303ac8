"""Sizes at 34 to 44 dB, where the qualities of the default model end and residuals begin, against JPEG and WebP.

    python benchmarks/high_psnr.py PICTURES [-o RESULT.json]

`compress(target_psnr=…)` ends at a little more than what is asked for; JPEG and WebP take the lowest quality of at
least the PSNR that it reached, JPEG the smaller of 4:2:0 and 4:4:4. Pictures that WebP, whose colours are always 4:2:0,
does not bring there are counted and left out of its ratio. Means over the pictures; ratios are geometric means.
"""

from __future__ import annotations

import argparse
import io
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import environment, write_json
from PIL import Image

import pylatent
from pylatent.coding import LatFile
from pylatent.train.data import find_images

TARGETS = (34.0, 36.0, 38.0, 40.0, 42.0, 44.0)
PEERS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "JPEG": ("JPEG", [{"optimize": True, "subsampling": way} for way in (0, 2)]),
    "WebP": ("WEBP", [{"method": 6}]),
}


def psnr(picture: Image.Image, shown: Image.Image) -> float:
    mse = np.square(np.asarray(picture, np.float64) - np.asarray(shown.convert("RGB"), np.float64)).mean()
    return math.inf if mse == 0 else 10 * math.log10(255**2 / mse)


def smallest(picture: Image.Image, kind: str, options: list[dict[str, Any]], wanted: float) -> int | None:
    """Bytes of the peer's smallest file of at least so many dB; None if its highest quality has less."""
    sizes = []
    for some in options:
        low, high, size = 0, 101, None
        while high - low > 1:
            file, middle = io.BytesIO(), (low + high) // 2
            picture.save(file, kind, quality=middle, **some)
            if psnr(picture, Image.open(file)) >= wanted:
                high, size = middle, file.tell()
            else:
                low = middle
        if size is not None:
            sizes.append(size)
    return min(sizes, default=None)


def measure(path: Path, wanted: float) -> dict[str, Any]:
    picture = Image.open(path).convert("RGB")
    pixels, started = picture.width * picture.height, time.process_time()
    data = pylatent.compress(picture, target_psnr=wanted)
    seconds, stream = time.process_time() - started, LatFile.from_bytes(data).stream
    started = time.process_time()
    reached = psnr(picture, pylatent.decompress(data))
    row = {"picture": path.stem, "target": wanted, "psnr": reached, "quality": stream.quality}
    row |= {"residual": stream.residual is not None, "bpp": 8 * len(data) / pixels}
    row |= {"seconds": seconds, "seconds_decoding": time.process_time() - started}
    for name, (kind, options) in PEERS.items():
        size = smallest(picture, kind, options, reached)
        row[name] = None if size is None else 8 * size / pixels
    return row


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each target: how many pictures get a residual, bits per pixel of all, and bits of peers for those of ours."""
    out = []
    for wanted in TARGETS:
        some = [row for row in rows if row["target"] == wanted]
        found: dict[str, Any] = {"target": wanted, "pictures": len(some)}
        found["residuals"] = sum(row["residual"] for row in some)
        for key in ("psnr", "bpp", "seconds", "seconds_decoding"):
            found[key] = sum(row[key] for row in some) / max(1, len(some))
        for name in PEERS:
            both = [row for row in some if row[name] is not None]
            logs = [math.log(row["bpp"] / row[name]) for row in both]
            found[name] = {"reached": len(both), "percent": 100 * math.expm1(sum(logs) / max(1, len(logs)))}
        out.append(found)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for path in find_images(arguments.pictures):
        for wanted in TARGETS:
            rows.append(measure(path, wanted))
            print(rows[-1], flush=True)
    for line in (found := summary(rows)):
        print(line)
    write_json(arguments.output, {"environment": environment(), "summary": found, "rows": rows})


if __name__ == "__main__":
    main()
