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
    """x: uint8 (n, 3, 64, 64). train, test: places."""

    name: str
    x: Tensor
    labels: np.ndarray
    classes: int
    train: np.ndarray
    test: np.ndarray


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
    split = group_split([item.group for item in kept], fold=0)
    labels = np.array([names.index(item.label) for item in kept])
    return Labelled("BCCD", torch.from_numpy(x), labels, len(names), split.train, split.test)


def digits() -> Labelled:
    from sklearn.datasets import load_digits

    found = load_digits()
    grey = torch.from_numpy(found.images).float()[:, None] / 16
    large = F.interpolate(grey, size=(SIDE, SIDE), mode="bicubic", align_corners=False).clamp(0, 1)
    x = (255 * large).round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()
    order = np.random.default_rng(0).permutation(len(x))
    return Labelled("digits", x, found.target, 10, order[:1200], order[1200:])


@torch.no_grad()
def latents_of(codec: Codec, data: Labelled, quality: float) -> tuple[Tensor, float]:
    """y_hat (n, C, 4, 4) and mean bits a picture."""
    parts, bits = [], 0.0
    for x in data.x.split(BATCH):
        output = codec.quantize(
            codec.analyze(x.float() / 255, quality), lambda residual, level: (residual.round(),) * 2
        )
        parts.append(output.latents.y)
        bits += float(torch.stack([level.sum() for level in output.bits]).sum())
    return torch.cat(parts), bits / len(data.x)


def probe(y: Tensor, data: Labelled) -> float:
    """Accuracy (mean over classes) of a logistic regression on standardised means and maxima over positions."""
    from sklearn.linear_model import LogisticRegression

    features = torch.cat([y.mean((2, 3)), y.amax((2, 3)), y.amin((2, 3))], 1)
    features = ((features - features.mean(0)) / features.std(0).clamp_min(1e-6)).numpy()
    fitted = LogisticRegression(C=0.05, max_iter=400, class_weight="balanced").fit(
        features[data.train], data.labels[data.train]
    )
    return _balanced(fitted.predict(features[data.test]), data)


def _balanced(predicted: np.ndarray, data: Labelled) -> float:
    labels = data.labels[data.test]
    return float(np.mean([(predicted[labels == each] == each).mean() for each in range(data.classes)]))


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
    spread = y[data.train].std()
    return _train(_Adapted(y.shape[1], own, frozen=frozen), lambda places: y[places] / spread, data, seed)


def _train(model: nn.Module, inputs: Callable[[np.ndarray], Tensor], data: Labelled, seed: int) -> float:
    """Balanced batches, Adam, a rate that falls linearly; balanced accuracy on the test items."""
    adam = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=RATE)
    sample = data.train[balanced_sample(data.labels[data.train], STEPS * BATCH, (seed, 0))]
    model.train()
    for step, places in enumerate(np.array_split(sample, STEPS)):
        adam.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        loss = F.cross_entropy(model(inputs(places)), torch.from_numpy(data.labels[places]).long())
        adam.zero_grad()
        loss.backward()
        adam.step()
    model.eval()
    with torch.no_grad():
        predicted = torch.cat([model(inputs(places)).argmax(1) for places in np.array_split(data.test, 8)])
    return _balanced(predicted.numpy(), data)


def compare(models: dict[str, Codec], sets: list[Labelled], quality: float, seeds: int = 3) -> dict[str, object]:
    """All accuracies: set -> model -> bits, probe, and of each seed adapter alone and all trained."""
    results: dict[str, object] = {}
    for data in sets:
        backbones = [on_pixels(data, seed) for seed in range(seeds)]
        rows: dict[str, object] = {"pixels": [round(accuracy, 4) for _, accuracy in backbones]}
        for name, codec in models.items():
            y, bits = latents_of(codec, data, quality)
            row: dict[str, object] = {"bits": round(bits, 1), "probe": round(probe(y, data), 4)}
            for how, frozen in (("adapter", True), ("full", False)):
                row[how] = [
                    round(adapted(y, data, backbone, seed, frozen=frozen), 4)
                    for seed, (backbone, _) in enumerate(backbones)
                ]
            rows[name] = row
            print(data.name, name, row, flush=True)
        results[data.name] = rows
    return results
