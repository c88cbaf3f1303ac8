"""From the results of latent_classification.py to one JSON file, and from that to the tables and plots of the page."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from data import QUALITIES, Data
from harness import environment
from jobs import ADAPTER, CONTROLS, PIXELS
from pages import with_section
from plots import accuracy_against_bits, confusions

from pylatent._files import write_bytes
from pylatent.archive import Archive
from pylatent.tasks.data import SIZE
from pylatent.tasks.metrics import accuracy, balanced_accuracy, confusion, interval, resampled
from pylatent.train.classifier import ClassifierRecipe

_METRICS = {"accuracy": accuracy, "balanced_accuracy": balanced_accuracy}
_SIDE = tuple[str, str, str]  # model, quality trained on, quality tested on


def write(data: Data, recipe: ClassifierRecipe, results: Path, latency: Path, output: Path) -> None:
    """The whole study as JSON: settings, rows, differences, latencies, and every prediction."""
    items = data.items()
    runs = [json.loads(file.read_text()) for file in sorted(results.glob("*.json"))]
    sides: dict[_SIDE, dict[int, list[int]]] = defaultdict(dict)
    facts: dict[str, dict[str, Any]] = defaultdict(lambda: {"parameters": 0, "train_cpu_seconds": []})
    for run in runs:
        trained = "original" if run["quality"] is None else f"q{run['quality']:g}"
        for tested, predictions in run["predictions"].items():
            sides[run["model"], trained, tested][run["fold"]] = predictions
        facts[run["model"]]["parameters"] = run["parameters"]
        facts[run["model"]]["train_cpu_seconds"].append(run["train_cpu_seconds"])
    study = _Study(items.labels, items.groups, {fold: items.split(fold).test for fold in range(5)}, sides)
    document = {
        "data": {
            "crops": {name: int((items.labels == number).sum()) for number, name in enumerate(items.classes)},
            "pictures": len(set(items.groups)),
            "most_of_a_class_per_picture": data.most,
        },
        "recipe": vars(recipe),
        "environment": environment("timm"),
        "classes": items.classes,
        "bpp": {f"q{quality:g}": _bpp(data, quality) for quality in QUALITIES},
        "models": {
            name: {**fact, "train_cpu_seconds": float(np.mean(fact["train_cpu_seconds"]))}
            for name, fact in facts.items()
        },
        "rows": [study.row(side) for side in sorted(sides)],
        "differences": study.differences(),
        "latency": json.loads(latency.read_text()) if latency.exists() else None,
        "items": {"labels": "".join(map(str, items.labels)), "groups": " ".join(items.groups)},
        "predictions": {
            " | ".join(side): {str(fold): "".join(map(str, found)) for fold, found in sorted(folds.items())}
            for side, folds in sorted(sides.items())
        },
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(output, (json.dumps(document, indent=1) + "\n").encode())


class _Study:
    def __init__(self, labels: np.ndarray, groups: list[str], tests: dict[int, np.ndarray], sides: Any) -> None:
        self.labels, self.groups, self.tests, self.sides = labels, groups, tests, sides

    def row(self, side: _SIDE) -> dict[str, Any]:
        """A model's results, the test parts of its folds being pooled."""
        folds = sorted(self.sides[side])
        truth, found, groups = self._pooled(side, folds)
        each = [self._pooled(side, [fold]) for fold in folds]
        classes = int(self.labels.max()) + 1
        of_folds = [float(balanced_accuracy(confusion(t, f, classes))) for t, f, _ in each]
        row: dict[str, Any] = {"model": side[0], "trained_on": side[1], "tested_on": side[2], "folds": len(folds)}
        for name, metric in _METRICS.items():
            row[name] = asdict(interval(*resampled(truth, found, groups, metric)))
        row["balanced_accuracy_of_folds"] = of_folds
        row["confusion"] = confusion(truth, found, classes).tolist()
        return row

    def differences(self) -> list[dict[str, Any]]:
        """Paired differences in balanced accuracy and accuracy, on the folds that both sides have."""
        pairs: list[tuple[_SIDE, _SIDE]] = []
        original = (PIXELS, "original", "original")
        for quality in (f"q{q:g}" for q in sorted(QUALITIES)):
            plain = ("LatentResNet", quality, quality)
            pairs += [(("FusionGated", quality, quality), plain), (plain, original)]
            pairs += [(plain, (PIXELS, "original", quality)), (plain, (PIXELS, quality, quality))]
            pairs += [((control, quality, quality), plain) for control in CONTROLS]
            pairs += [(("FusionGated", quality, quality), (control, quality, quality)) for control in CONTROLS]
            pairs += [((ADAPTER, quality, quality), plain)]
        found = [self._difference(a, b) for a, b in pairs if self._common(a, b)]
        return found + self._saturation()

    def _difference(self, a: _SIDE, b: _SIDE) -> dict[str, Any]:
        result: dict[str, Any] = {"of": " | ".join(a), "against": " | ".join(b), "folds": len(self._common(a, b))}
        for name, metric in _METRICS.items():
            (x, xs), (y, ys) = (self._resampled(side, self._common(a, b), metric) for side in (a, b))
            result[name] = asdict(interval(x - y, xs - ys))
        return result

    def _saturation(self) -> list[dict[str, Any]]:
        """(gated - plain) at qualities 1 and 2, less the same at 3: positive if the hypothesis holds."""
        results = []
        for low in ("q1", "q2"):
            sides = [(m, q, q) for q in (low, "q3") for m in ("FusionGated", "LatentResNet")]
            folds = sorted(set.intersection(*(set(self.sides.get(side, ())) for side in sides)))
            if not folds:
                continue
            result: dict[str, Any] = {"of": f"gain of gating at {low}", "against": "gain of gating at q3"}
            for name, metric in _METRICS.items():
                (a, x), (b, y), (c, z), (d, w) = (self._resampled(side, folds, metric) for side in sides)
                result[name] = asdict(interval(a - b - (c - d), x - y - (z - w)))
            results.append({**result, "folds": len(folds)})
        return results

    def _common(self, a: _SIDE, b: _SIDE) -> list[int]:
        return sorted(set(self.sides.get(a, ())) & set(self.sides.get(b, ())))

    def _resampled(self, side: _SIDE, folds: list[int], metric: Any) -> tuple[float, Any]:
        truth, found, groups = self._pooled(side, folds)
        return resampled(truth, found, groups, metric)

    def _pooled(self, side: _SIDE, folds: list[int]) -> tuple[np.ndarray, np.ndarray, list[str]]:
        positions = np.concatenate([self.tests[fold] for fold in folds])
        found = np.concatenate([self.sides[side][fold] for fold in folds])
        return self.labels[positions], found, [self.groups[position] for position in positions]


