"""The main job on three photographs: compress, decompress, verify, and compare with JPEG at the same size.

    python examples/demo.py [-o demo-output]

Prints a table, and writes for each photograph its `.lat` files, the decoded pictures and a side-by-side picture.
Exits with 1 if any verification fails.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from pathlib import Path

import torch
from PIL import Image
from rich import box
from rich.console import Console
from rich.table import Table
from side_by_side import Version, side_by_side

import pylatent
from pylatent import images
from pylatent.codecs import Codec
from pylatent.coding.container import LatFile
from pylatent.evaluation import JPEG, psnr
from pylatent.evaluation.measure import same_latents

PHOTOS = Path(__file__).parent / "photos"
QUALITIES = (1, 3, 6)
SHOWN_QUALITY = 1
DETAILS = {"dragonfly.png": (0.63, 0.28), "leaves.png": (0.58, 0.60), "skyline.png": (0.74, 0.42)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("demo-output"), help="folder for the results")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)

    codec = pylatent.load("default")
    # So that no row of the table pays for warming up.
    pylatent.decompress(pylatent.compress(PHOTOS / "leaves.png", model=codec))
    table = Table(
        title=f"pylatent {pylatent.__version__}, model {codec.name}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    table.add_column("photograph", no_wrap=True)
    for name in ("quality", "bytes", "bpp", "PSNR", "encode\nMP/s", "decode\nMP/s", "JPEG\nbytes", "JPEG\nPSNR"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("ok", justify="right")
    failures: list[str] = []
    for photo, centre in DETAILS.items():
        for quality in QUALITIES:
            row, problems = compress_and_verify(codec, PHOTOS / photo, quality, centre, output)
            table.add_row(*row, "[bold red]no" if problems else "yes")
            failures += [f"{photo} at quality {quality}: {problem}" for problem in problems]
        table.add_section()

    console = Console()
    console.print(table)
    console.print("JPEG: Pillow, 4:2:0, optimised; the smallest file that is no smaller than pylatent's.")
    console.print(f"Side-by-side pictures, .lat files and decoded pictures: {output}/")
    for failure in failures:
        console.print(f"[bold red]{failure}")
    return 1 if failures else 0


def compress_and_verify(
    codec: Codec, path: Path, quality: int, centre: tuple[float, float], output: Path
) -> tuple[list[str], list[str]]:
    """One photograph at one quality. Returns the cells of its row and what turned out wrong."""
    photo = images.read(path).tensor
    stem = f"{path.stem}-q{quality}"

    start = time.perf_counter()
    data = pylatent.compress(path, quality=quality, model=codec)
    encoded = time.perf_counter()
    decoded = pylatent.decompress(data)
    finished = time.perf_counter()

    file = output / f"{stem}.lat"
    file.write_bytes(data)
    decoded.save(output / f"{stem}.png")
    jpeg, jpeg_quality = JPEG.at_least(photo, len(data))

    problems = []
    with torch.no_grad():
        latents = codec.analyze(photo.float().div(255)[None], quality, integers=True)  # as `compress` does
    if not same_latents(codec.as_coded(latents), codec.decode([LatFile.read(file).stream])):
        problems.append("the decoded latents are not those that were encoded")
    if pylatent.compress(path, quality=quality, model=codec) != data:
        problems.append("compressing twice gave two different files")
    if decoded.size != (photo.shape[2], photo.shape[1]):
        problems.append(f"the decoded picture has size {decoded.size}")

    pixels = photo.shape[1] * photo.shape[2]
    ours, theirs = psnr(images.read(decoded).tensor, photo), psnr(JPEG.decompress(jpeg), photo)
    if quality == SHOWN_QUALITY:
        sheet = side_by_side(
            "The same photograph in the same number of bytes",
            [
                Version(Image.open(path), "Original", f"{photo.numel():,} bytes uncompressed"),
                Version(decoded, f"pylatent, quality {quality}", _facts(data, pixels, ours)),
                Version(Image.open(io.BytesIO(jpeg)), f"JPEG, quality {jpeg_quality}", _facts(jpeg, pixels, theirs)),
            ],
            centre,
            "JPEG by Pillow, 4:2:0, optimised: the smallest file that is no smaller than pylatent's. "
            "Details enlarged three times. Photograph: CC0.",
        )
        sheet.save(output / f"{path.stem}-side-by-side.png")

    cells = [path.stem, str(quality), f"{len(data):,}", f"{8 * len(data) / pixels:.3f}", f"{ours:.2f}"]
    cells += [f"{pixels / seconds / 1e6:.2f}" for seconds in (encoded - start, finished - encoded)]
    return [*cells, f"{len(jpeg):,}", f"{theirs:.2f}"], problems


def _facts(data: bytes, pixels: int, decibels: float) -> str:
    return f"{len(data):,} bytes · {8 * len(data) / pixels:.3f} bpp · {decibels:.2f} dB"


if __name__ == "__main__":
    sys.exit(main())
