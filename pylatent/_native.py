"""Loads the native core `pylatent._C`, or remembers why it is missing.

torch is imported first: the core takes its threads from the OpenMP runtime that torch has loaded (docs/map.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Literal

import torch
from torch import Tensor

from pylatent._version import __version__
from pylatent._versions import is_pure

REINSTALL = "PYLATENT_REQUIRE_NATIVE=1 pip install --force-reinstall --no-deps --no-cache-dir pylatent"


def _load() -> tuple[ModuleType | None, str | None]:
    """The native module, or the reason why there is none."""
    if is_pure():
        return None, "PYLATENT_PURE is set, so the native module is ignored"
    if find_spec("pylatent._C") is None:
        return None, (
            "this installation has no native module, because the package was installed without a working C++ compiler; "
            f"install one, then reinstall with `{REINSTALL}` to see what the build says"
        )
    try:
        module = import_module("pylatent._C")
    except ImportError as error:
        return None, f"the native module could not be imported ({error}); reinstall with `{REINSTALL}`"
    built = getattr(module, "version", "an unknown version")
    if built != __version__:
        return None, f"the native module belongs to pylatent {built}, not {__version__}; reinstall with `{REINSTALL}`"
    return module, None


_C, _reason = _load()
_cuda_reason = None if getattr(_C, "has_cuda", False) else "this installation was built without CUDA kernels"
_emulator: ModuleType | None = None

Backend = Literal["auto", "native", "torch"]

DTYPE_CODES = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}
"""How the core names dtypes (`csrc/common/dtype.h`)."""


def why_not_native(tensor: Tensor | None = None, dtypes: Sequence[torch.dtype] = ()) -> str | None:
    """The reason why the native core cannot be used, or None if it can.

    With `tensor`, the reason why it cannot be used on that tensor, whose dtype must be one of `dtypes`.
    """
    if tensor is not None and _emulator is None and not tensor.is_cpu:  # `device` takes 15 µs where caches are cold
        if not tensor.is_cuda:
            return f"there are native kernels for cpu and cuda tensors, not for {tensor.device.type}"
        if _reason is None and _cuda_reason is not None:
            return _cuda_reason
    if tensor is not None and is_transformed():
        return "there are no native kernels for the tensors of vmap and torch.func's other transforms"
    if tensor is not None and tensor.dtype not in dtypes:
        return f"there is no native kernel for {tensor.dtype}"
    return _reason if _emulator is None else None


_transforms = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)


def is_transformed() -> bool:
    """Whether the code runs inside `torch.func`'s transforms, whose tensors have no memory of their own."""
    return not torch.compiler.is_compiling() and _transforms()


modes = getattr(torch._C, "_len_torch_dispatch_stack", lambda: 1)
"""How many modes look at the dispatcher. A private name: where it is missing, there may be one."""


def is_plain() -> bool:
    """Whether CPU tensors go straight to the CPU kernels of the native core: nothing traces or transforms the code."""
    return not (torch.compiler.is_dynamo_compiling() or modes() or _transforms()) and _C is not None and not _emulator


def choose(backend: Backend, why_not: str | None) -> bool:
    """Whether to run natively: "auto" does so unless there is a reason not to, "native" raises RuntimeError with it."""
    if backend == "torch":
        return False
    if backend == "auto":
        return why_not is None
    if backend != "native":
        raise ValueError(f"`backend` must be 'auto', 'native' or 'torch', got {backend!r}")
    if why_not is not None:
        raise RuntimeError(f"backend='native' is not possible: {why_not}; use backend='auto' or 'torch'")
    return True


def core() -> ModuleType:
    """The native module; raises RuntimeError with the reason if there is none."""
    if _C is None:
        raise RuntimeError(f"the native core is not available: {_reason}")
    return _C


def cuda_core() -> ModuleType:
    """The module whose CUDA functions to call: the native core, or the one that `emulated` has put in its place."""
    return core() if _emulator is None else _emulator


def is_emulated() -> bool:
    """Whether CPU tensors go to emulated CUDA kernels."""
    return _emulator is not None


@contextmanager
def emulated(module: ModuleType) -> Iterator[None]:
    """For tests: operators on CPU tensors run their CUDA kernels, which `module` executes on the CPU."""
    global _emulator
    previous, _emulator = _emulator, module
    try:
        yield
    finally:
        _emulator = previous


def stream(tensor: Tensor) -> int:
    """torch's current CUDA stream on the device of `tensor`, as a pointer; 0 for CPU tensors."""
    if not tensor.is_cuda:
        return 0
    return _raw_stream(tensor.get_device())


def device_index(tensor: Tensor) -> int:
    """Index of the CUDA device of `tensor`; 0 for CPU tensors."""
    return tensor.get_device() if tensor.is_cuda else 0


def has_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bf16 products, so that bf16 autocast saves time."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capability = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and bool(capability and capability())


def tf32_allowed() -> bool:
    """Whether torch lets CUDA matrix products round float32 to TF32."""
    precision = getattr(torch.backends.cuda.matmul, "fp32_precision", "none")  # since torch 2.9
    return precision == "tf32" if precision != "none" else torch.backends.cuda.matmul.allow_tf32


def _public_stream(device: int) -> int:
    return torch.cuda.current_stream(device).cuda_stream


# The private name costs 0.2 µs, the public one 4 µs.
_raw_stream = getattr(torch._C, "_cuda_getCurrentRawStream", _public_stream)


def thread_count(threads: int | None = None) -> int:
    """Number of CPU threads: `threads` if given (at least 1), else torch's own count."""
    if threads is None:
        return torch.get_num_threads()
    if threads < 1:
        raise ValueError(f"`threads` must be at least 1, got {threads}")
    return threads
