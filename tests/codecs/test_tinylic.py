"""TinyLIC: the published names, shapes and numbers; round trips, fixed and variable-rate; what it refuses."""

import pytest
import torch
from published_tinylic import context, published_shapes, widths_of, with_buffers
from safetensors.torch import save_file
from small_codec import picture

from pylatent import zoo
from pylatent.codecs import Latents, TinyLIC
from pylatent.codecs.rounding import nearest
from pylatent.codecs.state_dicts import tinylic_from_state_dict
from pylatent.coding.container import Bitstream
from pylatent.errors import ModelError

pytestmark = pytest.mark.usefixtures("one_thread")

N, M = 32, 32


def published_state(levels=0):
    """Of a small one whose latents spread over many symbols and scales."""
    generator = torch.Generator().manual_seed(levels)
    state = {}
    for name, shape in published_shapes(N, M, levels).items():
        value = torch.randn(shape, generator=generator) / max(1, torch.Size(shape[1:]).numel()) ** 0.5
        if ".norm" in name or "gamma" in name or "Gain" in name:
            value = 1 + 0.2 * value
        state[name] = value
    state["g_a6.weight"] *= 30
    state["h_a2.weight"] *= 10
    for number, width in enumerate(widths_of(M), 1):
        state[f"entropy_parameters_{number}.4.bias"][:width] += torch.linspace(0.5, 5, width)
    quantiles = torch.tensor([-10.0, 0.0, 10.0]).expand(N * 3 // 2, 1, 3)
    state["entropy_bottleneck.quantiles"] = quantiles.clone()
    return state


def make(levels=0):
    codec, tables = tinylic_from_state_dict(with_buffers(published_state(levels), M))
    assert tables is None
    codec.fit_prior()
    codec.update()
    return codec


@pytest.fixture(scope="module", params=[0, 3], ids=["fixed", "variable"])
def codec(request):
    return make(request.param)


@pytest.mark.parametrize(("levels", "millions"), [(0, 28.33), (8, 28.45)], ids=["fixed", "variable"])
def test_the_published_weights(levels, millions):
    """The published numbers of parameters leave out the prior of z. Loading is strict in names and shapes."""
    with torch.device("meta"):
        state = {name: torch.empty(shape) for name, shape in published_shapes(levels=levels).items()}
        codec, _ = tinylic_from_state_dict(state)
    count = sum(value.numel() for name, value in codec.named_parameters() if not name.startswith("entropy_b"))
    assert round(count / 1e6, 2) == millions
    assert codec.config == {"N": 128, "M": 320, "gains": levels}
    assert [stop - start for start, stop in codec.slices] == [24, 69, 104, 123]
    assert len(codec.steps) == 1 + 9


@torch.no_grad()
def test_the_context_is_the_published_one():
    """Nine steps at their own positions, against every stage on the whole grid."""
    state, codec = published_state(), make()
    latents = codec.analyze(picture(128, 192))
    walked = codec.quantize(latents, nearest).latents
    hyper = walked.levels[1]
    for layer in codec.h_s:
        hyper = layer(hyper, None) if hasattr(layer, "blocks") else layer(hyper)
    means, scales, y_hat = context(state, hyper, latents.y)
    torch.testing.assert_close(walked.means[0], means, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(walked.scales[0], scales, rtol=1e-3, atol=1e-3)
    assert float((walked.y - y_hat).abs().max()) < 1e-2


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 300), (17, 131), (64, 64), (193, 96), (256, 256)], ids=lambda size: f"{size[0]}x{size[1]}"
)
@torch.no_grad()
def test_decode_returns_what_encode_quantised(codec, size):
    x = picture(*size, batch=2)
    latents = codec.analyze(x, None if codec.qualities is None else 2.5)
    streams = codec.encode(latents)
    assert [len(stream.sections) for stream in streams] == [10, 10]
    assert {stream.exact for stream in streams} == {False}
    decoded = codec.decode([Bitstream.from_record(stream.to_record()) for stream in streams])
    expected = codec.as_coded(latents)
    for field in ("levels", "means", "scales"):
        for a, b in zip(getattr(decoded, field), getattr(expected, field), strict=True):
            assert a is b is None or torch.equal(a, b), field
    assert codec.synthesize(decoded).shape == x.shape
    assert [tuple(level.shape[1:]) for level in latents.levels] == list(codec.level_shapes(size))
    assert decoded.y.unique().numel() > 300


