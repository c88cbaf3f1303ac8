"""Mutated .lat files: each decodes to the same latents or raises FormatError or MismatchError.

    python tests/fuzz_files.py 100000 --seed 1 [--codec nested]

Half of the mutants get a valid CRC again, so that they reach the code behind it. What they declare may then be another
valid file, so those may also decode to something else, but never crash, hang or take memory beyond what they declare.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch

from pylatent.codecs import ContextHyperprior, MeanScaleHyperprior, NestedCodec, ResidualHyperprior
from pylatent.codecs.chain import Chain
from pylatent.coding.container import HASH_BYTES, MAGIC, LatFile
from pylatent.correction import corrected
from pylatent.errors import FormatError, MismatchError

LAMBDAS = tuple(0.001 * 2**n for n in range(8))
NUMBERS = (0, 1, 2, 63, 64, 127, 128, 255, 256, 4095, 65535, 1 << 20, (1 << 20) + 1, 1 << 31, (1 << 32) - 1, 1 << 32)


@dataclass(frozen=True)
class Corpus:
    """A tiny random model and valid files of small pictures, with the latents that they decode to."""

    codec: Chain
    files: tuple[bytes, ...]
    latents: tuple[torch.Tensor, ...]


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
    codec.name = "fuzz-1"
    files, latents = [], []
    generator = torch.Generator().manual_seed(11)
    for size, quality in (((1, 1), 1.0), ((16, 24), 4.5), ((64, 64), 8.0), ((40, 130), 2.25)):
        x = torch.rand(1, 3, *size, generator=generator)
        stream = codec.compress(x, quality)[0]
        if codec_name == "corrected":
            stream = corrected(stream, codec, x[0], max_error=20)
        files.append(LatFile(codec.name, codec.fingerprint()[:HASH_BYTES], stream).to_bytes())
        latents.append(codec.decode([stream]).levels[0])
    return Corpus(codec, tuple(files), tuple(latents))


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
        if file.stream.residual is not None:
            corpus.codec.decompress_bytes([file.stream])
        latents = corpus.codec.decode([file.stream])
    except FormatError:
        return "FormatError"
    except MismatchError:
        return "MismatchError"
    for original, expected in zip(corpus.files, corpus.latents, strict=True):
        if data == original:
            assert torch.equal(latents.levels[0], expected)
            return "unchanged"
    return "decoded to something else"


def run(count: int, seed: int, codec_name: str = "hyperprior") -> Counter[tuple[str, bool, str]]:
    """`count` mutants; counts of (mutation, CRC made valid, outcome). Raises AssertionError on a wrong outcome."""
    corpus = make_corpus(codec_name)
    draw = random.Random(seed)
    counts: Counter[tuple[str, bool, str]] = Counter()
    for _ in range(count):
        kind, data, sealed = mutant(corpus.files, draw)
        result = outcome(corpus, data)
        allowed = ("FormatError", "MismatchError", "unchanged")
        assert sealed or result in allowed, f"{kind}: {result}: {data.hex()}"
        counts[kind, sealed, result] += 1
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--codec", choices=CODECS, default="hyperprior")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start = time.monotonic()
    counts = run(arguments.count, arguments.seed, arguments.codec)
    for (kind, sealed, result), number in sorted(counts.items()):
        print(f"{kind:<18} {'valid CRC' if sealed else 'as it is':<10} {result:<26} {number:>8}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{arguments.count} files in {time.monotonic() - start:.0f} s, peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
