"""Rate-distortion of a model on a folder of pictures, against Pillow's JPEG and WebP and against published curves.

    python studies/rate_distortion/study.py KODAK --curves CURVES \\
        -o benchmarks/results/rd-kodak12.json --plot docs/images/rd-kodak12.png

KODAK is a folder of pictures, CURVES a folder of published results in CompressAI's JSON format. Published figures are
means over other sets of pictures (all 24 of Kodak's, usually): their distance is indicative, and labelled so.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from rich.progress import Progress

import pylatent
from pylatent import images
from pylatent.evaluation.bdrate import bd_rate
from pylatent.evaluation.classical import JPEG, WEBP
from pylatent.evaluation.curves import Point
from pylatent.evaluation.plot import Line, plot_curves
from pylatent.evaluation.report import evaluate

# Ours are measured against the best that Pillow can do (of JPEGs, those of 4:4:4 are the smaller ones from some 36 dB
# on), and for comparison with older reports against its defaults.
BASELINES = (
    JPEG,
    replace(JPEG, name="JPEG, 4:4:4", settings=(*JPEG.settings, ("subsampling", "4:4:4"))),
    WEBP,
    replace(JPEG, name="JPEG, default settings", settings=()),
    replace(WEBP, name="WebP, default settings", settings=()),
)
PUBLISHED = {"compressai-mbt2018-mean_mse_ans_cuda.json": "mbt2018-mean, as published"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--curves", type=Path, help="folder of published curves")
    parser.add_argument("--name", default="Kodak", help="what the set is called in titles")
    parser.add_argument("--threads", type=int)
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--plot", type=Path, help="picture to write")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    # Read before anything is measured, which takes a minute.
    published = {name: published_points(options.curves / file) for file, name in PUBLISHED.items() if options.curves}
    codec = pylatent.load(options.model)
    lowest, highest = codec.qualities or (None, None)
    qualities = [None] if lowest is None else [float(q) for q in range(round(lowest), round(highest) + 1)]
    files = sorted(file for file in options.folder.iterdir() if file.suffix.lower() in (".png", ".jpg"))
    with Progress() as progress:
        task = progress.add_task("Measuring", total=len(files) * (len(qualities) + len(BASELINES)))
        report = evaluate(
            codec,
            ((file.name, images.read(file).tensor) for file in files),
            qualities,
            baselines=BASELINES,
            advance=lambda: progress.advance(task),
        )

    document = {"set": options.name, **report.to_json()}
    lines = [Line(report.model, report.mean), Line("JPEG", report.mean_of("JPEG"))]
    lines.append(Line("WebP", report.mean_of("WebP")))
    if options.curves:
        document["published"] = {}
        for file, name in PUBLISHED.items():
            points = published[name]
            lines.append(Line(name, points, published=True))
            document["published"][name] = {
                "file": file,
                "points": [{"bpp": point.bpp, "psnr": point.psnr} for point in points],
                "bd_rate_of_mean_curve": bd_rate(_pairs(report.mean), _pairs(points)),
            }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=1) + "\n")
    if options.plot:
        plot_curves(lines, options.plot, title=f"{options.name}: mean of {len(files)} pictures")
    print(f"{report.model} ({report.model_hash}), {len(files)} pictures, {report.mismatches} mismatches")
    for baseline in BASELINES:
        print(baseline.describe(), asdict(report.bd_rate(baseline.name)))
    for name, entry in document.get("published", {}).items():
        print(f"{name}: {entry['bd_rate_of_mean_curve']:+.1f} % (other set of pictures)")


def published_points(path: Path) -> list[Point]:
    """The points of a file in CompressAI's results format."""
    results = json.loads(path.read_text())["results"]
    psnr = results.get("psnr-rgb", results.get("psnr"))
    return [Point(None, 0, 0, bpp, decibels) for bpp, decibels in zip(results["bpp"], psnr, strict=True)]


def _pairs(curve: list[Point]) -> list[tuple[float, float]]:
    return [(point.bpp, point.psnr) for point in curve]


if __name__ == "__main__":
    main()
