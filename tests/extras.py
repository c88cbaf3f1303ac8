"""Packages that pylatent works with and does not depend on: `make test-compat` runs the tests that need one.

PYLATENT_EXTRAS lists those that must be there. Without it, a test whose package is missing is skipped.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from types import ModuleType

import pytest

PACKAGES = (
    "compressai",
    "torchvision",
    "timm",
    "pyarrow",
    "ray",
    "imageio",
    "datasets",
    "huggingface_hub",
    "sklearn",
    "lpips",
    "torch_fidelity",
)


def extra(module: str) -> ModuleType:
    """The module, of one of PACKAGES; skips the test or the file that asks for it if the package is not installed."""
    package = module.partition(".")[0]
    assert package in PACKAGES
    if package in os.environ.get("PYLATENT_EXTRAS", "").split():
        return importlib.import_module(module)
    return pytest.importorskip(module, reason=f"{package} is not installed: `make test-compat` runs this")


def needs_extra(item: pytest.Item) -> bool:
    """Whether the test, or a fixture that it uses, calls `extra`, or its file has an EXTRA that does."""
    if not isinstance(item, pytest.Function):
        return False
    definitions = [each for several in item._fixtureinfo.name2fixturedefs.values() for each in several]
    functions = [item.function, *(definition.func for definition in definitions)]
    return hasattr(item.module, "EXTRA") or any(calls_extra(function) for function in functions)


def calls_extra(function: object) -> bool:
    """Whether the function itself does; decorators are looked through."""
    code = getattr(inspect.unwrap(function), "__code__", None)  # type: ignore[arg-type]
    return code is not None and "extra" in code.co_names


def _installed() -> list[str]:
    """Those that pip has installed; to import them is for the tests, which fail where that fails."""
    found = [name for name in PACKAGES if importlib.util.find_spec(name) is not None]
    if missing := sorted(set(PACKAGES) - set(found)):
        print(f"NOT TESTED, for they are not installed: {', '.join(missing)}", file=sys.stderr)
    return found


if __name__ == "__main__":
    print(*_installed())
