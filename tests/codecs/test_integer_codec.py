"""A codec with an integer synthesis: what it decodes to, stores and signs; training keeps the float network."""

import hashlib
import random

import pytest
import torch
from safetensors import safe_open
from small_codec import make_calibrated, make_codec, make_residual, picture

from pylatent import _native, zoo
from pylatent.codecs import _integer_native
from pylatent.codecs.integer import IntegerLayer, IntegerSynthesis
from pylatent.codecs.integer_gains import gains_of
from pylatent.errors import ModelError

SIZES = [(1, 1), (17, 31), (64, 80)]


@pytest.fixture(scope="module")
def codec():
    return make_calibrated()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_pixels_are_those_of_the_definition(codec, size):
    streams = [codec.compress(picture(*size), quality)[0] for quality in (1, 2.75)]
    decoded = codec.decode(streams)
    synthesis = codec._ready().synthesis
    gains = torch.stack([gains_of(synthesis.gains, quality) for quality in decoded.quality])
    expected = synthesis.reference(decoded.y, gains)[..., : size[0], : size[1]]
    assert torch.equal(codec.synthesize_bytes(decoded), expected)
    assert torch.equal(codec.decompress_bytes(streams), expected)
    pixels = codec.decompress(streams)
    assert pixels.dtype == torch.float32
    assert torch.equal(pixels, expected.float() / 255)
    assert torch.equal(pixels.mul(255).round().byte(), expected)
    for number in range(2):
        assert torch.equal(codec.decompress(streams[number : number + 1])[0], pixels[number])


@torch.no_grad()
def test_they_are_near_those_of_the_float_network(codec):
    x = picture(64, 80)
    expected = make_residual().synthesize(codec.as_coded(codec.analyze(x, 2)))
    pixels = codec.synthesize(codec.as_coded(codec.analyze(x, 2)))
    assert float((pixels - expected).abs().max()) < 2 / 255


def test_without_an_integer_synthesis_bytes_are_rounded_pixels():
    codec = make_codec()
    latents = codec.as_coded(codec.analyze(picture(20, 30), 2))
    assert torch.equal(codec.synthesize_bytes(latents), codec.synthesize(latents).mul(255).round().byte())


def test_training_and_gradients_keep_the_float_network(codec):
    x = picture(32, 32)
    plain = make_residual()
    with torch.no_grad():
        assert torch.equal(codec.train()(x, 2, rounding=_nothing).x_hat, plain.train()(x, 2, rounding=_nothing).x_hat)
    codec.eval()
    latents = codec.analyze(x, 2)
    assert latents.y.requires_grad
    codec.synthesize(latents).sum().backward()
    assert codec.g_s[0].weight.grad is not None
    codec.zero_grad()


def _nothing(values, level):
    return values, values


def test_the_integers_are_stored_and_signed(codec, tmp_path):
    path = tmp_path / "model.safetensors"
    header = zoo.save_codec(codec, path, name="small-1", card={})
    loaded = zoo.load(str(path))
    plain = make_residual()
    assert loaded.fingerprint().hex() == header.hash
    assert plain.fingerprint() != codec.fingerprint()
    state, before = loaded.coding_state(), codec.coding_state()
    assert state.keys() == before.keys()
    assert all(torch.equal(state[key], before[key]) for key in before)
    stream = loaded.compress(picture(40, 40), 2)
    assert torch.equal(loaded.decompress_bytes(stream), codec.decompress_bytes(stream))


def test_damaged_integers_are_refused(codec):
    state = codec.coding_state()
    other = make_residual()
    other.load_coding_state(state)
    with pytest.raises(ModelError, match=r"g_s\.1 .*sums"):
        other.load_coding_state(state | {"g_s.1.bias": state["g_s.1.bias"] + (1 << 30)})
    with pytest.raises(KeyError, match="multiplier"):
        other.load_coding_state({key: value for key, value in state.items() if key != "g_s.2.multiplier"})


def test_new_weights_need_a_new_calibration(codec):
    other = make_residual()
    other.calibrate([picture(32, 32)])
    other.update()
    assert other._ready().synthesis is None
    other.load_state_dict(codec.float_state())
    with pytest.raises(ModelError, match="not ready"):
        other.calibrate([picture(32, 32)])


def test_transforms_without_an_integer_form_say_so():
    with pytest.raises(ModelError, match="no integer form"):
        make_codec().calibrate([picture(32, 32)])


def golden_synthesis():
    """A network of numbers that Python's generator guarantees."""
    generator = random.Random(15)

    def numbers(largest, *shape):
        count = torch.Size(shape).numel()
        return torch.tensor([int((2 * generator.random() - 1) * largest) for _ in range(count)]).view(*shape)

    def layer(inputs, outputs, kernel, largest, multiplier, **options):
        weight = numbers(largest, outputs, inputs, kernel, kernel).to(torch.int16)
        bias = numbers(1 << 22, outputs).to(torch.int32)
        multipliers = (multiplier + numbers(multiplier // 3, outputs)).to(torch.int32)
        settings = {"leaky": False, "skip": False, "low": -8191, "high": 8191, "shuffle": 1} | options
        return IntegerLayer("golden", weight, bias, multipliers, **settings, units=torch.ones(weight.shape[1]))

    layers = [
        layer(8, 20, 3, 800, 1 << 21),
        layer(20, 24, 3, 250, 1 << 21, leaky=True, low=-400),
        layer(24, 20, 3, 200, 1 << 21, skip=True),
        layer(20, 36, 1, 8000, 1 << 17, shuffle=2, low=-8000, high=8100),
        layer(9, 48, 3, 600, 1 << 17, shuffle=4, low=0, high=255),
    ]
    return IntegerSynthesis(numbers(1 << 24, 2, 8).abs().to(torch.int32), 8191, layers), numbers(1 << 12, 1, 8, 7, 10)


def test_golden_pixels():
    """Never change this hash: pictures that were coded decode to the same pixels for ever."""
    synthesis, units = golden_synthesis()
    y_hat, gains = units.float() / 256, torch.stack([gains_of(synthesis.gains, 1 + 37 / 64)])
    results = {"reference": synthesis.reference(y_hat, gains)}
    if _native.why_not_native() is None:
        packed = _integer_native.pack(synthesis.largest, synthesis.layers)
        for number, name in enumerate(_integer_native.variants()):
            results[name] = _integer_native.run(packed, y_hat, gains, synthesis.scale, number)
    for name, pixels in results.items():
        assert hashlib.sha256(pixels.contiguous().numpy().tobytes()).hexdigest() == GOLDEN, name
    assert results["reference"].unique().numel() > 200


GOLDEN = "86308c749b7a6cee5aeec59308aff751b246c626a9cc9c7cc86dc29596c3ef4d"


def test_a_model_file_holds_the_synthesis_once(codec, tmp_path):
    zoo.save_codec(codec, tmp_path / "model.safetensors", name="small-1", card={})
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        names = set(file.keys())
    assert not any(name.startswith(("g_s.", "inverse_gain")) for name in names)
    assert "coding.g_s.0.weight" in names
    loaded = zoo.load(tmp_path / "model.safetensors")
    for name, value in codec.state_dict().items():
        if not name.startswith(("g_s.", "inverse_gain")):
            continue
        largest = float(value.abs().max())
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=1e-3, atol=1e-3 * largest)
