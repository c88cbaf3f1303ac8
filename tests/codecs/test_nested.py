"""The nested codec: exact at every depth and size, as long as it says, a hyperprior where it has one's modules."""

import dataclasses

import pytest
import torch
from small_codec import make_codec, make_nested, picture

from pylatent.codecs import NestedCodec, Step
from pylatent.codecs.walk import over
from pylatent.entropy import FactorizedPrior, LogisticPrior
from pylatent.errors import FormatError, MismatchError, ModelError
from pylatent.refine import SgaPlus, true_loss

DEPTHS = (2, 3, 4, 5)
SIZES = [(1, 1), (17, 31), (64, 64), (4096, 33)]
FORMS = [
    {},
    {"prior": "factorized"},
    {"common_dim": False},
    {"predict_mean": False},
    {"bin_width": 0.5, "logistic_scale": 0.25},
    {"bin_width": 3.00390625},
]


def named(form):
    return ",".join(f"{key}={value}" for key, value in form.items()) or "default"


def assert_same(a, b):
    for level, (x, y) in enumerate(zip(a.levels, b.levels, strict=True)):
        assert torch.equal(x, y), f"level {level}"
    for x, y in zip(a.means, b.means, strict=True):
        assert torch.equal(x, y)


@pytest.fixture(scope="module")
def nested():
    return make_nested(4)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("prior", ["logistic", "factorized"])
@pytest.mark.parametrize("levels", DEPTHS)
@torch.no_grad()
def test_decode_returns_what_encode_quantised(levels, prior, size):
    codec = make_nested(levels, prior)
    latents = codec.analyze(picture(*size))
    (stream,) = codec.encode(latents)
    decoded = codec.decode([stream])
    assert len(stream.sections) == levels
    assert_same(decoded, codec.as_coded(latents))
    assert [tuple(level.shape[1:]) for level in decoded.levels] == list(codec.level_shapes(size))
    assert codec.synthesize(decoded).shape == (1, 3, *size)


@pytest.mark.parametrize("form", FORMS, ids=named)
@torch.no_grad()
def test_every_form_is_exact_and_close_to_its_float_networks(form):
    codec = make_nested(3, **form)
    latents = codec.analyze(picture(96, 80, batch=2), [1, 3.5])
    decoded = codec.decode(codec.encode(latents))
    assert_same(decoded, codec.as_coded(latents))
    for value, hat in zip(latents.levels, decoded.levels, strict=True):
        assert float((value - hat).abs().max()) <= 0.5 + 1e-4
    done = over(codec, latents, exact=False)
    done.levels[1:] = decoded.levels[1:]
    for level in (0, 1):
        mean = codec.parameters_of(Step(level), done).mean
        torch.testing.assert_close(decoded.means[level], mean, rtol=0, atol=0.3)


@pytest.mark.parametrize("prior", ["logistic", "factorized"])
@pytest.mark.parametrize("levels", DEPTHS)
@torch.no_grad()
def test_files_are_as_long_as_estimated(levels, prior):
    codec = make_nested(levels, prior)
    latents = codec.analyze(torch.nn.functional.interpolate(picture(96, 96), size=(384, 352), mode="bilinear"), 3)
    estimate = float(true_loss(codec, latents, torch.zeros(1, 3, 384, 352), 1.0).bpp) * 384 * 352 / 8
    length = len(codec.encode(latents)[0].to_record())
    assert abs(length - estimate) <= 0.005 * estimate + 32 + 12 * levels
    assert estimate > 2000


@torch.no_grad()
def test_the_hyperpriors_own_modules_give_its_very_bytes():
    hyperprior = make_codec()
    codec = NestedCodec.from_modules(
        hyperprior.g_a,
        hyperprior.g_s,
        [hyperprior.h_a],
        [hyperprior.h_s],
        hyperprior.entropy_bottleneck,
        gain=hyperprior.gain,
        inverse_gain=hyperprior.inverse_gain,
    ).eval()
    codec.update()
    for size in [(1, 1), (17, 31), (160, 96)]:
        x = picture(*size)
        streams = codec.compress(x, 2.5)
        assert streams == hyperprior.compress(x, 2.5)
        assert torch.equal(codec.decompress(streams), hyperprior.decompress(streams))
    with pytest.raises(ModelError, match="from_modules"):
        _ = codec.config


