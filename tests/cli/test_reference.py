"""docs/command-line.md lists every verb and option of the program, and its text names no option that there is not."""

import functools
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from pylatent.cli import _refine, app, main

ROOT = Path(__file__).parents[2]


def names_of(command) -> set[str]:
    names = {name for each in getattr(command, "params", ()) for name in (*each.opts, *each.secondary_opts)}
    return names.union(*(names_of(each) for each in getattr(command, "commands", {}).values()))


def test_the_page_is_what_the_program_says():
    tool = runpy.run_path(str(ROOT / "tools" / "command_reference.py"))
    assert tool["page"]() == tool["PAGE"].read_text(encoding="utf-8"), "run `python tools/command_reference.py`"


def test_options_that_pages_name_exist():
    known = names_of(get_command(app)) | {"--help", "--version", "--upgrade"}
    for name in ("command-line.md", "archives.md"):
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        named = set(re.findall(r"(?<![\w-])--[a-zA-Z][\w-]*", text))
        assert named <= known, (name, named - known)


def test_every_verb_is_in_the_overview():
    overview = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8").partition("## ")[0]
    for verb in get_command(app).commands:
        assert f"pylatent {verb}" in overview


def test_methods_of_refinement_are_those_of_the_library():
    from pylatent.refine.sga import METHODS

    assert set(_refine.METHODS) == set(METHODS)


def verbs(command, path=()):
    if not hasattr(command, "commands"):
        yield " ".join(path), command
    for name, each in getattr(command, "commands", {}).items():
        yield from verbs(each, (*path, name))


def test_every_verb_has_examples():
    from pylatent.cli._examples import EXAMPLES

    found = dict(verbs(get_command(app)))
    assert set(EXAMPLES) == {*found, "pylatent"}
    for verb, lines in EXAMPLES.items():
        assert lines
        begin = "pylatent" if verb == "pylatent" else f"pylatent {verb.removesuffix(' codec')}"
        assert all(line.startswith(begin) for line in lines), verb
        assert verb == "pylatent" or found[verb].epilog.splitlines()[2:] == [f"  {line}" for line in lines]


def test_help_keeps_their_lines(capsys):
    with pytest.raises(SystemExit):
        main(["archive", "create", "--help"])
    assert "  Examples:\n    pylatent archive create flowers photos/" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_completion(tmp_path):
    """It is installed into the home, and bash completes verbs and options with it."""
    pylatent = Path(sys.executable).with_name("pylatent")
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": f"{pylatent.parent}:{os.environ['PATH']}"}
    run = functools.partial(subprocess.run, env=environment, capture_output=True, text=True, check=True)
    # "; true": the shell is looked for among the parents, and bash would become what it ends with
    assert "bash completion installed" in run(["bash", "-c", "pylatent --install-completion bash; true"]).stdout
    asked = "COMP_WORDS=(pylatent {}); COMP_CWORD={}; _pylatent_completion pylatent; echo ${{COMPREPLY[@]}}"
    for words, place, expected in (("comp", 1, "compress compare"), ("compress --target-b", 2, "--target-bpp")):
        script = f"source {tmp_path}/.bash_completions/pylatent.sh; {asked.format(words, place)}"
        assert run(["bash", "-c", script]).stdout.split() == expected.split()
