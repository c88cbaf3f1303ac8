"""benchmarks/gpu.py without a GPU: its order, what it writes on the way, what it says where there is none."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("gpu", BENCHMARKS / "gpu.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield module
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def test_message_without_a_device():
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    done = subprocess.run([sys.executable, BENCHMARKS / "gpu.py", "--minutes", "1"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip() == f"this needs a CUDA device, and torch {torch.__version__} finds none"


def test_order(gpu):
    assert list(gpu.STAGES) == ["build", "tests", "sanitizers", "operators"]


def test_results_are_written_as_they_come(gpu, tmp_path, monkeypatch):
    """A stage that fails is noted, and the next one runs; what is in the file at any time is whole."""
    file, seen = tmp_path / "out" / "gpu.json", []

    def build(report, deadline):
        return {"device": "none"}

    def tests(report, deadline):
        seen.append(json.loads(file.read_text()))
        raise RuntimeError("3 failed")

    def operators(report, deadline):
        seen.append(json.loads(file.read_text()))
        report.rows([{"operator": "a"}])
        seen.append(json.loads(file.read_text()))
        return {}

    monkeypatch.setattr(gpu, "STAGES", {"build": build, "tests": tests, "operators": operators})
    assert not gpu.run_stages(list(gpu.STAGES), gpu.Report(file), gpu.Deadline(60))
    assert [list(s["stages"]) for s in seen] == [["build"], ["build", "tests"], ["build", "tests"]]
    assert [s["rows"] for s in seen] == [[], [], [{"operator": "a"}]]
    found = json.loads(file.read_text())
    assert found["stages"]["tests"].items() >= {"ok": False, "reason": "3 failed"}.items()
    assert found["stages"]["operators"]["ok"]
    assert list(file.parent.iterdir()) == [file]


def test_measurements(gpu, tmp_path, monkeypatch):
    """Every operator is there, one failure does not stop the others, and none begins when the time is over."""
    named = list(gpu.measurements())
    assert {name.split(",")[0] for name, _ in named} == {
        "deform_conv2d", "gated_fusion", "sga_sample", "gaussian_bits", "integer_conv",
    }  # fmt: skip

    def fails():
        raise SystemExit("off by 1")

    monkeypatch.setattr(gpu, "measurements", lambda: iter([("bad", fails), ("good, x", lambda: [{"us": 1}])]))
    report = gpu.Report(tmp_path / "gpu.json")
    with pytest.raises(RuntimeError, match="1 measurements failed"):
        gpu.operators(report, gpu.Deadline(60))
    assert report.found["rows"] == [{"operator": "bad", "error": "off by 1"}, {"operator": "good", "us": 1}]
    report = gpu.Report(None)
    assert gpu.operators(report, gpu.Deadline(0)) == {"left out for want of time": ["bad", "good, x"]}
    assert report.found["rows"] == []


def test_commands_have_a_deadline(gpu):
    with pytest.raises(RuntimeError, match="did not end in time"):
        gpu.run([sys.executable, "-c", "import time; time.sleep(60)"], gpu.Deadline(0))
    assert gpu.run([sys.executable, "-c", "print(1); raise SystemExit(3)"], gpu.Deadline(60)) == ("1\n", 3)
