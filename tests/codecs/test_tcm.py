"""TCM: the published names, shapes and numbers; round trips with and without exact networks; what it refuses."""

import dataclasses

import pytest
import torch
from published_tcm import published_shapes, published_state_dict
from safetensors.torch import save_file
from small_codec import picture

from pylatent import zoo
from pylatent.codecs import TCM, Latents
from pylatent.codecs.rounding import mixed, nearest
from pylatent.codecs.state_dicts import tcm_from_state_dict
from pylatent.coding.container import Bitstream
from pylatent.errors import FormatError, MismatchError, ModelError

pytestmark = pytest.mark.usefixtures("one_thread")


def make_tcm(attention):
    """A small one whose latents spread over many symbols and scales."""
    torch.manual_seed(0)
    codec = TCM(32, 20, Z=6, attention=attention).eval()
    with torch.no_grad():
        codec.g_a[-1].weight.mul_(20)
        codec.h_a[-1].weight.mul_(10)
        for number in range(5):
            codec.cc_scale_transforms[number][-1].bias.add_(torch.linspace(0.3, 3, 4))
            codec.lrp_transforms[number][-1].weight.mul_(10)
    codec.fit_prior()
    codec.update()
    return codec


@pytest.fixture(scope="module", params=["attention", "convolutions"])
def codec(request):
    return make_tcm(request.param == "attention")


def assert_same(a, b):
    for field in ("levels", "means", "scales"):
        for x, y in zip(getattr(a, field), getattr(b, field), strict=True):
            assert x is y is None or torch.equal(x, y), field


def random_latents(codec, size, batch, spread=4):
    generator = torch.Generator().manual_seed(1)
    shapes = codec.level_shapes(size)
    return Latents(tuple(spread * torch.randn(batch, *shape, generator=generator) for shape in shapes), size)


def test_small_has_the_published_weights():
    """45.18 M parameters in the paper's table; its quantiles are 576 of ours."""
    with torch.device("meta"):
        codec = TCM()
    assert sum(parameter.numel() for parameter in codec.parameters()) == 45_180_752
    ours = {
        name.replace("matrices.", "_matrix").replace("biases.", "_bias").replace("factors.", "_factor"): tuple(x.shape)
        for name, x in codec.state_dict().items()
    }
    assert ours == published_shapes()


@torch.no_grad()
def test_a_published_state_dict_gives_the_same_codec(tmp_path, monkeypatch):
    monkeypatch.setenv("PYLATENT_HOME", str(tmp_path))
    codec = make_tcm(True)
    state = published_state_dict(codec)
    loaded, tables = tcm_from_state_dict(state)
    assert tables is None
    loaded.update()
    assert loaded.config == codec.config
    assert loaded.fingerprint() == codec.fingerprint()
    save_file(state, tmp_path / "checkpoint.safetensors")
    info = zoo.import_checkpoint(tmp_path / "checkpoint.safetensors", "tcm-small-1", lambdas=[0.05])
    assert info.header.architecture == "TCM"
    stored = zoo.load("tcm-small-1")
    assert stored.lambdas == (0.05,)
    torch.testing.assert_close(stored.state_dict(), codec.state_dict(), rtol=1e-3, atol=1e-6)
    x = picture(40, 30)
    stream = zoo.load("tcm-small-1").compress(x)[0]
    assert stream.exact is False
    assert_same(stored.decode([stream]), stored.as_coded(stored.analyze(x)))


def test_a_state_dict_that_does_not_fit_is_refused():
    state = published_state_dict(make_tcm(True))
    with pytest.raises(ModelError, match=r"(?s)does not fit TCM.*g_s.0.conv.bias"):
        tcm_from_state_dict({name: value for name, value in state.items() if "g_s.0.conv.bias" not in name})
    with pytest.raises(ModelError, match="is not a TCM: it has no 'h_a.3.weight'"):
        tcm_from_state_dict({name: value for name, value in state.items() if "h_a.3" not in name})


