import copy
import dataclasses
import pickle

import pytest
import torch
from small_codec import make_codec, picture

from pylatent.codecs.hyperprior import MeanScaleHyperprior
from pylatent.errors import FormatError, MismatchError, ModelError

SIZES = [(1, 1), (17, 31), (64, 64), (224, 224), (2050, 33)]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.levels, b.levels, strict=True))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@torch.no_grad()
def test_decode_returns_what_encode_quantised(any_codec, size):
    latents = any_codec.analyze(picture(*size))
    streams = any_codec.encode(latents)
    decoded = any_codec.decode(streams)
    expected = any_codec.as_coded(latents)
    assert same(decoded, expected)
    both = any_codec.encode_and_decode(latents)
    assert both[0] == streams
    assert same(both[1], decoded)
    assert (both[1].size, both[1].quality, both[1].means) == (size, latents.quality, None)
    assert decoded.size == size
    assert decoded.quality == latents.quality
    assert torch.equal(decoded.means[0], expected.means[0])
    assert torch.equal(decoded.scales[0], expected.scales[0])
    assert any_codec.synthesize(decoded).shape == (1, 3, *size)


@torch.no_grad()
def test_coded_latents_are_within_half_a_step_of_the_unquantised(codec):
    latents = codec.analyze(picture(64, 80))
    for value, hat in zip(latents.levels, codec.as_coded(latents).levels, strict=True):
        assert float((value - hat).abs().max()) <= 0.5 + 1e-4


@torch.no_grad()
def test_bytes_depend_on_the_latents_alone(codec):
    latents = codec.analyze(picture(96, 64, batch=8), [1, 1.5, 2, 2.25, 3, 3.5, 3.75, 4])
    streams = codec.encode(latents, threads=1)
    assert codec.encode(latents, threads=2) == streams
    for number in range(8):
        single = dataclasses.replace(
            latents,
            levels=tuple(level[number : number + 1] for level in latents.levels),
            quality=latents.quality[number : number + 1],
        )
        assert codec.encode(single) == [streams[number]]
    last = tuple(level.contiguous(memory_format=torch.channels_last) for level in latents.levels)
    assert codec.encode(dataclasses.replace(latents, levels=last)) == streams
    with torch.autocast("cpu", torch.bfloat16):
        assert codec.encode(latents) == streams
        assert same(codec.decode(streams), codec.as_coded(latents))
    torch.set_default_dtype(torch.float64)
    try:
        assert codec.encode(latents) == streams
        assert codec.decode(streams).levels[0].dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


@torch.no_grad()
def test_large_pictures_are_coded_in_tiles_with_the_same_parameters(codec, monkeypatch):
    latents = codec.analyze(picture(320, 700))
    streams = codec.encode(latents)
    monkeypatch.setattr("pylatent.codecs.chain._HYPER_LATENT_TILE", 12)
    assert codec.encode(latents) == streams


