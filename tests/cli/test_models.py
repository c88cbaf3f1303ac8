"""models: an empty zoo, adding a file, refusing what is not one."""

import pytest

from pylatent import cli


@pytest.fixture(autouse=True)
def _empty_home(tmp_path, monkeypatch):
    monkeypatch.setenv("PYLATENT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(["models", *arguments])
    return caught.value.code or 0


def test_add_and_list(tmp_path, capsys):
    from pylatent import zoo
    from pylatent.codecs.hyperprior import MeanScaleHyperprior

    codec = MeanScaleHyperprior(4, 6, gains=8)
    codec.update()
    zoo.save_codec(codec, tmp_path / "mine.safetensors", name="mine-1", card={})
    assert run("add", "mine.safetensors") == 0
    assert capsys.readouterr().out.startswith("added mine-1: ")
    assert run("add", "mine.safetensors") == 0
    assert capsys.readouterr().out.startswith("mine-1 is installed already: ")
    assert run("list") == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("mine-1"))
    assert "added" in line
    assert line.endswith("MeanScaleHyperprior")


def test_import_twice_and_remove(tmp_path, capsys):
    from safetensors.torch import save_file
    from small_codec import make_codec

    from pylatent.codecs import ScaleHyperprior

    save_file(make_codec(ScaleHyperprior, gains=0).state_dict(), "c.safetensors")
    assert run("import", "c.safetensors", "old-1") == 0
    assert capsys.readouterr().out.startswith("imported old-1: ")
    file = tmp_path / "home" / "old-1.safetensors"
    written = file.stat().st_mtime_ns
    assert run("import", "c.safetensors", "old-1") == 0
    assert capsys.readouterr().out.startswith("old-1 is installed already: ")
    assert file.stat().st_mtime_ns == written
    save_file(make_codec(ScaleHyperprior, gains=0, seed=1).state_dict(), "d.safetensors")
    assert run("import", "d.safetensors", "old-1") == 1
    assert "choose another name, or run `pylatent models remove old-1` first" in capsys.readouterr().err
    assert run("remove", "old-1") == 0
    assert capsys.readouterr().out == f"removed old-1: {file}\n"
    assert not file.exists()
    assert run("import", "d.safetensors", "old-1") == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["remove", "none-1"], 1, "there is no model named none-1; added ones: none"),
        (["remove", "default"], 1, "default-2 came with the package, and is never removed"),
        (["add", "none.safetensors"], 1, "none.safetensors"),
        (["add", "text.safetensors"], 1, "text.safetensors cannot be read as a model file"),
        (["import", "none.pth", "x-1"], 1, "none.pth cannot be read as a checkpoint"),
        (["import", "text.safetensors", "x-1"], 1, "text.safetensors cannot be read as a checkpoint"),
        (["import", "none.pth", "x 1"], 2, "a model's name must be 1..64 letters"),
        (
            ["import", "none.pth", "x-1", "--lambdas", "1;2"],
            2,
            "must be numbers with commas between them, got 1;2",
        ),
    ],
)
def test_failures_say_one_line(tmp_path, capsys, arguments, code, message):
    (tmp_path / "text.safetensors").write_text("nothing of the kind")
    assert run(*arguments) == code
    said = capsys.readouterr().err
    assert said.startswith("pylatent: ")
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "home").exists() or not list((tmp_path / "home").iterdir())