@pytest.mark.parametrize("size", [(1, 1), (17, 131), (128, 128)], ids=lambda size: f"{size[0]}x{size[1]}")
@torch.no_grad()
def test_decode_returns_what_encode_quantised(codec, size):
    x = picture(*size, batch=2)
    latents = codec.analyze(x)
    streams = codec.encode(latents)
    assert [len(stream.sections) for stream in streams] == [6, 6]
    assert {stream.exact for stream in streams} == {codec.exact}
    decoded = codec.decode([Bitstream.from_record(stream.to_record()) for stream in streams])
    assert_same(decoded, codec.as_coded(latents))
    assert codec.synthesize(decoded).shape == x.shape
    assert decoded.y.unique().numel() > 1000
    assert [tuple(level.shape[1:]) for level in latents.levels] == list(codec.level_shapes(size))


@torch.no_grad()
def test_a_picture_of_1024_pixels_a_side(codec):
    latents = random_latents(codec, (1024, 1024 if codec.exact else 256), 1)  # attention takes its time
    assert_same(codec.decode(codec.encode(latents)), codec.as_coded(latents))


@torch.no_grad()
def test_the_bytes_of_the_variant_with_convolutions_do_not_depend_on_the_batch():
    codec = make_tcm(False)
    latents = random_latents(codec, (200, 100), 3)
    streams = codec.encode(latents, threads=1)
    assert codec.encode(latents, threads=2) == streams
    assert [codec.encode(latents[number])[0] for number in range(3)] == streams
    close = (codec.as_coded(latents).means[0] - codec.quantize(latents, nearest).latents.means[0]).abs() < 0.1
    assert float(close.float().mean()) > 0.9


@torch.no_grad()
def test_slices_see_those_before_and_are_corrected(codec):
    latents = random_latents(codec, (128, 128), 1, spread=1)
    coded = codec.as_coded(latents)
    corrections = coded.y - coded.means[0] - torch.round(latents.y - coded.means[0])
    assert 0 < float(corrections.abs().max()) <= 0.5 + 1e-4
    y = latents.y.clone()
    y[:, 4:8] += 9
    changed = codec.as_coded(dataclasses.replace(latents, levels=(y, latents.levels[1]))).means[0] != coded.means[0]
    assert [bool(changed[:, at : at + 4].any()) for at in range(0, 20, 4)] == [False, False, True, True, True]
    bits = codec.quantize(latents, nearest, exact=True).bits[0]
    sections = codec.encode(latents)[0].sections[1:]
    assert 8 * sum(map(len, sections)) == pytest.approx(float(bits), rel=0.03, abs=5 * 40)


def test_gradients_reach_every_weight(codec):
    codec = make_tcm(codec.config["attention"]).train()
    output = codec(picture(128, 128))
    (output.bpp.sum() + output.x_hat.square().mean()).backward()
    for name, parameter in codec.named_parameters():
        if name != "entropy_bottleneck.quantiles":
            assert torch.any(parameter.grad != 0), name
    with pytest.raises(ValueError, match="must be `nearest` with exact parameters"):
        codec.quantize(codec.analyze(picture(128, 128)), mixed, exact=True)


@torch.no_grad()
def test_damage_and_other_models_are_noticed(codec):
    stream = codec.encode(random_latents(codec, (128, 128), 1))[0]
    with pytest.raises(FormatError, match="has 5 sections, model unnamed needs 6"):
        codec.decode([dataclasses.replace(stream, sections=stream.sections[:-1])])
    told = "table indexes" if codec.exact else "has no exact form"
    with pytest.raises(MismatchError, match=told):
        codec.decode([dataclasses.replace(stream, index_crc=stream.index_crc ^ 1)])
    with pytest.raises(MismatchError, match="exact networks"):
        codec.decode([dataclasses.replace(stream, exact=not stream.exact)])


def test_channels_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="`N` must be a multiple of 32, got 40"):
        TCM(40)
    with pytest.raises(ValueError, match="`M` must be a multiple of slices = 5, got 32"):
        TCM(32, 32)
