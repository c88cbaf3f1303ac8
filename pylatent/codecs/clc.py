"""CLC: any codec, conditioned on references that are looked up in a dictionary.

    x ─ analysis ─► y ─┬─ the codec's steps ─► y_hat ──► CLS(y_hat, CLM(y_hat, references)) ─ g_s ─► x_hat
                       └─ the M nearest entries ─► their numbers: a level of M symbols of log2 K bits, coded first

After arXiv 2502.09971, with its networks in layers/matching.py. The references are used after entropy decoding, so
nothing of them steers the coder; what is exact in the codec stays so. Or, if asked for, before (conditioning.py).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pylatent.codecs.base import Codec
from pylatent.codecs.conditioning import Conditioning, check_conditioning, conditioned_parameters
from pylatent.codecs.dictionary import SUFFIX, Dictionary
from pylatent.codecs.features import Features, check_same, features_of
from pylatent.codecs.latents import Latents, Parameters
from pylatent.codecs.references import KnownReferences
from pylatent.codecs.steps import Shape, Step
from pylatent.codecs.tables import CodingTables
from pylatent.codecs.walk import Done, Here
from pylatent.coding.container import Bitstream
from pylatent.coding.tables import CdfTables
from pylatent.entropy.factorized import FactorizedPrior
from pylatent.entropy.logistic import LogisticPrior
from pylatent.errors import FormatError, ModelError
from pylatent.layers.matching import NEAR_Y, LatentBlend, LatentMatching, ParameterConditioning

PUBLISHED = {"width": 256, "inner": 320, "hidden": 128}  # around TCM-Small: its y has 320 channels
_NETWORKS = ("matching.", "blend.")


class CLC(Codec):
    """`base` with references; its last level holds their numbers (B, references, 1, 1), the others are the base's.

    base: a codec, or its {"architecture", "config"}. dictionary: {"name", "hash", "entries"} of the one it needs.
    references: M. width, inner, hidden: channels of the matching's phi, of what it aligns, and of the blend; by default
    a quarter of y's channels, with which decoding takes at most half as long again. `PUBLISHED` has the paper's.
    conditioning: "after" entropy decoding alone; with "parameters" of y's probabilities, too, and the codec is not
    exact, needs its dictionary to decode latents, and a base that codes y in one step.

    Analysis and synthesis raise ModelError until `attach` was given the dictionary; decoding of latents does not need
    it. Raises ModelError for an unknown base, ValueError for more references than entries.
    """

    def __init__(
        self,
        base: Codec | Mapping[str, Any],
        dictionary: Mapping[str, Any],
        *,
        references: int = 3,
        width: int | None = None,
        inner: int | None = None,
        hidden: int | None = None,
        conditioning: Conditioning = "after",
    ) -> None:
        if not 1 <= references <= dictionary["entries"]:
            raise ValueError(f"`references` must be from 1 to {dictionary['entries']}, the entries, got {references}")
        super().__init__()
        self.base = base if isinstance(base, Codec) else _made(base)
        self.needed, self.references = dict(dictionary), references
        channels = self.base.level_shapes((1, 1))[0][0]
        given, quarter = {"width": width, "inner": inner, "hidden": hidden}, min(channels, max(8, channels // 4))
        self._widths = {name: quarter if value is None else value for name, value in given.items()}
        if not 1 <= self._widths["inner"] <= channels:
            raise ValueError(f"`inner` must be from 1 to {channels}, the channels of y, got {inner}")
        check_conditioning(conditioning, self.base)
        self.conditioning = conditioning
        self.num_levels, self.alignment = self.base.num_levels + 1, self.base.alignment
        self.exact = self.base.exact and conditioning == "after"
        self.lambdas = self.base.lambdas
        self.decoder_names = (*(f"base.{name}" for name in self.base.decoder_names), *_NETWORKS)
        self.matching = LatentMatching(channels, self._widths["width"], inner=self._widths["inner"])
        narrow = self.matching.widen is not None  # then y_a starts as y, and alpha may start anywhere
        self.blend = LatentBlend(channels, self._widths["hidden"], start=0.0 if narrow else NEAR_Y)
        self.told = ParameterConditioning(channels, self._widths["hidden"]) if conditioning == "parameters" else None
        self._dictionary: Dictionary | None = None
        self._features: Features | None = None
        self._known = KnownReferences()

    @classmethod
    def around(
        cls,
        base: Codec,
        dictionary: Dictionary,
        *,
        references: int = 3,
        width: int | None = None,
        inner: int | None = None,
        hidden: int | None = None,
        conditioning: Conditioning = "after",
    ) -> CLC:
        """A codec around a copy of `base`, which must be ready for coding. ModelError for another's dictionary."""
        found, wanted = base.fingerprint().hex(), dictionary.facts.codec_hash
        if found != wanted:
            raise ModelError(
                f"dictionary {dictionary.facts.name} ({dictionary.hash[:16]}) is for codec {dictionary.facts.codec} "
                f"with hash {wanted[:16]}, got {base.name} with hash {found[:16]}: build one for it"
            )
        base = copy.deepcopy(base)
        base.drop_synthesis()
        needed = {"name": dictionary.facts.name, "hash": dictionary.hash, "entries": len(dictionary)}
        widths = {"width": width, "inner": inner, "hidden": hidden}
        codec = cls(base, needed, references=references, **widths, conditioning=conditioning)
        codec.attach(dictionary)
        return codec

    @property
    def config(self) -> dict[str, Any]:
        base = {"architecture": type(self.base).__name__, "config": self.base.config}
        return {
            "base": base,
            "dictionary": self.needed,
            "references": self.references,
            **self._widths,
            "conditioning": self.conditioning,
        }

    # The dictionary.

    def attach(self, dictionary: Dictionary, features: Features | None = None) -> None:
        """Give the codec the dictionary that it needs, and the features that find its entries where these are neither
        the codec's own nor timm's. Raises ModelError for others."""
        if dictionary.hash != self.needed["hash"]:
            raise ModelError(
                f"model {self.name} needs dictionary {self.needed['name']} with hash {self.needed['hash'][:16]}, got "
                f"{dictionary.facts.name} with hash {dictionary.hash[:16]}"
            )
        if features is not None:
            if dictionary.facts.backbone is None:
                raise ModelError(f"dictionary {dictionary.facts.name} finds references by the codec's own features")
            check_same(features, dictionary.facts.backbone)
        self._dictionary, self._features, self._known = dictionary, features, KnownReferences()

    @property
    def dictionary(self) -> Dictionary:
        """The one that was attached. Raises ModelError if none was."""
        if self._dictionary is None:
            name = self.needed["name"]
            raise ModelError(
                f"model {self.name} needs dictionary {name} with hash {self.needed['hash'][:16]}, which is missing: "
                f"put {name}{SUFFIX} into the folder of the model file"
            )
        return self._dictionary

    def conditioned(self, y: Tensor, numbers: Tensor, quality: Tensor | None) -> Tensor:
        """y (B, C, h, w) as the base's `for_synthesis` gives it, numbers of references (B, M, 1, 1), and the qualities
        (B,) -> y with what these tell, same shape.

        Raises ValueError for numbers that the dictionary does not have.
        """
        return self.blend(y, self.matching.fused(y, *self._known_of(numbers, quality, y.device)))

    def _known_of(self, numbers: Tensor, quality: Tensor | None, device: torch.device) -> tuple[Tensor, Tensor]:
        """Of references with the gains of each picture's quality, as if they had been coded and decoded unrounded."""
        chosen, count = torch.round(numbers.detach()).long().flatten(1).cpu(), len(self.dictionary)
        if chosen.numel() and not 0 <= int(chosen.min()) <= int(chosen.max()) < count:
            raise _BeyondError(f"references must be from 0 to {count - 1}, got {chosen.tolist()}")
        ones = torch.ones(len(chosen), self.base.level_shapes((1, 1))[0][0], 1, 1, device=device)
        gains = self.base.for_synthesis(self.base.gained(ones, quality), quality)
        return self._known.of(self.matching, self.dictionary, chosen, gains)

    # The codec.

    @property
    def qualities(self) -> tuple[float, float] | None:
        return self.base.qualities

    @property
    def default_quality(self) -> float | None:
        return self.base.default_quality

    def level_shapes(self, size: tuple[int, int]) -> tuple[Shape, ...]:
        return *self.base.level_shapes(size), (self.references, 1, 1)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        return Step(self.num_levels - 1), *self.base.steps

    def analysis(self, x: Tensor, quality: Tensor | None) -> tuple[Tensor, ...]:
        levels, dictionary = self.base.analysis(x, quality), self.dictionary
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            backbone = dictionary.facts.backbone
            if backbone is None:
                maps = self.base.ungained(levels[0].float(), quality)
            else:
                self._features = self._features or features_of(backbone)
                maps = self._features(x)
            numbers = dictionary.nearest(dictionary.query(maps), self.references).to(x.device, torch.float32)
        return *levels, numbers[:, :, None, None]

    def synthesis(self, levels: Sequence[Tensor], quality: Tensor | None) -> Tensor:
        y = self.conditioned(self.base.for_synthesis(levels[0], quality), levels[-1], quality)
        return self.base.synthesis((y, *levels[1:-1]), None)

    def _decode(self, streams: Sequence[Bitstream], threads: int | None, *, parameters: bool) -> Latents:
        entries = self.needed["entries"]
        try:
            latents = super()._decode(streams, threads, parameters=parameters)
        except _BeyondError as error:
            raise FormatError(
                f"a picture refers to entries that {self.needed['name']} does not have: {error}"
            ) from None
        for picture, numbers in enumerate(latents.levels[-1].flatten(1).tolist()):
            for number in numbers:
                if not 0 <= number < entries:
                    raise FormatError(
                        f"picture {picture} refers to entry {number:.0f} of dictionary {self.needed['name']}, which "
                        f"has {entries}: 0 to {entries - 1}"
                    )
        return latents

    # What steers the coder: the base's, and one flat table.

    def parameters_of(self, step: Step, done: Done) -> Parameters:
        if step.level < self.base.num_levels:
            given = self.base.parameters_of(step, done)
            if self.told is None or step.level > 0:
                return given
            quality = None if done.quality is None else torch.tensor(done.quality, device=done.device)
            known = self._known_of(done.level(self.num_levels - 1), quality, done.device)
            return conditioned_parameters(self.base, given, done, self.matching, known, self.told)
        mean = torch.zeros(1, self.references, 1, 1, device=done.device)
        return Parameters(mean, indexes=mean.to(torch.uint8), computed=False)

    @property
    def correction_of(self) -> Any:  # type: ignore[override]
        return None if self.base.correction_of is None else self._corrected

    def _corrected(self, step: Step, done: Done) -> Tensor | None:
        assert self.base.correction_of is not None
        return self.base.correction_of(step, done) if step.level < self.base.num_levels else None

    def bits_of(self, here: Here, residual: Tensor) -> Tensor:
        if here.step.level < self.base.num_levels:
            return self.base.bits_of(here, residual)
        return torch.full_like(residual, math.log2(self.needed["entries"]))

    def tables_of(self, level: int) -> CdfTables:
        return self.base.tables_of(level) if level < self.base.num_levels else self._flat

    @cached_property
    def _flat(self) -> CdfTables:
        """Entry i has frequency ⌊(i + 1) (2^16 - 1) / K⌋ - ⌊i (2^16 - 1) / K⌋."""
        count = self.needed["entries"]
        cdf = np.append(np.arange(count + 1) * ((1 << 16) - 1) // count, 1 << 16)
        return CdfTables(cdf[None], np.array([count + 2]), np.array([0]))

    def scales_of(self, level: int) -> Tensor | None:
        return self.base.scales_of(level) if level < self.base.num_levels else None

    @property
    def prior(self) -> FactorizedPrior | LogisticPrior:
        return self.base.prior

    @property
    def exact_networks(self) -> dict[str, nn.Sequential]:
        return {f"base.{name}": network for name, network in self.base.exact_networks.items()}

    def fit_prior(self) -> None:
        self.base.fit_prior()

    def update(self, tables: tuple[CdfTables, CdfTables] | None = None) -> None:
        self.base.update(tables)

    def coding_state(self) -> dict[str, Tensor]:
        """The base's, and the dictionary's hash: with another one, it is another model."""
        digest = torch.tensor(list(bytes.fromhex(self.needed["hash"])), dtype=torch.int32)
        return self.base.coding_state() | {"dictionary": digest}

    def load_coding_state(self, state: Mapping[str, Tensor]) -> None:
        if bytes(state["dictionary"].tolist()).hex() != self.needed["hash"]:
            raise ModelError(f"model {self.name} names another dictionary than the one that it was made with")
        self.base.load_coding_state(state)

    @property
    def kept_as_integers(self) -> set[str]:
        return {f"base.{name}" for name in self.base.kept_as_integers}

    @property
    def is_ready(self) -> bool:
        return self.base.is_ready

    def _ready(self) -> CodingTables:
        return self.base._ready()

    def load_receivers_state(self, state: Mapping[str, Tensor]) -> None:
        if state:
            raise ModelError(f"model {self.name} has side receivers, which conditional codecs do not have")

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        nn.Module._save_to_state_dict(self, destination, prefix, keep_vars)  # the base tells what steers the coder


class _BeyondError(ValueError):
    """Numbers of entries that the dictionary does not have."""


def _made(description: Mapping[str, Any]) -> Codec:
    from pylatent.codecs import ARCHITECTURES

    name = description["architecture"]
    if name not in ARCHITECTURES:
        raise ModelError(f"a conditional codec's base has architecture {name}, which this release does not know")
    return ARCHITECTURES[name](**description["config"])
