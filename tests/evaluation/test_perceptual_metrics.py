"""LPIPS, FID and KID of whole evaluations: what they are told, what they give, what is said of them."""

import json
import re

import pytest
import torch
from extras import extra
from small_codec import make_codec
from small_networks import small_networks
from test_report import PixelCodec, wave

from pylatent.cli._check import METRICS
from pylatent.errors import ModelError
from pylatent.evaluation.classical import JPEG
from pylatent.evaluation.comparison import OtherModel, at_equal_sizes
from pylatent.evaluation.features import FeatureNetwork
from pylatent.evaluation.frechet import frechet_distance, kernel_distance, patches
from pylatent.evaluation.html import comparison_page, report_page, thumbnail
from pylatent.evaluation.lpips import LPIPS
from pylatent.evaluation.metrics import PICTURE_METRICS, SET_METRICS, PatchSets, load_metrics, lpips_metric
from pylatent.evaluation.report import evaluate
from pylatent.evaluation.ways import Way


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Small networks where LPIPS looks for them."""
    small_networks(tmp_path)
    monkeypatch.setenv("PYLATENT_LPIPS", str(tmp_path))
    return tmp_path


def corners(x):
    """The mean colour, and that of a corner."""
    return torch.cat([x.float().mean((2, 3)), x[:, :, :4, :4].float().mean((2, 3))], 1)


COLOURS = FeatureNetwork("mean colours", corners)


def test_the_commands_know_every_metric():
    assert (*PICTURE_METRICS, *SET_METRICS) == METRICS


def test_a_report_with_metrics_of_pictures_and_of_the_set(folder):
    pictures = {"a.png": wave(64, 96), "b.png": wave(48, 80), "small.png": wave(12, 40)}
    metric = LPIPS.load("vgg")
    report = evaluate(
        PixelCodec(),
        pictures.items(),
        [1.0, 4.0],
        baselines=(JPEG,),
        metrics=[lpips_metric(metric)],
        sets=PatchSets(COLOURS, ["fid", "kid"], 32),
    )
    assert list(report.metrics) == ["LPIPS VGG16", "FID", "KID"]
    assert report.metrics["FID"] == "12 patches of 32x32, mean colours"
    codec = PixelCodec()
    for index, quality in enumerate((1.0, 4.0)):
        decoded = {}
        for name, original in pictures.items():
            streams = codec.encode(codec.analyze(original[None] / 255, quality, integers=True))
            decoded[name] = codec.decompress_bytes(streams, "full")[0]
        for picture in report.pictures[:2]:
            wanted = metric(decoded[picture.name][None], pictures[picture.name][None])
            assert picture.curves[Way()][index].more == {"LPIPS VGG16": pytest.approx(float(wanted), rel=1e-4)}
        assert report.pictures[2].curves[Way()][index].more == {"LPIPS VGG16": None}
        a, b = (
            torch.cat([COLOURS(patches(each, 32)) for each in of.values() if min(each.shape[1:]) >= 32])
            for of in (decoded, pictures)
        )
        more = report.mean[index].more
        assert more["FID"] == pytest.approx(frechet_distance(a, b))
        assert more["KID"] == pytest.approx(kernel_distance(a, b))
        mean = sum(picture.curves[Way()][index].more["LPIPS VGG16"] for picture in report.pictures[:2]) / 2
        assert more["LPIPS VGG16"] == pytest.approx(mean)
    assert all(point.more["FID"] is not None for point in report.mean_of("JPEG"))
    document = report.to_json()
    assert document["metrics"] == report.metrics
    assert document["mean"]["codec"][0]["more"]["KID"] == report.mean[0].more["KID"]
    page = report_page(report, [thumbnail(picture) for picture in pictures.values()])
    for text in (
        "LPIPS VGG16: mean of the pictures",
        "FID of all pictures",
        "12 patches of 32x32, mean colours",
        "<th class=n>KID",
    ):
        assert text in page


def test_a_set_without_patches_has_no_number():
    sets = PatchSets(COLOURS, ["fid"], 64)
    report = evaluate(PixelCodec(), [("a.png", wave(30, 90))], [1.0], sets=sets)
    assert report.mean[0].more == {"FID": None}
    assert report.metrics["FID"].startswith("0 patches of 64x64")


def test_too_few_patches_are_mentioned():
    sets = PatchSets(COLOURS, ["fid", "kid"], 16)
    report = evaluate(PixelCodec(), [("a.png", wave(32, 32))], [1.0], sets=sets)
    assert report.metrics["FID"].endswith("(too large of fewer patches than its 6 features: compare at equal numbers)")
    assert report.metrics["KID"] == "5 patches of 16x16, mean colours"


def test_networks_of_lpips_say_that_they_are_not_inception(folder):
    metrics, sets = load_metrics(["lpips-alex", "kid"], "vgg", 32)
    assert [metric.name for metric in metrics] == ["LPIPS AlexNet"]
    assert sets is not None
    assert sets.network.what == (
        "VGG16's relu5_3, of length 1, averaged over positions, not comparable with FID and KID of Inception's"
    )
    found = sets.network(torch.stack([wave(32, 32)] * 9))
    assert (found.shape, found.dtype) == ((9, 7), torch.float64)
    described = LPIPS.load("vgg").describe(wave(32, 32)[None])[-1]
    torch.testing.assert_close(found[8], described.mean((2, 3))[0].double())


class Mean(torch.nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
@pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated:DeprecationWarning")
def test_a_program_in_a_file(tmp_path, suffix):
    path = tmp_path / f"mean{suffix}"
    if suffix == ".pt":
        torch.jit.script(Mean()).save(path)
    else:
        batch = torch.export.Dim("batch", min=1, max=64)
        example = (torch.rand(2, 3, 32, 32),)
        torch.export.save(torch.export.export(Mean(), example, dynamic_shapes=({0: batch},)), path)
    network = FeatureNetwork.load(str(path))
    assert network.what == f"mean{suffix}'s features, not comparable with FID and KID of Inception's"
    picture = wave(32, 32)
    found = network(picture[None].expand(9, -1, -1, -1))
    torch.testing.assert_close(found[8], picture.double().mean((1, 2)) / 255, rtol=1e-5, atol=0)


def test_features_that_cannot_be_had(tmp_path, monkeypatch):
    with pytest.raises(ModelError, match="must be vgg, alex, inception or a file, .pt2 or TorchScript; there is no"):
        FeatureNetwork.load(str(tmp_path / "none.pt"))
    for name in ("text.pt", "text.pt2"):
        (tmp_path / name).write_text("nothing")
        with pytest.raises(ModelError, match=f"{name} holds no program of torch.export"):
            FeatureNetwork.load(str(tmp_path / name))
    monkeypatch.setattr("pylatent.evaluation.features.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"need torch-fidelity, .*pip install 'pylatent\[fidelity\]', or take vgg"):
        FeatureNetwork.load("inception")
    maps = FeatureNetwork("maps", lambda x: x.float())
    with pytest.raises(ValueError, match=r"maps must give a vector a picture, \(B, d\), got \(1, 3, 32, 32\) for 1"):
        maps(wave(32, 32)[None])
    with pytest.raises(ValueError, match="`side` must be at least 16, got 8"):
        PatchSets(COLOURS, ["fid"], 8)
    with pytest.raises(ValueError, match="`metrics` must be of fid, kid, got psnr"):
        PatchSets(COLOURS, ["psnr"])


def test_inception_is_that_of_torch_fidelity(monkeypatch):
    """With random weights: those that are published must be downloaded."""
    extra("torch_fidelity")
    from torch_fidelity import feature_extractor_inceptionv3 as theirs

    monkeypatch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: None)
    monkeypatch.setattr(theirs.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
    network = FeatureNetwork.load("inception")
    assert network.what == "Inception-v3's last pooling, by torch-fidelity"
    assert network(wave(64, 64)[None]).shape == (1, 2048)


def test_two_models_of_one_picture(folder):
    """Like test_comparison_page, with the codec against itself under another name, at sizes that are no smaller."""
    first, second = make_codec(), make_codec(seed=1)
    first.name, second.name = "mse-1", "perceptual-1"
    pixels = wave(64, 96)
    metric = lpips_metric(LPIPS.load("alex"))
    found = at_equal_sizes(first, pixels, [1.0, 3.0], baselines=[OtherModel(second), JPEG], metrics=[metric])
    for rate in found.rates:
        other = rate.others["perceptual-1"]
        assert len(other.data) >= len(rate.ours["full"].data) or other.point.quality == second.qualities[1]
        assert torch.equal(OtherModel(second).decompress(other.data), other.decoded)
        for version in (*rate.ours.values(), *rate.others.values()):
            wanted = LPIPS.load("alex")(version.decoded[None], pixels[None])
            assert version.point.more == {"LPIPS AlexNet": pytest.approx(float(wanted), rel=1e-4, abs=1e-7)}
    page = comparison_page(found, "a.png")
    assert "<b>mse-1</b>" in page
    assert "perceptual-1" in page
    assert "LPIPS 0.1 with AlexNet's features; lower is more alike." in page.replace("&#x27;", "'")
    ours = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])["rates"][0]["versions"][0]
    assert re.search(r" dB · LPIPS AlexNet [\d.]+$", ours["facts"])
