import pytest
import torch
from extras import extra
from small_codec import make_codec, picture

from pylatent.codecs import MeanScaleHyperprior, ScaleHyperprior
from pylatent.codecs.state_dicts import hyperprior_from_compressai
from pylatent.compat.compressai import as_compressai


@pytest.mark.parametrize("architecture", [MeanScaleHyperprior, ScaleHyperprior])
def test_dicts_have_compressais_form_and_round_trip(architecture):
    codec = make_codec(architecture, gains=0)
    view = as_compressai(codec).eval()
    x = picture(64, 128, batch=2)
    coded = view.compress(x)
    assert [len(strings) for strings in coded["strings"]] == [2, 2]
    assert tuple(coded["shape"]) == (1, 2)
    with torch.no_grad():
        output = view(x)
    torch.testing.assert_close(view.decompress(**coded)["x_hat"], output["x_hat"], rtol=0, atol=1e-4)
    assert output["likelihoods"]["y"].shape == (2, 12, 4, 8)
    assert output["likelihoods"]["z"].shape == (2, 8, 1, 2)


def test_a_variable_rate_codec_is_seen_at_one_quality():
    codec = make_codec()
    x = picture(64, 64)
    sizes = [len(as_compressai(codec, quality=quality).compress(x)["strings"][0][0]) for quality in (1, 4)]
    assert sizes[0] < sizes[1]
    view = as_compressai(codec, quality=4).eval()
    with torch.no_grad():
        torch.testing.assert_close(view.decompress(**view.compress(x))["x_hat"], view(x)["x_hat"], rtol=0, atol=1e-4)


def test_likelihoods_have_gradients_in_training():
    view = as_compressai(make_codec(gains=0)).train()
    output = view(picture(64, 64))
    loss = sum(-torch.log2(likelihoods).sum() for likelihoods in output["likelihoods"].values())
    (loss + output["x_hat"].sum()).backward()
    assert torch.any(view.codec.g_a[0].weight.grad != 0)


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match="multiples of 64"):
        as_compressai(make_codec(gains=0)).compress(picture(60, 64))


@pytest.mark.parametrize("architecture", [MeanScaleHyperprior, ScaleHyperprior])
def test_strings_are_those_of_compressai_with_the_same_weights(architecture):
    models = extra("compressai.models")
    source = make_codec(architecture, gains=0)
    torch.manual_seed(1)
    peer = getattr(models, architecture.__name__)(8, 12)
    with torch.no_grad():  # the transforms have the same names in every release
        for name in ("g_a", "h_a", "h_s"):
            getattr(peer, name).load_state_dict(getattr(source, name).state_dict(), strict=False)
    peer.eval().update(force=True)
    codec, tables = hyperprior_from_compressai(peer.state_dict())
    codec.update(tables)
    x = picture(64, 128)
    with torch.no_grad():
        theirs = peer.compress(x)
        ours = as_compressai(codec).compress(x)
        assert ours["strings"] == theirs["strings"]
        torch.testing.assert_close(as_compressai(codec).decompress(**theirs)["x_hat"], peer.decompress(**ours)["x_hat"])
        torch.testing.assert_close(codec(x).x_hat, peer(x)["x_hat"].clamp(0, 1))
