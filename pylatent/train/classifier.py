"""Training of classifiers, of latents or of pixels alike: balanced epochs, Adam, a rate that falls linearly to zero.

A run depends on its recipe alone: the items of an epoch come from (seed, epoch), so that a run that was cut and resumed
sees the same ones. The weights of the last epoch are the result; nothing is chosen on validation items.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent.errors import ModelError
from pylatent.tasks.data import balanced_sample
from pylatent.train.checkpoint import read_checkpoint, write_checkpoint

Fetch = Callable[[npt.NDArray[np.int64]], Any]  # positions -> what the model takes


@dataclass(frozen=True)
class ClassifierRecipe:
    """epoch_size: items drawn per epoch, all classes equally often. bf16: autocast, on a CPU or GPU that has it."""

    epochs: int = 10
    epoch_size: int = 1024
    batch: int = 32
    learning_rate: float = 1e-3
    bf16: bool = False
    seed: int = 0


@dataclass(frozen=True)
class EpochReport:
    """What the caller is told after each step: `epoch` counts from 0, `fraction` of the run done, mean loss so far."""

    epoch: int
    fraction: float
    loss: float


def train_classifier(
    model: nn.Module,
    fetch: Fetch,
    labels: npt.ArrayLike,
    recipe: ClassifierRecipe,
    *,
    checkpoint: Path | None = None,
    report: Callable[[EpochReport], None] = lambda report: None,
    after_epoch: Callable[[int], None] = lambda epoch: None,
) -> nn.Module:
    """Trains `model(fetch(positions)) -> logits` on all `labels` (class numbers); returns it in eval mode.

    checkpoint: a file to resume from, written after each epoch. Raises ModelError where it is another recipe's.
    """
    labels = np.asarray(labels)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=recipe.learning_rate)
    device = parameters[0].device
    start = _resume(checkpoint, model, optimizer, recipe, device)
    steps_per_epoch = -(-recipe.epoch_size // recipe.batch)
    total = steps_per_epoch * recipe.epochs
    for epoch in range(start, recipe.epochs):
        model.train()
        sample = balanced_sample(labels, recipe.epoch_size, (recipe.seed, epoch))
        losses = 0.0
        for step, positions in enumerate(np.array_split(sample, steps_per_epoch)):
            done = epoch * steps_per_epoch + step
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * (1 - done / total)
            target = torch.from_numpy(labels[positions].astype(np.int64)).to(device)
            with _autocast(device, recipe.bf16):
                logits = model(fetch(positions))
            loss = F.cross_entropy(logits.float(), target)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses += float(loss.detach())
            report(EpochReport(epoch, (done + 1) / total, losses / (step + 1)))
        if checkpoint is not None:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch + 1}
            write_checkpoint(checkpoint, state | {"recipe": asdict(recipe)})
        model.eval()
        after_epoch(epoch)
    return model.eval()


@torch.no_grad()
def predict(model: nn.Module, fetch: Fetch, count: int, *, batch: int = 64, bf16: bool = False) -> Tensor:
    """Probabilities (count, classes) of the items 0 to count - 1, float32 on the CPU."""
    device = next(model.parameters()).device
    parts = []
    for positions in _batches(count, batch):
        with _autocast(device, bf16):
            logits = model(fetch(positions))
        parts.append(logits.float().softmax(1).cpu())
    return torch.cat(parts)


def _batches(count: int, batch: int) -> Iterator[npt.NDArray[np.int64]]:
    for first in range(0, count, batch):
        yield np.arange(first, min(first + batch, count))


def _autocast(device: torch.device, bf16: bool) -> contextlib.AbstractContextManager[Any]:
    return torch.autocast(device.type, torch.bfloat16) if bf16 else contextlib.nullcontext()


def _resume(
    checkpoint: Path | None,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    recipe: ClassifierRecipe,
    device: torch.device,
) -> int:
    """The epoch to go on with; weights and moments are taken from the checkpoint, if there is one."""
    state = None if checkpoint is None else read_checkpoint(checkpoint, device)
    if state is None:
        return 0
    if state["recipe"] != asdict(recipe):
        raise ModelError(
            f"{checkpoint} was written with {state['recipe']}, now asked for is {asdict(recipe)}: choose another folder"
        )
    try:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{checkpoint} is of another architecture or other data: choose another folder") from error
    return int(state["epoch"])
