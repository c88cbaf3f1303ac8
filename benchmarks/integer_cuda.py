"""Integer convolutions on a CUDA device, for benchmarks/gpu.py: a layer and the networks of a model at 1080p, against
torch's float64 convolutions of the same integers and float32 convolutions of the same shapes. Nothing is timed before
the kernels have given the integers of the definition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from harness import cuda_turns
from torch import Tensor

import pylatent
from pylatent.codecs import _exact_cuda, _integer_cuda
from pylatent.codecs.exact import ExactNetwork
from pylatent.codecs.exact_layer import ExactLayer

HYPER, LATENTS = (17, 30), (68, 120)  # rows and columns of a 1080p picture's
MODEL = "default-2"


def exact_layer(rounds: int) -> list[dict[str, Any]]:
    """5x5, 192 to 64 channels: 630 µs in float64 on an H200."""
    weight = torch.randint(-500, 501, (64, 192, 5, 5)).double()
    layer = ExactLayer(weight, torch.zeros(64).double(), 1, 2, 0, False, 1 << 10)
    return _exact("exact layer 5x5, 192 to 64", (layer,), rounds)


def hyper_synthesis(rounds: int) -> list[dict[str, Any]]:
    return _exact(f"h_s of {MODEL}", pylatent.load(MODEL)._ready().networks["h_s"].layers, rounds)


def synthesis(rounds: int) -> list[dict[str, Any]]:
    """All receivers, and the float networks that they stand for."""
    codec = pylatent.load(MODEL).cuda()
    quality = codec._quality_tensor((4.0,), codec.device)
    y_hat = torch.randint(-8, 9, (1, *codec.level_shapes((1088, 1920))[0])).float().cuda()
    networks = {"full": codec._ready().synthesis}
    networks |= {name: each.synthesis for name, each in codec.receivers.items()}
    rows = []
    for name, network in networks.items():
        if network is None:
            raise RuntimeError(f"{MODEL} has no integer synthesis")
        if (reason := _integer_cuda.why_not_native(y_hat, network.layers)) is not None:
            raise RuntimeError(f"there are no kernels: {reason}")
        gains = torch.stack([network.gains[3]]).cuda()
        part = y_hat[..., :8, :8]
        packed = _integer_cuda.pack_network(network.largest, network.layers, y_hat.device)
        if not torch.equal(_integer_cuda.run(packed, part, gains), network.reference(part, gains)):
            raise RuntimeError("the kernels do not give the pixels of the definition: nothing to measure")
        calls: dict[str, Callable[[], Tensor]] = {
            "pylatent": lambda network=packed, gains=gains: _integer_cuda.run(network, y_hat, gains)
        }
        if name == "full":
            levels = [y_hat, torch.zeros(1, *codec.level_shapes((1088, 1920))[1], device="cuda")]
            calls["float32"] = lambda levels=levels: codec.synthesis(levels, quality)
        rows.append(_row(f"{name} synthesis of {MODEL}", tuple(y_hat.shape), calls, rounds))
    return rows


def _exact(name: str, layers: Sequence[ExactLayer], rounds: int) -> list[dict[str, Any]]:
    # On the device, so that the definition can be captured in a graph.
    network = ExactNetwork([replace(one, weight=one.weight.cuda(), bias=one.bias.cuda()) for one in layers])
    inputs = layers[0].weight.shape[0 if layers[0].transposed else 1]
    values = torch.randint(-2000, 2001, (1, inputs, *HYPER)).double().cuda()
    if (reason := _exact_cuda.why_not_native(values) or _exact_cuda.why_not_layers(network.layers)) is not None:
        raise RuntimeError(f"there are no kernels: {reason}")
    if not torch.equal(network(values), network.reference(values)):
        raise RuntimeError("the kernels do not give the integers of the definition: nothing to measure")
    calls = {"pylatent": lambda: network(values), "float64": lambda: network.reference(values)}
    return [_row(name, tuple(values.shape), calls, rounds)]


@torch.no_grad()
def _row(name: str, shape: tuple[int, ...], calls: dict[str, Callable[[], Tensor]], rounds: int) -> dict[str, Any]:
    times = cuda_turns(calls, rounds)
    us = {
        side: [None if found.device is None else 1e6 * found.device, 1e6 * found.call] for side, found in times.items()
    }
    print(f"{name} {shape}: {us}", flush=True)
    return {"what": name, "shape": shape, "us": us}
