"""Blocks that are built like timm's models stand for them; the tests of timm's own are in test_adapter_timm.py."""

import pytest
import torch
from torch import nn

from pylatent.codecs.latents import Latents
from pylatent.tasks import AdaptedClassifier, Distillation, LatentAdapter
from pylatent.tasks.adapter import stages_of, take_stem


class LikeConvNeXt(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8))
        self.stages = nn.ModuleList([nn.Conv2d(8, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1)])
        self.norm = nn.BatchNorm2d(16)
        self.classify = nn.Linear(16, classes)

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = torch.relu(stage(x))
        return self.classify(self.norm(x).mean((2, 3)))


class LikeResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.act1 = nn.Conv2d(3, 8, 7, 2, 3), nn.BatchNorm2d(8), nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2, self.layer3, self.layer4 = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(4))

    def forward(self, x):
        x = self.maxpool(self.act1(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))


class LikeViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, 8, 16, 16)
        self.patch_embed.grid_size = (4, 4)
        self.blocks = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))

    def forward(self, x):
        return self.blocks(self.patch_embed(x)).mean(1)


def latents(batch=2, channels=6, side=4, quality=2.0):
    y = torch.randn(batch, channels, side, side, generator=torch.Generator().manual_seed(0))
    return Latents((y,), (16 * side, 16 * side), None if quality is None else (quality,) * batch)


@pytest.mark.parametrize(
    ("latent_channels", "channels", "upscale", "heads", "millions"),
    [(320, 96, 4, 3, 0.607), (320, 192, 4, 6, 1.435), (320, 384, 1, 6, 1.905), (320, 128, 4, 4, 0.858)],
    ids=["ConvNeXt-T", "ConvNeXt-L", "DeiT-S", "PSPNet50"],
)
def test_parameter_counts_of_the_paper(latent_channels, channels, upscale, heads, millions):
    adapter = LatentAdapter(latent_channels, channels, upscale=upscale, heads=heads)
    assert round(sum(parameter.numel() for parameter in adapter.parameters()) / 1e6, 3) == millions
    if upscale == 4:
        assert heads == channels // 32  # what is taken where none are given, but for DeiT-S


def test_an_adapter_enlarges_by_pixel_shuffle():
    adapter = LatentAdapter(6, 8, upscale=4, levels=3)
    assert adapter(torch.randn(2, 6, 3, 5)).shape == (2, 8, 12, 20)
    with pytest.raises(ValueError, match="multiple of heads = 3, got 8"):
        LatentAdapter(6, 8, upscale=4, heads=3)


@pytest.mark.parametrize(
    ("model", "stem"), [(LikeConvNeXt, (8, 4, False)), (LikeResNet, (8, 4, False)), (LikeViT, (8, 16, True))]
)
def test_the_stem_is_taken_out(model, stem):
    model = model()
    found = take_stem(model)
    assert (found.channels, found.stride, found.tokens) == stem
    side = 64 // found.stride
    assert model(torch.randn(2, found.channels, side, side)).shape[0] == 2
    assert not any(isinstance(m, nn.Conv2d) and m.in_channels == 3 for m in model.modules())


def test_models_without_a_known_stem():
    with pytest.raises(ValueError, match="Linear has no stem that is known"):
        take_stem(nn.Linear(2, 2))
    model = LikeConvNeXt()
    model.stem[0] = nn.Conv2d(3, 8, 3, 3)
    with pytest.raises(ValueError, match="stride 3"):
        take_stem(model)


def test_a_vit_of_another_grid():
    model = LikeViT()
    take_stem(model)
    with pytest.raises(ValueError, match=r"\(4, 4\), got \(5, 5\)"):
        model(torch.randn(1, 8, 5, 5))


@pytest.mark.parametrize("freeze", [True, False])
def test_what_trains(freeze):
    torch.manual_seed(0)
    model = AdaptedClassifier(6, 3, backbone=LikeConvNeXt(), levels=3, freeze=freeze)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for quality in (1.0, 2.5, None):
        nn.functional.cross_entropy(model(latents(quality=quality)), torch.tensor([0, 1])).backward()
    optimizer.step()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("adapter.project") for name in moved)
    assert any(name.startswith("backbone.") for name in moved) == (not freeze)  # running statistics included


def test_a_backbone_given_as_a_model_cannot_be_stored():
    with pytest.raises(ValueError, match="cannot be stored"):
        _ = AdaptedClassifier(6, 3, backbone=LikeConvNeXt()).config


def test_distillation_is_the_weighted_sum_over_the_stages():
    torch.manual_seed(0)
    teacher, student = LikeConvNeXt(), AdaptedClassifier(6, 3, backbone=LikeConvNeXt(), levels=3).eval()
    distillation = Distillation(student, teacher, weight=0.25)
    x = torch.rand(2, 3, 64, 64)
    output, loss = distillation(latents(), x)
    torch.testing.assert_close(output, student(latents()))
    features = student.adapter(latents().levels[0], torch.tensor([2.0, 2.0]))
    expected = 0.0
    pixels = teacher.stem(x)
    for ours, theirs in zip(stages_of(student.backbone), stages_of(teacher), strict=True):
        a, b = ours(features), theirs(pixels)
        expected += 0.25 * (a - b).pow(2).mean()
        features, pixels = torch.relu(a), torch.relu(b)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert student.adapter.project.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_distillation_lowers_the_distance_to_the_teacher():
    torch.manual_seed(0)
    teacher, student = LikeConvNeXt(), AdaptedClassifier(6, 3, backbone=LikeConvNeXt(), levels=3)
    distillation = Distillation(student, teacher, weight=1.0)
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        _, loss = distillation(latents(), torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_timm_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(ImportError, match=r"pylatent\[tasks\]"):
        AdaptedClassifier(6, 3, backbone="convnext_atto")
