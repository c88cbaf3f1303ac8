"""Neighbourhood attention against torch: keys unfolded, SDPA over tiles with a mask, and flex_attention.

    python benchmarks/bench_neighborhood_attention.py [--sizes 64x96 32x48] [--kernels 7] [--dtypes float32]
        [--dilations 1] [--memory 32x48 64x96] [--rounds 5] [--json benchmarks/results/neighborhood-attention-NAME.json]

Eight heads of 16, queries, keys and values chunks of one projection. "unfolded" copies the keys and values of every
window (torch.nn.functional.unfold's memory), "tiles" is the operator's own plain-torch path: blocks of 8 x 8 queries
against the keys of all their windows, through scaled_dot_product_attention with a mask. flex_attention runs forward
only, as torch offers on CPUs, compiled, with a block mask of the windows, and does less: it has no bias. Dilated,
and in half precision, "tiles" is the only peer.
Processor times on one thread, medians over rounds in which the sides take turns. No figure without results and
gradients that are those of the float64 reference. Memory: the most that torch has allocated at once in a forward pass
beside its inputs. Our scratch is not among it: 0.3 MB a thread here, more with larger kernels and heads, whatever the
size of the map. --memory measures that alone, of our side, at more sizes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import torch
from harness import environment, take_turns, write_json
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from pylatent.ops import neighborhood_attention
from pylatent.ops.neighborhood_attention import neighborhood_attention_reference

HEADS, DIM = 8, 16
OURS = "pylatent"
TOLERANCES = {"float32": 2e-5, "bfloat16": 3e-2, "float16": 4e-3}


def starts(length: int, kernel: int) -> Tensor:
    return (torch.arange(length) - kernel // 2).clamp(0, length - kernel)


def unfolded(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, kernel: int) -> Tensor:
    rows, columns = (starts(n, kernel)[:, None] + torch.arange(kernel) for n in q.shape[1:3])
    k, v = (t[:, rows[:, None, :, None], columns[None, :, None, :]] for t in (k, v))  # (B, H, W, K, K, heads, D)
    up, back = (t - torch.arange(len(t))[:, None] + kernel - 1 for t in (rows, columns))
    scores = torch.einsum("byxhd,byxmnhd->byxhmn", q * DIM**-0.5, k)
    scores = scores + bias[:, up[:, None, :, None], back[None, :, None, :]].permute(1, 2, 0, 3, 4).to(q.dtype)
    return torch.einsum("byxhmn,byxmnhd->byxhd", scores.flatten(4).softmax(-1).view_as(scores), v)


def flexible(height: int, width: int, kernel: int) -> Callable[..., Tensor]:
    """Without a bias: torch 2.13 generates C++ that does not compile where the score function reads a tensor."""

    def start(i: Tensor, length: int) -> Tensor:
        return (i - kernel // 2).clamp(0, length - kernel)

    def inside(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        down = key // width - start(query // width, height)
        right = key % width - start(query % width, width)
        return (down >= 0) & (down < kernel) & (right >= 0) & (right < kernel)

    mask = create_block_mask(inside, None, None, height * width, height * width, device="cpu")
    compiled = torch.compile(flex_attention)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (t.flatten(1, 2).transpose(1, 2) for t in (q, k, v))
        return compiled(q, k, v, block_mask=mask).transpose(1, 2).unflatten(1, (height, width))

    return attend


def error(got: Tensor, expected: Tensor) -> float:
    found = (got.double() - expected).abs() / (expected.abs() + expected.square().mean().sqrt())
    return float(found.detach().max())


def most_memory(call: Callable[[], Any]) -> float:
    """MB allocated at once, of the allocations and frees that torch's profiler notes."""
    with torch.profiler.profile(profile_memory=True) as profile:
        call()
    now = most = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most / 1e6