@torch.no_grad()
def test_bits_are_those_of_the_file(codec):
    codec = make(0 if codec.gain is None else len(codec.gain))
    for network in codec.entropy_parameters:
        network[-1].weight.mul_(0.01)
        network[-1].bias[: len(network[-1].bias) // 2] += 2  # scales as large as the residuals, about
    generator = torch.Generator().manual_seed(1)
    levels = tuple(2 * torch.randn(1, *shape, generator=generator) for shape in codec.level_shapes((256, 256)))
    latents = Latents(levels, (256, 256), None if codec.qualities is None else (2.0,))
    bits = codec.quantize(latents, nearest, exact=True).bits[0]
    sections = codec.encode(latents)[0].sections[1:]
    assert 8 * sum(map(len, sections)) == pytest.approx(float(bits), rel=0.03, abs=9 * 40)


@torch.no_grad()
def test_quality_changes_every_transform():
    codec = make(3)
    x = picture(64, 64)
    low, high = (codec.analyze(x, quality) for quality in (1, 3))
    assert not torch.equal(low.y, high.y)
    same = Latents(low.levels, low.size, high.quality)
    a, b = codec.as_coded(low), codec.as_coded(same)
    assert not torch.equal(a.means[0], b.means[0])  # h_s, and the inverse gain of z
    assert not torch.equal(codec.synthesize(a), codec.synthesize(Latents(a.levels, a.size, high.quality)))


@pytest.mark.parametrize("gains", [0, 2], ids=["fixed", "variable"])
def test_gradients_reach_every_weight(gains):
    torch.manual_seed(0)
    codec = TinyLIC(N, M, gains=gains).train()
    output = codec(picture(128, 192, batch=2), [1.0, 1.5] if gains else None)
    (output.bpp.sum() + output.x_hat.square().mean()).backward()
    missing = [name for name, value in codec.named_parameters() if value.grad is None or not value.grad.any()]
    assert [name for name in missing if "quantiles" not in name] == []


def test_what_is_refused():
    with pytest.raises(ValueError, match="`N` must be a multiple of 32, got 40"):
        TinyLIC(40)
    with pytest.raises(ValueError, match="`M` must be a multiple of 16, got 24"):
        TinyLIC(32, 24)
    state = published_state(3)
    with pytest.raises(ModelError, match="is not a TinyLIC: it has no 'g_a.6.weight'"):
        tinylic_from_state_dict({name: value for name, value in state.items() if not name.startswith("g_a6")})
    with pytest.raises(ModelError, match=r"has 3 quality levels by its gains, but 2 by g_a.1.blocks.0.gamma_1"):
        tinylic_from_state_dict(
            {name: value[:2] if name.endswith("gamma_1") else value for name, value in state.items()}
        )


def test_a_checkpoint_is_imported(tmp_path, monkeypatch):
    monkeypatch.setenv("PYLATENT_HOME", str(tmp_path))
    state = with_buffers(published_state(3), M)
    save_file(state, tmp_path / "checkpoint.safetensors")
    info = zoo.import_checkpoint(tmp_path / "checkpoint.safetensors", "tinylic-1")
    assert info.header.architecture == "TinyLIC"
    codec = zoo.load("tinylic-1")
    stream = codec.compress(picture(40, 30), 1.5)[0]
    assert (stream.exact, codec.qualities) == (False, (1.0, 3.0))
    assert codec.decompress([stream]).shape == (1, 3, 40, 30)
