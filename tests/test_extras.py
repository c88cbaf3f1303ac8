"""The tests beside packages that pylatent does not depend on are found, and are run by CI."""

import re
from pathlib import Path

import torch
from extras import PACKAGES, calls_extra, extra

TESTS = Path(__file__).parent


def test_they_ask_for_their_package_in_one_way():
    asked = set()
    for path in TESTS.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if path.name not in ("extras.py", "test_extras.py"):
            bare = re.findall(r"importorskip\(\"(\w+)", source)
            assert not set(bare) & set(PACKAGES), f"{path.name}: use extras.extra"
            asked |= set(re.findall(r"\bextra\(\"(\w+)", source))
    assert asked == set(PACKAGES)


def asks():
    return extra("ray")


def asks_not():
    return None


def test_functions_that_ask_are_found_behind_decorators():
    assert calls_extra(asks)
    assert calls_extra(torch.no_grad()(asks))
    assert not calls_extra(asks_not)


def test_ci_runs_them():
    assert "make test-compat" in (TESTS.parent / ".ci" / "run").read_text(encoding="utf-8")
