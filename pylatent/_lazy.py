"""Packages whose names are imported at first use: torch takes seconds, and not every use of pylatent needs it."""

from __future__ import annotations

import importlib
import sys

TYPE_CHECKING = False  # `typing` takes 15 ms to import, and this comes first of all
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


def names(
    package: str, homes: dict[str, Sequence[str]], modules: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package: `homes` lists the names that each of its modules gives it, `modules`
    those that are public themselves. A home with a dot in front lies beside the package."""
    home_of = {name: home for home, given in homes.items() for name in given}

    def getattribute(name: str) -> Any:
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        if name not in home_of:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(importlib.import_module(f".{home_of[name]}", package), name)

    def names_of_package() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home_of, *modules})

    return getattribute, names_of_package
