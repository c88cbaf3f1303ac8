"""The native exact networks against the definition in float64, to the bit, with every set of kernels."""

import copy
import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from small_codec import make_codec, picture

from pylatent import _native
from pylatent.codecs import _exact_native
from pylatent.codecs.exact import ExactLayer, ExactNetwork, table_indexes

pytestmark = pytest.mark.skipif(_native.why_not_native() is not None, reason="needs the native core")

VARIANTS = [] if _native.why_not_native() is not None else _exact_native.variants()
LIMIT = 1 << 20
SLOPES = (0, 10, 1024, 1, 1023, 517)
NARROW = (1 << 31) - (1 << 10) - 1  # the largest sum of the 16-bit kernels


def same(layers, values, size=None):
    """Compare all variants with the definition."""
    network = ExactNetwork(layers)
    expected = network.reference(values)
    if size is not None:
        expected = expected[..., : size[0], : size[1]]
    packed = _exact_native.pack(network.layers)
    for number, name in enumerate(VARIANTS):
        for dtype in (torch.float64, torch.float32):
            got = _exact_native.run(packed, values, size, dtype, number)
            assert got.dtype == dtype
            assert torch.equal(got.double(), expected), name


def layer(weight, bias=None, *, stride=1, padding=0, output_padding=0, transposed=False, slope=1024):
    outputs = weight.shape[1 if transposed else 0]
    bias = torch.zeros(outputs) if bias is None else bias
    return ExactLayer(weight.double(), bias.double(), stride, padding, output_padding, transposed, slope)


def integers(generator, low, high, *shape):
    return torch.randint(low, high + 1, shape, generator=generator)


def choose(generator, options):
    return options[int(integers(generator, 0, len(options) - 1, 1))]


