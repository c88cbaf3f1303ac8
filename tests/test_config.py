"""show_config() and the version line say what is used, natively and in pure Python."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields

import pytest
import torch

import pylatent
from pylatent import _native, config
from pylatent._versions import version_line

native = pytest.mark.skipif(_native.why_not_native() is not None, reason=str(_native.why_not_native()))


def test_show_config_prints_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    pylatent.show_config()
    printed = capsys.readouterr().out
    facts = config.config()
    for field in fields(facts):
        value = getattr(facts, field.name)
        assert isinstance(value, str)
        assert value
        assert value in printed
    assert facts.torch == torch.__version__
    assert facts.pylatent == pylatent.__version__


def test_native_state_is_told() -> None:
    reason = _native.why_not_native()
    if reason is None:
        assert config.config().native.startswith("yes: ")
        assert _native.core().version == pylatent.__version__
        assert "(native; torch " in version_line()
        assert _native.core().simd in _native.core().simd_built
    else:
        assert config.config().native == f"no: {reason}"
        assert "pure Python" in version_line()


@pytest.mark.parametrize("value", ["1", "true", "YES"])
def test_pure_switch_ignores_the_native_module(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PYLATENT_PURE", value)
    assert _native._load() == (None, "PYLATENT_PURE is set, so the native module is ignored")


@native
@pytest.mark.parametrize("value", ["", "0", "false", "No"])
def test_pure_switch_can_be_off(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PYLATENT_PURE", value)
    assert _native._load() == (_native.core(), None)


@native
def test_module_of_another_version_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_native, "__version__", "999.0")
    module, reason = _native._load()
    assert module is None
    assert reason is not None
    assert f"belongs to pylatent {pylatent.__version__}, not 999.0" in reason


def test_pure_process_never_loads_the_module_and_says_so() -> None:
    script = """
import sys
import pylatent
from pylatent import _native
pylatent.show_config()
try:
    _native.core()
except RuntimeError as error:
    print(error)
assert "pylatent._C" not in sys.modules
"""
    printed = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYLATENT_PURE": "1"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "no: PYLATENT_PURE is set" in printed
    assert "the native core is not available: PYLATENT_PURE is set" in printed


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (None, "not asked: no CUDA code was built"),
        ({"driver": 0, "problem": "", "devices": []}, "none: no CUDA driver was found"),
        ({"driver": 12040, "problem": "too old", "devices": []}, "none: too old (driver for CUDA 12.4)"),
        ({"driver": 13000, "problem": "", "devices": ["A (sm_80)"]}, "A (sm_80) (driver for CUDA 13.0)"),
    ],
)
def test_cuda_line(info: dict | None, expected: str) -> None:
    assert config._cuda_devices(info) == expected
