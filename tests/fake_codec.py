"""A codec of a few lines, for tests of everything around codecs: pixels in coarse steps, deflated."""

import hashlib
import zlib
from collections.abc import Callable

import numpy as np
import torch

from pylatent.coding.container import Bitstream
from pylatent.errors import FormatError, ModelError


class FakeCodec:
    """Quality q from 1 to 8 quantises pixels in steps of 2^(8-q); `variable=False` makes a fixed-rate codec."""

    device = torch.device("cpu")
    defines_pixels, default_quality, lambdas = True, 4.0, None

    def __init__(self, name: str = "fake-1", *, variable: bool = True) -> None:
        self.name = name
        self.qualities = (1.0, 8.0) if variable else None
        self.calls = 0

    def fingerprint(self) -> bytes:
        return hashlib.sha256(self.name.encode()).digest()

    def compress(self, x: torch.Tensor, quality: float | None = None, *, threads: int | None = None) -> list[Bitstream]:
        assert x.dtype == torch.float32
        self.calls += 1
        if self.qualities is not None:
            quality = round((4 if quality is None else quality) * 64) / 64
        return [self._compress_one(picture, quality) for picture in x]

    # Latents are streams already.

    def analyses(self, x: torch.Tensor) -> Callable[[float | None], list[Bitstream]]:
        return lambda quality: self.compress(x, quality)

    def encode(self, latents: list[Bitstream]) -> list[Bitstream]:
        return latents

    def as_coded(self, latents: list[Bitstream]) -> list[Bitstream]:
        return latents

    def synthesize(self, latents: list[Bitstream]) -> torch.Tensor:
        return self.decompress(latents)

    def check_receiver(self, receiver: str) -> None:
        assert receiver in ("full", "light")

    def decompress(self, streams: list[Bitstream], receiver: str = "full") -> torch.Tensor:
        """The light receiver shows negatives."""
        pixels = torch.stack([self._decompress_one(stream) for stream in streams])
        return 1 - pixels if receiver == "light" else pixels

    def decompress_bytes(self, streams: list[Bitstream], receiver: str = "full") -> torch.Tensor:
        return self.decompress(streams, receiver).mul(255).round().to(torch.uint8)

    def _compress_one(self, picture: torch.Tensor, quality: float | None) -> Bitstream:
        values = (picture * 255 / self._step(quality)).round().numpy().astype(np.uint8)
        size = (picture.shape[1], picture.shape[2])
        return Bitstream(size, quality, (b"z", zlib.compress(values.tobytes())), 7)

    def _decompress_one(self, stream: Bitstream) -> torch.Tensor:
        shape = (3, *stream.size)
        try:
            values = np.frombuffer(zlib.decompress(stream.sections[1]), np.uint8).reshape(shape)
        except (zlib.error, ValueError) as error:
            raise FormatError(f"section 1: {error}") from error
        return (torch.from_numpy(values.copy()).float() * self._step(stream.quality) / 255).clamp(0, 1)

    @staticmethod
    def _step(quality: float | None) -> float:
        return 2.0 ** (8 - (quality or 4))


def install(monkeypatch, *codecs: FakeCodec) -> None:
    """Makes the zoo consist of `codecs`, the first being the default."""
    from pylatent import api, zoo

    def read_header(codec):
        gains = round(codec.qualities[1]) if codec.qualities else 0
        return zoo.Header(codec.name, "FakeCodec", {"gains": gains}, codec.fingerprint().hex())

    def load(name="default", *, device="cpu"):
        for codec in codecs:
            if name in ("default", codec.name):
                return codec
        raise ModelError(f"no model {name}")

    def find(name, model_hash, *, device="cpu"):
        for codec in codecs:
            if codec.name == name and codec.fingerprint()[:8] == model_hash:
                return codec
        raise ModelError(f"model {name} with hash {model_hash.hex()} is not installed")

    monkeypatch.setattr(api, "load", load)
    monkeypatch.setattr(zoo, "load", load)
    monkeypatch.setattr(zoo, "shared", load)
    monkeypatch.setattr(zoo, "find", find)
    monkeypatch.setattr(zoo, "path_of", load)
    monkeypatch.setattr(zoo, "read_header", read_header)
