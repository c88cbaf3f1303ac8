import json
import warnings

import pytest
import torch
from safetensors.torch import save_file

from pylatent.codecs.latents import Latents
from pylatent.errors import MismatchError, ModelError, PylatentWarning
from pylatent.tasks import FusionGated, HeadHeader, LatentMLP, LatentResNet, load_head, save_head
from pylatent.tasks.head_file import _KEY

HASH = "0123456789abcdef"


def header(classes=("a", "b"), **fields):
    return HeadHeader(classes, "", {}, "some-1", HASH, fields.pop("qualities", (1.0, 3.0)), (224, 224), **fields)


def latents(channels=4, side=224, quality=(2.0,)):
    n = -(-side // 16)
    return Latents((torch.ones(1, channels, n, n),), (side, side), quality, None, (torch.ones(1, channels, n, n),))


@pytest.mark.parametrize("kind", [LatentMLP, LatentResNet, FusionGated])
def test_a_head_survives_its_file(kind, tmp_path):
    torch.manual_seed(0)
    head = kind(4, 2).eval()
    save_head(head, tmp_path / "h.safetensors", header(card={"data": "none"}))
    loaded, found = load_head(tmp_path / "h.safetensors")
    assert type(loaded) is kind
    assert not loaded.training
    torch.testing.assert_close(loaded(latents()), head(latents()))
    assert found == header(card={"data": "none"}).__class__(
        ("a", "b"), kind.__name__, head.config, "some-1", HASH, (1.0, 3.0), (224, 224), {"data": "none"}
    )
    assert [path.name for path in tmp_path.iterdir()] == ["h.safetensors"]


def written(tmp_path, head=None):
    path = tmp_path / "h.safetensors"
    save_head(head or LatentResNet(4, 2, width=8), path, header())
    return path


def test_latents_of_another_model_or_shape(tmp_path):
    _, found = load_head(written(tmp_path))
    found.check(latents(), HASH + "99")
    with pytest.raises(MismatchError, match="hash 0123456789abcdef, these are of a model with hash ffff"):
        found.check(latents(), "ffff" * 8)
    with pytest.raises(MismatchError, match="4 channels, got 5"):
        found.check(latents(channels=5), HASH)


def test_sizes_and_qualities_not_trained_on(tmp_path):
    _, found = load_head(written(tmp_path))
    with pytest.warns(PylatentWarning, match="qualities 1 to 3, some pictures have 6"):
        found.check(latents(quality=(6.0,)), HASH)
    with pytest.warns(PylatentWarning, match="224x224 pixels, some are 100x100"):
        found.check(latents(side=100), HASH)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found.check(latents(quality=None), HASH)
    _, found = load_head(written(tmp_path, LatentMLP(4, 2, hidden=3)))
    with pytest.raises(MismatchError, match="224x224 pixels only, got 100x100"):
        found.check(latents(side=100), HASH)


def test_a_header_must_name_every_class(tmp_path):
    with pytest.raises(ValueError, match="2 classes, the header names 3"):
        save_head(LatentResNet(4, 2), tmp_path / "h", header(("a", "b", "c")))
    assert not list(tmp_path.iterdir())


def test_files_that_are_no_heads(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="cannot be read as a head file"):
        load_head(path)
    with pytest.raises(ModelError, match="cannot be read as a head file"):
        load_head(tmp_path / "absent")
    save_file({"w": torch.ones(1)}, path)
    with pytest.raises(ModelError, match="no head of pylatent"):
        load_head(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2; this release reads version 1"),
        ({"architecture": "Oracle"}, "holds a Oracle"),
        ({"config": {"channels": 5, "classes": 2, "width": 8}}, "not hold a complete LatentResNet"),
        ({"config": {"depth": 5}}, "not hold a complete LatentResNet"),
        ({"classes": ["a"]}, "2 outputs, but names 1"),
        ({"unknown": 1}, "header that cannot be read"),
    ],
)
def test_damaged_headers(tmp_path, change, message):
    from safetensors import safe_open

    path = written(tmp_path)
    with safe_open(path, framework="pt") as file:
        fields = json.loads(file.metadata()[_KEY])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(tensors, path, {_KEY: json.dumps(fields | change)})
    with pytest.raises(ModelError, match=message):
        load_head(path)


def test_a_file_cut_short(tmp_path):
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ModelError, match="cannot be read as a head file"):
        load_head(path)
