"""LPIPS: how different two pictures look, as a distance of features (Zhang et al. 2018, arXiv 1801.03924, version 0.1).

    d(a, b) = sum over layers l of  mean over positions of  sum over channels c of  w_lc (f_lc(a) - f_lc(b))^2

f_l: what a classifier trained on ImageNet computes at layer l, each position's vector divided by its length; w: linear
heads fitted to people's judgements. The classifier is VGG16 or AlexNet, without its fully connected layers. Heads come
with the package `lpips`, features with `torchvision`, or both lie in a folder of yours; neither is part of pylatent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent.errors import ModelError
from pylatent.zoo.checkpoints import read_checkpoint

Network = Literal["vgg", "alex"]
VARIABLE = "PYLATENT_LPIPS"
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of pixels in [-1, 1]


@dataclass(frozen=True)
class _Layout:
    """A classifier's convolutions by their numbers in torchvision, and what they follow.

    pooled: maximum over `pool` pixels a side, every 2, comes before. tapped: their results, after ReLU, are compared.
    first: stride and padding of the first; the others keep the size. smallest: shortest side of a picture.
    """

    name: str
    convolutions: tuple[int, ...]
    pooled: tuple[int, ...]
    tapped: tuple[int, ...]
    pool: int
    first: tuple[int, int]
    smallest: int


_LAYOUTS: dict[str, _Layout] = {
    "vgg": _Layout(
        "vgg16", (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), (5, 10, 17, 24), (2, 7, 14, 21, 28), 2, (1, 1), 16
    ),
    "alex": _Layout("alexnet", (0, 3, 6, 8, 10), (3, 6), (0, 3, 6, 8, 10), 3, (4, 2), 31),
}


class LPIPS(nn.Module):
    """The metric with given weights, which do not learn; `LPIPS.load` finds them.

    features: `features.N.weight` and `.bias`, torchvision's names, of any width. heads: `linK.model.1.weight`
    (1, C, 1, 1), the names of the package `lpips`. Others are passed over. Raises ModelError for what is missing.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, net: Network, features: Mapping[str, Tensor], heads: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.net, self._layout = net, _layout_of(net)
        self.register_buffer("shift", torch.tensor(_SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(_SCALE)[:, None, None])
        convolutions, channels = [], 3
        for number in self._layout.convolutions:
            weight = _take(features, f"features.{number}.weight", (None, channels, None, None))
            channels, kernel = weight.shape[0], weight.shape[-1]
            stride, padding = (1, kernel // 2) if number else self._layout.first
            convolution = nn.Conv2d(weight.shape[1], channels, kernel, stride, padding)
            convolution.weight.data.copy_(weight)
            assert convolution.bias is not None
            convolution.bias.data.copy_(_take(features, f"features.{number}.bias", (channels,)))
            convolutions.append(convolution)
            if number in self._layout.tapped:
                name = f"lin{self._layout.tapped.index(number)}.model.1.weight"
                self.register_buffer(f"head{name[3]}", _take(heads, name, (1, channels, 1, 1)).float().clone())
        self.convolutions = nn.ModuleList(convolutions)
        self.requires_grad_(False).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    @property
    def smallest(self) -> int:
        """The shortest side of a picture in pixels."""
        return self._layout.smallest

    @classmethod
    def load(cls, net: Network = "vgg", folder: str | os.PathLike[str] | None = None) -> LPIPS:
        """The published metric. net: "vgg" or "alex".

        folder: holds `vgg` or `alex` (the heads, version 0.1) and one file `vgg16*` or `alexnet*` with torchvision's
        names, each as .pth or .safetensors; if None, the environment variable PYLATENT_LPIPS names it; without it,
        the packages lpips and torchvision give them, which downloads the features once. Raises ModelError if there is
        nothing to take, or no such folder.
        """
        layout = _layout_of(net)
        named = folder if folder is not None else os.environ.get(VARIABLE)
        if named:
            return cls(net, *_from_folder(Path(named), net, layout.name))
        missing = [package for package in ("lpips", "torchvision") if find_spec(package) is None]
        if missing:
            raise ModelError(
                f"LPIPS needs the features of {layout.name} and linear heads: pip install 'pylatent[perceptual]' "
                f"({' and '.join(missing)} cannot be found), or put {layout.name} and {net}, each as .safetensors "
                f"or .pth, into a folder and name it by {VARIABLE}"
            )
        return cls(net, _from_torchvision(layout.name), read_checkpoint(_heads_of_package(net)))

    def describe(self, x: Tensor) -> list[Tensor]:
        """Pixels (B, 3, H, W), floating in [0, 1] or uint8 -> a layer's vectors of length 1 each, (B, C, h, w) float32
        (or float64). Raises ValueError for a picture below 16 pixels a side, 31 with AlexNet."""
        if x.ndim != 4 or x.shape[1] != 3 or min(x.shape[2:]) < self.smallest:
            raise ValueError(
                f"LPIPS ({self.net}) needs pictures (B, 3, H, W) of at least {self.smallest} pixels a side, got "
                f"{tuple(x.shape)}"
            )
        if x.dtype == torch.uint8:
            x = x.to(self.shift.dtype) / 255
        x = ((2 * x - 1 - self.shift) / self.scale).contiguous(memory_format=torch.channels_last)
        described = []
        for number, convolution in zip(self._layout.convolutions, self.convolutions, strict=True):
            if number in self._layout.pooled:
                x = F.max_pool2d(x, self._layout.pool, 2)
            x = F.relu(convolution(x), inplace=True)
            if number in self._layout.tapped:
                wide = x if x.dtype == torch.float64 else x.float()
                # The norm's gradient at 0 is 0, where the one of a square root is not a number.
                described.append(wide / (torch.linalg.vector_norm(wide, dim=1, keepdim=True) + 1e-10))
        return described

    def distance(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
        """What `describe` made of two batches -> (B,)."""
        total = torch.zeros((), device=a[0].device)
        for layer, (one, other) in enumerate(zip(a, b, strict=True)):
            head = self.get_buffer(f"head{layer}")
            total = total + ((one - other).square() * head).sum(1).mean((1, 2))
        return total

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two batches (B, 3, H, W) as `describe` takes them -> distances (B,), 0 for pictures that are the same."""
        if a.shape != b.shape:
            raise ValueError(f"`a` and `b` must have the same shape, got {tuple(a.shape)} and {tuple(b.shape)}")
        return self.distance(self.describe(a), self.describe(b))


def _layout_of(net: str) -> _Layout:
    if net not in _LAYOUTS:
        raise ValueError(f"`net` must be vgg or alex, got {net}")
    return _LAYOUTS[net]


def _take(weights: Mapping[str, Tensor], name: str, shape: Sequence[int | None]) -> Tensor:
    if name not in weights:
        raise ModelError(f"LPIPS needs a tensor {name}, of which the file has none")
    tensor = weights[name]
    if tensor.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, tensor.shape, strict=True)):
        wanted = ", ".join("any" if side is None else str(side) for side in shape)
        raise ModelError(f"LPIPS needs {name} with shape ({wanted}), got {tuple(tensor.shape)}")
    return tensor


def _from_folder(folder: Path, net: str, name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Features and heads."""
    features, heads = _stored(folder, f"{name}*"), _stored(folder, net)
    if len(features) != 1 or len(heads) != 1:
        raise ModelError(
            f"{folder} must hold, as .safetensors or .pth, one {net} with LPIPS's heads ({_listed(heads)}) and one "
            f"{name}* with torchvision's features ({_listed(features)})"
        )
    return read_checkpoint(features[0]), read_checkpoint(heads[0])


def _stored(folder: Path, stem: str) -> list[Path]:
    return sorted(path for suffix in ("safetensors", "pth") for path in folder.glob(f"{stem}.{suffix}"))


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths) or "none"


def _heads_of_package(net: str) -> Path:
    spec = find_spec("lpips")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "weights" / "v0.1" / f"{net}.pth"


def _from_torchvision(name: str) -> dict[str, Tensor]:
    from torchvision import models

    build: Callable[..., nn.Module] = getattr(models, name)
    try:
        return build(weights="IMAGENET1K_V1").state_dict()
    except OSError as error:  # urllib's are such
        raise ModelError(
            f"the weights of {name} cannot be downloaded by torchvision: {error}; name a folder by {VARIABLE}"
        ) from error
