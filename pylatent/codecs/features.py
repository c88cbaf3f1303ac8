"""Backbones whose features find references: a network with its preprocessing, which a dictionary's facts keep.

pixels ─ bilinear to side x side ─ (x - mean) / deviation ─ backbone ─► a map of features, of which maxima are taken
"""

from __future__ import annotations

import hashlib
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent.codecs.dictionary import Backbone
from pylatent.errors import ModelError

TIMM = "timm:"  # before a model's name in timm, in the name of features
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


class Features:
    """A backbone by any name but one with `timm:`, which this package finds by itself (`timm_features`).

    module: (B, 3, side, side), normalised -> (B, C, h, w), or a list of such, of which the last counts. It is put into
    eval mode. mean, deviation: of the normalisation, of pixels from 0 to 1.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        *,
        side: int = 224,
        mean: tuple[float, float, float] = _MEAN,
        deviation: tuple[float, float, float] = _DEVIATION,
    ) -> None:
        self.name, self.side, self.mean, self.deviation = name, side, mean, deviation
        self._module = module.eval()

    @cached_property
    def backbone(self) -> Backbone:
        """What a dictionary says of it, with the SHA-256 of its weights."""
        digest = hashlib.sha256()
        for name, value in sorted(self._module.state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return Backbone(self.name, digest.hexdigest(), self.side, self.mean, self.deviation)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) in [0, 1], any size -> (B, C, h, w), float32. ModelError if the module gives no map."""
        self._module.to(x.device)
        with torch.autocast(x.device.type, enabled=False):
            small = F.interpolate(x.float(), (self.side, self.side), mode="bilinear", antialias=True)
            mean, deviation = (small.new_tensor(value).view(3, 1, 1) for value in (self.mean, self.deviation))
            maps = self._module((small - mean) / deviation)
        last = maps[-1] if isinstance(maps, list | tuple) else maps
        if last.ndim != 4:
            raise ModelError(
                f"features {self.name} must be a map of shape (B, C, h, w), the backbone gives {tuple(last.shape)}"
            )
        return last.float()


def timm_features(model: str) -> Features:
    """The last map of a model of timm with its pretrained weights, and the preprocessing that these were trained with.

    Raises ModelError if timm is not installed, does not know the model, or cannot get the weights.
    """
    name = TIMM + model
    try:
        import timm
    except ImportError as error:
        raise ModelError(f"features {name} need timm: pip install 'pylatent[tasks]' ({error})") from error
    try:
        module = timm.create_model(model, pretrained=True, features_only=True)
    except Exception as error:  # of many libraries: an unknown name, no maps, no network, a damaged file
        reason = " ".join(str(error).split())
        raise ModelError(f"timm does not give features {name}: {type(error).__name__}: {reason}") from error
    config = timm.data.resolve_model_data_config(module)
    if getattr(module, "output_fmt", "NCHW") == "NHWC":
        module = _ChannelsFirst(module)
    mean, deviation = ((float(red), float(green), float(blue)) for red, green, blue in (config["mean"], config["std"]))
    return Features(name, module, side=config["input_size"][1], mean=mean, deviation=deviation)


class _ChannelsFirst(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        last: Tensor = self.module(x)[-1]
        return last.permute(0, 3, 1, 2)


def features_of(backbone: Backbone) -> Features:
    """The features that a dictionary names. Raises ModelError if they are not timm's, or not the same."""
    if not backbone.name.startswith(TIMM):
        raise ModelError(
            f"references are found by features {backbone.name}, which this package does not have: give them with "
            "`codec.attach(dictionary, Features(...))`"
        )
    found = timm_features(backbone.name.removeprefix(TIMM))
    check_same(found, backbone)
    return found


def check_same(features: Features, backbone: Backbone) -> None:
    """Raises ModelError unless a dictionary was built with these features."""
    if (found := features.backbone) != backbone:
        raise ModelError(
            f"references are found by features {backbone.name} with hash {backbone.hash[:16]} and side "
            f"{backbone.side}, got {found.name} with hash {found.hash[:16]} and side {found.side}"
        )
