"""Random integer syntheses, and the definition of docs/format.md once more, in Python's integers."""

import math

import torch

from pylatent.codecs.integer import LIMITS, IntegerLayer, IntegerSynthesis, largest_sum, transformed


def integers(generator, low, high, *shape):
    return torch.randint(low, high + 1, shape, generator=generator)


def random_layer(generator, inputs, outputs, kernel, low, high, *, leaky=False, skip=False, shuffle=1, last=False):
    """Weights as large as the limits allow, results that fill their range."""
    weight = torch.randn(outputs, inputs, kernel, kernel, generator=generator).double()
    weight[torch.rand(weight.shape, generator=generator) < 0.02] *= 20
    limits = LIMITS[kernel]
    zero = torch.zeros(outputs)
    scale = min(
        (limits.sums - (1 << 20)) / float(largest_sum(weight, zero, low, high).max()),
        (limits.weights - 8) / float(transformed(weight).abs().max()),
    )
    weight = (weight * scale * 0.95).round()
    room = limits.sums - 1 - largest_sum(weight, zero, low, high)
    spread = weight.square().sum((1, 2, 3)).sqrt() * high / 2
    bias = (torch.minimum(room, spread / 4) * (2 * torch.rand(outputs, generator=generator) - 1)).round()
    top = 255 if last else (1 << (13 if kernel == 3 else 12)) - 1
    multiplier = (top / spread.clamp_min(1) * 2.0**32).round().clamp(1, 2**31 - 1)
    names = weight.to(torch.int16), bias.to(torch.int32), multiplier.to(torch.int32)
    return IntegerLayer("random", *names, leaky, skip, 0 if last else -top, top, shuffle, torch.ones(inputs))


def random_synthesis(seed, channels=(7, 40, 33, 5)):
    """Latents of channels[0]; a stream with a block of each following width; colours after shuffles of 2 and 4."""
    generator = torch.Generator().manual_seed(seed)
    M, c, b, a = channels
    layers = []

    def add(inputs, outputs, kernel, **options):
        low, high = (layers[-1].low, layers[-1].high) if layers else (-8191, 8191)
        layers.append(random_layer(generator, inputs, outputs, kernel, low, high, **options))

    add(M, c, 3)
    add(c, c, 3, leaky=True)
    add(c, c, 3, skip=True)
    add(c, 4 * b, 1, shuffle=2)
    add(b, b, 3, leaky=True)
    add(b, b, 3, skip=True)
    add(b, a, 1)
    add(a, 48, 3, shuffle=4, last=True)
    gains = integers(generator, 1, 1 << 30, 3, M) >> integers(generator, 0, 12, 3, M)
    return IntegerSynthesis(gains.clamp(1).to(torch.int32), 8191, layers)


def synthesis_at_its_limits(sign):
    """Inputs of magnitude 32 and weights add up to what the proof just allows, in all pixels but border ones."""
    high, taps = 8191, 9 * 5
    weight = sign * torch.full((64, 5, 3, 3), ((1 << 29) - 1) // (high * taps), dtype=torch.int16)
    rest = (1 << 29) - 1 - high * taps * int(weight.abs().max())
    bias = torch.full((64,), sign * rest, dtype=torch.int32)
    first = IntegerLayer(
        "first",
        weight,
        bias,
        torch.full((64,), 3 << 15).int(),
        False,
        False,
        -32767,
        32767,
        1,
        torch.ones(weight.shape[1]),
    )
    high = 32767
    flat = torch.full((48, 64, 1, 1), ((1 << 31) - 1) // (high * 64), dtype=torch.int16)
    rest = (1 << 31) - 1 - high * 64 * int(flat.max())
    flat[::2] *= -1
    bias = torch.full((48,), rest, dtype=torch.int32)
    bias[::2] *= -1
    second = IntegerLayer(
        "second", flat, bias, torch.full((48,), 500).int(), True, False, 0, 255, 4, torch.ones(flat.shape[1])
    )
    return IntegerSynthesis(torch.full((1, 5), 1 << 20).int(), 8191, [first, second])


def latents(generator, *shape, scale=3.0):
    return (torch.randn(*shape, generator=generator) * scale * 256).round() / 256


def by_hand(synthesis, y_hat, gains):
    """(M, h, w) nested lists of latents -> pixels[row][column][colour], slowly."""
    h, w = y_hat.shape[1:]
    units = [[[int(v * 256) for v in row] for row in plane] for plane in y_hat.tolist()]
    values = [
        [[min(max((u * g + (1 << 19)) >> 20, -synthesis.largest), synthesis.largest) for u in row] for row in plane]
        for plane, g in zip(units, gains.tolist(), strict=True)
    ]
    before = values
    for layer in synthesis.layers:
        weight, bias, multipliers = layer.weight.tolist(), layer.bias.tolist(), layer.multiplier.tolist()
        h, w, s, reach = len(values[0]), len(values[0][0]), layer.shuffle, layer.kernel // 2
        result = [[[0] * (w * s) for _ in range(h * s)] for _ in range(len(bias) // s**2)]
        for o, (kernels, b, m) in enumerate(zip(weight, bias, multipliers, strict=True)):
            for y in range(h):
                for x in range(w):
                    total = b
                    for plane, kernel in zip(values, kernels, strict=True):
                        for j, line in enumerate(kernel):
                            for i, tap in enumerate(line):
                                if 0 <= y + j - reach < h and 0 <= x + i - reach < w:
                                    total += tap * plane[y + j - reach][x + i - reach]
                    used = (m * 655 + (1 << 15)) >> 16 if layer.leaky and total < 0 else m
                    q = (total * used + (1 << 31)) >> 32
                    q += before[o][y][x] if layer.skip else 0
                    place = o % s**2
                    result[o // s**2][y * s + place // s][x * s + place % s] = min(max(q, layer.low), layer.high)
        values, before = result, values
    return torch.tensor(values)


def gain_by_hand(below, above, place):
    """Bisection between two whole qualities, `place` in 1/64."""
    low, high, width = below, above, 64
    while place:
        width //= 2
        middle = math.isqrt(low * high)
        low, high, place = (low, middle, place) if place < width else (middle, high, place - width)
    return low
