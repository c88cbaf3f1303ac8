"""Building a dictionary: what is chosen, what is cut, what goes on where it was, and what is refused."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from extras import extra
from small_codec import make_residual, picture

from pylatent import cli, images
from pylatent.codecs import CLC, Dictionary
from pylatent.codecs.model_file import load_codec, save_codec
from pylatent.errors import PylatentError, PylatentWarning
from pylatent.train import crop_features
from pylatent.train import dictionary as building
from pylatent.train.crop_features import Parts, corners
from pylatent.train.dictionary import Build, build_dictionary
from pylatent.train.dictionary_jobs import by_processes, by_ray

EXTRA = extra("sklearn")


@pytest.fixture(scope="module")
def codec():
    return make_residual()


@pytest.fixture
def folder(tmp_path):
    """Ten pictures: 20 crops of 64 pixels, of three colours."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(10):
        x = 0.1 * picture(70, 140, seed=number)[0] + 0.4 * torch.eye(3)[number % 3][:, None, None] + 0.2
        images.write(images.to_image((255 * x).round().to(torch.uint8)), pictures / f"{number}.png")
    return pictures


def test_one_crop_a_cluster(codec, folder, tmp_path):
    made = build_dictionary(codec, folder, tmp_path / "a-1.dictionary", Build("a-1", entries=3, crop=64))
    assert (len(made), made.facts.chosen_from, made.facts.codec_hash) == (3, 20, codec.fingerprint().hex())
    assert made.latents.shape == (3, 12, 4, 4)
    assert made.latents.dtype == torch.int8
    # One entry for each colour, which pictures of that colour find, in files that are read again.
    clc = CLC.around(codec, Dictionary.load(tmp_path / "a-1.dictionary"), references=1, width=4, inner=4, hidden=4)
    x = 0.1 * picture(64, 64, batch=3, seed=77) + 0.4 * torch.eye(3)[:, :, None, None] + 0.2
    with torch.no_grad():
        found = clc.analyze(x).levels[-1].flatten()
    assert sorted(found.tolist()) == [0, 1, 2]
    again = build_dictionary(codec, folder, tmp_path / "again.dictionary", Build("a-1", entries=3, crop=64))
    assert again.hash == made.hash


def test_every_entry_is_a_crop_of_its_own(codec, folder, tmp_path):
    made = build_dictionary(codec, folder, tmp_path / "a-1.dictionary", Build("a-1", entries=20, crop=64, half=True))
    assert made.latents.dtype == torch.float16
    assert len(made.features.unique(dim=0)) == 20


def test_clusters_without_crops_are_filled():
    features = torch.tensor([[0.0], [0.0], [0.0], [0.0], [5.0], [9.0]])
    chosen = building._one_a_cluster(features, Build("a-1", entries=5))
    assert len(set(chosen)) == 5
    assert {4, 5} < set(chosen)
    assert building._one_a_cluster(features, Build("a-1", entries=6)) == [0, 1, 2, 3, 4, 5]


