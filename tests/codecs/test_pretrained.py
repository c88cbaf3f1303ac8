"""Folders and the hub; what steers the coder travels with the state dict, and is never that of other weights."""

import copy
import hashlib
import http.server
import json
import re
import threading
from pathlib import Path

import pytest
import torch
from extras import extra
from small_codec import make_codec, make_context, make_residual, picture

import pylatent
from pylatent import ModelError, zoo
from pylatent.codecs import Codec, MeanScaleHyperprior, NestedCodec


def calibrated():
    codec = make_residual()
    codec.calibrate([picture(32, 32)])
    return codec


KINDS = pytest.mark.parametrize("make", [make_codec, make_residual, make_context, calibrated])


@KINDS
def test_a_folder(tmp_path, make):
    codec = make()
    codec.save_pretrained(tmp_path / "new" / "folder", name="mine-1", card={"licence": "CC0"})
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["model.safetensors"]
    x = picture(32, 48)
    loaded = Codec.from_pretrained(tmp_path / "new" / "folder")
    assert type(loaded) is type(codec)
    assert (loaded.name, loaded.card["licence"], loaded.lambdas) == ("mine-1", "CC0", codec.lambdas)
    streams = loaded.compress(x)
    for again in (
        type(codec).from_pretrained(str(tmp_path / "new" / "folder")),
        Codec.from_pretrained(tmp_path / "new" / "folder" / "model.safetensors"),
        pylatent.load(tmp_path / "new" / "folder"),
    ):
        assert again.fingerprint() == loaded.fingerprint()
        assert again.compress(x) == streams
    loaded.save_pretrained(tmp_path / "copy")
    first, second = (tmp_path / "new" / "folder", tmp_path / "copy")
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()


def test_what_cannot_be_saved_or_loaded(tmp_path, monkeypatch):
    with pytest.raises(ModelError, match=r"call update\(\)"):
        MeanScaleHyperprior(4, 4).save_pretrained(tmp_path / "a")
    with pytest.raises(ValueError, match="a model's name must be"):
        make_codec().save_pretrained(tmp_path / "a", name="no name")
    assert not (tmp_path / "a").exists()
    make_codec().save_pretrained(tmp_path / "a")
    with pytest.raises(ModelError, match="a is a MeanScaleHyperprior, not a NestedCodec: load it with Codec"):
        NestedCodec.from_pretrained(tmp_path / "a")
    for path in (tmp_path, tmp_path / "none.safetensors"):
        with pytest.raises(ModelError, match="there is no model file"):
            Codec.from_pretrained(path)
    monkeypatch.chdir(tmp_path)
    assert pylatent.load("a").name == pylatent.load("./a").name == "unnamed"
    with pytest.raises(ModelError, match="there is no model named b"):
        pylatent.load("b")


def test_a_folder_can_be_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("PYLATENT_HOME", str(tmp_path / "home"))
    make_codec().save_pretrained(tmp_path / "a", name="tiny-1")
    assert zoo.add(tmp_path / "a").name == "tiny-1"
    assert zoo.load("tiny-1").fingerprint() == zoo.load(tmp_path / "a").fingerprint()


def test_without_the_client_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(ModelError, match=r"no folder owner/name, .* pip install 'pylatent\[hub\]'"):
        Codec.from_pretrained("owner/name")
    with pytest.raises(ModelError, match=r"to upload a model, .*pylatent\[hub\]"):
        make_codec().push_to_hub("owner/name")


@KINDS
def test_what_steers_the_coder_travels_with_the_state_dict(tmp_path, make):
    codec, other = make(), make()
    with torch.no_grad():
        for value in other.parameters():
            value.add_(0.01)
    streams = codec.compress(picture(32, 48))
    torch.save(codec.state_dict(), tmp_path / "weights.pt")
    assert all(isinstance(value, torch.Tensor) for value in codec.state_dict().values())
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert all(torch.equal(value, codec.state_dict()[name]) for name, value in other.state_dict().items())
    assert other.fingerprint() == codec.fingerprint()
    assert other.compress(picture(32, 48)) == streams
    assert torch.equal(other.decompress(streams), codec.decompress(streams))


def test_a_state_dict_of_weights_alone_needs_an_update():
    codec, other = make_codec(), make_codec(seed=5)
    other.load_state_dict(codec.float_state())
    with pytest.raises(ModelError, match=r"not ready for coding: call update\(\)"):
        other.compress(picture(32, 32))
    state = codec.state_dict()
    del state["coding.medians"]
    with pytest.raises(KeyError, match="medians"):
        other.load_state_dict(state)
    with pytest.raises(RuntimeError, match=r"Unexpected key.*codling"):
        other.load_state_dict(codec.state_dict() | {"codling.x": torch.zeros(1)})


CHANGES = {
    "parameters": lambda codec: codec.h_s[0].weight.add_(0.01),
    "prior": lambda codec: codec.entropy_bottleneck.biases[0].add_(0.1),
    "optimizer": lambda codec: train(codec),
}


def train(codec):
    with torch.enable_grad():
        optimizer = torch.optim.SGD(codec.parameters(), 0.01)
        output = codec.train()(picture(32, 32), 1.0)
        (output.bpp.sum() + output.x_hat.square().mean()).backward()
        optimizer.step()
        codec.eval()


