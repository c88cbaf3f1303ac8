"""Light receivers: the same pixels from all kernels and the definition; stored beside the model, not in its hash."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_codec import make_codec, make_context, picture

import pylatent
from pylatent import _native, zoo
from pylatent.codecs import _integer_native
from pylatent.codecs.integer import IntegerSynthesis
from pylatent.codecs.integer_gains import gains_of
from pylatent.codecs.receivers import SideReceiver, receivers_from_state
from pylatent.errors import ModelError
from pylatent.train.light import LightRecipe, examples, give_light, light_network, quantised

RECIPE = LightRecipe(widths=(8, 6), qualities=2)


@pytest.fixture(scope="module")
def codec():
    codec = make_context()
    codec.calibrate(picture(64, 64, seed=seed) for seed in range(3))
    data = list(examples(codec, [picture(64, 80)[0].mul(255).byte()], RECIPE))
    torch.manual_seed(5)
    network = light_network(10, RECIPE)
    with torch.no_grad():
        network[-2].weight.mul_(4)  # colours that fill their range
    give_light(codec, quantised(network), data, RECIPE)
    return codec


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PYLATENT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize("size", [(1, 1), (17, 31), (64, 80), (33, 700)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_pixels_are_those_of_the_definition(codec, size):
    streams = [codec.compress(picture(*size), quality)[0] for quality in (1, 2.75)]
    decoded, synthesis = codec.decode(streams), codec.receivers["light"].synthesis
    gains = torch.stack([gains_of(synthesis.gains, quality) for quality in decoded.quality])
    expected = synthesis.reference(decoded.y, gains)[..., : size[0], : size[1]]
    assert torch.equal(codec.decompress_bytes(streams, receiver="light"), expected)
    assert torch.equal(codec.decompress(streams, receiver="light"), expected.float() / 255)
    assert size == (1, 1) or expected.float().std() > 20
    assert not torch.equal(codec.decompress_bytes(streams), expected)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            assert torch.equal(codec.synthesize_bytes(decoded, "light"), expected)
    finally:
        torch.set_num_threads(before)
    if _native.why_not_native() is None:
        packed = _integer_native.pack(synthesis.largest, synthesis.layers)
        for number, name in enumerate(_integer_native.variants()):
            pixels = _integer_native.run(packed, decoded.y, gains, 16, number)
            assert torch.equal(pixels[..., : size[0], : size[1]], expected), name


def test_the_model_file_holds_its_own_layers_and_the_hash_stays(codec, tmp_path):
    plain, light = tmp_path / "plain.safetensors", tmp_path / "light.safetensors"
    header = zoo.save_codec(codec, light, name="small-1", card={})
    other = zoo.load(light)
    other.set_receiver("light", None)
    assert other.fingerprint() == codec.fingerprint() == bytes.fromhex(header.hash)
    assert zoo.save_codec(other, plain, name="small-1", card={}).light == ""
    assert zoo.read_header(light) == header
    assert zoo.load(light).receivers_fingerprint().hex() == header.light != ""
    with safe_open(light, framework="pt") as file:
        added = set(file.keys()) - set(load_file(plain))
        assert {file.get_tensor(f"light.{number}.weight").dtype for number in range(5)} == {torch.int8}
    assert all(name.startswith("light.") for name in added)
    stream = codec.compress(picture(40, 56), 2)
    loaded = zoo.load(light)
    assert loaded.receivers["light"].shared == 3
    for receiver in ("full", "light"):
        assert torch.equal(
            loaded.decompress_bytes(stream, receiver=receiver), codec.decompress_bytes(stream, receiver=receiver)
        )
    data = pylatent.compress(picture(40, 56)[0], model=zoo.load(plain), quality=2)
    shown = pylatent.decompress(data, model=loaded, receiver="light", as_tensor=True)
    assert torch.equal(shown, loaded.decompress(loaded.compress(picture(40, 56), 2), receiver="light")[0])


def test_damaged_ones_are_refused(codec, tmp_path):
    path = tmp_path / "m.safetensors"
    zoo.save_codec(codec, path, name="small-1", card={})
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors["light.2.bias"][0] += 1
    save_file(tensors, path, metadata)
    with pytest.raises(ModelError, match="damaged"):
        zoo.load(path)
    del tensors["light.2.multiplier"]
    save_file(tensors, path, metadata)
    with pytest.raises(ModelError, match=r"complete ContextHyperprior.*light\.2\.multiplier"):
        zoo.load(path)
    layers, full = codec.receivers["light"].layers, codec._ready().synthesis
    for shared in (-1, 14):
        with pytest.raises(ModelError, match="must share fewer layers than the 14"):
            SideReceiver.after(full, shared, layers)
    with pytest.raises(ModelError, match="must have a weight"):
        SideReceiver.after(full, 2, layers[1:])
    with pytest.raises(ModelError, match=r"must have gains \(qualities, channels\) .*, got \(1, "):
        SideReceiver.apart(full, IntegerSynthesis(full.gains[:1], full.largest, full.layers))
    with pytest.raises(ModelError, match="needs an integer synthesis"):
        receivers_from_state(codec.receivers_state(), None)


def test_models_without_one_say_so(codec):
    other = make_codec()
    stream = other.compress(picture(20, 30), 2)
    for call in (other.decompress, other.decompress_bytes):
        with pytest.raises(ModelError, match="has no light receiver: take the full one, or train one"):
            call(stream, receiver="light")
    with pytest.raises(ValueError, match="`receiver` must be one of full, light, perceptual, got 'fast'"):
        codec.decompress(codec.compress(picture(20, 30), 2), receiver="fast")


def test_new_weights_lose_it(codec):
    other = make_context()
    other.load_coding_state(codec.coding_state())
    other.load_receivers_state(codec.receivers_state())
    assert set(other.receivers) == {"light"}
    other.calibrate([picture(32, 32)])
    assert not other.receivers


def test_it_can_be_added_to_an_installed_model(codec, home, tmp_path):
    light = tmp_path / "light.safetensors"
    header = zoo.save_codec(codec, light, name="small-1", card={})
    other = zoo.load(light)
    other.set_receiver("light", None)
    zoo.save_codec(other, tmp_path / "plain.safetensors", name="small-1", card={})
    zoo.add(tmp_path / "plain.safetensors")
    assert not zoo.load("small-1").receivers
    assert zoo.add(light).header == header
    assert "light" in zoo.load("small-1").receivers
    zoo.add(tmp_path / "plain.safetensors")
    assert "light" in zoo.load("small-1").receivers


def test_one_for_a_shipped_model_is_used_by_its_path(tmp_path):
    codec = zoo.load("default")
    torch.manual_seed(5)
    data = list(examples(codec, [picture(64, 80)[0].mul(255).byte()], RECIPE, qualities=(2.0,)))
    codec.set_receiver("light", None)
    give_light(codec, quantised(light_network(192, RECIPE)), data, RECIPE)
    path = tmp_path / "light.safetensors"
    header = zoo.save_codec(codec, path, name="default-2", card={})
    shipped = zoo.installed("default")
    assert header.hash == shipped.header.hash
    with pytest.raises(ModelError, match="came with the package and is never changed; pass the file itself"):
        zoo.add(path)
    stream = codec.compress(picture(24, 40), 2)[0]
    loaded = zoo.load(path)
    assert torch.equal(
        loaded.decompress_bytes([stream], receiver="light"), codec.decompress_bytes([stream], receiver="light")
    )


def test_it_travels_with_the_state_dict(codec):
    other = make_context(seed=1)
    other.load_state_dict(codec.state_dict())
    assert other.receivers_fingerprint() == codec.receivers_fingerprint() != b""