@torch.no_grad()
def test_the_hyperpriors_steps_work_at_depth():
    hyperprior, other = make_codec(), make_codec(seed=1)
    down, up = torch.nn.Conv2d(8, 8, 3, 2, 1), torch.nn.ConvTranspose2d(8, 16, 5, 2, 2, 1)
    codec = NestedCodec.from_modules(
        other.g_a,
        other.g_s,
        [hyperprior.h_a, torch.nn.Sequential(down)],
        [hyperprior.h_s, torch.nn.Sequential(up)],
        LogisticPrior(8),
    ).eval()
    codec.update()
    assert codec.level_shapes((1000, 70)) == ((12, 63, 5), (8, 16, 2), (8, 8, 1))
    latents = codec.analyze(picture(1000, 70))
    assert_same(codec.decode(codec.encode(latents)), codec.as_coded(latents))


@torch.no_grad()
def test_bytes_depend_on_the_latents_alone(nested, monkeypatch):
    latents = nested.analyze(picture(320, 200, batch=3), [1, 2.5, 4])
    streams = nested.encode(latents, threads=1)
    assert nested.encode(latents, threads=2) == streams
    for number in range(3):
        one = [level[number : number + 1] for level in latents.levels]
        single = dataclasses.replace(latents, levels=tuple(one), quality=(latents.quality[number],))
        assert nested.encode(single) == [streams[number]]
    monkeypatch.setattr("pylatent.codecs.chain._HYPER_LATENT_TILE", 6)
    assert nested.encode(latents) == streams
    assert_same(nested.decode(streams, threads=2), nested.as_coded(latents))


