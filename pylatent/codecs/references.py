"""What the matching knows of a dictionary's entries, kept while neither weights nor dictionary change."""

from __future__ import annotations

import torch
from torch import Tensor

from pylatent.codecs.dictionary import Dictionary
from pylatent.layers.matching import LatentMatching

_KEPT = 256  # entries: 32 MB at 64 channels of 16 x 16 each


class KnownReferences:
    """The results of `LatentMatching.known` for the entries that were asked for last, one dictionary's."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}
        self._versions: tuple[tuple[int, int], ...] = ()

    def of(
        self, matching: LatentMatching, dictionary: Dictionary, numbers: Tensor, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """numbers (B, M) of entries -> values (B, M, inner, h, w) and keys (B, M, width, h, w) on `device`.

        Where gradients are wanted, everything is computed anew, each entry once.
        """
        distinct, places = numbers.unique(return_inverse=True)
        weights = list(matching.parameters())
        if torch.is_grad_enabled() and any(weight.requires_grad for weight in weights):
            values, keys = matching.known(dictionary.entries(distinct[None])[0].to(device))
        else:
            found = self._found(matching, dictionary, distinct.tolist(), device, weights)
            values, keys = (torch.cat(parts) for parts in zip(*found, strict=True))
        places = places.to(device)
        return values[places], keys[places]

    def _found(
        self,
        matching: LatentMatching,
        dictionary: Dictionary,
        numbers: list[int],
        device: torch.device,
        weights: list[torch.nn.Parameter],
    ) -> list[tuple[Tensor, Tensor]]:
        versions = tuple((weight.data_ptr(), weight._version) for weight in weights)
        if versions != self._versions:
            self._kept, self._versions = {}, versions
        kept, found = self._kept, []
        for number in numbers:
            known = kept.pop(number, None)
            if known is None:  # alone: what comes out does not depend on what else is asked for
                with torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False):
                    known = matching.known(dictionary.entries(torch.tensor([[number]]))[0].to(device))
            found.append(known)
            kept[number] = known  # the last
            if len(kept) > _KEPT:
                kept.pop(next(iter(kept)), None)
        return found
