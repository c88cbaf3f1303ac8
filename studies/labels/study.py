"""Labels from latents against labels from pixels, on blood cells: tables and plots of docs/latent-classification.md.

    python studies/labels/study.py BCCD WORK

BCCD is the data set's folder (Pascal VOC); WORK keeps crops, records, latents and one result for each training, so that
a run that was cut goes on, and a rerun does only what is missing. Needs the extras `tasks` and `plot`. Steps: trainings
on `--workers` processes of one thread each; `--latency`, which wants a quiet machine; the report.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tools")]  # harness.py, pages.py

import latency
import report
import torch
from data import FOLDS, QUALITIES, Data
from jobs import Job, jobs, run

from pylatent import zoo
from pylatent.train.classifier import ClassifierRecipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bccd", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--epoch-size", type=int, default=120, help="items drawn per epoch, for every model alike")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--most", type=int, default=3, help="crops of a class taken from a source picture")
    parser.add_argument("--pictures", type=int, help="source pictures, to try things out; all by default")
    parser.add_argument(
        "--on-decoded", type=float, nargs="*", default=[], help="train on decoded pixels, too, of these"
    )
    parser.add_argument(
        "--latency", type=int, nargs="+", metavar="THREADS", help="measure latencies on so many threads"
    )
    parser.add_argument("--no-train", action="store_true", help="leave out what is not trained yet")
    parser.add_argument("-o", "--output", type=Path, help="JSON file to write, of the whole study")
    parser.add_argument("--docs", action="store_true", help="write tables and plots into docs/")
    options = parser.parse_args()

    torch.set_num_threads(1)
    data = Data(options.work, most=options.most, pictures=options.pictures)
    data.cut(options.bccd, zoo.shared("default"))
    recipe = ClassifierRecipe(
        epochs=options.epochs, epoch_size=options.epoch_size, batch=options.batch, learning_rate=1e-3
    )
    results = options.work / f"results-{recipe.epochs}x{recipe.epoch_size}-batch{recipe.batch}"
    results.mkdir(exist_ok=True)
    plan = jobs(FOLDS, on_decoded=tuple(options.on_decoded))
    missing = [job for job in plan if not (results / f"{job.name}.json").exists()]
    if missing and not options.no_train:
        train(missing, data, recipe, results, options.workers)
    if options.latency:
        with processes(1) as pool:
            pool.submit(latency.measure, data, options.work / "latency.json", tuple(options.latency)).result()
    if options.output is not None:
        report.write(data, recipe, results, options.work / "latency.json", options.output)
        if options.docs:
            report.document(options.output, ROOT / "docs")


# With glibc's defaults, large activations are mapped and unmapped at every step: most of the time goes to page faults.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "1000000000", "MALLOC_TRIM_THRESHOLD_": "4000000000"}


def processes(count: int) -> ProcessPoolExecutor:
    """Processes of one thread each."""
    os.environ.update(KEEP_MEMORY)
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, mp_context=context, initializer=torch.set_num_threads, initargs=(1,))


def train(missing: list[Job], data: Data, recipe: ClassifierRecipe, results: Path, workers: int) -> None:
    with processes(workers) as pool:
        for quality, _ in zip(QUALITIES, pool.map(data.code, QUALITIES), strict=True):
            print(f"records and latents of quality {quality:g}", flush=True)
        pending = {pool.submit(run, job, data, recipe, results): job for job in missing}
        for number, future in enumerate(as_completed(pending), 1):
            future.result()
            print(f"{number} of {len(missing)}: {pending[future].name}", flush=True)


if __name__ == "__main__":
    main()