@torch.no_grad()
def test_quality_moves_rate(codec):
    x = picture(128, 128)
    sizes = [sum(map(len, codec.compress(x, quality)[0].sections)) for quality in (1, 1.5, 2, 3, 4)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


@torch.no_grad()
def test_qualities_are_taken_to_the_grid_of_the_file(codec):
    assert codec.analyze(picture(16, 16), 1.2345).quality == (79 / 64,)


def test_wrong_arguments_are_named(codec):
    x = picture(16, 16)
    with pytest.raises(ValueError, match=r"`x` must have shape \(B, 3, H, W\), got \(3, 16, 16\)"):
        codec.analyze(x[0])
    with pytest.raises(ValueError, match="floating-point"):
        codec.analyze((x * 255).byte())
    with pytest.raises(ValueError, match="the quality must be from 1 to 4 for unnamed, got 9"):
        codec.analyze(x, 9)
    with pytest.raises(ValueError, match="one number or 1 of them, got 2"):
        codec.analyze(x, [1, 2])
    with pytest.raises(ValueError, match="fixed rate"):
        make_codec(gains=0).analyze(x, 2)


@torch.no_grad()
def test_latents_that_cannot_be_coded_are_refused(codec):
    latents = codec.analyze(picture(32, 32))
    y, z = latents.levels
    for levels, message in (
        ((y, z[:, :-1]), "level 1 of `latents` must have shape"),
        ((y.half(), z), "must be float32"),
        ((torch.full_like(y, torch.nan), z), "must be finite"),
        ((y, z * 1e30), "must be finite and below"),
        ((y,), "must have 2 levels"),
    ):
        with pytest.raises(ValueError, match=message):
            codec.encode(dataclasses.replace(latents, levels=levels))


def test_a_codec_without_tables_says_what_to_do():
    with pytest.raises(ModelError, match=r"call update\(\)"):
        MeanScaleHyperprior(4, 4).eval().compress(picture(16, 16))


@torch.no_grad()
def test_streams_of_another_model_are_detected(codec):
    stream = codec.compress(picture(64, 64))[0]
    with pytest.raises((MismatchError, FormatError)):
        make_codec(seed=5).decode([stream])
    with pytest.raises(MismatchError, match="fixed rate"):
        make_codec(gains=0).decode([stream])


@torch.no_grad()
def test_other_indexes_raise_before_a_symbol_is_decoded(codec):
    stream = codec.compress(picture(64, 64))[0]
    with pytest.raises(MismatchError, match="table indexes"):
        codec.decode([dataclasses.replace(stream, index_crc=stream.index_crc ^ 1)])


@torch.no_grad()
def test_damaged_streams_are_refused(codec):
    stream = codec.compress(picture(64, 64))[0]
    z, y = stream.sections
    with pytest.raises(FormatError, match="has 1 sections"):
        codec.decode([dataclasses.replace(stream, sections=(z,))])
    for sections in ((z, y[:-2]), (z, y + b"\0\0"), (z[:-1], y), (b"", y)):
        with pytest.raises((FormatError, MismatchError)):
            codec.decode([dataclasses.replace(stream, sections=sections)])


@torch.no_grad()
def test_absurd_sizes_are_refused_before_allocation(codec):
    stream = codec.compress(picture(64, 64))[0]
    with pytest.raises(FormatError, match="at least"):
        codec.decode([dataclasses.replace(stream, size=(1 << 20, 1 << 20))])


@torch.no_grad()
def test_pictures_of_different_sizes_are_not_decoded_together(codec):
    a, b = codec.compress(picture(16, 16))[0], codec.compress(picture(16, 32))[0]
    with pytest.raises(ValueError, match="one size"):
        codec.decode([a, b])
    with pytest.raises(ValueError, match="at least one"):
        codec.decode([])


def test_the_fingerprint_follows_weights_and_tables():
    codec = make_codec()
    first = codec.fingerprint()
    assert codec.fingerprint() == first == make_codec().fingerprint()
    with torch.no_grad():
        codec.g_s[0].weight[0, 0, 0, 0] += 1
    second = codec.fingerprint()
    with torch.no_grad():
        codec.h_s[0].weight[0, 0, 0, 0] += 1
    with pytest.raises(ModelError, match="changed since `update`"):  # the exact network has not been built anew
        codec.fingerprint()
    codec.update()
    assert len({first, second, codec.fingerprint()}) == 3
    with torch.no_grad():
        codec.g_a[0].weight[0, 0, 0, 0] += 1
    assert codec.fingerprint() == codec.fingerprint()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda codec: pickle.loads(pickle.dumps(codec))])
def test_a_codec_that_has_coded_can_be_copied(copied):
    codec = make_codec()
    streams = codec.compress(picture(64, 64), 2)
    fingerprint, pixels = codec.fingerprint(), codec.decompress(streams)
    again = copied(codec)
    assert again.fingerprint() == fingerprint
    assert again.compress(picture(64, 64), 2) == streams
    assert torch.equal(again.decompress(streams), pixels)
    with torch.no_grad():
        again.g_s[0].weight += 1
    assert again.fingerprint() != codec.fingerprint() == fingerprint
    with pytest.raises(ValueError, match="read-only"):
        again.tables_of(0).cdf[0, 0] = 1


def test_weights_that_are_loaded_leave_no_tables_of_others_behind():
    codec, other = make_codec(), make_codec(seed=5)
    wanted = other.compress(picture(64, 64))
    codec.load_state_dict(other.float_state())
    with pytest.raises(ModelError, match=r"not ready for coding: call update\(\)"):
        codec.compress(picture(64, 64))
    codec.update()
    assert codec.compress(picture(64, 64)) == wanted
    nested = torch.nn.ModuleDict({"codec": codec})
    nested.load_state_dict({f"codec.{name}": value for name, value in other.state_dict().items()})
    assert codec.compress(picture(64, 64)) == wanted
    nested.load_state_dict({f"codec.{name}": value for name, value in other.float_state().items()})
    with pytest.raises(ModelError, match="not ready"):
        codec.fingerprint()
