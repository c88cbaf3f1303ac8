"""docs/command-line.md lists every verb and option of the program, and its text names no option that there is not."""

import re
import runpy
from pathlib import Path

from typer.main import get_command

from pylatent.cli import _refine, app

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
