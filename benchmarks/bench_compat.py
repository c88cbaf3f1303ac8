"""The CompressAI-compatible coder against CompressAI itself, on the same inputs in the same run.

    python benchmarks/bench_compat.py [--rounds 7] [--json benchmarks/results/compat-NAME.json]

Needs compressai. Both sides take turns on one thread, whose CPU time is measured, so that other jobs on the machine
count for little; a figure is the median over the rounds, and a ratio the median of the rounds' ratios. Symbols are
Gaussian with log-normal scales, coded with the 64 tables of CompressAI's models; 192 x 68 x 120 is the latent of a
1080p picture.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

import pylatent
from pylatent.compat import compressai as ours

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)
    from compressai import ans
    from compressai.entropy_models import GaussianConditional

SCALES = np.exp(np.linspace(np.log(0.11), np.log(256), 64))
SHAPE = (1, 192, 68, 120)
CALL = 192  # symbols of one position in an autoregressive model


def seconds(call: Callable[[], Any], installed: bool = False) -> float:
    with ours.installed() if installed else contextlib.nullcontext():
        start = time.thread_time()
        call()
        return time.thread_time() - start


def compare(
    name: str,
    theirs: Callable[[], Any],
    mine: Callable[[], Any],
    rounds: int,
    *,
    symbols: int = 0,
    calls: tuple[int, int] = (1, 1),
    installed: bool = False,
) -> dict:
    """Runs both in turn and prints the medians per call.

    Args:
        symbols: per call; adds the rates.
        calls: how many calls one run of `theirs` and of `mine` makes.
        installed: `install()` is in force around `mine`, and not part of its time.
    """
    theirs(), mine()
    pairs = [(seconds(theirs) / calls[0], seconds(mine, installed) / calls[1]) for _ in range(rounds)]
    row = {
        "name": name,
        "compressai_ms": 1e3 * median(p[0] for p in pairs),
        "pylatent_ms": 1e3 * median(p[1] for p in pairs),
        "ratio": median(p[0] / p[1] for p in pairs),
    }
    rates = ""
    if symbols:
        row["compressai_msym_s"] = symbols / row["compressai_ms"] / 1e3
        row["pylatent_msym_s"] = symbols / row["pylatent_ms"] / 1e3
        rates = f"{row['compressai_msym_s']:8.1f} -> {row['pylatent_msym_s']:6.1f} Msym/s"
    print(f"{name:52} {row['compressai_ms']:9.3f} -> {row['pylatent_ms']:8.4f} ms {row['ratio']:7.1f}x {rates}")
    return row


def latent(model: GaussianConditional, median_scale: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(values, scales, means) of one latent."""
    generator = torch.Generator().manual_seed(0)
    scales = median_scale * torch.exp(1.2 * torch.randn(SHAPE, generator=generator))
    means = 3 * torch.randn(SHAPE, generator=generator)
    return means + scales.clamp(0.11) * torch.randn(SHAPE, generator=generator), scales, means


