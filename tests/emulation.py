"""The modules that `make emulated` builds: CUDA kernels that run on the CPU."""

from __future__ import annotations

import os
import sys
import sysconfig
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(os.environ.get("PYLATENT_EMULATED", Path(__file__).parents[1] / "build" / "emulated")).absolute()


def module(name: str) -> ModuleType:
    """The module `name`; where it is not built, the test is skipped, or fails if PYLATENT_REQUIRE_NATIVE is 1."""
    if name in sys.modules:
        return sys.modules[name]
    file = FOLDER / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not file.exists():
        reason = f"the CUDA kernels were not compiled for the CPU ({file} is missing): run `make emulated`"
        if os.environ.get("PYLATENT_REQUIRE_NATIVE", "0") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    spec = spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    loaded = module_from_spec(spec)
    spec.loader.exec_module(loaded)
    sys.modules[name] = loaded
    return loaded
