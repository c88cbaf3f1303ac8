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
        self._kept: dict[tuple[int, bytes], tuple[Tensor, Tensor]] = {}
        self._versions: tuple[tuple[int, int], ...] = ()

    def of(
        self, matching: LatentMatching, dictionary: Dictionary, numbers: Tensor, gains: Tensor
    ) -> tuple[Tensor, Tensor]:
        """numbers (B, M) of entries, which are multiplied by their picture's gains (B, C, 1, 1) -> values
        (B, M, inner, h, w) and keys (B, M, width, h, w) on the device of the gains.

        Where gradients are wanted, everything is computed anew, each entry once for equal gains.
        """
        asked, factors = [], {}
        for row, gain in zip(numbers.tolist(), gains.detach(), strict=True):
            key = gain.cpu().numpy().tobytes()
            factors[key] = gain
            asked += [(number, key) for number in row]
        distinct = {each: place for place, each in enumerate(dict.fromkeys(asked))}
        weights = list(matching.parameters())
        if torch.is_grad_enabled() and any(weight.requires_grad for weight in weights):
            entries = dictionary.entries(torch.tensor([[number for number, _ in distinct]]))[0].to(gains.device)
            values, keys = matching.known(entries * torch.stack([factors[key] for _, key in distinct]))
        else:
            found = self._found(matching, dictionary, list(distinct), factors, weights)
            values, keys = (torch.cat(parts) for parts in zip(*found, strict=True))
        places = torch.tensor([distinct[each] for each in asked], device=gains.device).view(numbers.shape)
        return values[places], keys[places]

    def _found(
        self,
        matching: LatentMatching,
        dictionary: Dictionary,
        asked: list[tuple[int, bytes]],
        factors: dict[bytes, Tensor],
        weights: list[torch.nn.Parameter],
    ) -> list[tuple[Tensor, Tensor]]:
        versions = tuple((weight.data_ptr(), weight._version) for weight in weights)
        if versions != self._versions:
            self._kept, self._versions = {}, versions
        kept, found = self._kept, []
        for each in asked:
            known = kept.pop(each, None)
            if known is None:  # alone: what comes out does not depend on what else is asked for
                number, gain = each[0], factors[each[1]]
                with torch.inference_mode(False), torch.no_grad(), torch.autocast(gain.device.type, enabled=False):
                    entry = dictionary.entries(torch.tensor([[number]]))[0].to(gain.device)
                    known = matching.known(entry * gain)
            found.append(known)
            kept[each] = known  # the last
            if len(kept) > _KEPT:
                kept.pop(next(iter(kept)), None)
        return found
