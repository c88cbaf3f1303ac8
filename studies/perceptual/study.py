"""Perception-oriented fine-tuning at a small scale: rate, distortion, perception, and labels from the latents.

    python studies/perceptual/study.py PHOTOS VALIDATION KODAK LPIPS BCCD RUNS -o result.json

PHOTOS and VALIDATION are folders of photographs, KODAK the test pictures, LPIPS holds features and heads of both
networks, BCCD blood cells (Pascal VOC). RUNS keeps checkpoints and every table that is done, so that a study that was
cut goes on. `--steps 4 --picture any.jpg`, with a few pictures, tries the command out. One thread. Needs the extras
`train` and `clc` (scikit-learn, for the probes and the digits).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from labels import blood_cells, compare, digits
from models import QUALITIES, RECIPES, shipped, start, trained
from pictures import side_by_side
from table import measure

from pylatent._files import write_bytes
from pylatent.codecs import Codec
from pylatent.evaluation.lpips import LPIPS
from pylatent.train.data import load_images
from pylatent.train.validate import load_centres

ROOT = Path(__file__).parents[2]
CENTRE = 256
WATCHED = 4  # centres that are looked at during a training
LABELS_AT = 1.5  # quality of the start; the others take as many bits


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
    centres = load_centres(options.validation, CENTRE)

    def validate(codec: Codec) -> dict[str, Any]:
        return {"validation": measure(codec, centres[:WATCHED], metrics[:1], QUALITIES)}

    models = {"start": start()} | {
        name: trained(name, recipe, options.runs / name, options.photos, options.lpips, validate)
        for name, recipe in recipes.items()
    }
    result: dict[str, object] = {
        "qualities": QUALITIES,
        "recipes": {name: vars(each) for name, each in recipes.items()},
    }
    result["curves"] = {
        name: [json.loads(line) for line in (options.runs / name / "log.jsonl").read_text().splitlines()]
        for name in recipes
    }
    for title, pictures in (("validation", centres), ("kodak", load_images(options.kodak, 161))):
        result[title] = {
            name: kept(options.runs / f"{title}-{name}.json", partial(measure, codec, pictures, metrics, QUALITIES))
            for name, codec in models.items()
        }
    result["labels"] = {
        data.name: kept(options.runs / f"labels-{data.name}.json", partial(compare, models, data, LABELS_AT))
        for data in (blood_cells(options.bccd), digits())
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    side_by_side(options.kodak, [models["start"], shipped(), models["longer"]], QUALITIES[0], options.picture)


def kept(path: Path, compute: Callable[[], Any]) -> Any:
    """What `compute` returned to an earlier run, or returns now."""
    if not path.exists():
        write_bytes(path, json.dumps(compute()).encode())
    return json.loads(path.read_text())


if __name__ == "__main__":
    main()
