"""Features that find references: a user's own backbone, one of timm's, and what is refused."""

import sys

import pytest
import torch
from extras import extra
from small_codec import make_residual, picture
from torch import nn

from pylatent import cli, images
from pylatent.codecs import CLC, Dictionary, Features
from pylatent.codecs.features import timm_features
from pylatent.codecs.model_file import load_codec, save_codec
from pylatent.errors import ModelError
from pylatent.train.dictionary import Build, build_dictionary


def backbone(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 5, 3, stride=4), nn.BatchNorm2d(5))


def features(seed=0, **options):
    return Features("mine-1", backbone(seed), **{"side": 40, **options})


@pytest.fixture
def clusters():
    return extra("sklearn")


@pytest.fixture(scope="module")
def codec():
    return make_residual()


@pytest.fixture
def folder(tmp_path):
    """Six pictures of 64x64, of three colours."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(6):
        images.write(images.to_image((255 * coloured(number)).round().to(torch.uint8)), pictures / f"{number}.png")
    return pictures


def coloured(number, seed=0):
    return 0.1 * picture(64, 64, seed=number + seed)[0] + 0.4 * torch.eye(3)[number % 3][:, None, None] + 0.2


def test_what_a_backbone_sees():
    seen = []
    module = nn.Identity()
    module.register_forward_hook(lambda _, arguments, __: seen.append(arguments[0]))
    found = Features("mine-1", module, side=4, mean=(0.1, 0.2, 0.3), deviation=(1.0, 2.0, 4.0))
    x = torch.rand(2, 3, 4, 4)
    wanted = (x - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([1.0, 2.0, 4.0]).view(3, 1, 1)
    torch.testing.assert_close(found(x), wanted)
    found(torch.rand(1, 3, 9, 33))
    assert seen[-1].shape == (1, 3, 4, 4)
    assert not module.training
    with pytest.raises(ModelError, match=r"features flat-1 must be a map of shape \(B, C, h, w\), .* gives \(2, 48\)"):
        Features("flat-1", nn.Flatten(), side=4)(x)


@torch.no_grad()
def test_a_backbone_of_ones_own(clusters, codec, folder, tmp_path):
    out = tmp_path / "a-1.dictionary"
    build_dictionary(codec, folder, out, Build("a-1", entries=3, crop=64), features=features())
    made = Dictionary.load(out)
    assert made.facts.backbone == features().backbone
    assert len(made.mean) == 21 * 5
    clc = CLC.around(codec, made, references=1).eval()
    x = torch.stack([coloured(number, seed=50) for number in range(3)])
    with pytest.raises(ModelError, match="found by features mine-1, which this package does not have: give them with"):
        clc.analyze(x)
    clc.attach(made, features())
    streams = clc.compress(x)
    assert sorted(clc.decode(streams).levels[-1].flatten().tolist()) == [0, 1, 2]
    alone = CLC.around(codec, made, references=1).eval()  # whoever decodes needs no features
    alone.load_state_dict(clc.state_dict())
    assert torch.equal(alone.decompress(streams), clc.decompress(streams))
    for other in (features(1), features(side=50), features(mean=(0.0, 0.0, 0.0)), Features("yours-1", backbone())):
        with pytest.raises(ModelError, match="references are found by features mine-1 with hash .* got"):
            clc.attach(made, other)
    own = build_dictionary(codec, folder, tmp_path / "b-1.dictionary", Build("b-1", entries=3, crop=64))
    assert own.hash != made.hash
    with pytest.raises(ModelError, match="dictionary b-1 finds references by the codec's own features"):
        CLC.around(codec, own, references=1).attach(own, features())


def test_without_timm(clusters, codec, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match=r"features timm:resnet50 need timm: pip install 'pylatent\[tasks\]'"):
        timm_features("resnet50")
    named = Features("timm:resnet50", backbone(), side=40)
    made = build_dictionary(codec, folder, tmp_path / "a-1.dictionary", Build("a-1", 3, crop=64), features=named)
    with pytest.raises(ModelError, match="features timm:resnet50 need timm"):
        CLC.around(codec, made, references=1).compress(torch.rand(1, 3, 64, 64))


def test_a_model_of_timm(codec, folder, tmp_path, capsys):
    timm = extra("timm")
    torch.manual_seed(0)
    path = tmp_path / "tiny.pth"
    torch.save(timm.create_model("resnet10t").state_dict(), path)
    timm.models.register_model(tiny_of(timm, path))
    found = timm_features("tiny_of_tests")
    assert found.backbone.name == "timm:tiny_of_tests"
    assert (found.side, found.mean) == (176, (0.485, 0.456, 0.406))
    assert found(torch.rand(1, 3, 70, 50)).shape == (1, 512, 6, 6)
    save_codec(codec, tmp_path / "base.safetensors", name="base-1", card={})
    out = tmp_path / "a-1.dictionary"
    options = ["--model", str(tmp_path / "base.safetensors"), "--entries", "3", "--crop", "64", "--workers", "1"]

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.main(["clc", *map(str, arguments)])
        return end.value.code, capsys.readouterr()

    assert run("build", folder, "-o", out, *options, "--features", "tiny_of_tests")[0] == 0
    assert "features  timm:tiny_of_tests, hash " in run("info", out)[1].out
    made = Dictionary.load(out)
    assert made.facts.backbone == found.backbone
    base = load_codec(tmp_path / "base.safetensors")
    clc = CLC.around(base, made, references=1)
    assert clc.compress(torch.rand(1, 3, 64, 64))
    torch.manual_seed(1)
    torch.save(timm.create_model("resnet10t").state_dict(), path)
    with pytest.raises(ModelError, match="references are found by features timm:tiny_of_tests with hash"):
        CLC.around(base, made, references=1).compress(torch.rand(1, 3, 64, 64))
    code, said = run("build", folder, "-o", out, *options, "--features", "no_such_model")
    assert (code, "timm does not give features timm:no_such_model" in said.err) == (1, True)


def tiny_of(timm, path):
    """A model to register, whose pretrained weights are a file."""
    from timm.models import resnet

    def tiny_of_tests(pretrained=False, **options):
        options["pretrained_cfg_overlay"] = {"file": str(path), "url": "", "hf_hub_id": None}
        return resnet.resnet10t(pretrained, **options)

    tiny_of_tests.__module__ = resnet.__name__
    return tiny_of_tests
