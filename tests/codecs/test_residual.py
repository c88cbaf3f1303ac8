"""The residual hyperprior: exact, tiled without a trace, bounded; made of a state dict, stored and refined."""

import copy
import dataclasses
from fractions import Fraction

import pytest
import torch
from small_codec import make_residual, picture

from pylatent import zoo
from pylatent.archive import Archive, Record, decode_batches, write_shard
from pylatent.codecs import ResidualHyperprior
from pylatent.codecs.residual import residual_from_state_dict
from pylatent.codecs.tiling import growth, reach, run_network, run_tiled
from pylatent.errors import FormatError, ModelError
from pylatent.layers import ClippedResidualBlock
from pylatent.refine import SgaPlus
from pylatent.tasks import FusionGated, LatentResNet

SIZES = [(1, 1), (17, 31), (64, 64), (224, 224), (1040, 33)]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.levels, b.levels, strict=True))


@pytest.fixture(scope="module")
def codec():
    return make_residual()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@torch.no_grad()
def test_decode_returns_what_encode_quantised(codec, size):
    latents = codec.analyze(picture(*size), 2.5)
    (stream,) = codec.encode(latents)
    decoded = codec.decode([stream])
    assert same(decoded, codec.as_coded(latents))
    assert [tuple(level.shape[1:]) for level in decoded.levels] == list(codec.level_shapes(size))
    assert codec.synthesize(decoded).shape == (1, 3, *size)
    if size == (224, 224):
        assert decoded.y.unique().numel() > 1000


@torch.no_grad()
def test_transforms_in_tiles_join_without_a_trace():
    codec = make_residual().double()
    for module in codec.modules():  # weights of one sign, so that what is far away does not vanish
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            module.weight.abs_().div_(module.weight.mean() * module.weight[0].numel())
        elif isinstance(module, ClippedResidualBlock):
            module.limit = None
    x, y = torch.rand(1, 3, 416, 96, dtype=torch.float64), torch.randn(1, 12, 13, 31, dtype=torch.float64)
    for network, inputs, tile, expected in (
        (codec.g_a, x, 64, (Fraction(1, 16), 160)),
        (codec.g_s, y, 4, (Fraction(16), 8)),
        (codec.h_a, y, 8, (Fraction(1, 4), 4)),
        (codec.h_s, y[:, :8], 4, (Fraction(4), 1)),
    ):
        scale, halo = reach(network)
        assert (scale, halo) == expected
        assert scale < 1 or growth(network) == scale
        assert torch.equal(
            run_network(network, inputs, tile=tile), run_tiled(network, inputs, tile=tile, halo=halo, scale=scale)
        )
        whole = network(inputs)
        tiled = run_tiled(network, inputs, tile=tile, halo=halo, scale=scale)
        torch.testing.assert_close(tiled, whole, rtol=1e-12, atol=1e-12)
        less = halo - max(1, int(1 / scale))
        narrow = run_tiled(network, inputs, tile=tile, halo=less, scale=scale)
        assert not torch.allclose(narrow, whole, rtol=1e-9, atol=1e-9), "a smaller halo would do"


@torch.no_grad()
def test_an_analysis_in_bf16_is_the_encoders_affair(codec):
    x, quick = picture(96, 128), copy.deepcopy(codec)
    quick.bf16 = True
    plain, coarse = codec.compress(x, 3), quick.compress(x, 3)
    assert coarse != plain
    with torch.autocast("cpu", torch.float16):
        assert quick.compress(x, 3) == coarse
        assert codec.compress(x, 3) == plain
    assert len(coarse[0].to_record()) == pytest.approx(len(plain[0].to_record()), rel=0.03)
    assert torch.equal(codec.decompress(coarse), quick.decompress(coarse))
    difference = codec.decode(coarse).y - codec.decode(plain).y
    assert float(difference.abs().max()) <= 2  # symbols that round otherwise


def test_no_input_leaves_the_limits():
    torch.manual_seed(0)
    chain = torch.nn.Sequential(*(ClippedResidualBlock(4, 6.0) for _ in range(3)))
    with torch.no_grad():
        for block in chain:
            block.conv2.weight.mul_(100)
        hostile = 1e6 * torch.randn(1, 4, 9, 9)
        assert float(chain(hostile).abs().max()) == 6
        for block in chain:
            block.limit = None
        assert float(chain(hostile).abs().max()) > 1e6
    with pytest.raises(ValueError, match="above 0, got -1"):
        ClippedResidualBlock(4, -1)


