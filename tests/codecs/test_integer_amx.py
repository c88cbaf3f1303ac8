"""The kernels for AMX, which take numbers apart into bytes: on a model of its tiles and, if there are any, on them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from integer_networks import integers

from pylatent import _native
from pylatent.codecs import _integer_native
from pylatent.codecs.integer import IntegerLayer, IntegerSynthesis
from pylatent.codecs.integer_analysis import AnalysisInputs, AnalysisLayer, IntegerAnalysis

VARIANTS = [] if _native.why_not_native() is not None else _integer_native.variants()
pytestmark = pytest.mark.skipif("amx-model" not in VARIANTS, reason="needs the native core, and AVX2")
BYTES = (0, 1, 63, 64, 65, 127, 128, 129, 191, 192, 255, 256, 8064, 8127, 8128, 8191)


def single_weights(generator, inputs, outputs, kernel, magnitudes, per_output):
    """`per_output` weights that are not 0 for each output, of both signs."""
    weight = torch.zeros(outputs, inputs * kernel * kernel, dtype=torch.int16)
    for row in weight:
        places = torch.randperm(inputs, generator=generator)[:per_output] * kernel * kernel
        places += integers(generator, 0, kernel * kernel - 1, per_output)  # never two of one input
        chosen = torch.tensor(magnitudes)[integers(generator, 0, len(magnitudes) - 1, per_output)]
        row[places] = (chosen * (2 * integers(generator, 0, 1, per_output) - 1)).to(torch.int16)
    return weight.reshape(outputs, inputs, kernel, kernel)


def layer(weight, bias, multiplier, low, high, shuffle=1):
    vectors = torch.tensor([[bias], [multiplier]], dtype=torch.int32).expand(2, len(weight)).contiguous()
    return IntegerLayer("extreme", weight, *vectors, False, False, low, high, shuffle, torch.ones(weight.shape[1]))


def extreme_inputs(generator, channels, *size):
    """Many of all 14-bit numbers, and those where a byte begins or changes its sign."""
    values = torch.randperm(16383, generator=generator)[: channels * size[0] * size[1]] - 8191
    values[::5] = torch.tensor(BYTES)[integers(generator, 0, len(BYTES) - 1, len(values[::5]))]
    return values.reshape(1, channels, *size)


@pytest.mark.parametrize("size", [(16, 14), (3, 70), (1, 17)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("magnitudes", [BYTES, BYTES[:10], BYTES[:6]], ids=["all", "9 bits", "8 bits"])
def test_sums_of_3x3_layers(size, stride, magnitudes):
    """Halves of the sums: multipliers are below 2^31."""
    generator = torch.Generator().manual_seed(stride)
    integers_ = layer(single_weights(generator, 70, 50, 3, magnitudes, 7), -3, 2**31 - 1, -(1 << 29), 1 << 29)
    inputs = AnalysisInputs(torch.ones(70), -8191, 8191)
    analysis = IntegerAnalysis(inputs, [AnalysisLayer(integers_, stride)], torch.ones(50))
    x = extreme_inputs(generator, 70, *size).float()
    expected = analysis.reference(x)
    assert float(expected.abs().max()) > 127 * 2000
    for number, name in enumerate(VARIANTS):
        assert torch.equal(analysis(x, variant=number), expected), name


@pytest.mark.parametrize("size", [(16, 14), (3, 70), (1, 17)])
def test_1x1_layers_take_16_bits(size):
    """8-bit weights, whose results then have 16 bits, and 16-bit weights."""
    generator = torch.Generator().manual_seed(size[1])
    narrow = torch.zeros(72, 72, 1, 1, dtype=torch.int16)
    narrow[range(72), range(72)] = 16
    narrow[40:] += single_weights(generator, 72, 32, 1, (1, 63, 64, 111), 5)
    magnitudes = [256 * high + low for high in (0, 1, 63, 126) for low in (0, 1, 127, 128, 255)] + [32767]
    synthesis = IntegerSynthesis(
        torch.full((1, 72), 1 << 20).int(),
        8191,
        [
            layer(narrow, 0, 1 << 30, -32767, 32767),
            layer(single_weights(generator, 72, 70, 1, magnitudes, 1), 0, 32760, -8191, 8191),
            layer(single_weights(generator, 70, 48, 1, magnitudes, 7), 1 << 27, 1 << 12, 0, 255, 4),
        ],
    )
    y_hat = extreme_inputs(generator, 72, *size) / 256
    expected = synthesis.reference(y_hat, synthesis.gains)
    assert expected.unique().numel() > 100
    packed = _integer_native.pack(synthesis.largest, synthesis.layers)
    for number, name in enumerate(VARIANTS):
        assert torch.equal(_integer_native.run(packed, y_hat, synthesis.gains, 4, number), expected), name


def test_the_model_is_never_chosen():
    assert VARIANTS[0] == "amx-model"
    assert len(VARIANTS) > 2


def test_the_trial_tells_the_faster_kernels():
    is_faster = _native.core().integer_variant_is_faster
    assert is_faster(len(VARIANTS) - 1, VARIANTS.index("scalar"))
    assert not is_faster(VARIANTS.index("amx-model"), VARIANTS.index("avx2"))
    assert not is_faster(VARIANTS.index("scalar"), VARIANTS.index("avx2"))


@pytest.mark.skipif("amx" not in VARIANTS, reason="needs a processor with AMX, or PYLATENT_SIMD forbids it")
@pytest.mark.parametrize(("level", "last"), [("amx", "amx"), ("avx512", "avx512-vnni")])
def test_the_environment_decides(level, last):
    program = "from pylatent.codecs import _integer_native; print(_integer_native.variants()[-1])"
    environment = os.environ | {"PYLATENT_SIMD": level, "PYTHONPATH": str(Path(_native.__file__).parents[1])}
    out = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == last