def bench_coders(model: GaussianConditional, median_scale: float, rounds: int) -> list[dict]:
    values, scales, means = latent(model, median_scale)
    symbols, indexes = (values - means).round().int().flatten(), model.build_indexes(scales).flatten()
    tensors = (model._quantized_cdf, model._cdf_length, model._offset)
    lists = tuple(t.tolist() for t in tensors)
    symbol_list, index_list = symbols.tolist(), indexes.tolist()
    stream = ans.RansEncoder().encode_with_indexes(symbol_list, index_list, *lists)
    assert ours.RansEncoder().encode_with_indexes(symbols, indexes, *tensors) == stream
    assert torch.equal(ours.RansDecoder().decode_with_indexes(stream, indexes, *tensors), symbols)
    bits = 8 * len(stream) / len(symbol_list)
    print(f"-- {len(symbol_list)} symbols at {bits:.2f} bit/symbol")
    n = len(symbol_list)
    theirs_encode = lambda: ans.RansEncoder().encode_with_indexes(symbol_list, index_list, *lists)  # noqa: E731
    theirs_decode = lambda: ans.RansDecoder().decode_with_indexes(stream, index_list, *lists)  # noqa: E731
    rows = [
        compare(
            "encode_with_indexes, theirs lists, ours tensors",
            theirs_encode,
            lambda: ours.RansEncoder().encode_with_indexes(symbols, indexes, *tensors),
            rounds,
            symbols=n,
        ),
        compare(
            "decode_with_indexes, theirs lists, ours tensors",
            theirs_decode,
            lambda: ours.RansDecoder().decode_with_indexes(stream, indexes, *tensors),
            rounds,
            symbols=n,
        ),
        compare(
            "encode_with_indexes, lists",
            theirs_encode,
            lambda: ours.RansEncoder().encode_with_indexes(symbol_list, index_list, *lists),
            rounds,
            symbols=n,
        ),
        compare(
            "decode_with_indexes, lists",
            theirs_decode,
            lambda: ours.RansDecoder().decode_with_indexes(stream, index_list, *lists),
            rounds,
            symbols=n,
        ),
        *bench_streaming(stream, index_list, indexes, lists, tensors, rounds),
    ]
    return [{**row, "bits_per_symbol": bits} for row in rows]


def bench_streaming(
    stream: bytes, index_list: list[int], indexes: torch.Tensor, lists: Any, tensors: Any, rounds: int
) -> list[dict]:
    """`decode_stream`, call after call through the stream."""
    calls = (25, 1000)
    list_chunks = [index_list[i * CALL : (i + 1) * CALL] for i in range(calls[1])]
    tensor_chunks = list(indexes[: CALL * calls[1]].reshape(-1, CALL))

    def run(decoder: Any, chunks: list, tables: Any) -> Callable[[], None]:
        def block() -> None:
            decoder.set_stream(stream)
            for chunk in chunks:
                decoder.decode_stream(chunk, *tables)

        return block

    theirs = run(ans.RansDecoder(), list_chunks[: calls[0]], lists)
    return [
        compare(
            f"decode_stream({CALL} symbols), {name}",
            theirs,
            run(ours.RansDecoder(), *mine),
            rounds,
            symbols=CALL,
            calls=calls,
        )
        for name, mine in (("lists", (list_chunks, lists)), ("theirs lists, ours tensors", (tensor_chunks, tensors)))
    ]


def bench_models(model: GaussianConditional, median_scale: float, rounds: int) -> list[dict]:
    """CompressAI's entropy model as it is and with `install()`."""
    values, scales, means = latent(model, median_scale)
    indexes = model.build_indexes(scales)
    strings = model.compress(values, indexes, means)

    def compress() -> Any:
        return model.compress(values, indexes, means)

    def decompress() -> Any:
        return model.decompress(strings, indexes, means=means)

    def build_indexes() -> Any:
        return model.build_indexes(scales)

    expected = decompress()
    with ours.installed():
        assert compress() == strings
        assert torch.equal(decompress(), expected)
    n = values.numel()
    bits = 8 * len(strings[0]) / n
    rows = [
        compare(f"GaussianConditional.{name}", call, call, rounds, symbols=symbols, installed=True)
        for name, call, symbols in (
            ("compress", compress, n),
            ("decompress", decompress, n),
            ("build_indexes", build_indexes, n),
            ("update (64 tables)", model.update, 0),
        )
    ]
    return [{**row, "bits_per_symbol": bits} for row in rows]


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = GaussianConditional(SCALES.tolist())
    model.update()
    rows = []
    for median_scale in (0.5, 1.0, 2.0):
        rows += bench_coders(model, median_scale, arguments.rounds)
    rows += bench_models(model, 1.0, arguments.rounds)
    result = {
        "benchmark": "compat",
        "cpu": cpu_name(),
        "threads": 1,
        "clock": "CPU time of the calling thread",
        "versions": {
            "pylatent": pylatent.__version__,
            "compressai": importlib.metadata.version("compressai"),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "rounds": arguments.rounds,
        "rows": rows,
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
