"""What refinement gains: every method on crops, the best two on whole pictures, with real files.

    python studies/refinement/study.py crops KODAK -o RUN [--quality 3] [--steps 500]
    python studies/refinement/study.py pictures KODAK -o RUN --method ssl --quality 3 --quality 5 --steps 500
    python studies/refinement/study.py report RUN -o benchmarks/results/refinement-kodak12.json --plots docs/images

KODAK is a folder of pictures; RUN collects one JSON file a measurement, so that a run that was cut goes on where it
stopped and several may work side by side. `crops` takes the middle 256x256 pixels of four pictures as one batch and
compares the methods on the true loss. `pictures` measures whole pictures as `pylatent eval` does: sizes of whole files,
8-bit PSNR, and whether what is decoded is what was optimised.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tools")]  # harness.py, pages.py

import torch
from harness import environment

import pylatent
from pylatent import images
from pylatent._files import write_bytes
from pylatent.evaluation.bdrate import bd_rate
from pylatent.evaluation.curves import Point, compare, mean_curve
from pylatent.evaluation.measure import measure
from pylatent.evaluation.plot import Line, plot_curves
from pylatent.refine import Annealing, Plan, SgaPlus

CROP = 256
QUALITIES = range(1, 9)
# The settings of the papers, for the method that they describe: Yang et al. 2020 and SGA+ (2024), by its best table.
PUBLISHED = {
    "atanh": {"learning_rate": 5e-3, "annealing": Annealing(0.5, 1e-3)},
    "ssl": {"learning_rate": 5e-3, "annealing": Annealing(1.0, 1e-3)},
}
VARIANTS: list[tuple[str, int, str]] = [
    *((method, classes, "default") for method in ("ssl", "cosine", "linear", "atanh") for classes in (2, 3)),
    ("straight-through", 2, "default"),
    ("noise", 2, "default"),
    ("ssl", 2, "published"),
    ("atanh", 2, "published"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("crops", "pictures"):
        sub = verbs.add_parser(verb)
        sub.add_argument("folder", type=Path)
        sub.add_argument("-o", "--run", type=Path, required=True)
        sub.add_argument("--quality", type=float, action="append")
        sub.add_argument("--steps", type=int, default=500)
        sub.add_argument("--threads", type=int, default=1)
        if verb == "pictures":
            sub.add_argument("--method", default="ssl", help="or `none`: the curve without refinement")
            sub.add_argument("--classes", type=int, choices=[2, 3], default=2)
    sub = verbs.add_parser("report")
    sub.add_argument("run", type=Path)
    sub.add_argument("-o", "--output", type=Path, required=True)
    sub.add_argument("--plots", type=Path, help="folder for two PNG files")
    options = parser.parse_args()
    if options.verb == "report":
        results = report(options.run)
        write_bytes(options.output, (json.dumps(results, indent=1) + "\n").encode())
        if options.plots is not None:
            plot_methods(results["crops"], options.plots / "refinement-methods.png")
            plot_pictures(results, options.plots / "refinement-rd.png")
        return
    torch.set_num_threads(options.threads)
    options.run.mkdir(parents=True, exist_ok=True)
    files = sorted(file for file in options.folder.iterdir() if file.suffix.lower() in (".png", ".jpg"))
    if options.verb == "crops":
        for quality in options.quality or [3.0]:
            crops(files, quality, options.steps, options.run)
    else:
        pictures(files, options.method, options.classes, options.quality or [3.0, 5.0], options.steps, options.run)


def crops(files: list[Path], quality: float, steps: int, run: Path) -> None:
    """Every variant on a batch of four crops; the true loss of each at every reading."""
    codec = pylatent.load()
    parts = []
    for file in files[:: max(1, len(files) // 4)][:4]:
        picture = images.read(file).tensor
        top, left = (picture.shape[1] - CROP) // 2, (picture.shape[2] - CROP) // 2
        parts.append(picture[:, top : top + CROP, left : left + CROP].float() / 255)
    x = torch.stack(parts)
    for method, classes, settings in VARIANTS:
        path = run / f"crops_{method}{classes}_{settings}_q{quality:g}_{steps}.json"
        if path.exists():
            continue
        arguments: dict[str, Any] = PUBLISHED[method] if settings == "published" else {}
        sga = SgaPlus(codec, method=method, classes=classes, **arguments)  # type: ignore[arg-type]
        refined = sga.refine(x, quality=quality, steps=steps)
        start = refined.history[0].true
        _write(
            path,
            {
                "method": method,
                "classes": classes,
                "settings": settings,
                "quality": quality,
                "steps": steps,
                "learning_rate": sga.learning_rate,
                "seconds": refined.seconds,
                "loss_percent": _mean_change(refined.best.loss, start.loss),
                "bpp_percent": _mean_change(refined.best.bpp, start.bpp),
                "psnr_gain": float((refined.best.psnr - start.psnr).mean()),
                "history": [[r.step, _mean_change(r.true.loss, start.loss)] for r in refined.history],
            },
        )
        print(f"{path.stem}: loss {_mean_change(refined.best.loss, start.loss):+.2f} %", flush=True)


def pictures(files: list[Path], method: str, classes: int, qualities: list[float], steps: int, run: Path) -> None:
    """Whole pictures, one measurement a file."""
    codec = pylatent.load()
    name = "unrefined" if method == "none" else f"{method}{classes}_{steps}"
    plan = None if method == "none" else Plan(steps=steps, method=method, classes=classes)  # type: ignore[arg-type]
    for file in files:
        for quality in map(float, QUALITIES) if plan is None else qualities:
            path = run / f"picture_{name}_{file.stem}_q{quality:g}.json"
            if path.exists():
                continue
            point = measure(codec, images.read(file).tensor, quality, plan=plan)
            _write(path, {"name": name, "picture": file.stem, "threads": torch.get_num_threads(), **asdict(point)})
            print(f"{path.stem}: {point.bpp:.4f} bpp {point.psnr:.3f} dB exact {point.exact}", flush=True)


def report(run: Path) -> dict[str, Any]:
    """All measurements of a run with their means and BD-rates."""
    results: dict[str, Any] = {"environment": environment()}
    results["crops"] = [json.loads(path.read_text()) for path in sorted(run.glob("crops_*.json"))]
    curves: dict[str, dict[str, list[Point]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(run.glob("picture_*.json")):
        values = json.loads(path.read_text())
        name, picture = values.pop("name"), values.pop("picture")
        values.pop("threads")
        curves[name][picture].append(Point(**values))
    plain = curves.pop("unrefined")
    results["unrefined"] = [asdict(point) for point in mean_curve(list(plain.values()))]
    results["pictures"] = {}
    for name, found in sorted(curves.items()):
        complete = max(len(points) for points in found.values())
        found = {picture: points for picture, points in found.items() if len(points) == complete}
        rates = {picture: _bd(points, plain[picture]) for picture, points in sorted(found.items())}
        both = compare(list(found.values()), [plain[picture] for picture in found])
        results["pictures"][name] = {
            "pictures": len(found),
            "qualities": [point.quality for point in next(iter(found.values()))],
            "bd_rate_mean_of_pictures": both.mean_of_pictures,
            "bd_rate_of_mean_curve": both.of_mean_curve,
            "bd_rate_by_picture": rates,
            "mean": [asdict(point) for point in mean_curve(list(found.values()))],
            "all_exact": all(point.exact for points in found.values() for point in points),
        }
    return results


def plot_methods(runs: list[dict[str, Any]], path: Path) -> None:
    """The true loss against the step, a line a method."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.2, 4.8), dpi=160, layout="constrained")
    for index, run in enumerate(sorted(runs, key=lambda run: run["loss_percent"])):
        classes = "" if run["method"] in ("straight-through", "noise") else f", {run['classes']} classes"
        settings = ", as published" if run["settings"] == "published" else ""
        steps, loss = zip(*run["history"], strict=True)
        axes.plot(
            steps,
            loss,
            color=pyplot.get_cmap("tab20" if len(runs) > 10 else "tab10")(index),
            linewidth=2.4 if index == 0 else 1.3,
            linestyle="dashed" if settings else "solid",
            label=f"{run['method']}{classes}{settings}",
        )
    axes.set_ylim(min(run["loss_percent"] for run in runs) - 0.5, 2)
    axes.set_title("True loss during refinement", loc="left", fontsize=11, fontweight="bold")
    axes.set_xlabel("step")
    axes.set_ylabel("change of the true loss, %")
    axes.grid(color="#e4e7eb", linewidth=0.8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper right")
    figure.savefig(path)


def plot_pictures(results: dict[str, Any], path: Path) -> None:
    """The mean curve without refinement, and the refined points over all pictures."""
    every = max(found["pictures"] for found in results["pictures"].values())
    lines = [Line("without refinement", [Point(**point) for point in results["unrefined"]])]
    for name, found in results["pictures"].items():
        if found["pictures"] == every:
            title = name.replace("2_", ", 2 classes, ").replace("3_", ", 3 classes, ") + " steps"
            lines.insert(0, Line(title, [Point(**point) for point in found["mean"]]))
    plot_curves(lines, path, title=f"Mean of {every} pictures of Kodak's", max_bpp=1.25)


def _bd(points: list[Point], anchor: list[Point]) -> float | None:
    try:
        return bd_rate([(p.bpp, p.psnr) for p in points], [(p.bpp, p.psnr) for p in anchor])
    except ValueError:
        return None


def _mean_change(new: torch.Tensor, old: torch.Tensor) -> float:
    """Geometric mean over the pictures, in percent."""
    return 100 * float((new / old).log().mean().expm1())


def _write(path: Path, values: dict[str, Any]) -> None:
    write_bytes(path, (json.dumps(values) + "\n").encode())


if __name__ == "__main__":
    main()
