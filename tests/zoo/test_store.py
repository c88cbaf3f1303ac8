import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_codec import make_codec, make_residual, picture
from torch.torch_version import TorchVersion

from pylatent import ModelError, zoo
from pylatent.codecs import MeanScaleHyperprior, ScaleHyperprior
from pylatent.zoo.checkpoints import why_not_pickles

pickles = pytest.mark.skipif(why_not_pickles() is not None, reason=str(why_not_pickles()))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PYLATENT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_stored_codec_codes_as_before_up_to_half_precision(tmp_path):
    codec = make_codec()
    path = tmp_path / "m.safetensors"
    header = zoo.save_codec(codec, path, name="tiny-1", card={"steps": 3})
    first, second = zoo.load(path), zoo.load(path)
    assert first.name == "tiny-1"
    assert header == zoo.read_header(path)
    assert header.card == {"steps": 3}
    assert first.fingerprint() == second.fingerprint() == bytes.fromhex(header.hash)
    x = picture(48, 64)
    assert first.compress(x, 2) == second.compress(x, 2)
    torch.testing.assert_close(first(x, 2.0).x_hat, codec(x, 2.0).x_hat, rtol=0, atol=0.02)


def test_float_parameters_are_those_that_the_integers_stand_for(tmp_path):
    zoo.save_codec(make_codec(), tmp_path / "m.safetensors", name="tiny-1", card={})
    codec = zoo.load(tmp_path / "m.safetensors")
    weight = codec.h_s[0].weight.detach()
    assert torch.equal(weight * 1024, (weight * 1024).round())


def test_storing_twice_changes_nothing(tmp_path):
    first = zoo.save_codec(make_codec(), tmp_path / "a.safetensors", name="tiny-1", card={})
    second = zoo.save_codec(zoo.load(tmp_path / "a.safetensors"), tmp_path / "b.safetensors", name="x", card={})
    assert first.hash == second.hash


def test_a_codec_without_tables_is_not_stored(tmp_path):
    with pytest.raises(ModelError, match=r"update\(\)"):
        zoo.save_codec(MeanScaleHyperprior(4, 4), tmp_path / "m.safetensors", name="x", card={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["weights", "missing", "version", "architecture", "header"])
def test_damaged_model_files_are_refused(tmp_path, damage):
    path = tmp_path / "m.safetensors"
    zoo.save_codec(make_codec(), path, name="tiny-1", card={})
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    header = json.loads(metadata["pylatent"])
    if damage == "weights":
        tensors["g_s.0.weight"][0, 0, 0, 0] += 1
    elif damage == "missing":
        del tensors["coding.medians"]
    elif damage == "version":
        header["version"] = 9
    elif damage == "architecture":
        header["architecture"] = "Perpetuum"
    save_file(tensors, path, metadata | {"pylatent": "{" if damage == "header" else json.dumps(header)})
    with pytest.raises(ModelError, match=str(path) if damage != "architecture" else "Perpetuum"):
        zoo.load(path)


def test_files_that_are_no_models_are_refused(tmp_path):
    path = tmp_path / "notes.safetensors"
    path.write_text("not a model")
    with pytest.raises(ModelError, match="cannot be read"):
        zoo.load(str(path))
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="models import"):
        zoo.load(str(path))
    with pytest.raises(ModelError, match="no model file"):
        zoo.load(str(tmp_path / "absent.safetensors"))


def test_adding_and_finding_by_name_and_hash(home, tmp_path):
    path = tmp_path / "m.safetensors"
    header = zoo.save_codec(make_codec(), path, name="tiny-1", card={})
    with pytest.raises(ModelError, match="no model named tiny-1"):
        zoo.load("tiny-1")
    with pytest.raises(ModelError, match=f"tiny-1 with hash {header.hash[:16]}.*models add"):
        zoo.find("tiny-1", bytes.fromhex(header.hash)[:8])
    assert zoo.add(path).path.parent == home
    assert zoo.load("tiny-1").fingerprint().hex() == header.hash
    assert zoo.find("whatever", bytes.fromhex(header.hash)[:8]).name == "tiny-1"
    assert "tiny-1" in [model.name for model in zoo.models()]
    zoo.add(path)  # the same model again is no error
    zoo.save_codec(make_codec(seed=9), path, name="tiny-1", card={})
    with pytest.raises(ModelError, match="different model named tiny-1"):
        zoo.add(path)


def test_names_that_are_aliases_cannot_be_taken(home, tmp_path):
    zoo.save_codec(make_codec(), tmp_path / "m.safetensors", name="default", card={})
    with pytest.raises(ModelError, match="alias"):
        zoo.add(tmp_path / "m.safetensors")


