"""Labels from latents: a linear probe, an adapter before a frozen backbone, and both trained.

Two labelled sets of 64 x 64 pixels: blood cells (BCCD, boxes cut and resized, 3 classes) and the handwritten digits
that scikit-learn ships (8 x 8, enlarged, 10 classes). The backbone is a small network trained on the pixels of the same
set, without its stem; POLC's adapter (tasks/adapter.py) gives it what the stem would.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent.codecs import Codec
from pylatent.tasks import LatentAdapter
from pylatent.tasks.annotations import read_voc
from pylatent.tasks.data import balanced_sample, crops, group_split

SIDE, WIDTH, UPSCALE, BATCH = 64, 48, 4, 32
STEPS, RATE = 60, 3e-3


@dataclass(frozen=True)
class Labelled:
    """x: uint8 (n, 3, 64, 64). splits: places for training and for testing, no item being tested twice."""

    name: str
    x: Tensor
    labels: np.ndarray
    classes: int
    splits: list[tuple[np.ndarray, np.ndarray]]


def blood_cells(folder: Path, most: int = 400) -> Labelled:
    """At most `most` cells of a class; whole pictures are for training or for testing."""
    items = sorted(crops(read_voc(folder)), key=lambda item: item.key.encode())
    names = sorted({item.label for item in items})
    generator, chosen = np.random.default_rng(0), []
    for name in names:
        places = [number for number, item in enumerate(items) if item.label == name]
        chosen += generator.permutation(places)[:most].tolist()
    kept = [items[number] for number in sorted(chosen)]
    x = np.stack([np.asarray(item.picture.resize((SIDE, SIDE))).transpose(2, 0, 1) for item in kept])
    splits = [group_split([item.group for item in kept], fold=fold) for fold in range(6)]
    labels = np.array([names.index(item.label) for item in kept])
    return Labelled("BCCD", torch.from_numpy(x), labels, len(names), [(each.train, each.test) for each in splits])


def digits() -> Labelled:
    from sklearn.datasets import load_digits

    found = load_digits()
    grey = torch.from_numpy(found.images).float()[:, None] / 16
    large = F.interpolate(grey, size=(SIDE, SIDE), mode="bicubic", align_corners=False).clamp(0, 1)
    x = (255 * large).round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()
    parts = np.array_split(np.random.default_rng(0).permutation(len(x)), 3)
    splits = [(np.concatenate([*parts[:fold], *parts[fold + 1 :]]), parts[fold]) for fold in range(3)]
    return Labelled("digits", x, found.target, 10, splits)


@torch.no_grad()
def latents_of(codec: Codec, x: Tensor, quality: float) -> tuple[Tensor, float]:
    """Pictures, uint8 -> y_hat (n, C, 4, 4) and mean bits a picture."""
    parts, bits = [], 0.0
    for some in x.split(BATCH):
        output = codec.quantize(
            codec.analyze(some.float() / 255, quality), lambda residual, level: (residual.round(),) * 2
        )
        parts.append(output.latents.y)
        bits += float(torch.stack([level.sum() for level in output.bits]).sum())
    return torch.cat(parts), bits / len(x)


def quality_of(codec: Codec, x: Tensor, bits: float) -> float:
    """The quality, in sixteenths, at which pictures take at most so many bits, as a mean; the lowest if none does."""
    assert codec.qualities is not None
    low, high = (round(16 * end) for end in codec.qualities)
    while low < high:
        middle = (low + high + 1) // 2
        if latents_of(codec, x, middle / 16)[1] <= bits:
            low = middle
        else:
            high = middle - 1
    return low / 16


def probe(y: Tensor, data: Labelled) -> list[float]:
    """Of each split the accuracy of a logistic regression on standardised means and extremes over positions."""
    from sklearn.linear_model import LogisticRegression

    features = torch.cat([y.mean((2, 3)), y.amax((2, 3)), y.amin((2, 3))], 1)
    features = ((features - features.mean(0)) / features.std(0).clamp_min(1e-6)).numpy()
    found = []
    for train, test in data.splits:
        fitted = LogisticRegression(C=0.05, max_iter=400, class_weight="balanced")
        fitted.fit(features[train], data.labels[train])
        found.append(_balanced(fitted.predict(features[test]), data.labels[test], data.classes))
    return found


def _balanced(predicted: np.ndarray, labels: np.ndarray, classes: int) -> float:
    """Accuracy as the mean over classes, in percent."""
    return round(100 * float(np.mean([(predicted[labels == each] == each).mean() for each in range(classes)])), 2)


def _backbone(classes: int) -> nn.Sequential:
    """(B, WIDTH, 16, 16) -> logits."""
    wide = 2 * WIDTH
    return nn.Sequential(
        nn.Conv2d(WIDTH, wide, 3, 2, padding=1), nn.BatchNorm2d(wide), nn.ReLU(),
        nn.Conv2d(wide, wide, 3, padding=1), nn.BatchNorm2d(wide), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, classes),
    )  # fmt: skip


class _Adapted(nn.Module):
    def __init__(self, channels: int, backbone: nn.Module, *, frozen: bool) -> None:
        super().__init__()
        self.adapter = LatentAdapter(channels, WIDTH, upscale=UPSCALE, levels=1)
        self.backbone, self.frozen = backbone.requires_grad_(not frozen), frozen

    def forward(self, y: Tensor) -> Tensor:
        if self.frozen:
            self.backbone.eval()
        return self.backbone(self.adapter(y))


def on_pixels(data: Labelled, seed: int) -> tuple[nn.Sequential, float]:
    """The backbone, trained behind a stem of stride 4, and the accuracy of both."""
    torch.manual_seed(seed)
    stem = nn.Sequential(nn.Conv2d(3, WIDTH, 7, 4, padding=3), nn.BatchNorm2d(WIDTH))
    backbone = _backbone(data.classes)
    accuracy = _train(nn.Sequential(stem, backbone), lambda places: data.x[places].float() / 127.5 - 1, data, seed)
    return backbone, accuracy


def adapted(y: Tensor, data: Labelled, backbone: nn.Sequential, seed: int, *, frozen: bool) -> float:
    """Accuracy of an adapter before the backbone: it alone is trained, or both."""
    torch.manual_seed(seed)
    own = _backbone(data.classes)
    own.load_state_dict(backbone.state_dict())
    spread = y[data.splits[seed][0]].std()
    return _train(_Adapted(y.shape[1], own, frozen=frozen), lambda places: y[places] / spread, data, seed)


def _train(model: nn.Module, inputs: Callable[[np.ndarray], Tensor], data: Labelled, seed: int) -> float:
    """Balanced batches, Adam, a rate that falls linearly; accuracy on the test items of the split of this number."""
    train, test = data.splits[seed]
    adam = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=RATE)
    sample = train[balanced_sample(data.labels[train], STEPS * BATCH, (seed, 0))]
    model.train()
    for step, places in enumerate(np.array_split(sample, STEPS)):
        adam.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        loss = F.cross_entropy(model(inputs(places)), torch.from_numpy(data.labels[places]).long())
        adam.zero_grad()
        loss.backward()
        adam.step()
    model.eval()
    with torch.no_grad():
        predicted = torch.cat([model(inputs(places)).argmax(1) for places in np.array_split(test, 8)])
    return _balanced(predicted.numpy(), data.labels[test], data.classes)


def compare(models: dict[str, Codec], data: Labelled, quality: float, seeds: int = 3) -> dict[str, object]:
    """All accuracies in percent: model -> quality, bits, probe (of each split), adapter alone and all trained (of each
    seed, which takes the split of its number).

    The first model codes at `quality`, the others at theirs at which items take no more bits.
    """
    backbones = [on_pixels(data, seed) for seed in range(seeds)]
    rows: dict[str, object] = {"pixels": [accuracy for _, accuracy in backbones]}
    measured = data.x[:: max(1, len(data.x) // 128)]
    bits = latents_of(next(iter(models.values())), measured, quality)[1]
    for number, (name, codec) in enumerate(models.items()):
        chosen = quality_of(codec, measured, bits) if number else quality
        y, taken = latents_of(codec, data.x, chosen)
        row: dict[str, object] = {"quality": chosen, "bits": round(taken, 1), "probe": probe(y, data)}
        for how, frozen in (("adapter", True), ("full", False)):
            row[how] = [adapted(y, data, backbone, seed, frozen=frozen) for seed, (backbone, _) in enumerate(backbones)]
        rows[name] = row
        print(data.name, name, row, flush=True)
    return rows
