"""The public surface: every name that a package lists is there, and is not imported before it is asked for."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import pylatent

HOME = Path(pylatent.__file__).parent
PACKAGES = [
    ".".join(("pylatent", *file.parent.relative_to(HOME).parts))
    for file in sorted(HOME.glob("**/__init__.py"))
    if file.parent.name != "cli" and file.parents[1].name != "compat"
]
LAZY = ["pylatent", "pylatent.archive", "pylatent.coding", "pylatent.compat", "pylatent.zoo"]


def test_version_is_a_release_number():
    assert pylatent.__version__.count(".") == 2


@pytest.mark.parametrize("package", PACKAGES)
def test_every_listed_name_is_there(package):
    module = importlib.import_module(package)
    for name in getattr(module, "__all__", ()):
        assert getattr(module, name) is not None
        assert name in dir(module)
    with pytest.raises(AttributeError, match="module .* has no attribute 'nonsense'"):
        _ = module.nonsense


@pytest.mark.parametrize("package", LAZY)
def test_type_checkers_see_the_same_names(package):
    """They read what stands under TYPE_CHECKING."""
    module = importlib.import_module(package)
    tree = ast.parse(Path(module.__file__).read_text())
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {(each.name, line.module) for block in blocks for line in block.body for each in line.names}
    for name, home in seen:
        assert getattr(module, name) is getattr(importlib.import_module(home), name)
    eager = {each.name for node in tree.body if isinstance(node, ast.ImportFrom) for each in node.names}
    assert set(getattr(module, "__all__", ())) <= {name for name, _ in seen} | eager


def test_subpackages_are_reachable_after_one_import():
    script = """
import sys, pylatent, pylatent.archive, pylatent.coding, pylatent.compat
assert "torch" not in sys.modules
for name in ("compat.compressai.installed", "compat.torchvision.installed", "compat.patch.patch", "tasks.LatentHead"):
    value = pylatent
    for part in name.split("."):
        value = getattr(value, part)
assert set(dir(pylatent)) >= {"compress", "tasks", "compat", "__version__"}, dir(pylatent)
assert set(dir(pylatent.compat)) >= {"compressai", "torchvision", "patch"}
"""
    subprocess.run([sys.executable, "-c", script], check=True)