def test_a_build_that_was_cut_goes_on(codec, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(crop_features, "PICTURES", 4)
    make, read = Parts.make, []

    def cut(parts, number):
        if len(read) == 2:
            raise KeyboardInterrupt
        read.append(len(parts.pictures(number)[1]))
        return make(parts, number)

    monkeypatch.setattr(Parts, "make", cut)
    out, build = tmp_path / "a-1.dictionary", Build("a-1", entries=4, crop=64)
    with pytest.raises(KeyboardInterrupt):
        build_dictionary(codec, folder, out, build)
    assert not out.exists()
    read.clear()
    made = build_dictionary(codec, folder, out, build)
    assert read == [2]  # the last of three batches
    assert not list(tmp_path.glob("*.parts"))
    monkeypatch.undo()
    assert build_dictionary(codec, folder, tmp_path / "b.dictionary", build).hash == made.hash


@pytest.fixture
def model(codec, tmp_path):
    save_codec(codec, tmp_path / "base.safetensors", name="base-1", card={})
    return str(tmp_path / "base.safetensors")


@pytest.mark.parametrize("engine", ["processes", "ray"])
def test_who_makes_the_parts_changes_no_byte(engine, model, folder, tmp_path, monkeypatch):
    if engine == "ray":
        extra("ray")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    (folder / "broken.png").write_bytes(b"no picture")
    for number in range(60):  # three parts
        images.write(images.to_image(torch.zeros(3, 64, 64, dtype=torch.uint8)), folder / f"black{number}.png")
    with pytest.warns(PylatentWarning, match="broken.png"):
        build_dictionary(load_codec(model), folder, tmp_path / "a.dictionary", Build("a-1", entries=4, crop=64))
    make_parts = {"processes": by_processes, "ray": by_ray}[engine](model, folder, None, 2)
    build, out = Build("a-1", entries=4, crop=64), tmp_path / "b.dictionary"
    shown = []
    with pytest.warns(PylatentWarning, match="broken.png"):
        build_dictionary(
            load_codec(model), folder, out, build, lambda *progress: shown.append(progress), make_parts=make_parts
        )
    assert out.read_bytes() == (tmp_path / "a.dictionary").read_bytes()
    assert shown[0] == (0, 71, "analysing")
    assert [done for done, _, _ in shown] == sorted(done for done, _, _ in shown)
    assert shown[-1] == (71, 71, "clustering")


def test_parts_that_fail_or_change_end_the_build(codec, folder, tmp_path):
    def attempt(make_parts):
        build_dictionary(codec, folder, tmp_path / "a.dictionary", Build("a-1", 4, crop=64), make_parts=make_parts)

    def failing(parts, numbers):
        yield 0, "no memory"

    def elsewhere(parts, numbers):
        yield 0, []

    with pytest.raises(PylatentError, match="features of pictures from .*0.png on could not be made: no memory"):
        attempt(failing)
    with pytest.raises(PylatentError, match="pictures from .*0.png on have changed while they were analysed"):
        attempt(elsewhere)


def test_ray_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PylatentError, match=r"--engine ray needs the extra: pip install 'pylatent\[ray\]'"):
        list(by_ray("m", Path("x"), None, 1)(Parts(None, None, [], 64, Path("y")), [0]))


def test_what_cannot_be_built_is_refused(codec, folder, tmp_path):
    def attempt(**options):
        build_dictionary(codec, folder, tmp_path / "a-1.dictionary", Build("a-1", **options))

    with pytest.raises(ValueError, match="21 entries need as many crops of 64 pixels, the pictures below .* give 20"):
        attempt(entries=21, crop=64)
    with pytest.raises(ValueError, match="`crop` must be a multiple of 16 pixels for unnamed, got 60"):
        attempt(entries=4, crop=60)
    with pytest.raises(ValueError, match="`entries` must be from 2 to 4080, got 5000"):
        attempt(entries=5000, crop=64)
    (folder / "broken.png").write_bytes(b"no picture")
    images.write(images.to_image(torch.zeros(3, 30, 90, dtype=torch.uint8)), folder / "small.png")
    with pytest.warns(PylatentWarning) as warned:
        attempt(entries=4, crop=64)
    assert [("small.png has 90x30 pixels, crops have 64" in str(w.message)) for w in warned] == [False, True]
    assert corners(130, 64, 64) == [(1, 0), (65, 0)]
    assert corners(63, 640, 64) == []


def test_commands(codec, folder, tmp_path, capsys):
    save_codec(codec, tmp_path / "base.safetensors", name="base-1", card={})
    out = tmp_path / "mine-1.dictionary"

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.main(["clc", *map(str, arguments)])
        return end.value.code, capsys.readouterr()

    options = ("--model", tmp_path / "base.safetensors", "--crop", 64)
    code, said = run("build", folder, "-o", out, *options, "--entries", 5)
    assert code == 0
    assert f"{out}: 5 of 20 crops" in said.err
    code, said = run("info", out)
    assert code == 0
    assert f"hash      {Dictionary.load(out).hash}" in said.out
    assert "entries   5, of 20 crops of 64 pixels" in said.out
    assert "features  the codec's own" in said.out
    code, said = run("info", "--json", out)
    assert json.loads(said.out)["codec"] == "base-1"
    made = out.read_bytes()
    assert run("build", folder, "-o", out, *options, "--entries", 5, "--workers", 2)[0] == 0
    assert out.read_bytes() == made
    code, said = run("build", folder, "-o", out, *options, "--entries", 50)
    assert (code, "50 entries need as many crops" in said.err) == (2, True)
    code, said = run("build", folder, "-o", tmp_path / "x.bin", *options)
    assert (code, "-o must end with .dictionary" in said.err) == (2, True)
    out.write_bytes(out.read_bytes()[:-1] + b"!")
    code, said = run("info", out)
    assert (code, "is damaged: dictionary mine-1 should have hash" in said.err) == (1, True)
