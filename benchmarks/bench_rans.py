"""The lane coder against CompressAI's coder and torch_ans, on one thread.

    python benchmarks/bench_rans.py [--rounds 5] [--json benchmarks/results/rans-NAME.json]

Needs compressai and torch-ans. The symbols are Gaussian with log-normal scales, coded with 64 tables as in CompressAI's
models; 192 x 68 x 120 is the latent of a 1080p picture. "Inside" is the peer's extension call on lists that are ready,
"whole" is from tensor to bytes and back. Times are processor times, medians over rounds in which the sides take turns.
A figure is printed only if every side has decoded what it encoded.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import environment, take_turns, write_json

from pylatent.coding import CdfTables, decode, decode_batch, encode, encode_batch
from pylatent.coding.tables import quantize_pmf

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from compressai import ans
    from compressai.entropy_models import GaussianConditional
    from torch_ans.utils import TorchANSInterface

SCALES = np.exp(np.linspace(np.log(0.11), np.log(256), 64))
LATENT_1080P = 192 * 68 * 120
LATENT_KODAK = 192 * 32 * 48
LATENT_224 = 192 * 14 * 14
# Median scale of the log-normal mixture that gives each rate in bit per symbol.
MEDIANS = {0.05: 0.0444, 0.1: 0.0627, 0.5: 0.1748, 2.2: 0.9466}
# (family, lanes, precision): the variants of torch_ans 0.4.0 that are fastest in either direction.
VARIANTS = [("rans64", 4, 16), ("rans64", 8, 16), ("rans32_16", 8, 15), ("tans32", 4, 12), ("tans32", 8, 12)]


def latent(n: int, rate: float) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    indexes = np.minimum(np.searchsorted(SCALES, MEDIANS[rate] * np.exp(rng.standard_normal(n))), 63)
    symbols = np.rint(rng.standard_normal(n) * SCALES[indexes])
    return torch.from_numpy(symbols.astype(np.int32)), torch.from_numpy(indexes.astype(np.int32))


def ideal_bytes(symbols: torch.Tensor, indexes: torch.Tensor, tables: CdfTables) -> float:
    """-sum log2 p under the 16-bit tables, and one byte for the value of each escape."""
    s, k = symbols.numpy().astype(np.int64), indexes.numpy().astype(np.int64)
    bins = s - tables.offset[k]
    escaped = (bins < 0) | (bins >= tables.length[k] - 2)
    bins[escaped] = tables.length[k][escaped] - 2
    return float(-np.log2((tables.cdf[k, bins + 1] - tables.cdf[k, bins]) / 65536).sum() / 8 + escaped.sum())


def require_equal(name: str, got: torch.Tensor, expected: torch.Tensor) -> None:
    if not torch.equal(got.flatten().int().cpu(), expected.flatten().int()):
        raise SystemExit(f"{name} did not decode what it encoded; no figures")


Calls = dict[str, Callable[[], Any]]


def compressai_calls(symbols: torch.Tensor, indexes: torch.Tensor) -> tuple[Calls, Calls]:
    model = GaussianConditional(SCALES.tolist())
    model.update_scale_table(SCALES.tolist(), force=True)
    lists = [t.tolist() for t in (model._quantized_cdf, model._cdf_length, model._offset)]
    symbol_list, index_list = symbols.tolist(), indexes.tolist()
    values, which = symbols.float().view(1, 1, -1), indexes.view(1, 1, -1)
    stream = ans.RansEncoder().encode_with_indexes(symbol_list, index_list, *lists)
    strings = model.compress(values, which)
    require_equal("compressai", model.decompress(strings, which), symbols)
    encoders = {
        "compressai inside": lambda: ans.RansEncoder().encode_with_indexes(symbol_list, index_list, *lists),
        "compressai whole": lambda: model.compress(values, which),
    }
    decoders = {
        "compressai inside": lambda: ans.RansDecoder().decode_with_indexes(stream, index_list, *lists),
        "compressai whole": lambda: model.decompress(strings, which),
    }
    return encoders, decoders


def torch_ans_calls(symbols: torch.Tensor, indexes: torch.Tensor, tables: CdfTables) -> tuple[Calls, Calls]:
    sizes, offsets = torch.from_numpy(tables.length.copy()), torch.from_numpy(tables.offset.copy())
    rows, which = symbols.view(1, -1), indexes.view(1, -1)
    encoders: Calls = {}
    decoders: Calls = {}
    for family, lanes, precision in VARIANTS:
        name = f"torch_ans {family} x{lanes} {precision} bits"
        coder = TorchANSInterface(
            impl=family, freq_precision=precision, num_interleaves=lanes, device="cpu", bypass_coding=True
        )
        cdf = torch.from_numpy(at_precision(tables, precision))
        if family.startswith("tans"):
            coder._ensure_native_for(symbols)
            cdf = coder._native.tans_build_tables(cdf, sizes, precision)
        coder.set_cdfs(cdf, sizes, offsets)
        data = coder.encode_with_indexes(rows, which)
        require_equal(name, coder.decode_with_indexes(data, which), symbols)
        encoders[name] = lambda coder=coder: coder.encode_with_indexes(rows, which)
        decoders[name] = lambda coder=coder, data=data: coder.decode_with_indexes(data, which)
    return encoders, decoders


def at_precision(tables: CdfTables, precision: int) -> np.ndarray:
    """(K, W) CDFs at another precision; rows continue with their total."""
    cdf = np.full(tables.cdf.shape, 1 << precision, np.int32)
    for row, source, length in zip(cdf, tables.cdf, tables.length, strict=True):
        row[:length] = quantize_pmf(np.diff(source[:length]) / 65536, precision)
    return cdf


def report(direction: str, seconds: dict[str, float], n: int) -> dict[str, Any]:
    """Prints and returns rates in Msymbol/s and ratios: inside to inside, whole to whole."""
    rates = {name: n / s / 1e6 for name, s in seconds.items()}
    best = max((name for name in rates if name.startswith("torch_ans")), key=rates.__getitem__)
    ratios = {}
    for ours, peer in (("inside", "compressai inside"), ("whole", "compressai whole"), ("whole", best)):
        ratios[f"{ours} to {peer}"] = rates[f"pylatent {ours}"] / rates[peer]
        print(
            f"{direction} {ours:6} {rates[f'pylatent {ours}']:6.1f} Msym/s, {ratios[f'{ours} to {peer}']:4.1f}x "
            f"{peer} ({rates[peer]:.1f})"
        )
    return {"msym_s": rates, "ratio": ratios}


def bench_peers(rounds: int) -> dict[str, Any]:
    tables = CdfTables.gaussian(SCALES)
    symbols, indexes = latent(LATENT_1080P, 2.2)
    data = encode(symbols, indexes, tables)
    require_equal("pylatent", decode(data, indexes, tables), symbols)
    n = len(symbols)
    print(f"-- {n} symbols at {8 * len(data) / n:.3f} bit/symbol")
    encoders, decoders = compressai_calls(symbols, indexes)
    more_encoders, more_decoders = torch_ans_calls(symbols, indexes, tables)
    # Indexes as each side takes them: the peers int32 or lists of int, we the bytes that our codecs make.
    narrow = indexes.to(torch.uint8)
    encoders |= more_encoders | {"pylatent whole": lambda: encode(symbols, narrow, tables)}
    decoders |= more_decoders | {"pylatent whole": lambda: decode(data, narrow, tables)}
    # The native call alone, on an output that is ready: what corresponds to the peer's extension call.
    out, native = torch.empty_like(symbols), tables.native
    addresses = [[(symbols.data_ptr(), 0)], [(narrow.data_ptr(), 2)]]
    encoders["pylatent inside"] = lambda: native.encode(*addresses, [n], 1)
    decoders["pylatent inside"] = lambda: native.decode([data], addresses[1], [out.data_ptr()], [n], 1)
    return {
        "symbols": n,
        "encode": report("encode", take_turns(encoders, rounds), n),
        "decode": report("decode", take_turns(decoders, rounds), n),
    }


def bench_sizes(rounds: int) -> list[dict[str, Any]]:
    """Our sizes against the ideal code length, and our rates, by picture and rate, with uint8 indexes."""
    tables = CdfTables.gaussian(SCALES)
    rows = []
    for picture, n in (("1920x1080", LATENT_1080P), ("768x512", LATENT_KODAK), ("224x224", LATENT_224)):
        for rate in MEDIANS:
            symbols, indexes = latent(n, rate)
            narrow = indexes.to(torch.uint8)
            data = encode(symbols, narrow, tables)
            require_equal("pylatent", decode(data, narrow, tables), symbols)
            ideal = ideal_bytes(symbols, indexes, tables)
            calls: Calls = {"encode": lambda s=symbols, i=narrow: encode(s, i, tables)}
            calls["decode"] = lambda d=data, i=narrow: decode(d, i, tables)
            seconds = take_turns(calls, 4 * rounds)
            row = {"picture": picture, "bit_per_symbol": 8 * len(data) / n, "bytes": len(data), "ideal_bytes": ideal}
            row |= {"lanes": 1 << (data[0] & 7)} | {f"{k}_msym_s": n / s / 1e6 for k, s in seconds.items()}
            print(
                f"{picture:>9} {row['bit_per_symbol']:6.3f} bit/symbol: {len(data):7} bytes, ideal {ideal:9.1f} "
                f"{len(data) - ideal:+7.1f} ({100 * (len(data) / ideal - 1):+.3f} %), {row['lanes']:2} lanes, "
                f"encode {row['encode_msym_s']:6.1f}, decode {row['decode_msym_s']:6.1f} Msym/s"
            )
            rows.append(row)
    return rows


def bench_batch(rounds: int) -> dict[str, Any]:
    """A thousand 224x224 pictures in one call."""
    tables = CdfTables.gaussian(SCALES)
    symbols, indexes = latent(1000 * LATENT_224, 0.1)
    s, i = list(symbols.view(1000, -1)), list(indexes.to(torch.uint8).view(1000, -1))
    data = encode_batch(s, i, tables)
    require_equal("pylatent", torch.stack(decode_batch(data, i, tables)), symbols)
    calls: Calls = {"encode": lambda: encode_batch(s, i, tables), "decode": lambda: decode_batch(data, i, tables)}
    rates = {k: len(symbols) / t / 1e6 for k, t in take_turns(calls, rounds).items()}
    print(
        f"batch of 1000 streams of {len(data[0])} bytes: " + ", ".join(f"{k} {r:.1f} Msym/s" for k, r in rates.items())
    )
    return {"streams": 1000, "symbols_each": LATENT_224, **{f"{k}_msym_s": r for k, r in rates.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {"environment": environment("compressai", "torch-ans", "numpy")}
    print(", ".join(f"{k} {v}" for k, v in results["environment"].items()))
    results["sizes"] = bench_sizes(arguments.rounds)
    results["batch"] = bench_batch(arguments.rounds)
    results["peers"] = bench_peers(arguments.rounds)
    write_json(arguments.json, results)


if __name__ == "__main__":
    main()
