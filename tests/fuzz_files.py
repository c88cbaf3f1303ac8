"""Mutated .lat files: each decodes to the same latents and pixels or raises FormatError or MismatchError.

    python tests/fuzz_files.py 100000 --seed 1 [--codec nested]

Half of the mutants get a valid CRC again, so that they reach the code behind it. What they declare may then be another
valid file, so those may also decode to something else, but never crash, hang or take memory beyond what they declare.
The codec "default" is the shipped model with all of its receivers; the others are tiny, of random weights.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from pathlib import Path

import torch
from torch import Tensor

from pylatent import images, zoo
from pylatent.codecs import ContextHyperprior, MeanScaleHyperprior, NestedCodec, ResidualHyperprior
from pylatent.codecs.chain import Chain
from pylatent.codecs.pixel_crc import pixel_crc
from pylatent.codecs.receivers import SideReceiver
from pylatent.coding.container import HASH_BYTES, MAGIC, Bitstream, LatFile
from pylatent.correction import in_bytes
from pylatent.errors import FormatError, MismatchError
from pylatent.pixel_residual import encode_pixels
from pylatent.transform_residual import encode_coefficients

PHOTO = Path(__file__).parents[1] / "examples" / "photos" / "leaves.png"
SIZES = (((1, 1), 1.0), ((16, 24), 4.5), ((64, 64), 8.0), ((40, 130), 2.25))
SHIPPED_SIZES = (((1, 1), 1.0), ((48, 48), 4.5), ((64, 40), 8.0), ((120, 160), 2.25), ((96, 80), 1.0), ((33, 17), 6.5))
# None, or of pixels within a bound, or transformed with a step.
RESIDUALS = (
    None,
    partial(encode_pixels, max_error=20),
    partial(encode_pixels, max_error=0),
    partial(encode_coefficients, step=40),
    partial(encode_coefficients, step=400),
)
LAMBDAS = tuple(0.001 * 2**n for n in range(8))
NUMBERS = (0, 1, 2, 63, 64, 127, 128, 255, 256, 4095, 65535, 1 << 20, (1 << 20) + 1, 1 << 31, (1 << 32) - 1, 1 << 32)


@dataclass(frozen=True)
class Corpus:
    """A model and valid files of small pictures, with the latents and the pixels that they decode to."""

    codec: Chain
    files: tuple[bytes, ...]
    expected: tuple[tuple[Tensor, ...], ...]


CODECS: dict[str, Callable[[], Chain]] = {
    "hyperprior": lambda: MeanScaleHyperprior(8, 12, gains=8),
    "nested": lambda: NestedCodec(4, channels=6, latent_channels=10, gains=8),
    "residual": lambda: ResidualHyperprior((6, 8, 10), M=12, N=8, hyper=(8, 10), lambdas=LAMBDAS),
    "corrected": lambda: ResidualHyperprior((6, 8, 10), M=12, N=8, hyper=(8, 10), lambdas=LAMBDAS),
    "context": lambda: ContextHyperprior(
        (6, 8, 10), M=12, N=8, coded=(8, 6), hyper=(8, 10), context=(8, 8), bands=2, lambdas=LAMBDAS
    ),
}


def make_corpus(codec_name: str) -> Corpus:
    """Files of a tiny model of random weights, or of the shipped one if "default"."""
    if codec_name == "default":
        codec, photo = zoo.load(), images.read(PHOTO).tensor.float() / 255
        assert isinstance(codec, Chain)
        parts = [(photo[:, 9 : 9 + height, 9 : 9 + width], quality) for (height, width), quality in SHIPPED_SIZES]
    else:
        codec = make_tiny(codec_name)
        generator = torch.Generator().manual_seed(11)
        parts = [(torch.rand(3, *size, generator=generator), quality) for size, quality in SIZES]
    codec.name = "fuzz-1"
    files, expected = [], []
    residuals = cycle(RESIDUALS if codec.defines_pixels else RESIDUALS[:1])
    for (x, quality), encode in zip(parts * (2 if codec.defines_pixels else 1), residuals, strict=False):
        stream = codec.compress(x[None], quality)[0]
        if encode is not None:
            hat = codec.decompress_bytes([stream])[0]
            stream = replace(stream, residual=encode(in_bytes(x), hat)[0])
        if codec.defines_pixels and len(files) % 2:
            stream = replace(stream, pixel_crc=pixel_crc(codec.decompress_bytes([stream])[0]))
        files.append(LatFile(codec.name, codec.fingerprint()[:HASH_BYTES], stream).to_bytes())
        expected.append(decoded(codec, stream))
    return Corpus(codec, tuple(files), tuple(expected))


def make_tiny(codec_name: str) -> Chain:
    """Random weights, amplified so that the symbols spread over many tables and some are escapes."""
    torch.manual_seed(7)
    codec = CODECS[codec_name]().eval()
    with torch.no_grad():
        for network in (codec.g_a, *(link.h_a for link in codec.links), *(link.h_s for link in codec.links)):
            for parameter in network[-1].parameters():
                parameter.mul_(30)
    codec.update()
    if codec_name == "corrected":
        codec.calibrate(torch.rand(1, 3, 64, 64) for _ in range(2))
        full = codec._ready().synthesis
        assert full is not None
        codec.set_receiver("light", SideReceiver.after(full, 3, full.layers[3:]))
        codec.set_receiver("perceptual", SideReceiver.apart(full, full))
    return codec


def decoded(codec: Chain, stream: Bitstream) -> tuple[Tensor, ...]:
    """Latents, and where they are defined the pixels of each receiver."""
    if not codec.defines_pixels:
        return codec.decode([stream]).levels
    pixels, latents = codec.decompress_bytes([stream]), codec.decode([stream])
    return *latents.levels, pixels, *(codec.synthesize_bytes(latents, receiver) for receiver in codec.receivers)


def flip_bits(data: bytearray, draw: random.Random) -> bytearray:
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        position = draw.randrange(8 * len(data))
        data[position // 8] ^= 1 << position % 8
    return data


def overwrite(data: bytearray, draw: random.Random) -> bytearray:
    start = draw.randrange(len(data))
    length = min(draw.choice((1, 2, 4, 16)), len(data) - start)
    data[start : start + length] = draw.choice((bytes(length), b"\xff" * length, draw.randbytes(length)))
    return data


def truncate(data: bytearray, draw: random.Random) -> bytearray:
    return data[: draw.randrange(len(data))]


def extend(data: bytearray, draw: random.Random) -> bytearray:
    return data + draw.choice((b"\0", draw.randbytes(4), draw.randbytes(100), bytes(data)))


def remove_or_repeat(data: bytearray, draw: random.Random) -> bytearray:
    start = draw.randrange(len(data))
    end = min(len(data), start + draw.randrange(1, 20))
    return data[:start] + (data[start:end] * 2 if draw.random() < 0.5 else b"") + data[end:]


def replace_number(data: bytearray, draw: random.Random) -> bytearray:
    """Puts a varint, a hostile one or in a longer form, where one of the record's first numbers may lie."""
    start = len(MAGIC) + 2 + len("fuzz-1") + HASH_BYTES + draw.randrange(10)
    value, padding = draw.choice(NUMBERS) + draw.choice((-1, 0, 0, 0, 1)), draw.choice((0, 0, 0, 1, 4))
    groups = [abs(value) >> 7 * k & 0x7F for k in range(max(1, (abs(value).bit_length() + 6) // 7) + padding)]
    number = bytes(group | 0x80 for group in groups[:-1]) + bytes(groups[-1:])
    return data[:start] + number + data[start + draw.randrange(4) :]


MUTATIONS: tuple[Callable[[bytearray, random.Random], bytearray], ...] = (
    flip_bits,
    overwrite,
    truncate,
    extend,
    remove_or_repeat,
    replace_number,
)


def mutant(files: tuple[bytes, ...], draw: random.Random) -> tuple[str, bytes, bool]:
    """The name of a mutation, a mutated file, and whether its CRC was made valid again."""
    data = bytearray(draw.choice(files))
    if draw.random() < 0.1:
        other = draw.choice(files)
        cut = draw.randrange(min(len(data), len(other)))
        kind, data = "splice", data[:cut] + other[cut if draw.random() < 0.5 else -(len(other) - cut) :]
    else:
        mutation = draw.choice(MUTATIONS)
        kind, data = mutation.__name__, mutation(data, draw)
    sealed = draw.random() < 0.5 and len(data) > 4
    if sealed:
        data[-4:] = zlib.crc32(data[:-4]).to_bytes(4, "little")
    return kind, bytes(data), sealed


def outcome(corpus: Corpus, data: bytes) -> str:
    """What decoding `data` comes to; any other exception than the two allowed ones passes through."""
    try:
        file = LatFile.from_bytes(data)
        if (file.model, file.model_hash) != ("fuzz-1", corpus.codec.fingerprint()[:HASH_BYTES]):
            return "another model"
        found = decoded(corpus.codec, file.stream)
    except FormatError:
        return "FormatError"
    except MismatchError:
        return "MismatchError"
    for original, expected in zip(corpus.files, corpus.expected, strict=True):
        if data == original:
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
            return "unchanged"
    return "decoded to something else"


def run(count: int, seed: int, codec_name: str = "hyperprior") -> tuple[Counter[tuple[str, bool, str]], float]:
    """`count` mutants; counts of (mutation, CRC made valid, outcome), and the seconds of the processor that the slowest
    took. Raises AssertionError on a wrong outcome."""
    corpus = make_corpus(codec_name)
    draw = random.Random(seed)
    counts: Counter[tuple[str, bool, str]] = Counter()
    slowest = 0.0
    for _ in range(count):
        kind, data, sealed = mutant(corpus.files, draw)
        start = time.process_time()
        result = outcome(corpus, data)
        slowest = max(slowest, time.process_time() - start)
        allowed = ("FormatError", "MismatchError", "unchanged")
        assert sealed or result in allowed, f"{kind}: {result}: {data.hex()}"
        counts[kind, sealed, result] += 1
    return counts, slowest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--codec", choices=("default", *CODECS), default="hyperprior")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start = time.monotonic()
    counts, slowest = run(arguments.count, arguments.seed, arguments.codec)
    for (kind, sealed, result), number in sorted(counts.items()):
        print(f"{kind:<18} {'valid CRC' if sealed else 'as it is':<10} {result:<26} {number:>8}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    took = time.monotonic() - start
    print(f"{arguments.count} files in {took:.0f} s, the slowest {slowest:.2f} s, peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
