"""train classifier, classify and eval classifier, with a small codec of random weights."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from extras import extra
from PIL import Image
from safetensors import safe_open
from small_codec import make_codec

from pylatent import cli, zoo
from pylatent.archive import Archive
from pylatent.tasks import load_head

# The command prints them.
pytestmark = pytest.mark.filterwarnings("always::pylatent.errors.PylatentWarning")
CLASSES = ("bright", "dark")
COLOURS = {"bright": 200, "dark": 60}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder of installed models: two codecs alike, with other weights."""
    folder = tmp_path_factory.mktemp("home")
    for seed, name in enumerate(("tiny-1", "other-1")):
        zoo.save_codec(make_codec(seed=seed), folder / f"{name}.safetensors", name=name, card={})
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch, home):
    """A working folder with 16 pictures of two classes, which their brightness tells apart."""
    monkeypatch.setenv("PYLATENT_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for label in CLASSES:
        for number in range(8):
            pixels = COLOURS[label] + generator.integers(-40, 40, (20, 30, 3))
            path = tmp_path / "cells" / label / f"p{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    return tmp_path


def run(*arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main([str(argument) for argument in arguments])
    return caught.value.code


TRAIN = ("train", "classifier", "cells", "-m", "tiny-1", "-q", 3, "--epochs", 4, "--epoch-size", 16, "--batch", 8)


@pytest.fixture(scope="module")
def trained(home, tmp_path_factory):
    """A run's folder; its records are an archive, too."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        folder.__wrapped__(tmp := tmp_path_factory.mktemp("trained"), monkeypatch, home)
        assert run(*TRAIN, "-o", "run") == 0
    return tmp / "run"


def test_training_makes_a_head_that_knows_its_latents(trained):
    head, header = load_head(trained / "head.safetensors")
    assert header.classes == CLASSES
    assert header.architecture == "LatentResNet"
    assert (header.model, header.qualities, header.size) == ("tiny-1", (3.0, 3.0), (224, 224))
    assert header.model_hash == Archive(trained / "records.lats").model_hash.hex()
    assert header.card["test"]["accuracy"] == 1.0  # brightness is easy
    assert [json.loads(line)["epoch"] for line in (trained / "log.jsonl").read_text().splitlines()] == [1, 2, 3, 4]
    assert head.classes == 2


def test_classify_an_archive(folder, trained, capsys):
    assert run("classify", trained, "--head", trained / "head.safetensors", "-o", "labels.csv", "--batch", 5) == 0
    rows = list(csv.DictReader((folder / "labels.csv").open()))
    assert [row["key"] for row in rows] == list(Archive(trained / "records.lats").keys())
    assert all(row["key"].startswith(row["label"]) for row in rows)
    assert np.mean([row["label"] == row["predicted"] for row in rows]) > 0.8
    assert all(0.5 <= float(row["confidence"]) <= 1 for row in rows)
    assert "16 of 16 pictures labelled" in capsys.readouterr().err
    assert not list(folder.glob("*failures*"))

    assert run("classify", trained, "--head", trained / "head.safetensors", "-o", "labels.csv") == 2  # it exists


def test_parquet_holds_the_same_rows(folder, trained):
    parquet = extra("pyarrow.parquet")
    assert run("classify", trained, "--head", trained / "head.safetensors", "-o", "labels.csv") == 0
    rows = list(csv.DictReader((folder / "labels.csv").open()))
    assert run("classify", trained, "--head", trained / "head.safetensors", "-o", "labels.parquet") == 0
    table = parquet.read_table(folder / "labels.parquet").to_pylist()
    assert [(r["key"], r["label"], r["predicted"]) for r in table] == [
        (r["key"], r["label"], r["predicted"]) for r in rows
    ]


def test_classify_files_and_a_folder_of_them(folder, trained, capsys):
    run("compress", "cells/dark/p0.png", "cells/bright/p1.png", "-m", "tiny-1", "-q", 3, "-o", "lat")
    capsys.readouterr()
    assert run("classify", "lat", "--head", trained / "head.safetensors") == 0
    out, err = capsys.readouterr()
    assert [line.split("\t")[0] for line in out.splitlines()] == ["lat/p0.lat", "lat/p1.lat"]
    assert "trained on pictures of 224x224 pixels, some are 30x20" in err


def test_failures_are_recorded_and_the_others_labelled(folder, trained, capsys):
    for label in CLASSES:
        run("compress", f"cells/{label}", "-m", "tiny-1", "-q", 3, "-o", f"lat/{label}")
    run("compress", "cells/dark/p0.png", "-m", "other-1", "-q", 3, "-o", "lat/other.lat")
    damaged = folder / "lat/dark/p3.lat"
    data = bytearray(damaged.read_bytes())
    data[-3] ^= 1
    damaged.write_bytes(data)
    (folder / "lat/dark/p4.lat").write_bytes(b"")
    capsys.readouterr()
    arguments = ("classify", "lat", trained, "--head", trained / "head.safetensors", "-o", "out.csv", "--batch", 4)
    assert run(*arguments) == 1
    rows = list(csv.DictReader((folder / "out.csv").open()))
    assert len(rows) == 16 + 14
    failures = {row["key"]: row["reason"] for row in csv.DictReader((folder / "out.csv.failures.csv").open())}
    assert set(failures) == {"lat/other.lat", "lat/dark/p3.lat", "lat/dark/p4.lat"}
    assert "trained on latents of model tiny-1" in failures["lat/other.lat"]
    assert "CRC" in failures["lat/dark/p3.lat"]
    assert "lat/dark/p3.lat" in capsys.readouterr().err

    damaged.unlink()
    (folder / "lat/dark/p4.lat").unlink()
    (folder / "lat/other.lat").unlink()
    assert run(*arguments, "--force") == 0
    assert not (folder / "out.csv.failures.csv").exists()


def test_a_damaged_record_of_an_archive(folder, trained):
    shard = folder / "cells.lats"
    data = bytearray((trained / "records.lats").read_bytes())
    data[len(data) // 3] ^= 0x55
    shard.write_bytes(data)
    assert run("classify", shard, "--head", trained / "head.safetensors", "-o", "out.csv") == 1
    assert len(list(csv.DictReader((folder / "out.csv").open()))) == 15
    (failure,) = csv.DictReader((folder / "out.csv.failures.csv").open())
    assert failure["source"] == str(shard)


def test_an_archive_of_another_model(folder, trained):
    other = (*TRAIN[:4], "other-1", *TRAIN[5:], "-o", "second", "--epochs", 1)
    assert run(*other) == 0
    assert run("classify", "second/records.lats", trained, "--head", trained / "head.safetensors", "-o", "x.csv") == 1
    assert len(list(csv.DictReader((folder / "x.csv").open()))) == 16
    (failure,) = csv.DictReader((folder / "x.csv.failures.csv").open())
    assert "trained on latents of model tiny-1" in failure["reason"]


def test_an_archive_that_mixes_models(folder, trained):
    assert run(*TRAIN[:4], "other-1", *TRAIN[5:], "-o", "second", "--epochs", 1) == 0
    (folder / "mixed").mkdir()
    for number, run_folder in enumerate((trained, folder / "second")):
        (folder / "mixed" / f"{number}.lats").write_bytes((run_folder / "records.lats").read_bytes())
    assert run("classify", "mixed", trained, "--head", trained / "head.safetensors", "-o", "x.csv") == 1
    assert len(list(csv.DictReader((folder / "x.csv").open()))) == 16
    (failure,) = csv.DictReader((folder / "x.csv.failures.csv").open())
    assert "mixes models" in failure["reason"]


def test_wrong_usage(folder, trained, capsys):
    head = trained / "head.safetensors"
    assert run("classify", "cells/dark/p0.png", "--head", head) == 1
    assert "`pylatent compress` makes one" in capsys.readouterr().err
    assert run("classify", trained, "--head", head, "-o", "labels.txt") == 2
    assert ".csv or .parquet" in capsys.readouterr().err
    assert run("classify", trained, "--head", "cells/dark/p0.png") == 1
    assert "cannot be read as a head file" in capsys.readouterr().err
    (folder / "empty").mkdir()
    assert run("train", "classifier", "empty") == 2
    assert "folders of pictures named as classes" in capsys.readouterr().err
    assert run(*TRAIN, "--group", "nothing", "-o", "x") == 2
    assert "finds nothing in the key bright/p0.png" in capsys.readouterr().err


def test_standard_input(folder, trained, capsys, monkeypatch):
    assert run("compress", "cells/dark/p0.png", "-m", "tiny-1", "-q", 3, "-o", "p.lat", "--quiet") == 0
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path("p.lat").read_bytes())))
    assert run("classify", "-", "--head", trained / "head.safetensors") == 0
    assert capsys.readouterr().out.startswith("-\t")


def test_an_adapter_without_timm(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert run(*TRAIN, "--architecture", "adapter", "-o", "x") == 2
    assert "this needs timm, which is not installed: pip install 'pylatent[tasks]'" in capsys.readouterr().err


def test_parquet_without_pyarrow(folder, trained, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert run("classify", trained, "--head", trained / "head.safetensors", "-o", "labels.parquet") == 2
    assert "pylatent[tasks]" in capsys.readouterr().err
    assert not (folder / "labels.parquet").exists()


def test_eval_of_a_head(folder, trained, capsys):
    head = trained / "head.safetensors"
    assert run("eval", "classifier", trained / "records.lats", "--head", head, "--json", "-") == 0
    out, err = capsys.readouterr()
    results = json.loads(out)
    assert results["items"] == 16
    assert np.sum(results["confusion"]) == 16
    assert results["accuracy"]["value"] == np.trace(results["confusion"]) / 16
    assert results["accuracy"]["low"] <= results["accuracy"]["value"] <= results["accuracy"]["high"]
    assert "--part test gives the others" in err
    assert run("eval", "classifier", "cells", "--head", head, "--part", "test", "--json", "r.json") == 0
    assert "balanced accuracy" in capsys.readouterr().out
    results = json.loads((folder / "r.json").read_text())
    assert results["items"] == 2
    with safe_open(head, framework="pt") as file:
        assert json.loads(file.metadata()["pylatent-head"])["card"]["test"]["confusion"] == results["confusion"]
    os.remove("cells/dark/p0.png")
    assert run("eval", "classifier", "cells", "--head", head, "--part", "test") == 2
    assert "not hold the items" in capsys.readouterr().err


def test_eval_without_a_subcommand_still_measures_a_codec(folder, capsys):
    assert run("eval", "cells/dark/p0.png", "-m", "tiny-1", "-q", 2, "--no-baselines") == 0
    assert "p0.png" in capsys.readouterr().out
    assert run("eval", "codec", "cells/dark/p0.png", "-m", "tiny-1", "-q", 2, "--no-baselines") == 0
    assert run("eval", "-h") == 0
    out = capsys.readouterr().out
    assert "codec" in out
    assert "classifier" in out


@pytest.mark.parametrize("architecture", ["latent-mlp", "fusion-gated"])
def test_other_heads(folder, architecture):
    options = ("--architecture", architecture, "--epochs", 1, "--group", r"p(\d)")
    assert run(*TRAIN, *options, "-o", "run") == 0
    _, header = load_head(folder / "run" / "head.safetensors")
    assert header.architecture == {"latent-mlp": "LatentMLP", "fusion-gated": "FusionGated"}[architecture]
    assert header.card["group"] == r"p(\d)"
    assert run("eval", "classifier", "run/records.lats", "--head", "run/head.safetensors", "--part", "test") == 0


def test_a_run_that_was_killed_resumes_with_the_same_result(folder, home):
    """A real process, killed after its second epoch; the end is that of a run that was not."""
    assert run(*TRAIN, "-o", "whole") == 0
    command = [sys.executable, "-c", "from pylatent.cli import main; main()", *map(str, TRAIN), "-o", "cut"]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    log = Path("cut/log.jsonl")
    for _ in range(1200):
        if log.exists() and len(log.read_text().splitlines()) >= 2:
            break
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if not Path("cut/head.safetensors").exists():
        assert run(*TRAIN, "-o", "cut") == 0
    heads = [load_head(Path(name) / "head.safetensors")[0].state_dict() for name in ("whole", "cut")]
    for key, value in heads[0].items():
        torch.testing.assert_close(value, heads[1][key], rtol=1e-3, atol=1e-4)
    assert run(*TRAIN[:-4], "--epoch-size", 8, "-o", "cut") == 1  # another recipe, the same folder
    assert not list(Path("cut").glob("*.tmp"))
