"""Nested codecs in model files: what is stored, and what the fingerprint covers."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_codec import make_codec, make_nested, picture

from pylatent import ModelError, zoo
from pylatent.codecs import NestedCodec

FORMS = [
    {"levels": 4},
    {"levels": 2, "prior": "factorized"},
    {"levels": 3, "common_dim": False, "predict_mean": False, "logistic_scale": 0.25, "bin_width": 0.5},
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form['levels']} levels")
@torch.no_grad()
def test_storing_and_installing(tmp_path, monkeypatch, form):
    monkeypatch.setenv("PYLATENT_HOME", str(tmp_path / "home"))
    codec, path = make_nested(**form), tmp_path / "m.safetensors"
    card = {"recipe": {"lambdas": [0.01, 0.02, 0.03, 0.04]}}
    header = zoo.save_codec(codec, path, name="nested-1", card=card)
    assert header.architecture == "NestedCodec"
    assert {key: header.config[key] for key in form} == form
    zoo.add(path)
    loaded = zoo.load("nested-1")
    assert isinstance(loaded, NestedCodec)
    assert loaded.config == codec.config
    assert loaded.fingerprint().hex() == header.hash
    assert loaded.lambdas == (0.01, 0.02, 0.03, 0.04)
    x = picture(48, 64)
    assert zoo.load(path).compress(x, 2) == loaded.compress(x, 2)
    torch.testing.assert_close(loaded(x, 2.0).x_hat, codec(x, 2.0).x_hat, rtol=0, atol=0.02)
    for h_s in loaded.h_s:
        assert torch.equal(h_s[0].weight * 1024, (h_s[0].weight * 1024).round())
    again = zoo.save_codec(loaded, tmp_path / "again.safetensors", name="x", card={})
    assert again.hash == header.hash


def test_the_fingerprint_covers_every_level():
    codec = make_nested(4)
    found = {codec.fingerprint()}
    with torch.no_grad():
        for level in range(3):
            codec.h_s[level][-1].bias[-1] += 1
            codec.update()
            found.add(codec.fingerprint())
    assert len(found) == 4
    found |= {make_nested(4, logistic_scale=s, bin_width=b).fingerprint() for s, b in ((2, 1), (2, 2), (1, 2))}
    assert len(found) == 7  # s = delta = 2 has the tables of s = delta = 1, but another grid


@pytest.mark.parametrize("damage", ["levels", "unknown option", "bin width", "table", "network"])
def test_damaged_model_files_are_refused(tmp_path, damage):
    path = tmp_path / "m.safetensors"
    zoo.save_codec(make_nested(3), path, name="nested-1", card={})
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    header = json.loads(metadata["pylatent"])
    if damage == "levels":
        header["config"]["levels"] = 4
    elif damage == "unknown option":
        header["config"]["depth"] = 4
    elif damage == "bin width":
        header["config"]["bin_width"] = 2.0
    elif damage == "table":
        tensors["coding.tables.z.offset"] -= 1
    else:
        tensors["coding.h_s.1.0.weight"][0, 0, 0, 0] += 1
    save_file(tensors, path, metadata | {"pylatent": json.dumps(header)})
    with pytest.raises(ModelError, match=str(path)):
        zoo.load(path)


def test_codecs_of_given_modules_are_not_stored(tmp_path):
    given = make_codec()
    codec = NestedCodec.from_modules(given.g_a, given.g_s, [given.h_a], [given.h_s], given.prior)
    codec.update()
    with pytest.raises(ModelError, match="no description"):
        zoo.save_codec(codec, tmp_path / "m.safetensors", name="x", card={})
    assert list(tmp_path.iterdir()) == []
