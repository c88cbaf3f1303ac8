"""The kernel in the documentation compiles."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2]
COMPILER = shutil.which("c++")


@pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")
def test_example() -> None:
    text = (SOURCE / "docs" / "cuda-without-a-gpu.md").read_text()
    code = text.split("```cpp\n")[1].split("```")[0]
    command = [
        str(COMPILER),
        "-std=c++17",
        "-Wall",
        "-Werror",
        "-fsyntax-only",
        f"-I{SOURCE / 'csrc'}",
        "-x",
        "c++",
        "-",
    ]
    done = subprocess.run(command, input=code, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
