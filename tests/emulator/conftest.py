from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import emulation
import pytest


@pytest.fixture
def kernels() -> Iterator[ModuleType]:
    module = emulation.module("_emulator_kernels")
    module.set_seed(1)
    yield module
    module.set_races(True)