def random_layer(generator, inputs, outputs, largest):
    transposed = bool(choose(generator, (0, 1)))
    kernel = choose(generator, (1, 2, 3, 4, 5))
    stride = choose(generator, (1, 2, 3))
    shape = (*((inputs, outputs) if transposed else (outputs, inputs)), kernel, choose(generator, (kernel, 3)))
    largest = min(largest, (1 << 22) // (inputs * shape[2] * shape[3]))  # as much as ExactNetwork takes
    return layer(
        integers(generator, -largest, largest, *shape),
        integers(generator, -(1 << 18), 1 << 18, outputs),
        stride=stride,
        padding=choose(generator, range((kernel + 1) // 2)),
        output_padding=choose(generator, range(stride)) if transposed else 0,
        transposed=transposed,
        slope=choose(generator, SLOPES),
    )


@pytest.mark.parametrize("seed", range(60))
def test_random_networks(seed):
    generator = torch.Generator().manual_seed(seed)
    channels = [choose(generator, (1, 2, 3, 7, 16, 17, 33, 50, 70)) for _ in range(choose(generator, (2, 3, 4)))]
    largest = choose(generator, (3, 300, 32767, 40000))
    layers = [random_layer(generator, a, b, largest) for a, b in itertools.pairwise(channels)]
    size = [choose(generator, (1, 2, 5, 6, 7, 13)) for _ in range(2)]
    values = integers(
        generator, *choose(generator, ((-50, 50), (-9000, 9000), (-2 * LIMIT, 2 * LIMIT))), 2, channels[0], *size
    )
    try:
        rows, columns = ExactNetwork(layers).reference(values.double()).shape[2:]
    except RuntimeError:  # torch refuses kernels larger than their input
        with pytest.raises(ValueError, match=r"(height|width) of a layer's output"):
            _exact_native.pack(layers).output_shape(*size)
        return
    same(layers, values.double())
    same(layers, values.double(), tuple(int(integers(generator, 1, n, 1)) for n in (rows, columns)))


@pytest.mark.parametrize("slope", SLOPES)
def test_every_rounding(slope):
    """Sums around multiples of half a step and of 2^20, where slopes, rounding and clamping turn."""
    sums = torch.cat([torch.arange(-2100, 2100) + k * (1 << 9) for k in (0, 1, -1024, -99999, 99999, 2048 * 1024)])
    weight = torch.ones(1, 1, 1, 1)
    values = (sums - 7).clamp(-LIMIT, LIMIT)
    same([layer(weight, torch.tensor([7]), slope=slope)], values.double().view(1, 1, 1, -1))
    big = torch.arange(-LIMIT, LIMIT, 257)
    same([layer(weight * 1031, torch.tensor([-11]), slope=slope)], big.double().view(1, 1, 1, -1))


@pytest.mark.parametrize("sign", [-1, 1])
def test_sums_at_the_limit_of_32_bits(sign):
    """Products that add up to just what the proof allows, and to one more."""
    weight = torch.full((1, 2, 1, 1), 32767)
    values = torch.full((1, 2, 1, 3), sign * 32767)
    room = NARROW - 2 * 32767 * 32767
    for slope in (10, 1024):
        for bias in (room, room + 1, room + 1024, room + 1025, room + 1026, 1 << 31, 1 << 40):
            for far in (0, 1, 2):  # up to 32769, beyond 16 bits
                same([layer(weight, torch.tensor([sign * bias]), slope=slope)], (values + sign * far).double())


def test_weights_at_the_limit_of_16_bits():
    for largest in (32767, 32768, -32767, -32768, (1 << 22) - 1):
        weight = torch.zeros(3, 2, 3, 3)
        weight[0, 0, 1, 1] = weight[2, 1, 0, 2] = largest
        generator = torch.Generator().manual_seed(0)
        for magnitude in (1, 32767, 32768, LIMIT):
            values = integers(generator, -magnitude, magnitude, 1, 2, 4, 4).double()
            values[0, 0, 0, 0] = magnitude
            same([layer(weight, padding=1)], values)


@pytest.mark.parametrize("large", [1, 10, 11, 32])
def test_channels_that_leave_tiles_no_room_take_another_way(large):
    """Of 32 channels, each of which may reach 2,071 with all others: so many reach 7,000, which 2^29 bounds at 9.5."""
    first = layer(1024 * torch.eye(32)[:, :, None, None], slope=10)
    second = layer(torch.full((3, 32, 3, 3), 900), torch.tensor([5, -(1 << 18), 0]), padding=1)
    values = torch.ones(1, 32, 6, 7).double()
    values[:, :large] = 7000
    same([first, second], values)


def test_norms_at_the_limit_of_split_activations():
    for count in (63, 64, 65):  # 64 * 32767 is just below 2^21
        weight = torch.full((2, count, 1, 1), 32767)
        weight[1, ::2] *= -1
        values = torch.full((1, count, 2, 2), LIMIT).double()
        values[..., 1] *= -1
        values[:, 1::2, 1] = 511
        same([layer(weight, slope=10)], values)


def test_images_of_a_batch_take_different_ways():
    generator = torch.Generator().manual_seed(0)
    layers = [random_layer(generator, 4, 8, 900) for _ in range(1)]
    values = integers(generator, -20, 20, 5, 4, 9, 9).double()
    values[1] *= 40000
    values[3, 0, 0, 0] = 1e9
    same(layers, values)
    network = ExactNetwork(layers)
    for number in range(5):
        assert torch.equal(network(values)[number], network(values[number : number + 1])[0])


def test_large_batches_go_in_groups():
    generator = torch.Generator().manual_seed(0)
    layers = [layer(integers(generator, -9, 9, 70, 1, 5, 5), padding=2)]
    values = integers(generator, -900, 900, 3, 1, 40, 40).double()  # two images fill a group
    values[2] *= 1000
    same(layers, values)


@pytest.fixture
def network():
    generator = torch.Generator().manual_seed(1)
    weights = integers(generator, -500, 500, 6, 9, 5, 5), integers(generator, -500, 500, 11, 9, 3, 3)
    first = layer(weights[0], stride=2, padding=2, output_padding=1, transposed=True, slope=10)
    return ExactNetwork([first, layer(weights[1], padding=1)])


@pytest.fixture
def values():
    return integers(torch.Generator().manual_seed(2), -3000, 3000, 2, 6, 7, 9).double()


def test_the_public_call_runs_natively(network, values, monkeypatch):
    if VARIANTS[-1] == "scalar":
        pytest.skip("this processor has no vector kernels")
    expected = network.reference(values)
    monkeypatch.setattr(ExactNetwork, "reference", None)
    assert torch.equal(network(values), expected)
    part = network(values, size=(5, 99), dtype=torch.float32)
    assert torch.equal(part, expected[..., :5, :].float())


def test_strides_and_threads_do_not_matter(network, values):
    expected = network.reference(values)
    assert torch.equal(network(values.contiguous(memory_format=torch.channels_last)), expected)
    assert torch.equal(network(torch.stack([values, values], -1)[..., 0]), expected)
    assert torch.equal(network(values.transpose(2, 3)), network.reference(values.transpose(2, 3)))
    assert torch.equal(network(values[0]), expected[0])
    assert network(values[:0]).shape == (0, *expected.shape[1:])
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            assert torch.equal(network(values), expected)
    finally:
        torch.set_num_threads(before)


def test_networks_are_shared_by_threads_copied_and_pickled(network, values):
    expected = network.reference(values)
    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(result, expected) for result in pool.map(network, [values] * 16))
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(other(values), expected)


@pytest.mark.parametrize("value", [0.5, -3.25, float("nan"), float("inf"), -float("inf"), 1e300, LIMIT + 0.5])
def test_values_that_are_no_integers_take_the_definition(network, values, value):
    values[1, 3, 2, 2] = value
    assert torch.equal(network(values).nan_to_num(-1), network.reference(values).nan_to_num(-1))


def test_slopes_without_kernels_take_the_definition():
    layers = [layer(torch.ones(1, 1, 1, 1), slope=2048)]
    values = torch.tensor([-3.0, 5.0], dtype=torch.float64).view(1, 1, 1, 2)
    assert torch.equal(ExactNetwork(layers)(values), ExactNetwork(layers).reference(values))
    assert "slopes" in _exact_native.why_not_native(values, layers)


def test_wrong_arguments_are_named(network, values):
    packed = _exact_native.pack(network.layers)
    with pytest.raises(ValueError, match="`channels` must be 6, got 5"):
        _exact_native.run(packed, values[:, :5], None, torch.float64)
    with pytest.raises(ValueError, match="`variant` must lie between"):
        _exact_native.run(packed, values, None, torch.float64, 99)
    with pytest.raises(ValueError, match="`inputs of a layer` must be 11, got 9"):
        _exact_native.pack([network.layers[1], network.layers[1]])


def test_thresholds_without_tables_are_refused():
    scales = torch.ones(3)
    for wrong in ([2, 1], [-1], [LIMIT + 1], [0] * 256):
        with pytest.raises(ValueError, match="threshold"):
            table_indexes(scales, torch.tensor(wrong).double())


@torch.no_grad()
def test_streams_are_those_of_the_definition(monkeypatch):
    codec = make_codec()
    latents = [codec.analyze(picture(*size)) for size in ((1, 1), (50, 70), (224, 224))]
    streams = [codec.encode(one) for one in latents]
    monkeypatch.setattr(_exact_native, "why_not_native", lambda *_: "switched off")
    assert [codec.encode(one) for one in latents] == streams