def test_gradients_reach_every_weight():
    codec = make_residual().train()
    output = codec(picture(64, 80, batch=2), [1.0, 3.0])
    (output.bpp.sum() + output.x_hat.square().mean()).backward()
    for name, parameter in codec.named_parameters():
        if name not in ("inverse_gain", "gain", "entropy_bottleneck.quantiles"):
            assert torch.any(parameter.grad != 0), name


def test_refinement_lowers_the_true_loss(codec):
    refined = SgaPlus(codec, learning_rate=0.05).refine(picture(48, 64), lam=1e-6, quality=3, steps=8)
    assert float(refined.best.loss) < 0.99 * float(refined.history[0].true.loss)
    assert same(codec.decode(codec.encode(refined.latents)), codec.as_coded(refined.latents))


@torch.no_grad()
def test_damaged_streams_are_refused(codec):
    (stream,) = codec.compress(picture(64, 64))
    z, y = stream.sections
    for sections in ((y, z), (z,), (z, y[:-2]), (z, y + b"\0\0")):
        with pytest.raises(FormatError):
            codec.decode([dataclasses.replace(stream, sections=sections)])


@torch.no_grad()
def test_a_model_file_keeps_all_of_it(codec, tmp_path):
    header = zoo.save_codec(codec, tmp_path / "r.safetensors", name="residual-1", card={})
    assert header.qualities == codec.qualities
    stored = zoo.load(tmp_path / "r.safetensors")
    assert stored.config == codec.config
    assert stored.lambdas == codec.lambdas == (0.001, 0.01, 0.1)
    assert stored.qualities == (1.0, 3.0)
    assert [block.limit for block in stored.g_s if hasattr(block, "limit")] == [24, 24, 16, 16, 4]
    streams = stored.compress(picture(64, 64), 2)
    assert torch.equal(stored.decompress(streams), zoo.load(tmp_path / "r.safetensors").decompress(streams))


@torch.no_grad()
def test_archives_and_heads_take_its_latents(codec, tmp_path):
    records = [Record(f"k{n}", None, codec.compress(picture(48, 64, seed=n), 2)[0]) for n in range(3)]
    write_shard(tmp_path / "a.lats", "residual-1", codec.fingerprint()[:8], records)
    (batch,) = decode_batches(Archive(tmp_path), codec)
    assert batch.keys == ["k0", "k1", "k2"]
    assert torch.equal(batch.latents.y[1:2], codec.decode([records[1].stream]).y)
    logits = LatentResNet(codec.M, 5, width=8).eval()(batch.latents)
    assert logits.shape == FusionGated(codec.M, 5, width=8).eval()(batch.latents).shape == (3, 5)


def test_a_state_dict_tells_the_widths():
    codec = make_residual()
    again = residual_from_state_dict({name: value.half() for name, value in codec.state_dict().items()}, codec.lambdas)
    assert again.config == codec.config
    weights = codec.state_dict()
    with pytest.raises(ModelError, match="gains for 3 qualities, but 1 lambdas"):
        residual_from_state_dict(weights, [0.1])
    with pytest.raises(ModelError, match="is not a residual hyperprior: it has no 'g_a.1.weight'"):
        residual_from_state_dict({name: value for name, value in weights.items() if "g_a" not in name}, [])
    with pytest.raises(ModelError, match="does not fit"):
        residual_from_state_dict(weights | {"g_a.1.weight": torch.zeros(9, 48, 3, 3)}, codec.lambdas)


def test_a_fixed_rate_and_wrong_arguments():
    codec = ResidualHyperprior((2, 3, 4), M=4, N=2, hyper=(3, 3))
    assert codec.qualities is codec.lambdas is codec.gain is None
    with pytest.raises(ValueError, match="`synthesis_limits` must hold three numbers, one a resolution, got 2"):
        ResidualHyperprior(synthesis_limits=(1, 2))


@torch.no_grad()
def test_z_does_not_see_where_the_sides_end(codec):
    """Sides that are no multiple of 64 must look like those of the training, which are: y is continued, not cut off."""
    y = 5 + torch.zeros(1, codec.M, 5, 6)
    z = codec.levels_above(y)[1]
    whole = codec.levels_above(5 + torch.zeros(1, codec.M, 8, 8))[1]
    torch.testing.assert_close(z, whole)
