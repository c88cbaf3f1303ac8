"""`pylatent eval classifier`: how well a head does on labelled pictures."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from pylatent.cli._check import check_writable
from pylatent.cli._options import Head, Threads
from pylatent.cli._report import complain, failures_reported, misused


class Part(str, Enum):
    """Of the split that the head was trained with."""

    ALL = "all"
    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@failures_reported()
def evaluate_classifier(
    source: Annotated[
        Path, typer.Argument(help="What `train classifier` takes: an archive with labels, or pictures.", exists=True)
    ],
    head: Head,
    part: Annotated[Part, typer.Option(help="Which items, if these are what the head was trained on.")] = Part.ALL,
    quality: Annotated[float | None, typer.Option("--quality", "-q", help="Quality to code pictures at.")] = None,
    group: Annotated[str | None, typer.Option(help="As given to `train classifier`; the same by default.")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the results here; - for stdout.")] = None,
    threads: Threads = None,
) -> None:
    """Accuracy, balanced accuracy and confusion matrix of a head, with 95 % intervals that resample whole groups."""
    check_writable("--json", json_path)
    import numpy as np
    import torch

    from pylatent import zoo
    from pylatent.archive.labelled import is_archive, labelled
    from pylatent.tasks import load_head
    from pylatent.tasks.data import group_split
    from pylatent.train.classifier import predict

    if threads is not None:
        torch.set_num_threads(threads)
    model, header = load_head(head)
    codec = zoo.find(header.model, bytes.fromhex(header.model_hash))
    group = header.card.get("group") if group is None else group
    if quality is None and header.qualities is not None and not is_archive(source):
        quality = header.qualities[0]
    try:
        with tempfile.TemporaryDirectory() as scratch:
            items = labelled(source, codec, quality, Path(scratch), group, lambda done, total: None, header.classes)
            numbers = np.arange(len(items.positions))
            known = items.digest() == header.card.get("items")
            if part is not Part.ALL:
                if not known:
                    raise misused(f"--part {part.value}: {source} does not hold the items that the head was trained on")
                numbers = getattr(group_split(items.groups, seed=header.card["recipe"]["seed"]), part.value)
            elif known:
                complain(
                    f"warning: {source} holds the items that the head was trained on; --part test gives the others"
                )
            size, _ = items.shapes()
            header.check(items.latents(codec, numbers[:1]), items.archive.model_hash.hex())
            found = predict(model, lambda some: items.latents(codec, numbers[some]), len(numbers)).argmax(1).numpy()
    except ValueError as error:
        raise misused(str(error)) from error
    labels, groups = items.labels[numbers], [items.groups[number] for number in numbers]
    results = _results(labels, found, groups, list(header.classes))
    results |= {"head": str(head), "source": str(source), "part": part.value, "size": list(size)}
    if json_path == Path("-"):
        print(json.dumps(results, indent=1))
        return
    if json_path is not None:
        from pylatent._files import write_bytes

        write_bytes(json_path, (json.dumps(results, indent=1) + "\n").encode())
    _show(results)


def _results(labels: Any, predictions: Any, groups: list[str], classes: list[str]) -> dict[str, Any]:
    from pylatent.tasks.metrics import accuracy, balanced_accuracy, bootstrap, confusion

    matrix = confusion(labels, predictions, len(classes))
    return {
        "items": len(labels),
        "groups": len(set(groups)),
        "accuracy": asdict(bootstrap(labels, predictions, groups, accuracy)),
        "balanced_accuracy": asdict(bootstrap(labels, predictions, groups, balanced_accuracy)),
        "classes": classes,
        "confusion": matrix.tolist(),
    }


def _show(results: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    for name in ("accuracy", "balanced_accuracy"):
        value = results[name]
        text = f"{name.replace('_', ' '):<18}{value['value']:.4f}  (95 %: {value['low']:.4f} to {value['high']:.4f})"
        print(text)
    print(f"{results['items']} items of {results['groups']} groups")
    table = Table("label \\ predicted", *results["classes"], "recall")
    for name, row in zip(results["classes"], results["confusion"], strict=True):
        share = row[results["classes"].index(name)] / max(sum(row), 1)
        table.add_row(name, *map(str, row), f"{share:.4f}")
    Console(highlight=False).print(table)
