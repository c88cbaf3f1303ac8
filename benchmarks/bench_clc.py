"""What conditioning costs: a codec with and without CLC, and the shares of retrieval, matching (CLM) and blend (CLS).

    python benchmarks/bench_clc.py [--rounds 3] [--entries 3000] [--json benchmarks/results/clc-NAME.json]

Random weights at full size, M = 3; processor time of one thread, the sides taking turns. Bases: the residual hyperprior
of the default model's size on 512x384 pixels, TCM-Small on 256x256; matching as narrow as it is by default, and as
published. "new" references are those that nothing is kept of. Retrieval is also timed as scikit-learn's ball tree
does it, where that is installed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from harness import environment, take_turns, write_json

from pylatent.codecs import CLC, TCM, Codec, Dictionary, ResidualHyperprior
from pylatent.codecs.clc import PUBLISHED
from pylatent.codecs.dictionary import Facts, pooled, stored

CROP, AXES = 256, 256


def make_dictionary(base: Codec, entries: int) -> Dictionary:
    channels, height, width = base.level_shapes((CROP, CROP))[0]
    y = torch.randn(entries, channels, height, width)
    axes = torch.linalg.qr(torch.randn(21 * channels, AXES)).Q.contiguous()
    features = torch.cat([pooled(some) for some in y.split(100)]) @ axes
    facts = Facts("random-1", base.name, base.fingerprint().hex(), CROP, entries, 0)
    return Dictionary(facts, *stored(y), features, torch.zeros(len(axes)), axes)


@torch.no_grad()
def measure(base: Codec, size: tuple[int, int], entries: int, rounds: int) -> dict[str, Any]:
    base.update()
    base = base.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    dictionary = make_dictionary(base, entries)
    codec = CLC.around(base, dictionary).eval()
    inner = min(PUBLISHED["inner"], base.level_shapes((1, 1))[0][0])
    published = CLC.around(base, dictionary, **PUBLISHED | {"inner": inner}).eval()
    x = torch.rand(1, 3, *size)
    streams, plain = codec.compress(x), base.compress(x)
    latents = codec.decode(streams)
    references = codec.dictionary.entries(latents.levels[-1].long().flatten(1))
    quality = None if latents.quality is None else torch.tensor(latents.quality)
    y = base.ungained(latents.y, quality)
    query = codec.dictionary.query(y)
    calls: dict[str, Callable[[], Any]] = {
        "base encode": lambda: base.compress(x),
        "encode": lambda: codec.compress(x),
        "base decode": lambda: base.decompress(plain),
        "decode": lambda: codec.decompress(streams),
        "decode, new": lambda: (codec.attach(dictionary), codec.decompress(streams)),
        "decode, published size": lambda: published.decompress(streams),
        "query": lambda: codec.dictionary.query(y),
        "retrieval": lambda: codec.dictionary.nearest(query, 3),
        "matching": lambda: codec.matching(y, references),
        "blend": lambda: codec.blend(y, y),
    }
    calls["matching, published size"] = lambda: published.matching(y, references)
    calls |= _ball_tree(codec.dictionary, query)
    seconds = take_turns(calls, rounds)
    name = type(base).__name__
    for what, value in seconds.items():
        print(f"{name:20} {what:24} {1e3 * value:9.2f} ms")
    ratios = {
        what: value / seconds[f"base {what[:6]}"] for what, value in seconds.items() if what[:6] in ("encode", "decode")
    }
    print(f"{name:20} " + ", ".join(f"{what} {ratio:.2f}x" for what, ratio in ratios.items()) + " of the base")
    return {"base": name, "size": list(size), "entries": entries, "seconds": seconds, "ratios": ratios}


def _ball_tree(dictionary: Dictionary, query: torch.Tensor) -> dict[str, Callable[[], Any]]:
    try:
        from sklearn.neighbors import BallTree
    except ImportError:
        return {}
    tree = BallTree(dictionary.features.numpy())
    return {"ball tree": lambda: tree.query(query.numpy(), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--entries", type=int, default=3000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = [
        measure(base, size, arguments.entries, arguments.rounds)
        for base, size in ((ResidualHyperprior(lambdas=(0.01, 0.1)), (384, 512)), (TCM(), (256, 256)))
    ]
    write_json(arguments.json, {"environment": environment(), "rows": rows})


if __name__ == "__main__":
    main()
