"""The trainings of latent_classification.py: one job is a model, a quality and a fold; its result is one JSON file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data import FOLDS, QUALITIES, Data
from torch import nn

from pylatent import tasks, zoo
from pylatent._files import write_bytes
from pylatent.tasks.adapter import timm
from pylatent.train.classifier import ClassifierRecipe, predict, train_classifier

PIXELS = "EfficientNet-B0"
ADAPTER = "ConvNeXt-atto with adapter"
SHUFFLED = "FusionGated, shuffled scales"
HEADS: dict[str, type[tasks.LatentHead]] = {
    "LatentResNet": tasks.LatentResNet,
    "FusionGated": tasks.FusionGated,
    "LatentMLP": tasks.LatentMLP,
    "scales alone": tasks.ScalesResNet,
    SHUFFLED: tasks.FusionGated,
    "concatenation": tasks.ConcatResNet,
    "y gated by itself": tasks.SelfGated,
}
CONTROLS = ("scales alone", SHUFFLED, "concatenation", "y gated by itself")


@dataclass(frozen=True)
class Job:
    """quality: that of the training data; None for original pixels."""

    model: str
    quality: float | None
    fold: int

    @property
    def name(self) -> str:
        quality = "original" if self.quality is None else f"q{self.quality:g}"
        return f"{self.model.replace(' ', '-').replace(',', '')}_{quality}_fold{self.fold}"


def jobs(folds: int = FOLDS, *, on_decoded: tuple[float, ...] = ()) -> list[Job]:
    """All trainings, in the order in which they are done."""
    heads = ("LatentResNet", "FusionGated", "LatentMLP")
    plan = [(model, quality) for quality in QUALITIES for model in heads]
    plan += [(PIXELS, None)]
    plan += [(model, quality) for quality in (1.0, 3.0) for model in CONTROLS]
    plan += [(ADAPTER, 3.0)]
    plan += [(PIXELS, quality) for quality in on_decoded]
    return [Job(model, quality, fold) for model, quality in plan for fold in range(folds)]


def run(job: Job, data: Data, recipe: ClassifierRecipe, results: Path) -> None:
    """Trains and tests; writes the predictions for the fold's test items."""
    target = results / f"{job.name}.json"
    if target.exists():
        return
    items = data.items()
    split = items.split(job.fold)
    torch.manual_seed(1000 + job.fold)
    model = make(job.model, data, len(items.classes)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    checkpoint = results / f"{job.name}.pt"
    long = job.model in (PIXELS, ADAPTER)
    recipe = replace(recipe, seed=job.fold, bf16=job.model != PIXELS)  # measured: depthwise convolutions train slower
    start = time.process_time()
    fetch = fetcher(job, data, split.train)
    train_classifier(model, fetch, items.labels[split.train], recipe, checkpoint=checkpoint if long else None)
    seconds = time.process_time() - start
    predictions = {}
    for variant, test in variants(job, data, split.test).items():
        with torch.no_grad():
            predictions[variant] = predict(model, test, len(split.test), batch=32, bf16=recipe.bf16).argmax(1).tolist()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    result = {"model": job.model, "quality": job.quality, "fold": job.fold, "parameters": parameters}
    result |= {"train_cpu_seconds": round(seconds, 1), "predictions": predictions}
    write_bytes(target, json.dumps(result).encode())
    checkpoint.unlink(missing_ok=True)


def make(name: str, data: Data, classes: int) -> nn.Module:
    """A model of the study with random weights."""
    if name == PIXELS:
        return timm().create_model("efficientnet_b0", num_classes=classes)
    channels = data.latents(QUALITIES[0], np.arange(1)).levels[0].shape[1]
    if name == ADAPTER:
        return tasks.AdaptedClassifier(channels, classes, backbone="convnext_atto")
    return HEADS[name](channels, classes)


def fetcher(job: Job, data: Data, positions: np.ndarray) -> Callable[[np.ndarray], Any]:
    """From places among `positions` to what the model takes, of the job's training quality."""
    quality = job.quality
    if job.model == PIXELS:
        if quality is None:
            return lambda places: normalised(data.pixels(positions[places]))
        codec = zoo.shared("default")
        return lambda places: normalised(data.decoded(codec, quality, positions[places]))
    assert quality is not None
    if job.model == SHUFFLED:
        others = np.random.default_rng(job.fold).permutation(positions)
        return lambda places: data.latents(quality, positions[places], others[places])
    return lambda places: data.latents(quality, positions[places])


def variants(job: Job, data: Data, positions: np.ndarray) -> dict[str, Callable[[np.ndarray], Any]]:
    """What a trained model is tested on: a pixel model on originals and on all decoded pixels, another on its own."""
    if job.model != PIXELS:
        return {f"q{job.quality:g}": fetcher(job, data, positions)}
    tests = {"original": fetcher(Job(PIXELS, None, job.fold), data, positions)}
    for quality in QUALITIES:
        tests[f"q{quality:g}"] = fetcher(Job(PIXELS, quality, job.fold), data, positions)
    return tests


def normalised(x: torch.Tensor) -> torch.Tensor:
    return ((x - 0.5) / 0.25).contiguous(memory_format=torch.channels_last)
