"""What the build delivers: a module that links nothing of torch's, and a pure wheel where no compiler works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pylatent import _native

SOURCE = Path(__file__).parents[1]
FALSE = shutil.which("false")


@pytest.mark.skipif(os.environ.get("PYLATENT_REQUIRE_NATIVE", "0") != "1", reason="PYLATENT_REQUIRE_NATIVE is not 1")
@pytest.mark.skipif(bool(os.environ.get("PYLATENT_PURE")), reason="PYLATENT_PURE is set")
def test_native_module_is_there_where_it_is_required() -> None:
    """Otherwise the native tests would skip, unnoticed, for instance when the checkout hides the installed package."""
    assert _native.why_not_native() is None


@pytest.mark.skipif(_native.why_not_native() is not None, reason=str(_native.why_not_native()))
@pytest.mark.skipif(shutil.which("ldd") is None, reason="needs ldd")
def test_module_links_neither_torch_nor_cuda_nor_openmp() -> None:
    listing = subprocess.run(["ldd", _native.core().__file__], check=True, capture_output=True, text=True).stdout
    assert "libc.so" in listing
    for library in ("torch", "c10", "cudart", "cuda.so", "gomp", "iomp", "libomp"):
        assert library not in listing


def test_nothing_of_the_emulator_is_installed() -> None:
    package = Path(_native.__file__).parent
    assert not [path for path in package.rglob("*") if "emul" in path.name]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of what a build needs."""
    pytest.importorskip("scikit_build_core")
    copy = tmp_path / "source"
    copy.mkdir()
    for name in ("pyproject.toml", "CMakeLists.txt", "README.md", "LICENSE"):
        shutil.copy(SOURCE / name, copy)
    without = shutil.ignore_patterns("*.so", "__pycache__", "*.safetensors")
    for name in ("csrc", "pylatent"):
        shutil.copytree(SOURCE / name, copy / name, ignore=without)
    return copy


def build_wheel(source: Path, **environment: str) -> Path | None:
    """The wheel built from `source`, or None when the build fails."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYLATENT_REQUIRE_NATIVE"}
    script = "from scikit_build_core.build import build_wheel; build_wheel('wheel')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=source,
        env=inherited | {"PYLATENT_CUDA": "0"} | environment,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        return None
    (wheel,) = (source / "wheel").glob("*.whl")
    return wheel


def assert_pure_and_working(wheel: Path, where: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith((".so", ".pyd", ".dylib"))]
        archive.extractall(where)
    script = "import pylatent, pylatent._native as native; print(native.__file__, native.why_not_native())"
    environment = {name: value for name, value in os.environ.items() if name != "PYLATENT_PURE"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment | {"PYTHONPATH": str(where)},
        cwd=where,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith(str(where))
    assert "installed without a working C++ compiler" in done.stdout
    assert "PYLATENT_REQUIRE_NATIVE=1 pip install --force-reinstall" in done.stdout


@pytest.mark.skipif(FALSE is None, reason="needs the program `false` to stand for a broken compiler")
def test_no_compiler_gives_a_pure_wheel(source: Path, tmp_path: Path) -> None:
    wheel = build_wheel(source, CC=FALSE, CXX=FALSE)
    assert wheel is not None
    assert_pure_and_working(wheel, tmp_path / "site")


@pytest.mark.skipif(FALSE is None, reason="needs the program `false` to stand for a broken compiler")
@pytest.mark.parametrize("demand", ["1", "true", "Yes", "ON"])
def test_no_compiler_fails_where_native_is_required(source: Path, demand: str) -> None:
    assert build_wheel(source, CC=FALSE, CXX=FALSE, PYLATENT_REQUIRE_NATIVE=demand) is None


@pytest.mark.parametrize("demand", ["", "1"])
def test_source_that_does_not_compile(source: Path, tmp_path: Path, demand: str) -> None:
    for file in (source / "csrc").rglob("*.cpp"):  # so that the first that is compiled ends it
        file.write_text("this is not C++;\n")
    wheel = build_wheel(source, PYLATENT_REQUIRE_NATIVE=demand, CMAKE_BUILD_PARALLEL_LEVEL="1")
    if demand:
        assert wheel is None
    else:
        assert wheel is not None
        assert_pure_and_working(wheel, tmp_path / "site")
