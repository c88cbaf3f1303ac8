"""What was built, what was found and what is used: `show_config()` prints it, `config()` returns it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch

from pylatent import _native
from pylatent._versions import line_of, versions


@dataclass(frozen=True)
class Config:
    """One line per field; a field that does not apply says why."""

    pylatent: str
    python: str
    torch: str
    numpy: str
    native: str
    """the compiler that built the native module in use, or why none is used"""
    cuda_code: str
    """whether CUDA code was built, with what and for which devices"""
    cuda_devices: str
    """what the CUDA driver of this machine offers"""
    cpu: str
    """the vector instructions that torch found"""
    simd: str
    """the level that the coder uses, and those that were built; PYLATENT_SIMD lowers it"""
    integers: str
    """the kernels that integer convolutions use, and the others that this machine could run"""
    threads: str
    """torch's thread count, which pylatent follows, and where the threads come from"""

    def __str__(self) -> str:
        return "\n".join(line_of(name, fact) for name, fact in asdict(self).items())


def config() -> Config:
    """What this installation consists of. Asking for CUDA devices initialises the driver, so fork workers before it."""
    reason = _native.why_not_native()
    core = None if reason else _native.core()
    return Config(
        **versions(),
        native=f"yes: {core.compiler}" if core else f"no: {reason}",
        cuda_code=core.cuda_built if core else "no: they are part of the native module",
        cuda_devices=_cuda_devices(core.cuda_info() if core else None),
        cpu=torch.backends.cpu.get_cpu_capability(),
        simd=f"{core.simd} (built: {', '.join(core.simd_built)})" if core else "no: the coder runs in NumPy",
        integers=_integer_kernels(core.integer_variants()) if core else "no: they are computed in float64",
        threads=f"{torch.get_num_threads()}, {core.thread_runtime() if core else 'torch operators only'}",
    )


def show_config() -> None:
    """Print `config()`: attach it to bug reports."""
    print(config())


def _integer_kernels(variants: list[str]) -> str:
    *others, used = (name for name in variants if name != "amx-model")
    return f"{used} (others: {', '.join(others) or 'none'})"


def _cuda_devices(info: dict | None) -> str:
    if info is None:
        return "not asked: no CUDA code was built"
    if info["driver"] == 0:
        return "none: no CUDA driver was found"
    driver = f"driver for CUDA {info['driver'] // 1000}.{info['driver'] % 1000 // 10}"
    if info["problem"]:
        return f"none: {info['problem']} ({driver})"
    return f"{', '.join(info['devices'])} ({driver})"
