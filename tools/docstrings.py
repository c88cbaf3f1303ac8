"""Docstrings as this package writes them, for the API reference: a griffe extension.

Parameters and fields are lines `name: what it is` (or `a, b: …`), with what follows indented, as in

    quality: from 1 to 8.
    refine: steps of refinement, or
        a plan.

Those whose names are parameters or attributes become sections that mkdocstrings lays out; all else stays as it is.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_ENTRY = re.compile(r"([A-Za-z_]\w*(?:, [A-Za-z_]\w*)*): (.+)")


class Entries(griffe.Extension):
    """Turns entries into sections as soon as an object is read."""

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        if func.docstring is not None:
            func.docstring.value = with_sections(func.docstring.value, {each.name for each in func.parameters}, "Args")

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        if cls.docstring is None:
            return
        init = cls.members.get("__init__")
        parameters = {each.name for each in init.parameters} if isinstance(init, griffe.Function) else set()
        own = {name for name, member in cls.members.items() if isinstance(member, griffe.Attribute)}
        text = with_sections(cls.docstring.value, parameters, "Args")
        cls.docstring.value = with_sections(text, own - parameters, "Attributes")


def with_sections(text: str, names: set[str], section: str) -> str:
    """The docstring, with each run of entries of these names under a heading of Google's style."""
    out: list[str] = []
    inside = False
    for line in text.splitlines():
        found = _ENTRY.fullmatch(line)
        if found and set(found[1].split(", ")) <= names:
            if not inside:
                out += ["", f"{section}:"]
            inside = True
            out += [f"    {name}: {found[2]}" for name in found[1].split(", ")]
        elif inside and (line.startswith(" ") or (line and not out[-1].endswith("."))):
            out.append(f"        {line.strip()}")  # of a paragraph that goes on
        else:
            out += [""] * (inside and bool(line)) + [line]
            inside = False
    return "\n".join(out)
