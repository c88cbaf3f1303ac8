"""Perception-oriented fine-tuning at a small scale: rate, distortion, perception, and labels from the latents.

    python studies/perceptual/study.py PHOTOS VALIDATION KODAK LPIPS BCCD RUNS -o result.json

PHOTOS and VALIDATION are folders of photographs, KODAK the test pictures, LPIPS holds features and heads of both
networks, BCCD blood cells (Pascal VOC). RUNS keeps the checkpoints of the three trainings, so that a run that was cut
goes on. `--steps 4 --picture any.jpg`, with a few pictures, tries the command out. One thread. Needs the extras `train`
and `clc` (scikit-learn, for the probes and the digits).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from labels import blood_cells, compare, digits
from models import QUALITIES, RECIPES, shipped, start, trained
from pictures import side_by_side
from table import measure

from pylatent.evaluation.lpips import LPIPS
from pylatent.train.data import load_images
from pylatent.train.validate import load_centres

ROOT = Path(__file__).parents[2]
CENTRE = 256
LABELS_AT = 1.0  # quality


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("photos", "validation", "kodak", "lpips", "bccd", "runs"):
        parser.add_argument(name, type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "images" / "perceptual.jpg")
    parser.add_argument("--steps", type=int, help="of every training, instead of the recipes'")
    options = parser.parse_args()
    recipes = {name: replace(each, steps=options.steps or each.steps) for name, each in RECIPES.items()}
    torch.set_num_threads(1)
    metrics = [LPIPS.load(net, options.lpips) for net in ("vgg", "alex")]
    models = {"start": start(), "shipped": shipped()} | {
        name: trained(recipe, options.runs / name, options.photos, options.lpips) for name, recipe in recipes.items()
    }
    centres = load_centres(options.validation, CENTRE)
    result: dict[str, object] = {
        "qualities": QUALITIES,
        "recipes": {name: vars(each) for name, each in recipes.items()},
    }
    result["curves"] = {
        name: [json.loads(line) for line in (options.runs / name / "log.jsonl").read_text().splitlines()]
        for name in recipes
    }
    result["validation"] = {name: measure(codec, centres, metrics, QUALITIES) for name, codec in models.items()}
    pictures = load_images(options.kodak, 161)
    result["kodak"] = {
        name: measure(models[name], pictures, metrics, QUALITIES) for name in ("start", "receiver", "shipped")
    }
    shown = [models["start"], models["shipped"]]
    side_by_side(options.kodak, shown, QUALITIES[0], options.picture)
    named = {name: models[name] for name in ("start", "control", "joint")}
    result["labels"] = compare(named, [blood_cells(options.bccd), digits()], LABELS_AT)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
