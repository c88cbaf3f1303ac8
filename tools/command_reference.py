"""Writes the last section of docs/command-line.md, every verb and option: `python tools/command_reference.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from pylatent.cli import app

PAGE = Path(__file__).parents[1] / "docs" / "command-line.md"
BEGIN = "## Every verb and option\n"


def reference() -> str:
    """The section: for each verb what it takes and its options, in the order of `--help`."""
    parts = [BEGIN, "`tools/command_reference.py` writes this from the program itself.\n"]
    parts += [_verb(names, command) for names, command in _verbs(get_command(app), ())]
    return "\n".join(parts)


def _verbs(command: Any, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "commands"):
        yield names, command
        return
    for name, each in command.commands.items():
        yield from _verbs(each, (*names, name))


def _verb(names: tuple[str, ...], command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    # `pylatent eval PICTURES` needs no `codec`.
    shown = [name for name in names if names[0] != "eval" or name != "codec"]
    usage = [_placeholder(argument) for argument in arguments]
    lines = [f"### pylatent {' '.join([*shown, *usage])}\n", f"{command.help.strip().partition(chr(10) * 2)[0]}\n"]
    rows = [(f"`{_placeholder(each)}`", each) for each in arguments]
    rows += [(", ".join(f"`{name}`" for name in (*each.opts, *each.secondary_opts)), each) for each in options]
    shown_examples = (command.epilog or "").splitlines()[2:]
    lines += [*(f"    {line.strip()}" for line in shown_examples), ""] if shown_examples else []
    if rows:
        lines += ["| | |", "|---|---|", *(f"| {name} | {_text(each)} |" for name, each in rows), ""]
    return "\n".join(lines)


def _placeholder(argument: Any) -> str:
    name = argument.name.upper()
    name = f"{name}..." if argument.nargs == -1 else name
    return name if argument.required else f"[{name}]"


def _text(parameter: Any) -> str:
    default = parameter.default
    shown = default is not None and default is not False and not callable(default) and not parameter.required
    text = parameter.help or ""
    if not shown or default is True or "default" in text or parameter.nargs == -1 or default == []:
        return text
    return f"{text} Default: `{getattr(default, 'value', default)}`."


def page() -> str:
    """The whole page, with the section as it should be."""
    text = PAGE.read_text(encoding="utf-8")
    return text.partition(BEGIN)[0].rstrip("\n") + "\n\n" + reference()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
