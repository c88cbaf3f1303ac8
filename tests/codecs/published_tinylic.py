"""TinyLIC as published: names and shapes of its state dicts, and its context in plain torch, written apart from our
class (arXiv 2204.11448; the variable-rate form has tables of eight levels, arXiv 2507.01608)."""

import math
from itertools import pairwise

import torch
from torch.nn.functional import conv2d, gelu


def widths_of(M):
    ends = [0, *(M - math.ceil(M * math.cos(i * math.pi / 8)) for i in (1, 2, 3)), M]
    return [b - a for a, b in pairwise(ends)]


def published_shapes(N=128, M=320, levels=0):
    """{name: shape} of the parameters."""
    shapes, Z = {}, N * 3 // 2

    def conv(name, inputs, outputs, kernel):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs, kernel, kernel), (outputs,)

    def deconv(name, inputs, outputs, kernel):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (inputs, outputs, kernel, kernel), (outputs,)

    def linear(name, inputs, outputs):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs), (outputs,)

    def attention(name, channels, depth, kernel):
        for number in range(depth):
            block = f"{name}.residual_group.blocks.{number}"
            for norm in ("norm1", "norm2"):
                shapes[f"{block}.{norm}.weight"] = shapes[f"{block}.{norm}.bias"] = (channels,)
            linear(f"{block}.attn.qkv", channels, 3 * channels)
            linear(f"{block}.attn.proj", channels, channels)
            shapes[f"{block}.attn.rpb"] = (channels // 16, 2 * kernel - 1, 2 * kernel - 1)
            linear(f"{block}.mlp.fc1", channels, 2 * channels)
            linear(f"{block}.mlp.fc2", 2 * channels, channels)
            if levels:
                shapes[f"{block}.gamma_1"] = shapes[f"{block}.gamma_2"] = (levels, channels)

    sides, depths = (N, N * 3 // 2, 2 * N, M), (2, 2, 6, 2)
    for number, (inputs, outputs) in enumerate(zip((3, *sides[:3]), sides, strict=True)):
        conv(f"g_a{2 * number}", inputs, outputs, 3 if number else 5)
        attention(f"g_a{2 * number + 1}", outputs, depths[number], 7)
    for number, (inputs, outputs) in enumerate(zip(sides[::-1], (*sides[2::-1], 3), strict=True)):
        attention(f"g_s{2 * number}", inputs, depths[3 - number], 7)
        deconv(f"g_s{2 * number + 1}", inputs, outputs, 5 if outputs == 3 else 3)
    conv("h_a0", M, Z, 3)
    conv("h_a2", Z, Z, 3)
    deconv("h_s1", Z, Z, 3)
    deconv("h_s3", Z, 2 * M, 3)
    for name in ("h_a1", "h_a3", "h_s0", "h_s2"):
        attention(name, Z, 2, 3)
    widths, before = widths_of(M), 0
    for number, (of, kernel) in enumerate(((0, 3), (0, 5), (0, 5), (1, 5), (2, 5)), 1):
        conv(f"sc_transform_{number}", widths[of], 2 * widths[of], kernel)
    for number, width in enumerate(widths):
        hidden = (2 * width, 2 * width) if number == 3 else (width * 10 // 3, width * 8 // 3)
        inputs = 2 * M + (2 if number == 3 else 4) * width
        for place, (a, b) in zip((0, 2, 4), ((inputs, hidden[0]), hidden, (hidden[1], 2 * width)), strict=True):
            conv(f"entropy_parameters_{number + 1}.{place}", a, b, 1)
        for place, a, b, kernel in ((0, 2 * M + before, width, 5), (2, width, width, 5), (4, width, 2 * width, 3)):
            conv(f"cc_transforms.{number}.{place}", a, b, kernel)
        before += width
    filters = (1, 3, 3, 3, 3, 1)
    for number in range(5):
        shapes[f"entropy_bottleneck._matrix{number}"] = (Z, filters[number + 1], filters[number])
        shapes[f"entropy_bottleneck._bias{number}"] = (Z, filters[number + 1], 1)
        if number < 4:
            shapes[f"entropy_bottleneck._factor{number}"] = (Z, filters[number + 1], 1)
    shapes["entropy_bottleneck.quantiles"] = (Z, 1, 3)
    if levels:
        shapes["Gain"] = shapes["InverseGain"] = (levels, M)
        shapes["HyperGain"] = shapes["InverseHyperGain"] = (levels, Z)
    return shapes


def with_buffers(state, M):
    """What a published checkpoint holds besides: masks, empty integer tables, bounds."""
    for number, (of, kernel) in enumerate(((0, 3), (0, 5), (0, 5), (1, 5), (2, 5)), 1):
        width = widths_of(M)[of]
        state[f"sc_transform_{number}.mask"] = torch.zeros(2 * width, width, kernel, kernel)
    for owner in ("entropy_bottleneck", "gaussian_conditional"):
        for name in ("_quantized_cdf", "_cdf_length", "_offset"):
            state[f"{owner}.{name}"] = torch.empty(0, dtype=torch.int32)
    state["entropy_bottleneck.target"] = torch.zeros(3)
    state["gaussian_conditional.scale_table"] = torch.empty(0)
    return state


# Rows and columns modulo 2 of each stage of a slice, and the taps that its convolution may use: rows, columns, from the
# middle.
_STAGES = [
    [[(0, 0)], [(1, 1)], [(0, 1)], [(1, 0)]],
    [[(0, 1), (1, 0)], [(0, 0), (1, 1)]],
    [[(0, 0), (1, 1)], [(0, 1), (1, 0)]],
    [[(0, 0), (0, 1), (1, 0), (1, 1)]],
]


def context(state, hyper, y):
    """Means, scales and rounded values of y, every stage on the whole grid, with what is not done yet set to zero."""
    means, scales, y_hat = (torch.zeros_like(y) for _ in range(3))
    start, transform = 0, 0
    for number, stages in enumerate(_STAGES):
        width = widths_of(y.shape[1])[number]
        mine = slice(start, start + width)
        cc = _three(state, f"cc_transforms.{number}", torch.cat([hyper, y_hat[:, :start]], 1))
        known = torch.zeros_like(y[:, mine])
        for stage, phases in enumerate(stages):
            sc = [torch.zeros_like(cc)] if len(stages) > 1 else []
            if stage > 0:
                transform += 1
                weight, bias = (state[f"sc_transform_{transform}.{name}"] for name in ("weight", "bias"))
                sc = [conv2d(known, _only_done(weight, stages[:stage], phases[0]), bias, padding="same")]
            out = _three(state, f"entropy_parameters_{number + 1}", torch.cat([hyper, *sc, cc], 1))
            scale, mean = out.chunk(2, 1)
            for row, column in phases:
                at = (slice(None), slice(None), slice(row, None, 2), slice(column, None, 2))
                means[:, mine][at], scales[:, mine][at] = mean[at], scale[at]
                known[at] = torch.round(y[:, mine][at] - mean[at]) + mean[at]
        y_hat[:, mine] = known
        start += width
    return means, scales, y_hat


def _three(state, name, x):
    for place in (0, 2, 4):
        x = conv2d(x, state[f"{name}.{place}.weight"], state[f"{name}.{place}.bias"], padding="same")
        x = gelu(x) if place < 4 else x
    return x


def _only_done(weight, done, phase):
    """The weights of the taps that meet, from a position of this phase, a phase that is done; other taps are masked."""
    phases, middle = {each for stage in done for each in stage}, weight.shape[-1] // 2
    weight = weight.clone()
    for row in range(weight.shape[-2]):
        for column in range(weight.shape[-1]):
            if ((phase[0] + row - middle) % 2, (phase[1] + column - middle) % 2) not in phases:
                weight[..., row, column] = 0
    return weight