@pytest.mark.parametrize("architecture", [MeanScaleHyperprior, ScaleHyperprior])
@pytest.mark.parametrize("suffix", [pytest.param(".pth", marks=pickles), ".safetensors"])
def test_importing_a_checkpoint(home, tmp_path, architecture, suffix):
    codec = make_codec(architecture, gains=0)
    state = {f"module.{name}": value for name, value in codec.state_dict().items()}
    path = tmp_path / f"checkpoint{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": state, "epoch": 3}, path)
    else:
        save_file(state, path)
    info = zoo.import_checkpoint(path, "imported-1")
    loaded = zoo.load("imported-1")
    assert type(loaded) is architecture
    assert info.name == "imported-1"
    x = picture(32, 32)
    torch.testing.assert_close(
        loaded.decompress(loaded.compress(x)), codec.decompress(codec.compress(x)), rtol=0, atol=0.05
    )


def test_importing_a_residual_hyperprior(home, tmp_path):
    codec = make_residual()
    state = {name: value.half() for name, value in codec.state_dict().items()}
    save_file(state, tmp_path / "a.safetensors", {"lambdas": "0.001 0.01 0.1"})
    save_file(state, tmp_path / "b.safetensors")
    for stem, lambdas in (("a", None), ("a", [0.1, 0.2, 0.4]), ("b", [0.1, 0.2, 0.4])):
        name = f"{stem}-{len(lambdas or ())}"
        info = zoo.import_checkpoint(tmp_path / f"{stem}.safetensors", name, lambdas=lambdas)
        loaded = zoo.load(name)
        assert loaded.lambdas == (tuple(lambdas) if lambdas else codec.lambdas)
        assert info.header.architecture == "ResidualHyperprior"
        x = picture(32, 32)
        torch.testing.assert_close(
            loaded.decompress(loaded.compress(x, 3)), codec.decompress(codec.compress(x, 3)), rtol=0, atol=0.1
        )
    with pytest.raises(ModelError, match="gains for 3 qualities, but 0 lambdas"):
        zoo.import_checkpoint(tmp_path / "b.safetensors", "c-1")
    with pytest.raises(ModelError, match="3 qualities, but 2 lambdas"):
        zoo.import_checkpoint(tmp_path / "a.safetensors", "c-1", lambdas=[1, 2])


def test_lambdas_of_an_imported_hyperprior(home, tmp_path):
    save_file(make_codec(gains=0).state_dict(), tmp_path / "a.safetensors", {"lambdas": "0.013"})
    save_file(make_codec().state_dict(), tmp_path / "b.safetensors", {"lambdas": "0.1 zwei"})
    zoo.import_checkpoint(tmp_path / "a.safetensors", "a-1")
    assert zoo.load("a-1").lambdas == (0.013,)
    with pytest.raises(ModelError, match="a fixed rate, but 2 lambdas are given"):
        zoo.import_checkpoint(tmp_path / "a.safetensors", "a-2", lambdas=[1, 2])
    with pytest.raises(ModelError, match="has metadata that cannot be read"):
        zoo.import_checkpoint(tmp_path / "b.safetensors", "b-1")


def test_old_names_of_the_entropy_bottleneck(home, tmp_path):
    codec = make_codec(gains=0)
    old = {}
    for name, value in codec.state_dict().items():
        for new, short in (("matrices.", "_matrix"), ("biases.", "_bias"), ("factors.", "_factor")):
            name = name.replace(f"entropy_bottleneck.{new}", f"entropy_bottleneck.{short}")
        old[name] = value
    save_file(old, tmp_path / "old.safetensors")
    zoo.import_checkpoint(tmp_path / "old.safetensors", "old-1")
    assert zoo.load("old-1").coding_state().keys() == codec.coding_state().keys()


@pickles
def test_pickles_that_hold_code_are_refused(home, tmp_path):
    torch.save({"state_dict": print}, tmp_path / "evil.pth")
    with pytest.raises(ModelError, match="cannot be read as a checkpoint"):
        zoo.import_checkpoint(tmp_path / "evil.pth", "evil-1")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ModelError, match="state dict"):
        zoo.import_checkpoint(tmp_path / "list.pth", "list-1")
    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="not a hyperprior"):
        zoo.import_checkpoint(tmp_path / "other.pth", "other-1")


def test_pickles_need_a_torch_that_reads_them_safely(home, tmp_path, monkeypatch):
    torch.save(make_codec(gains=0).state_dict(), tmp_path / "a.pth")
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.9.1+cpu"))
    with pytest.raises(ModelError, match=r"a.pth cannot be .* torch 2.10 .* this is 2.9.1\+cpu; .* .safetensors file"):
        zoo.import_checkpoint(tmp_path / "a.pth", "a-1")
    with pytest.raises(ModelError, match="none.pth cannot be read as a checkpoint: No such file"):
        zoo.import_checkpoint(tmp_path / "none.pth", "none-1")


def test_shared_codecs_are_one_until_the_file_changes(home, tmp_path):
    path = tmp_path / "m.safetensors"
    zoo.save_codec(make_codec(), path, name="tiny-1", card={})
    first = zoo.shared(path)
    assert zoo.shared(path) is first
    assert zoo.load(path) is not first
    zoo.save_codec(make_codec(seed=9), path, name="tiny-1", card={})
    os.utime(path, ns=(1, 1))
    assert zoo.shared(path).fingerprint() != first.fingerprint()