@pytest.mark.parametrize("change", CHANGES)
def test_weights_that_change_after_an_update_are_noticed(change):
    codec = make_codec()
    x = picture(32, 32)
    latents, streams = codec.analyze(x, 1.0).detach(), codec.compress(x)
    with torch.no_grad():
        CHANGES[change](codec)
    for verb in (
        lambda: codec.compress(x),
        lambda: codec.encode(latents),
        lambda: codec.decode(streams),
        lambda: codec.as_coded(latents),
        codec.fingerprint,
        codec.coding_state,
    ):
        with pytest.raises(ModelError, match="have changed since `update`: call it again"):
            verb()
    assert not any(name.startswith("coding.") for name in codec.state_dict())
    codec.update()
    assert codec.decompress(codec.compress(x)).shape == x.shape
    assert "coding.medians" in codec.state_dict()


def test_a_synthesis_that_changes_needs_another_calibration():
    codec = calibrated()
    latents = codec.as_coded(codec.analyze(picture(32, 32)))
    with torch.no_grad():
        codec.g_s[0].weight.add_(0.01)
    with pytest.raises(ModelError, match="and `calibrate`"):
        codec.synthesize(latents)
    codec.update()
    codec.calibrate([picture(32, 32)])
    codec.synthesize(latents)


def test_what_changes_no_value_changes_nothing():
    codec = make_codec()
    fingerprint = codec.fingerprint()
    codec.to(memory_format=torch.channels_last).double().float()
    assert copy.deepcopy(codec).fingerprint() == codec.fingerprint() == fingerprint
    with torch.no_grad():
        codec.h_s[0].weight.mul_(1)
    assert codec.fingerprint() == fingerprint


def test_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "pretrained.md").read_text(encoding="utf-8")
    names = {}
    for code in re.findall(r"(?<!-->\n)```python\n(.*?)```", page, re.S):
        exec(code, names)
    assert names["twin"].name == "unnamed"


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as a download needs: one repository, `owner/name`."""

    files: dict[str, bytes]

    def do_GET(self):
        name = self.path.removeprefix("/owner/name/resolve/main/")
        data = self.files.get(name)
        self.send_response(404 if data is None else 200)
        if data is None:
            self.send_header("X-Error-Code", "RepoNotFound" if "owner/name" not in self.path else "EntryNotFound")
        data = data or b""
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", "1" * 40)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    do_HEAD = do_GET

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    client = extra("huggingface_hub.constants")
    make_codec().save_pretrained(tmp_path / "a", name="tiny-1")
    Hub.files = {"model.safetensors": (tmp_path / "a" / "model.safetensors").read_bytes(), "config.json": b"{}"}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    template = f"http://127.0.0.1:{server.server_port}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(client, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    yield client
    server.shutdown()


def test_a_repository_of_the_hub(hub, tmp_path):
    options = {"cache_dir": tmp_path / "cache"}
    codec = Codec.from_pretrained("owner/name", **options)
    assert codec.fingerprint() == Codec.from_pretrained(tmp_path / "a").fingerprint()
    Hub.files = {}
    again = MeanScaleHyperprior.from_pretrained("owner/name", local_files_only=True, **options)
    assert again.fingerprint() == codec.fingerprint()
    with pytest.raises(ModelError, match="no folder other/name, nor can it be had from the hub: "):
        Codec.from_pretrained("other/name", **options)
    with pytest.raises(ModelError, match="nor can it be had from the hub: "):
        Codec.from_pretrained("no such name", **options)


def test_uploading(hub, tmp_path, monkeypatch):
    seen = {}

    class Api:
        def __init__(self, token=None):
            seen["token"] = token

        def create_repo(self, repo_id, **options):
            seen["private"] = options["private"]
            return type("Url", (), {"repo_id": repo_id})

        def upload_folder(self, *, folder_path, **options):
            seen["files"] = {path.name: path.read_bytes() for path in Path(folder_path).iterdir()}
            return f"https://hub/{options['repo_id']}"

    monkeypatch.setattr(extra("huggingface_hub.hub_mixin"), "HfApi", Api)
    codec = Codec.from_pretrained(tmp_path / "a")
    assert codec.push_to_hub("owner/name", private=True, token="t") == "https://hub/owner/name"
    assert (seen["token"], seen["private"]) == ("t", True)
    assert sorted(seen["files"]) == ["README.md", "config.json", "model.safetensors"]
    assert seen["files"]["model.safetensors"] == (tmp_path / "a" / "model.safetensors").read_bytes()
    assert json.loads(seen["files"]["config.json"])["architecture"] == "MeanScaleHyperprior"
    assert b"library_name: pylatent" in seen["files"]["README.md"]


def test_inference_mode(tmp_path):
    """Loaded there a model is as any other; made there, it notices weights that change, which torch does not count."""
    original, x = make_residual(), picture(32, 48)
    original.save_pretrained(tmp_path, name="mine-1")
    with torch.inference_mode():
        loaded = pylatent.load(tmp_path)
        streams = loaded.compress(x)
        made = make_residual()
        assert made.decompress(made.compress(x)).shape == x.shape
        next(network for network in made.exact_networks.values())[0].weight.add_(1.0)
        with pytest.raises(ModelError, match="changed since `update`"):
            made.compress(x)
    assert not any(weight.is_inference() for weight in loaded.parameters())
    assert original.decompress(streams).shape == x.shape
