import pytest
import torch
from extras import extra

from pylatent.codecs.latents import Latents
from pylatent.tasks import AdaptedClassifier, Distillation, HeadHeader, LatentSegmenter, load_head, save_head
from pylatent.tasks.adapter import stages_of
from pylatent.tasks.segmentation import segmentation_loss

timm = EXTRA = extra("timm")


def latents(batch=2, channels=12, size=(224, 224), quality=3.0):
    y = torch.randn(batch, channels, -(-size[0] // 16), -(-size[1] // 16), generator=torch.Generator().manual_seed(0))
    return Latents((y,), size, None if quality is None else (quality,) * batch)


@pytest.mark.parametrize(
    ("name", "options", "millions"),
    [
        ("convnext_tiny", {"depths": (1, 1, 1, 1)}, 0.607),
        ("convnext_large", {"depths": (1, 1, 1, 1)}, 1.435),
        ("resnet50", {"stem_type": "deep", "stem_width": 64}, 0.858),
    ],
)
def test_the_adapter_of_a_model_has_the_parameters_of_the_paper(name, options, millions):
    model = AdaptedClassifier(320, 10, backbone=timm.create_model(name, **options))
    assert round(sum(parameter.numel() for parameter in model.adapter.parameters()) / 1e6, 3) == millions


@pytest.mark.parametrize("name", ["convnext_atto", "deit_tiny_patch16_224", "resnet10t"])
def test_timm_models_take_latents(name):
    torch.manual_seed(0)
    model = AdaptedClassifier(12, 5, backbone=name).eval()
    with torch.no_grad():
        logits = model(latents())
    assert logits.shape == (2, 5)
    assert (logits[0] - logits[1]).abs().max() > 1e-6


def test_distillation_from_a_pixel_teacher_of_timm():
    torch.manual_seed(0)
    teacher = timm.create_model("convnext_atto", num_classes=5)
    student = AdaptedClassifier(12, 5, backbone="convnext_atto", freeze=True)
    output, loss = Distillation(student, teacher, 0.01)(latents(), torch.rand(2, 3, 224, 224))
    assert output.shape == (2, 5)
    assert len(stages_of(teacher)) == 4
    loss.backward()
    assert student.adapter.project.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in student.backbone.parameters())


def test_an_adapted_classifier_survives_its_file(tmp_path):
    torch.manual_seed(0)
    model = AdaptedClassifier(12, 2, backbone="convnext_atto", levels=4).eval()
    header = HeadHeader(("a", "b"), "", {}, "some-1", "0" * 16, (3.0, 3.0), (224, 224))
    save_head(model, tmp_path / "h.safetensors", header)
    loaded, _ = load_head(tmp_path / "h.safetensors")
    torch.testing.assert_close(loaded(latents()), model(latents()), rtol=1e-4, atol=1e-5)


def test_segmentation_from_latents():
    torch.manual_seed(0)
    backbone = timm.create_model("resnet10t", output_stride=8)
    model = LatentSegmenter(12, 3, backbone, hidden=16)
    size = (100, 76)  # no multiple of 16
    target = torch.zeros(2, *size, dtype=torch.long)
    target[:, :, 38:] = 2
    target[:, :5] = 255
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(6):
        output = model.train()(latents(size=size))
        assert [part.shape for part in output] == [(2, 3, *size)] * 2
        loss = segmentation_loss(output, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    assert model.adapter.project.weight.grad.abs().sum() > 0
    logits = model.eval()(latents(size=size))
    assert logits.shape == (2, 3, *size)


def test_a_frozen_segmenter_leaves_its_backbone_alone():
    model = LatentSegmenter(12, 3, timm.create_model("resnet10t"), hidden=16, freeze=True).train()
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    segmentation_loss(model(latents(size=(64, 64))), torch.zeros(2, 64, 64, dtype=torch.long)).backward()
    assert all(parameter.grad is None for parameter in model.backbone.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.backbone.state_dict().items())
