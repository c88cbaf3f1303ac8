"""TinyLIC against what the published code does on a CPU: unfolded windows, whole grids and lists (tinylic_peer.py).

    python benchmarks/bench_tinylic.py [--size 256] [--rounds 3] [--json benchmarks/results/tinylic-NAME.json]

Both sides have the same weights and code the same picture, N=128, M=320, one thread, processor time. No figure without
latents that are those of the other side. Needs CompressAI.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from harness import environment, take_turns, write_json
from tinylic_peer import PeerTinyLIC

from pylatent.codecs import TinyLIC

# Latents of random weights and their scales, brought to what makes the rate that of a good picture.
_SPREAD, _SCALES = 0.25, 0.4


def make_sides() -> tuple[TinyLIC, PeerTinyLIC]:
    torch.manual_seed(0)
    peer = PeerTinyLIC().eval()
    with torch.no_grad():
        peer.g_a[6].weight.mul_(_SPREAD)
        for network in peer.entropy_parameters:
            network[-1].bias[: len(network[-1].bias) // 2].add_(_SCALES)
        for layer in peer.sc_transforms:
            layer.weight.mul_(layer.mask)
    ours = TinyLIC().eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as a model file gives it
    wanted, weights = ours.state_dict(), peer.state_dict()
    ours.load_state_dict({name: weights[name] for name in wanted})
    peer.gaussian_conditional.update_scale_table([0.11 * (256 / 0.11) ** (i / 63) for i in range(64)])
    peer.entropy_bottleneck.update()
    ours.update()
    return ours, peer


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=256, help="side of the picture, a multiple of 64 from 192")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ours, peer = make_sides()
    x = torch.rand(1, 3, arguments.size // 8, arguments.size // 8)
    x = torch.nn.functional.interpolate(x, scale_factor=8, mode="bilinear")
    streams, theirs = ours.compress(x), peer.compress(x)
    y_hat = ours.decode(streams)
    # Another order of sums rounds a few of the latents to the other side.
    differing = float(torch.isclose(y_hat.y, peer.decode(*theirs), rtol=1e-3, atol=1e-2).logical_not().float().mean())
    if differing > 1e-3:
        raise SystemExit(f"{differing:.2%} of the latents differ; no figures")
    torch.testing.assert_close(ours.synthesize(y_hat), peer.g_s(y_hat.y).clamp(0, 1), rtol=1e-3, atol=1e-3)
    calls = {
        "theirs: entropy decoding": lambda: peer.decode(*theirs),
        "ours: entropy decoding": lambda: ours.decode(streams),
        "theirs: synthesis": lambda: peer.g_s(y_hat.y),
        "ours: synthesis": lambda: ours.synthesize(y_hat),
        "theirs: decoding": lambda: peer.g_s(peer.decode(*theirs)),
        "ours: decoding": lambda: ours.decompress(streams),
        "theirs: encoding": lambda: peer.compress(x),
        "ours: encoding": lambda: ours.compress(x),
    }
    seconds = take_turns(calls, arguments.rounds)
    rows = []
    for what in ("entropy decoding", "synthesis", "decoding", "encoding"):
        their_time, our_time = seconds[f"theirs: {what}"], seconds[f"ours: {what}"]
        rows.append({"what": what, "plain_s": their_time, "pylatent_s": our_time, "ratio": their_time / our_time})
        print(f"{what:18} {their_time:8.3f} s -> {our_time:8.3f} s  {their_time / our_time:5.1f}x")
    bits = sum(8 * len(section) for section in streams[0].sections) / arguments.size**2
    print(f"{arguments.size}x{arguments.size} pixels, {bits:.2f} bits per pixel")
    write_json(
        arguments.json,
        {"environment": environment("compressai"), "size": arguments.size, "bits_per_pixel": bits, "rows": rows},
    )


if __name__ == "__main__":
    main()
