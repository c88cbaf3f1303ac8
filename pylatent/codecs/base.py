"""The codec's base class: its verbs, the same for all.

    pixels ─ analyze ─► latents ─ encode ─► bitstreams ─ decode ─► latents ─ synthesize ─► pixels

What differs is in definition.py, the walk over the steps in walk.py, the bytes in streams.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from numbers import Real

import torch
import torch.nn.functional as F
from torch import Tensor

from pylatent._quality import check_quality
from pylatent._receivers import RECEIVERS, Receiver
from pylatent._threads import for_pixels
from pylatent.codecs.checks import check_float32, check_latents, check_pixels, check_range, check_streams
from pylatent.codecs.definition import CodecDefinition
from pylatent.codecs.latents import CodecOutput, Latents, Rated
from pylatent.codecs.pixel_crc import check_pixel_crcs
from pylatent.codecs.pretrained import Pretrained
from pylatent.codecs.rounding import Rounding, mixed, nearest
from pylatent.codecs.streams import as_coded, decode, encode, encode_and_decode
from pylatent.codecs.tables import CodingTables
from pylatent.codecs.walk import quantize
from pylatent.codecs.witness import Stamp, stamp
from pylatent.coding.container import Bitstream
from pylatent.errors import FormatError, ModelError
from pylatent.residuals import check_residual, with_residual

QUALITY_STEP = 1 / 64  # the grid on which a record stores the quality


class Codec(Pretrained, CodecDefinition):
    """Base of all codecs: `analyze`, `quantize`, `encode`, `decode`, `synthesize` and what is made of them.

    bf16: let `compress` run the analysis under bf16 autocast. Decoders are not concerned. Where the processor computes
    in bf16 a residual hyperprior's analysis takes half of the time, for 0.2 to 0.6 % more bits at the same PSNR.
    """

    bf16 = False
    _fingerprint: tuple[CodingTables, Stamp, bytes] | None = None  # of what was named, its digest

    # The verbs.

    def analyze(self, x: Tensor, quality: float | Sequence[float] | None = None, *, integers: bool = False) -> Latents:
        """Pixels (B, 3, H, W) in [0, 1], any size from 1x1 -> unquantised latents.

        quality: one value, or one per picture, in `qualities`, taken to the nearest 1/64; for variable-rate codecs.
        Pixels of another floating-point dtype become float32. The weights must be float32; autocast is welcome, under
        which all but the last layer runs in its dtype. integers: let the analysis compute in integers, four times as
        fast and to some hundredths of a symbol the same, where the codec (`calibrate`) and the device have such a form,
        there is no autocast and no gradient is wanted.

        Raises ValueError for a wrong shape, dtype or quality, or pixels on the CPU that are far outside of [0, 1];
        ModelError if the weights are not float32.
        """
        check_pixels(x)
        check_float32(self)
        size = (int(x.shape[2]), int(x.shape[3]))
        qualities = self._qualities(quality, x.shape[0])
        with for_pixels(x[:, 0].numel()):
            check_range("x", x)
            chosen = self._quality_tensor(qualities, x.device)
            levels = self.integer_analysis(x.float(), chosen) if integers else None
            if levels is None:
                levels = self.analysis(pad(x.float(), self.alignment), chosen)
            return Latents(tuple(level.float() for level in levels), size, qualities)

    @torch.no_grad()
    def analyses(self, x: Tensor) -> Callable[[float | None], Latents]:
        """Pixels (B, 3, H, W) -> a function from a quality to the latents that `compress` codes at it.

        For several qualities: what does not depend on them is computed once, where the analysis is one of integers and
        the quality a gain on its result. No gradients. Raises as `analyze`.
        """
        check_pixels(x)
        check_float32(self)
        size, pixels = (int(x.shape[2]), int(x.shape[3])), x[:, 0].numel()
        with for_pixels(pixels), torch.autocast(x.device.type, enabled=False):
            check_range("x", x)
            levels_at = None if self.bf16 else self.integer_analyses(x.float())
        if levels_at is None:
            return lambda quality: self._analyzed(x, quality)

        def latents_at(quality: float | None) -> Latents:
            qualities = self._qualities(quality, x.shape[0])
            with torch.no_grad(), for_pixels(pixels), torch.autocast(x.device.type, enabled=False):
                return Latents(levels_at(self._quality_tensor(qualities, x.device)), size, qualities)

        return latents_at

    def quantize(self, latents: Latents, rounding: Rounding, *, exact: bool = False) -> Rated:
        """Unquantised latents -> what `rounding` makes of them, and what it costs; differentiable.

        exact: with the parameters that coding uses (after `update`), which follow `nearest` alone, without gradients;
        the outcome is what is coded. Otherwise with the float networks.
        """
        if not exact:
            quantized, bits = quantize(self, latents, rounding, exact=False)
        elif rounding is nearest:
            with torch.no_grad(), torch.autocast(latents.y.device.type, enabled=False):
                quantized, bits = quantize(self, latents, rounding, exact=self.exact)
        else:
            raise ValueError("`rounding` must be `nearest` with exact parameters, which are those of integers")
        sums = ([part.sum(tuple(range(1, part.ndim))) for part in level] for level in bits)
        return Rated(quantized, tuple(sum(level[1:], level[0]) for level in sums))

    def encode(self, latents: Latents, *, threads: int | None = None) -> list[Bitstream]:
        """Unquantised latents -> one Bitstream per picture of the batch.

        The bytes depend on the latents alone: not on threads, batch, SIMD level or ambient torch settings. Raises
        ValueError for latents that are not finite, not float32 or of a wrong shape, ModelError before `update`.
        """
        check_latents(latents)
        with self._for_coding(len(latents), latents.size):
            return encode(self, latents, threads)

    def encode_and_decode(self, latents: Latents, *, threads: int | None = None) -> tuple[list[Bitstream], Latents]:
        """What `encode` returns, and the values that `decode` makes of it, without means and scales; sooner than both.

        Raises as `encode`.
        """
        check_latents(latents)
        with self._for_coding(len(latents), latents.size):
            return encode_and_decode(self, latents, threads)

    def decode(self, streams: Sequence[Bitstream], *, threads: int | None = None) -> Latents:
        """Bitstreams (pictures of one size) -> quantised latents with means and scales; no pixels are computed.

        Raises FormatError for damaged streams, MismatchError for another model's.
        """
        return self._decode(streams, threads, parameters=True)

    def _decode(self, streams: Sequence[Bitstream], threads: int | None, *, parameters: bool) -> Latents:
        check_streams(streams)
        with self._for_coding(len(streams), streams[0].size):
            return decode(self, streams, threads, parameters=parameters)

    def as_coded(self, latents: Latents) -> Latents:
        """What `decode(encode(latents))` returns, without coding."""
        check_latents(latents)
        with self._for_coding(len(latents), latents.size):
            return as_coded(self, latents)

    def synthesize(self, latents: Latents) -> Tensor:
        """Quantised latents -> pixels (B, 3, H, W) in [0, 1] of the original size. Raises as `analyze` does.

        Where the codec has an integer synthesis (`calibrate`) these are its 8-bit pixels, divided by 255, the same on
        every machine; latents that require gradients go through the float network all the same.
        """
        check_latents(latents)
        check_float32(self)
        if self._coding is not None and self._coding.synthesis is not None and not latents.y.requires_grad:
            return self.synthesize_bytes(latents).float().div_(255)
        quality = self._quality_tensor(latents.quality, latents.y.device)
        height, width = latents.size
        with for_pixels(len(latents) * height * width):
            return self.synthesis(latents.levels, quality)[..., :height, :width].clamp(0, 1)

    @torch.no_grad()
    def synthesize_bytes(self, latents: Latents, receiver: Receiver = "full") -> Tensor:
        """Quantised latents -> uint8 pixels (B, 3, H, W): what `synthesize` returns, rounded to 8 bits.

        receiver: "light" for those of the light receiver, less exact and sooner, "perceptual" for those of one that was
        trained for what people see. ModelError if the model has none.
        """
        check_latents(latents)
        self.check_receiver(receiver)
        synthesis = None if self._coding is None else self._coding.synthesis
        if receiver != "full":
            synthesis = self.receivers[receiver].synthesis
        height, width = latents.size
        with for_pixels(len(latents) * height * width):
            if synthesis is None:
                return self.synthesize(latents).mul(255).round_().to(torch.uint8)
            self.check_ready()
            return synthesis(latents.y, latents.quality)[..., :height, :width]

    def forward(
        self, x: Tensor, quality: float | Sequence[float] | None = None, rounding: Rounding | None = None
    ) -> CodecOutput:
        """Pixels -> reconstruction and bits; in training by mixed quantisation and unclamped, else as it is coded."""
        latents = self.analyze(x, quality)
        rated = self.quantize(latents, rounding or (mixed if self.training else nearest))
        if self.training:
            height, width = latents.size
            x_hat = self.synthesis(rated.latents.levels, self._quality_tensor(latents.quality, x.device))
            return CodecOutput(x_hat[..., :height, :width], rated.bits, rated.latents)
        return CodecOutput(self.synthesize(rated.latents), rated.bits, rated.latents)

    @torch.no_grad()
    def compress(
        self, x: Tensor, quality: float | Sequence[float] | None = None, *, threads: int | None = None
    ) -> list[Bitstream]:
        """Pixels (B, 3, H, W) in [0, 1] -> one Bitstream per picture; `encode(analyze(x, integers=True))` whatever
        autocast is set, and with `bf16` without integers."""
        return self.encode(self._analyzed(x, quality), threads=threads)

    @torch.no_grad()
    def _analyzed(self, x: Tensor, quality: float | Sequence[float] | None) -> Latents:
        """The latents that `compress` codes."""
        check_float32(self)  # before a strange dtype meets autocast
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
            return self.analyze(x, quality, integers=True)

    @torch.no_grad()
    def decompress(
        self, streams: Sequence[Bitstream], *, threads: int | None = None, receiver: Receiver = "full"
    ) -> Tensor:
        """Bitstreams (pictures of one size) -> pixels (B, 3, H, W) in [0, 1]. Raises as `decompress_bytes`."""
        if self.defines_pixels:
            return self.decompress_bytes(streams, threads=threads, receiver=receiver).float().div_(255)
        self.check_receiver(receiver)
        check_streams(streams)
        self._check_residuals(streams)
        with torch.autocast(self.device.type, enabled=False):
            pixels = self.synthesize(self._decode(streams, threads, parameters=False))
        check_pixel_crcs(streams, pixels)
        return pixels

    @torch.no_grad()
    def decompress_bytes(
        self, streams: Sequence[Bitstream], *, threads: int | None = None, receiver: Receiver = "full"
    ) -> Tensor:
        """Bitstreams (pictures of one size) -> uint8 pixels (B, 3, H, W): those of `decompress`, rounded to 8 bits.

        receiver: as for `synthesize_bytes`; others than the full one show no residual. Raises as `decode`, and
        MismatchError where a stream holds a checksum of the full receiver's pixels and these are others.
        """
        self.check_receiver(receiver)
        check_streams(streams)
        self._check_residuals(streams)
        with torch.autocast(self.device.type, enabled=False):
            pixels = self.synthesize_bytes(self._decode(streams, threads, parameters=False), receiver)
        if receiver == "full":
            pixels = self._with_residuals(streams, pixels)
            check_pixel_crcs(streams, pixels)
        return pixels

    # Small things shared by the above.

    def check_receiver(self, receiver: Receiver) -> None:
        """Raises ValueError if there is no such receiver, ModelError if this model has none."""
        if receiver not in RECEIVERS:
            raise ValueError(f"`receiver` must be one of {', '.join(RECEIVERS)}, got {receiver!r}")
        if receiver != "full" and receiver not in self.receivers:
            command = "light" if receiver == "light" else "perceptual --receiver-only"
            raise ModelError(
                f"model {self.name} has no {receiver} receiver: take the full one, or train one with "
                f"`pylatent train {command}`"
            )

    def _check_residuals(self, streams: Sequence[Bitstream]) -> None:
        for number, stream in enumerate(streams):
            if stream.residual is None:
                continue
            if not self.defines_pixels:
                raise FormatError(
                    f"picture {number} has a residual, which needs pixels that are the same everywhere; those of "
                    f"model {self.name} are not defined in integers"
                )
            check_residual(stream.residual, stream.size)

    def _with_residuals(self, streams: Sequence[Bitstream], pixels: Tensor) -> Tensor:
        for number, stream in enumerate(streams):
            if stream.residual is not None:
                pixels[number] = with_residual(stream.residual, pixels[number].cpu())
        return pixels

    def _for_coding(self, pictures: int, size: tuple[int, int]) -> AbstractContextManager[None]:
        """The threads of a walk. Without exact networks its result may depend on them: nothing may choose them then."""
        self.check_ready()
        return for_pixels(pictures * size[0] * size[1]) if self.exact else nullcontext()

    def fingerprint(self) -> bytes:
        """SHA-256 over everything that decoding uses: tables, exact networks, synthesis weights as float32."""
        self.check_ready()
        weights, coding = self.synthesis_state(), self._ready()
        versions = stamp(weights.values())
        known = self._fingerprint
        if known is not None and known[0] is coding and known[1] == versions:
            return known[2]
        self._fingerprint = (coding, versions, _digest({**self.coding_state(), **weights}))
        return self._fingerprint[2]

    def receivers_fingerprint(self) -> bytes:
        """SHA-256 over the side receivers' own integers; empty without one."""
        return _digest(self.receivers_state()) if self.receivers else b""

    def _qualities(self, quality: float | Sequence[float] | None, batch: int) -> tuple[float, ...] | None:
        if self.qualities is None and quality is None:
            return None
        if quality is None:
            quality = self.default_quality
        values = [quality] * batch if isinstance(quality, int | float | Real | str) else list(quality or ())
        if len(values) != batch:
            raise ValueError(f"`quality` must be one number or {batch} of them, got {len(values)}")
        for value in values:
            check_quality(self.name, self.qualities, value)
        return tuple(round(value / QUALITY_STEP) * QUALITY_STEP for value in values)

    def _quality_tensor(self, qualities: tuple[float, ...] | None, device: torch.device) -> Tensor | None:
        return None if qualities is None else torch.tensor(qualities, dtype=torch.float32, device=device)


def _digest(state: Mapping[str, Tensor]) -> bytes:
    digest = hashlib.sha256()
    for key in sorted(state):
        values = state[key].detach().cpu().contiguous()
        values = values.float() if values.is_floating_point() else values.to(torch.int32)
        digest.update(f"{key} {tuple(values.shape)}".encode())
        digest.update(values.numpy().astype(values.numpy().dtype.newbyteorder("<")).tobytes())
    return digest.digest()


def pad(x: Tensor, alignment: int) -> Tensor:
    """Repeat the last row and column up to the next multiple of `alignment` pixels."""
    bottom, right = -x.shape[2] % alignment, -x.shape[3] % alignment
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x
