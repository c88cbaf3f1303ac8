"""`pylatent train classifier`: a head that labels coded pictures, from labelled ones."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pylatent.cli._check import check_model
from pylatent.cli._options import Model, Threads
from pylatent.cli._progress import progress
from pylatent.cli._report import complain, failures_reported, misused, need_extra

if TYPE_CHECKING:
    import numpy as np

    from pylatent.archive.labelled import Labelled
    from pylatent.codecs.base import Codec
    from pylatent.tasks import LatentHead


class Architecture(str, Enum):
    """The heads that can be trained, as options name them."""

    RESNET = "latent-resnet"
    GATED = "fusion-gated"
    MLP = "latent-mlp"
    ADAPTER = "adapter"


@failures_reported()
def classifier(
    source: Annotated[
        Path,
        typer.Argument(
            help="An archive with labels; or pictures: folders named as classes, Pascal VOC, AGAR.", exists=True
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the run: records, checkpoint, log, head.")] = Path(
        "runs/classifier"
    ),
    architecture: Annotated[Architecture, typer.Option(help="Kind of head.")] = Architecture.RESNET,
    backbone: Annotated[str, typer.Option(help="Adapter: a model of timm's (random weights).")] = "convnext_atto",
    model: Model = "default",
    quality: Annotated[float | None, typer.Option("--quality", "-q", help="Quality to code pictures at.")] = None,
    group: Annotated[
        str | None, typer.Option(help="Regular expression: what it finds in a key is never on both sides of the split.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Rounds of training.")] = 10,
    epoch_size: Annotated[int, typer.Option(min=1, help="Items of a round, every class equally often.")] = 1024,
    batch: Annotated[int, typer.Option(min=1, help="Items per step.")] = 32,
    learning_rate: Annotated[float, typer.Option(min=0, help="Of Adam; it falls linearly to 0.")] = 1e-3,
    bf16: Annotated[bool, typer.Option(help="Train in bfloat16 where that is safe: faster on new processors.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of split, weights and sampling.")] = 0,
    threads: Threads = None,
) -> None:
    """Train a head on coded pictures, pixels never being decoded. A run that was cut resumes from its folder.

    Items are split 70/15/15 by group; a crop's group is its source picture. The weights of the last epoch are kept;
    their results on the test part are printed and stored in the head file.
    """
    if architecture is Architecture.ADAPTER:
        need_extra("timm")
    check_model(model, [quality])

    import torch

    from pylatent import zoo
    from pylatent.archive.labelled import is_archive, labelled
    from pylatent.coding.container import HASH_BYTES
    from pylatent.tasks import HeadHeader, save_head
    from pylatent.tasks.data import group_split
    from pylatent.train.classifier import ClassifierRecipe, EpochReport, train_classifier

    if threads is not None:
        torch.set_num_threads(threads)
    codec = zoo.load(model)
    try:
        with progress("coding pictures", unit="images") as show:
            items = labelled(source, codec, quality, out, group, show)
        if is_archive(source):
            codec = zoo.find(items.archive.model, items.archive.model_hash)
        size, qualities = items.shapes()
        split = group_split(items.groups, seed=seed)
    except ValueError as error:
        raise misused(str(error)) from error
    if len(items.classes) < 2:
        raise misused(f"{source} has one class only, {items.classes[0]}: there is nothing to tell apart")

    out.mkdir(parents=True, exist_ok=True)
    recipe = ClassifierRecipe(epochs, epoch_size, batch, learning_rate, bf16, seed)
    torch.manual_seed(seed)
    head = _head(architecture, codec, size, len(items.classes), backbone)
    with progress("training", share=True) as show:

        def report(step: EpochReport) -> None:
            show(step.fraction, 1.0, f"epoch {step.epoch + 1}  loss {step.loss:.4f}")

        def log(epoch: int) -> None:
            line = {"epoch": epoch + 1, "validation": _results(head, codec, items, split.validation)}
            with open(out / "log.jsonl", "a") as file:
                file.write(json.dumps(line) + "\n")

        train_classifier(
            head,
            lambda positions: items.latents(codec, split.train[positions]),
            items.labels[split.train],
            recipe,
            checkpoint=out / "checkpoint.pt",
            report=report,
            after_epoch=log,
        )
    results = _results(head, codec, items, split.test)
    card = {"recipe": vars(recipe), "group": group, "items": items.digest(), "test": results}
    header = HeadHeader(
        tuple(items.classes), "", {}, codec.name, codec.fingerprint()[:HASH_BYTES].hex(), qualities, size, card
    )
    path = out / "head.safetensors"
    save_head(head, path, header)
    if results:
        complain(
            f"{path}: accuracy {results['accuracy']:.4f}, balanced {results['balanced_accuracy']:.4f} on "
            f"{len(split.test)} test items; `pylatent classify FILES --head {path}` uses it"
        )


def _head(architecture: Architecture, codec: Codec, size: tuple[int, int], classes: int, backbone: str) -> LatentHead:
    from pylatent import tasks

    channels, height, width = codec.level_shapes(size)[0]
    if architecture is Architecture.MLP:
        return tasks.LatentMLP(channels, classes, height=height, width=width)
    if architecture is Architecture.ADAPTER:
        levels = 1 if codec.qualities is None else round(codec.qualities[1])
        return tasks.AdaptedClassifier(channels, classes, backbone=backbone, levels=levels)
    kind = tasks.LatentResNet if architecture is Architecture.RESNET else tasks.FusionGated
    return kind(channels, classes)


def _results(head: LatentHead, codec: Codec, items: Labelled, part: np.ndarray) -> dict[str, Any]:
    from pylatent.tasks.metrics import accuracy, balanced_accuracy, confusion
    from pylatent.train.classifier import predict

    if not len(part):
        return {}
    predictions = predict(head, lambda positions: items.latents(codec, part[positions]), len(part)).argmax(1)
    matrix = confusion(items.labels[part], predictions.numpy(), len(items.classes))
    return {
        "accuracy": float(accuracy(matrix)),
        "balanced_accuracy": float(balanced_accuracy(matrix)),
        "confusion": matrix.tolist(),
    }
