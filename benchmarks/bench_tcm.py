"""TCM-Small against a plain re-creation with CompressAI's layers and list-based coder, same weights and picture.

    python benchmarks/bench_tcm.py [--size 256] [--rounds 3] [--json benchmarks/results/tcm-NAME.json]

Needs compressai. Processor time of one thread, the sides taking turns. "entropy decoding" ends with the latents, which
is where steps and the lane coder are; "decoding" adds the synthesis, whose convolutions both sides leave to oneDNN, and
which are what bounds either: of the plain decoder's time lists take a fiftieth and attention a third.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from harness import environment, take_turns, write_json
from tcm_peer import PeerTCM

from pylatent.codecs import TCM

# Random weights code next to nothing: latents and scales are spread until the rate is that of a good picture.
_SPREAD, _SCALES = 30.0, 1.0


def make_sides() -> tuple[TCM, PeerTCM]:
    torch.manual_seed(0)
    peer = PeerTCM().eval()
    with torch.no_grad():
        peer.g_a[-1].weight.mul_(_SPREAD)
        for network in peer.cc_scale_transforms:
            network[-1].bias.add_(_SCALES)
    ours = TCM().eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as a model file gives it
    wanted, weights = ours.state_dict(), peer.state_dict()
    ours.load_state_dict({name: weights[name] for name in wanted})
    peer.gaussian_conditional.update_scale_table([0.11 * (256 / 0.11) ** (i / 63) for i in range(64)])
    peer.entropy_bottleneck.update()
    ours.update()
    return ours, peer


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=256, help="side of the picture, a multiple of 128")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ours, peer = make_sides()
    x = torch.rand(1, 3, arguments.size // 8, arguments.size // 8)
    x = torch.nn.functional.interpolate(x, scale_factor=8, mode="bilinear")
    streams, theirs = ours.compress(x), peer.compress(x)
    y_hat = ours.decode(streams)
    torch.testing.assert_close(y_hat.y, peer.decode(*theirs), rtol=1e-3, atol=1e-2)
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
