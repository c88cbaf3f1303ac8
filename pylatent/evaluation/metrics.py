"""What can be measured beside PSNR and MS-SSIM: a number of every picture (LPIPS), and one of a set (FID, KID)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pylatent.evaluation.features import FeatureNetwork
from pylatent.evaluation.frechet import frechet_distance, kernel_distance, patches
from pylatent.evaluation.lpips import LPIPS, Network

PICTURE_METRICS: dict[str, Network] = {"lpips-vgg": "vgg", "lpips-alex": "alex"}
SET_METRICS = {"fid": frechet_distance, "kid": kernel_distance}

Against = Callable[[Tensor], "float | None"]


@dataclass(frozen=True)
class PictureMetric:
    """name: in tables and files; what: what computes it. against: an original, uint8 (3, H, W) -> a function that gives
    the number of what was decoded, or None where the pictures are too small for it."""

    name: str
    what: str
    against: Callable[[Tensor], Against]


def lpips_metric(metric: LPIPS) -> PictureMetric:
    """LPIPS by a loaded network; the original's features are computed once a picture."""
    network = {"vgg": "VGG16", "alex": "AlexNet"}[metric.net]

    def against(original: Tensor) -> Against:
        if min(original.shape[1:]) < metric.smallest:
            return lambda decoded: None
        with torch.no_grad():
            described = metric.describe(original[None].to(metric.shift.device))

        @torch.no_grad()
        def of(decoded: Tensor) -> float:
            return float(metric.distance(metric.describe(decoded[None].to(metric.shift.device)), described))

        return of

    return PictureMetric(f"LPIPS {network}", f"LPIPS 0.1 with {network}'s features", against)


class PatchSets:
    """Patches of a set of originals and of what codecs made of it, as features."""

    def __init__(self, network: FeatureNetwork, metrics: Sequence[str], side: int = 256) -> None:
        """metrics: of SET_METRICS; side: of the patches in pixels, at least 16."""
        if unknown := [name for name in metrics if name not in SET_METRICS]:
            raise ValueError(f"`metrics` must be of {', '.join(SET_METRICS)}, got {unknown[0]}")
        if side < 16:
            raise ValueError(f"`side` must be at least 16, got {side}")
        self.network, self.metrics, self.side = network, tuple(metrics), side
        self._originals: list[Tensor] = []
        self._decoded: dict[Hashable, list[Tensor]] = {}

    def add_original(self, picture: Tensor) -> None:
        """Takes a picture, uint8 (3, H, W)."""
        self._originals.append(self._features(picture))

    def add(self, key: Hashable, decoded: Tensor) -> None:
        """Takes what was decoded of the picture that was added last; `key` names the codec and its quality."""
        self._decoded.setdefault(key, []).append(self._features(decoded))

    def values(self, key: Hashable) -> dict[str, float | None]:
        """The metrics of all that was added under a key; None where there are fewer than two patches."""
        originals, decoded = torch.cat(self._originals), torch.cat(self._decoded[key])
        enough = len(originals) > 1
        return {name.upper(): SET_METRICS[name](decoded, originals) if enough else None for name in self.metrics}

    def what(self) -> dict[str, str]:
        """What each metric is of, its name first."""
        found = torch.cat(self._originals)
        of = {
            name.upper(): f"{len(found)} patches of {self.side}x{self.side}, {self.network.what}"
            for name in self.metrics
        }
        if "FID" in of and 1 < len(found) <= found.shape[1]:
            of["FID"] += f" (too large of fewer patches than its {found.shape[1]} features: compare at equal numbers)"
        return of

    def _features(self, picture: Tensor) -> Tensor:
        found = patches(picture, self.side)
        return self.network(found) if len(found) else torch.empty(0, self._width(), dtype=torch.float64)

    def _width(self) -> int:
        return self.network(torch.zeros(1, 3, self.side, self.side, dtype=torch.uint8)).shape[1]


def load_metrics(
    names: Sequence[str], features: str = "vgg", side: int = 256, device: torch.device | str = "cpu"
) -> tuple[list[PictureMetric], PatchSets | None]:
    """The metrics of these names, of PICTURE_METRICS and SET_METRICS. ModelError for weights that cannot be had."""
    networks = [PICTURE_METRICS[name] for name in names if name in PICTURE_METRICS]
    of_pictures = [lpips_metric(LPIPS.load(network).to(device)) for network in networks]
    of_sets = [name for name in names if name in SET_METRICS]
    return of_pictures, PatchSets(FeatureNetwork.load(features, device), of_sets, side) if of_sets else None


def numbers(of: Mapping[str, Against], decoded: Tensor) -> dict[str, float | None]:
    """The number of each metric for what was decoded."""
    return {name: against(decoded) for name, against in of.items()}