def _bpp(data: Data, quality: float) -> float:
    archive = Archive(data.archive_path(quality))
    return 8 * sum(len(record.stream.to_record()) for record in archive) / len(archive) / SIZE**2


def document(source: Path, docs: Path) -> None:
    """Makes the plots, and the tables between the markers of docs/latent-classification.md, anew."""
    result = json.loads(source.read_text())
    accuracy_against_bits(result, docs / "images" / "latent-classification-bits.png")
    confusions(result, docs / "images" / "latent-classification-confusion.png")
    page = docs / "latent-classification.md"
    text = page.read_text(encoding="utf-8")
    for name, make in (("results", _results), ("differences", _differences), ("latency", _latency)):
        text = with_section(text, name, "\n".join([*make(result), ""]))
    write_bytes(page, text.encode())


def _results(result: dict[str, Any]) -> list[str]:
    order = [PIXELS, "LatentResNet", "FusionGated", "LatentMLP", *CONTROLS, ADAPTER]
    rows = sorted(
        result["rows"],
        key=lambda r: (
            order.index(r["model"]),
            r["trained_on"] != "original",
            r["trained_on"],
            r["tested_on"] != "original",
            r["tested_on"],
        ),
    )
    lines = ["| model | parameters | trained on | tested on | accuracy, % | balanced accuracy, % | folds: mean ± sd |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for row in rows:
        folds = 100 * np.array(row["balanced_accuracy_of_folds"])
        spread = f"{folds.mean():.1f} ± {folds.std(ddof=1):.1f}" if len(folds) > 1 else f"{folds[0]:.1f} (one fold)"
        parameters = result["models"][row["model"]]["parameters"] / 1e6
        cells = [row["model"], f"{parameters:.2f} M", row["trained_on"], row["tested_on"]]
        cells += [_interval(row[name]) for name in _METRICS] + [spread]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _differences(result: dict[str, Any]) -> list[str]:
    lines = ["| difference | balanced accuracy, points | accuracy, points | folds |", "|---|---|---|---|"]
    for row in result["differences"]:
        values = [_interval(row[name], signed=True) for name in ("balanced_accuracy", "accuracy")]
        lines.append(f"| {_side(row['of'])} − {_side(row['against'])} | {' | '.join(values)} | {row['folds']} |")
    return lines


def _side(name: str) -> str:
    model, *qualities = name.split(" | ")
    if not qualities:
        return model
    trained, tested = qualities
    if model != PIXELS or trained == tested:
        return f"{model} {tested}"
    return f"{model}, trained on {trained}, tested on {tested}"


def _latency(result: dict[str, Any]) -> list[str]:
    latency = result["latency"]
    if latency is None:
        return ["(not measured)"]
    names = list(latency["rows"][0]["ms"])
    heads = [f"batch {row['batch']}, {row['threads']} thread{'s' * (row['threads'] > 1)}" for row in latency["rows"]]
    lines = [f"| milliseconds per picture | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for name in names:
        cells = [f"{row['ms'][name]:.2f}" if name in row["ms"] else "" for row in latency["rows"]]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    rates = latency["archive_to_labels"]
    lines += [
        "",
        "| archive to labels | pictures/s | pictures per second of processor time | times EfficientNet-B0's |",
    ]
    lines += ["|---|---|---|---|"]
    for name, rate in rates["per_second"].items():
        ratio = rates["per_processor_second"][name] / rates["per_processor_second"][PIXELS]
        how = "decode, synthesis, " if name == PIXELS else "decode, "
        busy = rates["per_processor_second"][name]
        lines.append(f"| {how}{name} | {rate:.0f} | {busy:.0f} | {ratio:.1f} |")
    return lines


def _interval(value: dict[str, float], *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    number, low, high = (100 * value[name] for name in ("value", "low", "high"))
    return f"{number:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"
