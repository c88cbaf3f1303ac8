"""`install()`: models that call torchvision's deformable convolution use pylatent's until `uninstall()`.

What is replaced: the name `torchvision.ops.deform_conv2d` wherever a loaded module has it (so that
`torchvision.ops.DeformConv2d`, which looks it up at each call, and models that imported it are served too), and in
modules that import it later, as long as it is installed. Parameters, state dicts and classes stay as they are.

Calls that we have no kernel for (a device or dtype without one) still go to torchvision, and so does what its kernels
do faster: all on CUDA but bfloat16 (docs/cuda-report.md). The results agree up to rounding, and three things differ:
bfloat16 works, autocast on a CPU runs in its own dtype instead of float32, and wrong arguments raise ValueError or
TypeError. `torch.jit.script` cannot compile the replacement: script a model before.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from pylatent import _native, ops
from pylatent.compat._installation import Installation
from pylatent.compat._patched import Patched, names_called
from pylatent.ops.deform_conv2d import _why_not_native


def install() -> None:
    """Makes loaded modules use our `deform_conv2d`. Calls nest: as many `uninstall` undo it.

    Raises ImportError: torchvision is not installed. RuntimeError: the native core is missing (torchvision's own
    kernels are then faster).
    """
    _installation.install()


def uninstall() -> None:
    """Undoes one `install`; the last one restores every name. RuntimeError if not installed."""
    _installation.uninstall()


def installed() -> contextlib.AbstractContextManager[None]:
    """`install` for the time of a `with` block."""
    return _installation.installed()


def _replace() -> Callable[[], None]:
    reason = _native.why_not_native()
    if reason is not None:
        raise RuntimeError(f"`install` needs the native core, without which torchvision's kernels are faster: {reason}")
    try:
        theirs = importlib.import_module("torchvision.ops").deform_conv2d
    except ImportError as error:
        raise ImportError(f"`install` needs torchvision (pip install torchvision): {error}") from error
    ours = _ours(theirs)
    _rename(theirs, ours)
    return lambda: _rename(ours, theirs)


def _rename(old: object, new: object) -> None:
    """Points every module-level name that holds `old` to `new`."""
    for module in list(sys.modules.values()):
        for name, value in list(vars(module).items()) if isinstance(module, ModuleType) else ():
            if value is old:
                setattr(module, name, new)


def _ours(theirs: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @functools.wraps(theirs)
    def deform_conv2d(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        better = isinstance(input, Tensor) and _is_faster_here(input)
        return (ops.deform_conv2d if better else theirs)(input, *args, **kwargs)

    return deform_conv2d


def _is_faster_here(input: Tensor) -> bool:
    """Whether we have a kernel, and torchvision none that was measured to be as fast."""
    return _why_not_native(input) is None and (not input.is_cuda or input.dtype == torch.bfloat16)


def faster(module: nn.Module) -> type[Patched] | str | None:
    """What `pylatent.patch` mixes into this module's class, or why it stays, or None if it does not deform."""
    modules = sys.modules.get("torchvision.ops.deform_conv")
    if modules is None:
        return None
    if type(module) is modules.DeformConv2d:
        return _DeformConv2d
    if isinstance(module, modules.DeformConv2d):
        return "only torchvision's DeformConv2d itself is replaced: pylatent.compat.torchvision.install() serves this"
    if "deform_conv2d" in names_called(type(module)):
        return "it calls torchvision's function by name: pylatent.compat.torchvision.install() replaces that"
    return None


class _DeformConv2d(Patched):
    now = "computes with pylatent.ops.deform_conv2d"

    def forward(self: Any, input: Tensor, offset: Tensor, mask: Tensor | None = None) -> Tensor:
        if not _is_faster_here(input):
            return self.theirs.forward(self, input, offset, mask)
        return ops.deform_conv2d(input, offset, self.weight, self.bias, self.stride, self.padding, self.dilation, mask)


_installation = Installation(_replace, "pylatent is not installed in torchvision")
