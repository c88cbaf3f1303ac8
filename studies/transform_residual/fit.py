"""Fits the weights and tables of transformed residuals, and writes the module that holds them.

    python studies/transform_residual/fit.py PHOTOS [--model default-2] [-o pylatent/transform_residual/weights.py]

What coefficients are expected to be is a sum of what is known of them, by least squares with weights that are not
negative, where errors count in proportion to what is expected; the table of each class of expectations is the one that
costs least. Every second photograph, at the qualities that `pylatent.rate_control` adds residuals to, with steps of 4
to 40 grey levels. Some five minutes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

import pylatent
from pylatent import images
from pylatent._files import write_bytes
from pylatent.codecs.base import Codec
from pylatent.pixel_residual.tables import LARGEST, costs
from pylatent.rate_control import BASES
from pylatent.train.data import find_images
from pylatent.transform_residual.context import Context
from pylatent.transform_residual.steps import CLASSES, LEVELS, steps
from pylatent.transform_residual.transform import coefficients

SIDES = (384, 512)
QUANTA = (32, 48, 72, 104, 152, 224, 320)  # eighths of a grey level
SAMPLE = 1500  # coefficients of one step of one picture
_DEAD = 0.36  # added before values are rounded down, as the encoder's choice comes out about
_BITS = 14  # of weights
HALVES = 6  # in a group: of three colours


def observed(codec: Codec, paths: list[Path], generator: np.random.Generator) -> list[list[tuple[Tensor, Tensor]]]:
    """For every step: pairs of features (J, n) and sizes (n,)."""
    order = list(steps())
    data: list[list[tuple[Tensor, Tensor]]] = [[] for _ in order]
    for number, path in enumerate(paths):
        picture = images.read(path).tensor
        height, width = (min(side, whole // 16 * 16) for side, whole in zip(SIDES, picture.shape[1:], strict=True))
        top, left = (picture.shape[1] - height) // 2, (picture.shape[2] - width) // 2
        picture = picture[:, top : top + height, left : left + width]
        low, high = codec.qualities or (1.0, 1.0)
        quality = low + BASES[number % len(BASES)] * (high - low)
        stream = codec.compress(picture[None].float() / 255, None if codec.qualities is None else quality)[0]
        hat = codec.decompress_bytes([stream])[0]
        wanted, of_hat = coefficients(picture, hat), coefficients(hat)
        for quantum in (QUANTA[number * 2 % len(QUANTA)], QUANTA[(number * 2 + 3) % len(QUANTA)]):
            values = wanted / quantum
            values = values.sign() * (values.abs() + _DEAD).floor().clamp(max=LARGEST)
            context = Context(of_hat, quantum)
            for step, rows in zip(order, data, strict=True):
                own = values[step.colour, step.bands]
                features = torch.stack(
                    [context.of(step, f.expand(own.shape)).flatten().int() for f in context.features(step)]
                )
                sizes = context.of(step, own).abs().flatten()
                some = torch.from_numpy(generator.permutation(len(sizes))[:SAMPLE])
                rows.append((features[:, some], sizes[some]))
                context.put(step, context.of(step, own).int(), LARGEST)
        print(number, path.name, flush=True)
    return data


def fitted(pairs: list[tuple[Tensor, Tensor]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, the constant first, in integers; what they expect of each sample, and its size."""
    features = torch.cat([f for f, _ in pairs], 1).double().numpy().T
    sizes = torch.cat([s for _, s in pairs]).double().numpy()
    columns = np.concatenate([np.full((len(sizes), 1), 1 / 16), features / 16], 1)
    weights, expected = np.zeros(columns.shape[1]), np.full(len(sizes), sizes.mean())
    for _ in range(5):
        near = 1 / (expected + 0.01)
        scaled = columns * near[:, None]
        moment = scaled.T @ scaled
        root = np.linalg.cholesky(moment + 1e-9 * np.diag(moment.diagonal() + 1e-9)).T
        weights = nnls(root, np.linalg.solve(root.T, scaled.T @ (np.minimum(sizes, 30) * near)))[0]
        expected = columns @ weights
    whole = np.round(weights * (1 << _BITS)).astype(np.int64)
    whole[0] = max(whole[0], 1)
    return whole, whole[0] + features.astype(np.int64) @ whole[1:], sizes.astype(np.int64)


def tables_of(expected: np.ndarray, sizes: np.ndarray) -> list[int]:
    """Of every class; those without samples take their neighbour's."""
    kinds = np.searchsorted(np.array(LEVELS), expected, side="right")
    price, chosen = costs(), np.full(CLASSES, -1)
    for kind in np.unique(kinds):
        counts = np.bincount(sizes[kinds == kind], minlength=LARGEST + 1).astype(float)
        if counts.sum() < 50:
            continue
        total = (price[:, LARGEST:] @ counts + price[:, LARGEST::-1] @ counts) / 2
        chosen[kind] = total.argmin()
        print(
            kind,
            int(counts.sum()),
            f"{sizes[kinds == kind].mean():.4f}",
            chosen[kind],
            f"{total.min() / counts.sum() / 65536:.4f}",
        )
    known = np.flatnonzero(chosen >= 0)
    for kind in range(CLASSES):
        if chosen[kind] < 0:
            nearest = known[np.abs(known - kind).argmin()]
            chosen[kind] = min(chosen[nearest] + 5 * round(0.75 * max(kind - nearest, 0)), len(price) - 1)
    return [int(table) for table in chosen]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", default="default-2")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = observed(pylatent.load(options.model), find_images(options.photos)[::2], np.random.default_rng(0))
    results = [fitted(pairs) for pairs in data]
    tables = tables_of(np.concatenate([e for _, e, _ in results]), np.concatenate([s for _, _, s in results]))
    lines = [
        '"""Made by studies/transform_residual/fit.py; part of the format (docs/format.md, "Transformed residual")."""',
        "",
        "# Of each group, colour and half of the blocks: what is expected of nothing, then the weights of features.",
        "# fmt: off",
        "WEIGHTS = (",
    ]
    for number, (weights, _, _) in enumerate(results):
        first, last = number % HALVES == 0, number % HALVES == HALVES - 1
        lines.append(f"    {'(' if first else ' '}({', '.join(map(str, weights))}){'),' if last else ','}")
    rows = [tables[first : first + 16] for first in range(0, len(tables), 16)]
    lines += [")", "# Of each class, the number of its table.", "TABLES = ("]
    lines += [*(f"    {', '.join(map(str, row))}," for row in rows), ")", "# fmt: on", ""]
    write_bytes(options.output, "\n".join(lines).encode())


if __name__ == "__main__":
    main()
