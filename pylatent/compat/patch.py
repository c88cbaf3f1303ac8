"""`patch(model)`: the parts of a model that pylatent has faster, replaced in place; `unpatch(model)` undoes it.

It finds modules. For functions that a model calls by name (`torchvision.ops.deform_conv2d`, CompressAI's coder classes)
there are `compat.torchvision.install()` and `compat.compressai.install()`; the report says where they would help.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import jit, nn

from pylatent import _native, layers
from pylatent.compat import torchvision
from pylatent.compat._patched import Patched
from pylatent.compat.compressai import _patch as compressai


@dataclass(frozen=True)
class Part:
    """A module of the model: its dotted name ("" for the model itself), its class, and what became of it."""

    name: str
    kind: str
    what: str


@dataclass(frozen=True)
class PatchReport:
    """What `patch` replaced, and what it left and why. Printing it gives a line per part."""

    replaced: tuple[Part, ...]
    left: tuple[Part, ...]

    def __str__(self) -> str:
        rows = [("replaced", part) for part in self.replaced] + [("left", part) for part in self.left]
        if not rows:
            return "the model has no deformable convolution, gated fusion or CompressAI entropy model"
        names = max(len(part.name or "(the model)") for _, part in rows)
        kinds = max(len(part.kind) for _, part in rows)
        return "\n".join(
            f"{verdict:<8}  {part.name or '(the model)':<{names}}  {part.kind:<{kinds}}  {part.what}"
            for verdict, part in rows
        )


def patch(model: nn.Module) -> PatchReport:
    """Replaces, in place, the parts of `model` that pylatent has faster, and reports them.

    Replaced are torchvision's `DeformConv2d` and CompressAI's `GaussianConditional` and `EntropyBottleneck`. Each keeps
    its parameters, buffers, hooks and state-dict names, and is still an instance of its class; results agree within
    rounding, and coded strings are the same bytes. Copies of a patched model are patched too, and unpickling one needs
    pylatent. Patching twice changes nothing more.

    Raises TypeError if `model` is not an nn.Module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"`model` must be an nn.Module, got {type(model).__name__}")
    replaced, left = [], []
    reason = _native.why_not_native()
    for name, module in model.named_modules():
        kind = type(module).__name__
        if isinstance(module, Patched):
            left.append(Part(name, kind, "it is patched already"))
            continue
        if isinstance(module, layers.GatedFusion | layers.DeformConv2d | layers.DeformableAlignment):
            left.append(Part(name, kind, "it is pylatent's own"))
            continue
        found = _faster(module)
        if isinstance(found, type) and reason is not None:
            found = f"the native core is not available: {reason}"
        if isinstance(found, str):
            left.append(Part(name, kind, found))
        elif found is not None:
            module.__class__ = found.over(type(module))
            replaced.append(Part(name, kind, found.now))
    return PatchReport(tuple(replaced), tuple(left))


def unpatch(model: nn.Module) -> int:
    """Gives the modules of `model` that `patch` changed their own class back; returns how many there were."""
    patched = [module for module in model.modules() if isinstance(module, Patched)]
    for module in patched:
        module.__class__ = module.theirs
    return len(patched)


def _faster(module: nn.Module) -> type[Patched] | str | None:
    if isinstance(module, jit.ScriptModule):
        return "it is compiled by TorchScript" if "DeformConv2d" in module.original_name else None
    return torchvision.faster(module) or compressai.faster(module)
