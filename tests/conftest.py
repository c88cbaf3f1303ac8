from __future__ import annotations

import json
import os
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import emulation
import pytest
import torch
from extras import needs_extra

from pylatent import _native

# torch.compile's cache does not tell vector widths apart: code of one ATEN_CPU_CAPABILITY computes half of the elements
# under another.
os.environ.setdefault(
    "TORCHINDUCTOR_CACHE_DIR",
    f"{tempfile.gettempdir()}/torchinductor_{os.getuid()}_{torch.backends.cpu.get_cpu_capability()}",
)

# Workers of pytest-xdist share the processor.
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)

# Every emulated test runs once a schedule.
SCHEDULES = int(os.environ.get("PYLATENT_SCHEDULES", "2"))
EMULATED = [f"cuda-emulated-{i}" for i in range(SCHEDULES)]


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Networks as small as tests have are slowed down by a second one, most of all where others use the processor."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=["cpu", "cuda", *EMULATED])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """Where an operator's tensors live. "cuda-emulated" runs its CUDA kernels on CPU tensors, in an adverse order.

    What torch allocates without filling it is full of NaN meanwhile.
    """
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    deterministic = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        if request.param not in EMULATED:
            yield torch.device(request.param)
            return
        module = emulation.module("_emulated")
        module.set_seed(zlib.crc32(request.node.nodeid.encode()))
        with _native.emulated(module):
            yield torch.device("cpu")
    finally:
        torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The mark by which `make test-compat` finds its tests."""
    for item in items:
        if needs_extra(item):
            item.add_marker("extra")


def pytest_sessionfinish() -> None:
    """For `make cuda-report`: PYLATENT_LAUNCHES names a file that gets a list of all emulated launches."""
    if (file := os.environ.get("PYLATENT_LAUNCHES")) and "_emulated" in sys.modules:
        Path(file).write_text(json.dumps(sys.modules["_emulated"].launched()))
