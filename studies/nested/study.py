"""The ablation of nested codecs: depth, deepest prior, dimensions and means, at equal budgets.

    python studies/nested/study.py PHOTOS KODAK [--work runs/nested] [--steps 600] [--limit 10] [--page]

PHOTOS is a folder of training pictures, KODAK one to evaluate on. Transforms and gains of the shipped model are frozen;
every setting trains its own entropy levels with the same budget (training.py) and is measured in real files
(evaluation.py). What is done lies in the work folder and is not done again: a run that was cut goes on, --limit
ends it after so many settings, --page alone writes what there is. Results go to benchmarks/results/nested-kodak12.json,
tables and plots to docs/nested.md. The autoregressive peer needs compressai, the plots matplotlib.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tools")]  # harness.py, pages.py

import torch
from evaluation import TestSet, autoregressive, times
from harness import environment, write_json
from page import write_page
from summary import summaries
from training import BATCH, CROP, Setting, shipped, train, training_set

from pylatent import images, zoo

RESULT = ROOT / "benchmarks" / "results" / "nested-kodak12.json"
LEVELS = (2, 3, 4, 5)
SETTINGS = (
    *(Setting(n, "logistic") for n in LEVELS),
    *(Setting(n, "factorized") for n in LEVELS),
    *(Setting(n, "logistic", 0.25) for n in LEVELS),
    *(Setting(n, p, seed=s) for s in (2, 3) for n in (2, 4) for p in ("logistic", "factorized")),  # type: ignore[arg-type]
    *(Setting(n, "logistic", 0.5) for n in LEVELS),
    *(Setting(n, "logistic", common_dim=False) for n in (3, 5)),
    *(Setting(n, "logistic", predict_mean=False) for n in (2, 4)),
)
ANCHOR = Setting(2, "factorized")
TIMED_QUALITY, TIMED_PICTURE = 5.0, "kodim23.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("kodak", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/nested"), help="checkpoints, models, measurements")
    parser.add_argument("--steps", type=int, default=600, help="of training, for every setting")
    parser.add_argument("--limit", type=int, help="settings to train in this run")
    parser.add_argument("--rounds", type=int, default=3, help="of timing")
    parser.add_argument("--page", action="store_true", help="train nothing: write results and page from what there is")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    if not options.page:
        run(options)
    timing = options.work / "timing.json"
    models = {n: model(options.work, Setting(n, "logistic"), options.steps) for n in LEVELS}
    if not timing.exists() and all(path.exists() for path in models.values()):
        write_json(timing, measure_times(models, options.kodak, options.rounds))
    collect(options, timing)


def run(options: argparse.Namespace) -> None:
    """Train and measure what is missing, the first settings first, but what another run is at."""
    base = shipped()
    data = training_set(base, options.photos, options.work / "latents.pt")
    pictures = TestSet(base, options.kodak)
    begun = 0
    for setting in SETTINGS:
        result = measured(options.work, setting, options.steps)
        with open(result.with_suffix(".lock"), "w") as lock:
            if result.exists() or begun == options.limit or not locked(lock):
                continue
            begun += 1
            path, checkpoint = model(options.work, setting, options.steps), result.with_suffix(".pt")
            if not path.exists():
                codec, seconds = train(setting, base, data, options.steps, checkpoint)
                card = {"ablation": asdict(setting), "seconds": seconds, "recipe": {"lambdas": base.lambdas}}
                zoo.save_codec(codec, path, name="ablation-1", card=card)
                checkpoint.unlink()
            rows = pictures.measure(zoo.load(path))  # type: ignore[arg-type]
            write_json(result, {"training_seconds": zoo.read_header(path).card["seconds"], "rows": rows})
            print(f"{setting.name}: {sum(row['bpp'] for row in rows) / len(rows):.4f} bpp", flush=True)


def locked(file: IO[str]) -> bool:
    """Whether the file's lock could be had; it is given back with the file, or by the process that dies."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def model(work: Path, setting: Setting, steps: int) -> Path:
    return work / f"{setting.name}-{steps}.safetensors"


def measured(work: Path, setting: Setting, steps: int) -> Path:
    return work / f"{setting.name}-{steps}.json"


def measure_times(models: dict[int, Path], kodak: Path, rounds: int) -> dict[str, object]:
    """Against the number of levels, and an autoregressive decoder on the same picture."""
    picture = images.read(kodak / TIMED_PICTURE).tensor
    codecs = {n: zoo.load(path) for n, path in models.items()}
    rows = times(codecs, picture, TIMED_QUALITY, rounds)  # type: ignore[arg-type]
    return {
        "environment": environment("compressai", "numpy"),
        "picture": TIMED_PICTURE,
        "quality": TIMED_QUALITY,
        "rows": rows,
        "autoregressive": autoregressive(picture),
    }


def collect(options: argparse.Namespace, timing: Path) -> None:
    """Write the results and the page from what has been measured."""
    rows = {
        setting: json.loads(path.read_text())
        for setting in SETTINGS
        if (path := measured(options.work, setting, options.steps)).exists()
    }
    if ANCHOR not in rows:
        print(f"{ANCHOR.name}, the anchor, has not been measured yet: no page is written")
        return
    found = {key: value for key, value in environment().items() if key != "threads"}
    result = {
        "environment": found,
        "steps": options.steps,
        "batch": BATCH,
        "crop": 16 * CROP,
        "training_seconds": sum(each["training_seconds"] for each in rows.values()),
        "settings": summaries({setting: each["rows"] for setting, each in rows.items()}, ANCHOR),
    }
    if timing.exists():
        result["times"] = json.loads(timing.read_text())
    write_json(RESULT, result)
    write_page(ROOT, result)


if __name__ == "__main__":
    main()
