"""Conditional latent coding at a scale of minutes: what a trained codec gains by references, and by which.

    python studies/clc/study.py measure PHOTOS CELLS -o RUN [--model default-2] [--steps 200] [--seed 0 ...]
    python studies/clc/study.py kodak KODAK -o RUN
    python studies/clc/study.py report RUN -o benchmarks/results/clc-study.json --plots docs/images

PHOTOS has folders `train` and `val`, CELLS is BCCD. Right halves of the pictures are coded, left halves make
dictionaries, so that a related dictionary has other parts of the very photograph; beside that there are crops, coded
with a dictionary that has them. Matching and blend are trained around
the model as it is, for equal steps in every variant, of which one is the same network without references. RUN collects
one JSON file a measurement, models and dictionaries, so that a run that was cut goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tools")]  # harness.py, pages.py

import torch
from parts import (
    BATCH,
    CROP,
    Pictures,
    Variant,
    dictionary_for,
    gather,
    load_base,
    make_clc,
    measured,
    noisy,
    swapped,
)
from report import plots, report

from pylatent import images
from pylatent._files import write_bytes
from pylatent.train.clc import ClcRecipe, train_clc
from pylatent.train.data import find_images

EPSILONS = (0.1, 0.2, 0.3, 0.4, 0.5)
NONE, CENTRAL, CELLS = Variant("photos", unusual="none"), Variant("photos"), Variant("cells")
SAME = Variant("same", entries=None, on="same")
FIRST = (SAME, NONE, CENTRAL, Variant("photos", unusual="random"), CELLS)
SECOND = (
    Variant("cells", unusual="none", on="cells"),
    Variant("cells", on="cells"),
    Variant("photos", references=1),
    Variant("photos", references=5),
    Variant("same", entries=None, unusual="wide", on="same"),
    Variant("same", entries=None, unusual="plain", on="same"),
    Variant("photos", on="cells"),
    Variant("photos", entries=64),
    Variant("photos", entries=None),
    Variant("photos", unusual="plain"),
    Variant("same", entries=None, references=1, on="same"),
    Variant("same", entries=None, references=5, on="same"),
)
_RATE = 1e-3


class Study:
    """All that a run has, and its measurements, each made once."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.run: Path = options.run
        self.steps = options.steps
        self.pictures: Pictures = gather(options.photos, options.cells, self.run)
        self.model, self.base = options.model, load_base(options.model)

    def measure(self, seeds: list[int]) -> None:
        for kind, held in self.pictures.held.items():
            if not (self.run / f"base-{kind}.json").exists():
                started = time.process_time()
                self._write(f"base-{kind}", started, model=self.model, on=kind, rows=measured(self.base, held))
        for variants in (FIRST, SECOND):
            for seed in seeds:
                for variant in variants:
                    self.variant(variant, seed)

    def variant(self, variant: Variant, seed: int) -> None:
        """Train and measure one; of the central one also with noise in the references, and with other ones."""
        name = f"{variant.name}-s{seed}"
        if (self.run / f"{name}.json").exists():
            return
        dictionary = dictionary_for(self.base, self.pictures, variant, seed, self.run)
        started = time.process_time()
        codec = make_clc(self.base, dictionary, variant, seed)
        recipe = ClcRecipe(self.steps, crop=CROP, batch=BATCH, learning_rate=_RATE, seed=seed)
        train_clc(codec, self.pictures.training[variant.on], recipe)
        seconds, held = time.process_time() - started, self.pictures.held[variant.on]
        values = {"seed": seed, "variant": variant.name, "K": len(dictionary), "M": variant.references}
        others = {}
        if variant == SAME:
            for epsilon in EPSILONS:
                others[f"{epsilon}"] = measured(swapped(codec, noisy(dictionary, epsilon)), held)
            photos = dictionary_for(self.base, self.pictures, CENTRAL, seed, self.run)
            others["photos"] = measured(swapped(codec, photos), held)
        if variant in (CENTRAL, NONE):
            torch.save(codec.state_dict(), self.run / f"{name}.pt")
        self._write(name, started, **values, training_seconds=seconds, rows=measured(codec, held), others=others)

    def _write(self, name: str, started: float, **values: Any) -> None:
        values |= {"steps": self.steps, "seconds": time.process_time() - started}
        write_bytes(self.run / f"{name}.json", (json.dumps(values) + "\n").encode())
        print(name, f"{values['seconds']:.0f} s", flush=True)


def kodak(folder: Path, run: Path) -> None:
    """Pictures of another origin, which chose nothing, with the photographs' dictionary."""
    pictures = [images.read(path).tensor for path in find_images(folder)]
    base = load_base(json.loads((run / "base-photos.json").read_text())["model"])
    rows = {"base": measured(base, pictures)}
    for variant in (NONE, CENTRAL):
        for path in sorted(run.glob(f"{variant.name}-s*.pt")):
            codec = make_clc(base, dictionary_for(base, Pictures({}, {}, {}), variant, 0, run), variant, 0)
            codec.load_state_dict(torch.load(path, weights_only=True))
            rows[path.stem] = measured(codec.eval(), pictures)
    write_bytes(run / "kodak.json", (json.dumps({"rows": rows}) + "\n").encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    sub = verbs.add_parser("measure")
    sub.add_argument("photos", type=Path)
    sub.add_argument("cells", type=Path)
    sub.add_argument("-o", "--run", type=Path, required=True)
    sub.add_argument("--model", default="default-2")
    sub.add_argument("--steps", type=int, default=200)
    sub.add_argument("--seed", type=int, action="append")
    sub = verbs.add_parser("kodak")
    sub.add_argument("folder", type=Path)
    sub.add_argument("-o", "--run", type=Path, required=True)
    sub = verbs.add_parser("report")
    sub.add_argument("run", type=Path)
    sub.add_argument("-o", "--output", type=Path, required=True)
    sub.add_argument("--plots", type=Path, help="folder for a PNG file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.verb == "measure":
        options.run.mkdir(parents=True, exist_ok=True)
        Study(options).measure(options.seed or [0, 1])
    elif options.verb == "kodak":
        kodak(options.folder, options.run)
    else:
        results = report(options.run)
        write_bytes(options.output, (json.dumps(results, indent=1) + "\n").encode())
        if options.plots is not None:
            plots(results, options.plots)


if __name__ == "__main__":
    main()