def measure(height: int, width: int, kernel: int, dtype: str, dilation: int, rounds: int) -> list[dict[str, Any]]:
    window: dict[str, Any] = {"kernel": kernel, "dilation": dilation}
    all_peers = dtype == "float32" and dilation == 1
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(1, height, width, 3 * HEADS * DIM, generator=generator).to(getattr(torch, dtype))
    q, k, v = (t.unflatten(-1, (HEADS, DIM)) for t in qkv.chunk(3, -1))
    bias = torch.randn(HEADS, 2 * kernel - 1, 2 * kernel - 1, generator=generator)
    grad = torch.randn(q.shape, generator=generator).to(q.dtype)
    sides: dict[str, Callable[..., Tensor]] = {
        OURS: lambda q, k, v, bias: neighborhood_attention(q, k, v, bias, **window, backend="native"),
        "tiles": lambda q, k, v, bias: neighborhood_attention_reference(q, k, v, bias, **window),
    }
    if all_peers:
        sides["unfolded"] = lambda q, k, v, bias: unfolded(q, k, v, bias, kernel)
        flex = flexible(height, width, kernel)

    def gradients(side: Callable[..., Tensor], inputs: list[Tensor], grad: Tensor) -> list[Tensor]:
        inputs = [t.detach().requires_grad_() for t in inputs]
        out = side(*inputs)
        return [out.detach(), *torch.autograd.grad(out, inputs, grad)]

    exact = gradients(sides["tiles"], [t.double() for t in (q, k, v, bias)], grad.double())
    mine = gradients(sides[OURS], [q, k, v, bias], grad)
    with torch.no_grad():
        worst = max(error(a, b) for a, b in zip(mine, exact, strict=True))
        others = 0.0
        if all_peers:
            plain = neighborhood_attention_reference(*(t.double() for t in (q, k, v)), **window)
            others = max(error(unfolded(q, k, v, bias, kernel), exact[0]), error(flex(q, k, v), plain))
    if worst > TOLERANCES[dtype] or others > 10 * TOLERANCES[dtype]:
        raise SystemExit(f"off by {worst:.2g} of its size (the others {others:.2g}); no figures")

    rows = []
    for which in ("forward", "forward+backward"):
        if which == "forward":
            calls = {name: lambda side=side: side(q, k, v, bias) for name, side in sides.items()}
            if all_peers:
                calls["flex_attention"] = lambda: flex(q, k, v)
            with torch.no_grad():
                seconds = take_turns(calls, rounds)
                memory = {name: most_memory(call) for name, call in calls.items()}
        else:
            calls = {name: lambda s=side: gradients(s, [q, k, v, bias], grad) for name, side in sides.items()}
            seconds, memory = take_turns(calls, rounds), {}
        row = {
            "size": [height, width],
            **window,
            "dtype": dtype,
            "pass": which,
            "milliseconds": {name: 1e3 * t for name, t in seconds.items()},
            "over": {name: t / seconds[OURS] for name, t in seconds.items() if name != OURS},
            "megabytes": memory,
        }
        rows.append(row)
        print(
            f"{height}x{width} k={kernel} d={dilation} {dtype} {which}: {row['milliseconds'][OURS]:.2f} ms; "
            + ", ".join(f"{over:.1f}x {name}" for name, over in row["over"].items())
            + "".join(f"; {name} {mb:.1f} MB" for name, mb in memory.items()),
            flush=True,
        )
    return rows


def memory_of(height: int, width: int) -> dict[str, Any]:
    """MB beside the inputs of a forward pass, and of one with gradients, float32, kernel 7."""
    q, k, v = (t.unflatten(-1, (HEADS, DIM)) for t in torch.randn(1, height, width, 3 * HEADS * DIM).chunk(3, -1))
    bias = torch.randn(HEADS, 13, 13)
    with torch.no_grad():
        forward = most_memory(lambda: neighborhood_attention(q, k, v, bias, kernel=7, backend="native"))
    inputs = [t.detach().requires_grad_() for t in (q, k, v, bias)]
    grad = torch.randn(q.shape)

    def both() -> None:
        torch.autograd.grad(neighborhood_attention(*inputs, kernel=7, backend="native"), inputs, grad)

    row = {"size": [height, width], "forward": forward, "forward+backward": most_memory(both)}
    print(f"{height}x{width}: {forward:.2f} MB forward, {row['forward+backward']:.2f} MB with gradients", flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["64x96", "32x48"])
    parser.add_argument("--kernels", nargs="+", type=int, default=[7])
    parser.add_argument("--dtypes", nargs="+", choices=list(TOLERANCES), default=["float32"])
    parser.add_argument("--dilations", nargs="+", type=int, default=[1])
    parser.add_argument("--memory", nargs="*", default=[], help="sizes at which our memory alone is measured")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {"environment": environment(), "rows": []}
    print(", ".join(f"{k} {v}" for k, v in results["environment"].items()))
    for size, kernel, dtype, dilation in product(
        arguments.sizes, arguments.kernels, arguments.dtypes, arguments.dilations
    ):
        height, width = map(int, size.split("x"))
        results["rows"] += measure(height, width, kernel, dtype, dilation, arguments.rounds)
    results["memory"] = [memory_of(*map(int, size.split("x"))) for size in arguments.memory]
    write_json(arguments.json, results)


if __name__ == "__main__":
    main()