@torch.no_grad()
def test_large_pictures_are_analysed_in_tiles(nested, monkeypatch):
    x = picture(200, 130)
    whole = nested.analyze(x).levels
    monkeypatch.setattr(nested, "pixel_tile", 64)
    monkeypatch.setattr("pylatent.codecs.chain._HYPER_TILE", 4)
    for a, b in zip(nested.analyze(x).levels, whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_bin_width_is_a_grid_for_the_deepest_level():
    """Coding with bins of 2 under s = 2 is coding h_a's result rounded to multiples of 2."""
    codec = make_nested(3, bin_width=2.0, logistic_scale=2.0)
    plain = make_nested(3)
    latents, expected = codec.analyze(picture(96, 96)), plain.analyze(picture(96, 96))
    assert torch.equal(latents.levels[-1] * 2, expected.levels[-1])
    hats = codec.as_coded(latents).levels
    assert torch.equal(hats[-1] * 2, torch.round(expected.levels[-1] / 2) * 2)
    done = over(codec, latents, exact=False)
    done.levels[2] = hats[-1] * 2
    mean = plain.parameters_of(Step(1), done).mean
    done.levels[2] = hats[-1]
    torch.testing.assert_close(codec.parameters_of(Step(1), done).mean, mean)
    assert codec.tables_of(2).digest == plain.tables_of(2).digest
    assert codec.fingerprint() != plain.fingerprint()


def test_gradients_reach_every_level_and_weight(nested):
    codec = make_nested(4, "factorized").train()
    output = codec(picture(128, 128, batch=2), [1.0, 4.0])
    assert len(output.bits) == 4
    (output.bpp.sum() + output.x_hat.square().mean()).backward()
    for name, parameter in codec.named_parameters():
        if name not in ("inverse_gain", "gain", "deepest.quantiles"):
            assert torch.any(parameter.grad != 0), name


def test_refinement_lowers_the_true_loss(nested):
    x = picture(96, 64)
    refined = SgaPlus(nested, learning_rate=0.05).refine(x, lam=1e-6, quality=4, steps=20)
    assert float(refined.best.loss) < 0.985 * float(refined.history[0].true.loss)
    for before, after in zip(nested.analyze(x, 4).levels, refined.latents.levels, strict=True):
        assert float((after - before).detach().abs().max()) > 0.1
    decoded = nested.decode(nested.encode(refined.latents))
    assert_same(decoded, nested.as_coded(refined.latents))


@torch.no_grad()
def test_streams_of_another_model_are_detected(nested):
    stream = nested.compress(picture(96, 96))[0]
    with pytest.raises((MismatchError, FormatError)):
        make_nested(4, seed=5).decode([stream])
    with pytest.raises(FormatError, match="has 4 sections, model unnamed needs 3"):
        make_nested(3).decode([stream])
    with pytest.raises(MismatchError, match="table indexes"):
        nested.decode([dataclasses.replace(stream, index_crc=stream.index_crc ^ 1)])


@pytest.mark.parametrize("level", range(4))
@torch.no_grad()
def test_damaged_sections_are_refused(nested, level):
    stream = nested.compress(picture(96, 96))[0]
    section = stream.sections[level]
    flipped = bytes((*section[:-1], section[-1] ^ 0x55))
    for damaged in (section[:-1], section + b"\0\0", b"", flipped):
        sections = (*stream.sections[:level], damaged, *stream.sections[level + 1 :])
        with pytest.raises((FormatError, MismatchError)):
            nested.decode([dataclasses.replace(stream, sections=sections)])


@torch.no_grad()
def test_absurd_sizes_are_refused_before_allocation(nested):
    stream = nested.compress(picture(64, 64))[0]
    with pytest.raises(FormatError, match="at least"):
        nested.decode([dataclasses.replace(stream, size=(1 << 20, 1 << 20))])


def test_the_default_follows_the_sheet():
    codec = NestedCodec(4)
    assert codec.level_shapes((512, 768)) == ((150, 32, 48), (150, 16, 24), (150, 8, 12), (150, 4, 6))
    assert [tuple(layer.weight.shape) for layer in codec.h_s[0] if hasattr(layer, "weight")] == [
        (150, 70, 5, 5),
        (300, 70, 3, 3),
    ]
    assert codec.qualities is None
    assert NestedCodec(5, common_dim=False, channels=8).channels_of == (150, 75, 38, 19, 10)
    assert NestedCodec(2, predict_mean=False, channels=8).h_s[0][-1].out_channels == 150


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": 1}, "`levels` must be from 2 to 64, got 1"),
        ({"prior": "laplace"}, "`prior` must be"),
        ({"prior": "factorized", "logistic_scale": 0.5}, "are for the logistic prior"),
        ({"bin_width": 0.3}, "multiple of 1/256"),
        ({"bin_width": 32.0, "logistic_scale": 32.0}, "up to 16"),
        ({"logistic_scale": 100.0}, "from 0.05 to 16"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        NestedCodec(**{"levels": 3, "channels": 4, "latent_channels": 4, **options})


def test_modules_that_do_not_fit_are_named():
    codec = make_codec()
    h_a, h_s, prior = codec.h_a, codec.h_s, codec.entropy_bottleneck
    for arguments, message in (
        ((codec.g_a, codec.g_s, [h_a, h_a], [h_s], prior), "one network a level"),
        ((codec.g_s, codec.g_s, [h_a], [h_s], prior), "`g_a` must change the sides"),
        ((codec.g_a, codec.g_s, [h_a], [h_s[:3]], prior), r"`h_s\[0\]` must give 24 channels, got 18"),
        ((codec.g_a, codec.g_s, [h_a], [h_s[2:]], prior), r"`h_s\[0\]` must change the sides of a picture by 4"),
        ((codec.g_a, codec.g_s, [h_a], [h_s], FactorizedPrior(9)), "`prior` must have 8 channels"),
    ):
        with pytest.raises(ValueError, match=message):
            NestedCodec.from_modules(*arguments)


def test_too_many_channels_for_byte_indexes_are_refused():
    codec = NestedCodec(2, channels=2, latent_channels=257, prior="factorized")
    with pytest.raises(ModelError, match="at most 256"):
        codec.update()
    NestedCodec(2, channels=2, latent_channels=257).update()
