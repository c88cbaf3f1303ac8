"""LPIPS against its definition in float64, against the package `lpips`, and what is refused."""

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from extras import extra
from PIL import Image
from safetensors.torch import save_file
from small_codec import picture
from small_networks import ALEX, TAPPED, VGG, weights

from pylatent.errors import ModelError
from pylatent.evaluation.lpips import LPIPS
from pylatent.zoo.checkpoints import why_not_pickles

pickles = pytest.mark.skipif(why_not_pickles() is not None, reason=str(why_not_pickles()))


def by_definition(net, features, heads, a, b):
    """float64, layer by layer, as the paper has it and torchvision's networks are."""
    described = []
    for x in (a, b):
        shift = torch.tensor([-0.030, -0.088, -0.188]).double().view(3, 1, 1)
        x = (2 * x.double() - 1 - shift) / torch.tensor([0.458, 0.448, 0.450]).double().view(3, 1, 1)
        taps = []
        for number in {"vgg": VGG, "alex": ALEX}[net]:
            if net == "vgg" and number in (5, 10, 17, 24):
                x = F.max_pool2d(x, 2, 2)
            if net == "alex" and number in (3, 6):
                x = F.max_pool2d(x, 3, 2)
            weight = features[f"features.{number}.weight"].double()
            stride, padding = (4, 2) if weight.shape[-1] == 11 else (1, weight.shape[-1] // 2)
            x = F.conv2d(x, weight, features[f"features.{number}.bias"].double(), stride, padding).clamp_min(0)
            if number in TAPPED[net]:
                taps.append(x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10))
        described.append(taps)
    total = 0
    for layer, (one, other) in enumerate(zip(*described, strict=True)):
        head = heads[f"lin{layer}.model.1.weight"].double()
        total = total + F.conv2d((one - other) ** 2, head).mean((1, 2, 3))
    return total


@pytest.mark.parametrize("net", ["vgg", "alex"])
@pytest.mark.parametrize("size", [(40, 57), (64, 48)])
def test_value_is_the_definition_s(net, size):
    features, heads = weights(net)
    metric = LPIPS(net, features, heads)
    a, b = picture(*size, batch=2, seed=1), picture(*size, batch=2, seed=2)
    expected = by_definition(net, features, heads, a, b)
    assert float(expected.min()) > 1e-3
    torch.testing.assert_close(metric(a, b).double(), expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(metric.double()(a.double(), b.double()), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("net", ["vgg", "alex"])
def test_it_is_that_of_the_package(net):
    extra("torchvision")
    lpips = extra("lpips")
    torch.manual_seed(0)
    theirs = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    features = {f"features.{key.partition('.')[2]}": value for key, value in theirs.net.state_dict().items()}
    ours = LPIPS(net, features, theirs.state_dict())
    a, b = picture(80, 96, batch=2, seed=1), picture(80, 96, batch=2, seed=2)
    expected = theirs(a, b, normalize=True).flatten()
    torch.testing.assert_close(ours(a, b), expected, rtol=1e-4, atol=1e-7)


def test_same_pictures_and_eight_bits():
    metric = LPIPS("vgg", *weights("vgg"))
    a, b = ((255 * picture(32, 32, seed=seed)).to(torch.uint8) for seed in (1, 2))
    assert float(metric(a, a)) == 0
    torch.testing.assert_close(metric(a, b), metric(a / 255, b / 255))
    torch.testing.assert_close(metric.distance(metric.describe(a), metric.describe(b)), metric(a, b))


def test_it_grows_as_a_jpeg_gets_worse():
    metric = LPIPS("vgg", *weights("vgg"))
    original = (255 * picture(64, 64)[0]).to(torch.uint8)
    values = []
    for quality in (95, 40, 5):
        file = io.BytesIO()
        Image.fromarray(original.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
        decoded = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
        values.append(float(metric(original[None], decoded[None])))
    assert 0 < values[0] < values[1] < values[2]


def test_gradients_reach_the_pixels_alone_and_are_numbers_where_nothing_is_seen():
    features, heads = weights("vgg")
    features["features.0.bias"] -= 100  # every feature of the first layers is 0
    metric = LPIPS("vgg", features, heads)
    x = picture(32, 32).requires_grad_()
    metric(x, picture(32, 32, seed=2)).sum().backward()
    assert bool(x.grad.isfinite().all())
    metric = LPIPS("vgg", *weights("vgg"))
    metric(x, picture(32, 32, seed=2)).sum().backward()
    assert float(x.grad.abs().max()) > 0
    assert not any(parameter.requires_grad for parameter in metric.parameters())


@pytest.mark.parametrize("suffix", ["safetensors", pytest.param("pth", marks=pickles)])
def test_weights_from_a_folder(tmp_path, monkeypatch, suffix):
    features, heads = weights("alex")
    whole = features | {"classifier.1.weight": torch.zeros(2, 2)}  # as torchvision's checkpoints have
    save = save_file if suffix == "safetensors" else torch.save
    save(whole, tmp_path / f"alexnet-owt.{suffix}")
    save(heads, tmp_path / f"alex.{suffix}")
    a, b = picture(40, 40), picture(40, 40, seed=2)
    expected = LPIPS("alex", features, heads)(a, b)
    assert torch.equal(LPIPS.load("alex", tmp_path)(a, b), expected)
    monkeypatch.setenv("PYLATENT_LPIPS", str(tmp_path))
    assert torch.equal(LPIPS.load("alex")(a, b), expected)
    with pytest.raises(ModelError, match=r"must hold.* one vgg with LPIPS's heads \(none\) and one vgg16\*.* \(none\)"):
        LPIPS.load("vgg")


def test_what_is_refused(tmp_path, monkeypatch):
    features, heads = weights("vgg")
    for net, side in (("vgg", 16), ("alex", 31)):
        metric = LPIPS(net, *weights(net))
        assert metric.describe(picture(side, side))[-1].shape[2:].numel() == 1
        with pytest.raises(ValueError, match=f"at least {side} pixels a side, got .1, 3, {side - 1}, {side}."):
            metric.describe(picture(side - 1, side))
    with pytest.raises(ValueError, match="same shape"):
        metric(picture(40, 40), picture(40, 48))
    with pytest.raises(ValueError, match="must be vgg or alex, got squeeze"):
        LPIPS.load("squeeze")
    with pytest.raises(ModelError, match="needs a tensor features.28.weight"):
        LPIPS("vgg", {key: value for key, value in features.items() if "28" not in key}, heads)
    with pytest.raises(ModelError, match=r"lin4.model.1.weight with shape \(1, 7, 1, 1\), got \(1, 4, 1, 1\)"):
        LPIPS("vgg", features, heads | {"lin4.model.1.weight": torch.ones(1, 4, 1, 1)})
    monkeypatch.delenv("PYLATENT_LPIPS", raising=False)
    monkeypatch.setattr("pylatent.evaluation.lpips.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install 'pylatent.perceptual.'.*lpips and torchvision cannot be found"):
        LPIPS.load("vgg")


@pickles
def test_heads_that_are_more_than_tensors_are_refused(tmp_path):
    torch.save({"lin0": print}, tmp_path / "vgg.pth")
    save_file(weights("vgg")[0], tmp_path / "vgg16.safetensors")
    with pytest.raises(ModelError, match="holds more than tensors"):
        LPIPS.load("vgg", tmp_path)
