"""The networks whose features FID and KID compare: Inception where there is one, or another, called by its name.

Published figures are of Inception-v3 as TensorFlow had it, which the package torch-fidelity (extra `fidelity`) knows
and downloads. VGG16 or AlexNet, as LPIPS takes them, are other networks: their numbers are no FID that others report.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from pylatent.errors import ModelError
from pylatent.evaluation.lpips import LPIPS

NAMES = ("vgg", "alex", "inception")
_BATCH = 8
_OF_LPIPS = {"vgg": "VGG16's relu5_3", "alex": "AlexNet's relu5"}
_FOREIGN = "not comparable with FID and KID of Inception's"


@dataclass(frozen=True)
class FeatureNetwork:
    """Pictures to vectors. what: its name, for captions; network: pixels (B, 3, H, W), uint8, on any device -> (B, d).

    A module of your own that takes floats: `FeatureNetwork("mine", lambda x: module(x.float() / 255))`.
    """

    what: str
    network: Callable[[Tensor], Tensor]

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """(n, 3, H, W) uint8 -> (n, d) float64 on the CPU. Raises ValueError if the network gives something else."""
        parts = []
        for batch in pictures.split(_BATCH):
            part = self.network(batch)
            if not isinstance(part, Tensor) or part.shape[0] != len(batch) or part.flatten(1).shape[1] != part.shape[1]:
                got = tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
                raise ValueError(f"{self.what} must give a vector a picture, (B, d), got {got} for {len(batch)}")
            parts.append(part.flatten(1).double().cpu())
        return torch.cat(parts)

    @staticmethod
    def load(which: str = "vgg", device: torch.device | str = "cpu") -> FeatureNetwork:
        """`vgg`, `alex` (from where LPIPS has them), `inception` (of torch-fidelity), or a file of
        `torch.export.save` (.pt2, for any batch) or TorchScript, given floats in [0, 1] of the patches' size, to give
        (B, d). Such a file is a program: take it from whom you trust.

        Raises ModelError for what cannot be had.
        """
        if which in _OF_LPIPS:
            return _of_lpips(LPIPS.load(which).to(device), which)  # type: ignore[arg-type]  # one of the two
        return _inception(device) if which == "inception" else _program(Path(which), device)


def _of_lpips(metric: LPIPS, which: str) -> FeatureNetwork:
    def network(x: Tensor) -> Tensor:
        return metric.describe(x.to(metric.shift.device))[-1].mean((2, 3))

    return FeatureNetwork(f"{_OF_LPIPS[which]}, of length 1, averaged over positions, {_FOREIGN}", network)


def _inception(device: torch.device | str) -> FeatureNetwork:
    if find_spec("torch_fidelity") is None:
        raise ModelError(
            "Inception's features need torch-fidelity, which is not installed: pip install 'pylatent[fidelity]', or "
            f"take {' or '.join(NAMES[:2])}, or a file"
        )
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    try:
        module = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).to(device)
    except OSError as error:  # urllib's are such
        raise ModelError(f"the weights of Inception cannot be downloaded by torch-fidelity: {error}") from error
    return FeatureNetwork("Inception-v3's last pooling, by torch-fidelity", lambda x: module(x.to(device))[0])


def _program(path: Path, device: torch.device | str) -> FeatureNetwork:
    if not path.is_file():
        raise ModelError(f"features must be {', '.join(NAMES)} or a file, .pt2 or TorchScript; there is no file {path}")
    try:
        if path.suffix == ".pt2":
            module = torch.export.load(os.fspath(path)).module().to(device)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # files of many years are TorchScript
                module = torch.jit.load(os.fspath(path), map_location=device)
    except Exception as error:  # torch raises many kinds; every one means that the file is not usable
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"{path} holds no program of torch.export (.pt2) or TorchScript: {reason}") from error
    return FeatureNetwork(f"{path.name}'s features, {_FOREIGN}", lambda x: module(x.to(device).float() / 255))
