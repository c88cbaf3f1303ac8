"""`install()`: CompressAI's models and entropy models use pylatent's coder until `uninstall()`.

What is replaced, wherever CompressAI's own modules name it:

- the three coder classes, and the coders that existing entropy models hold;
- `compress` and `decompress` of `EntropyModel` (and `EntropyModelVbr`), which spend most of their time in turning
  tensors into lists and back;
- `pmf_to_quantized_cdf`, and `GaussianConditional.build_indexes` (63 comparisons become one binary search).

Strings, tensors and tables stay the same, bit by bit. Three things differ: damaged strings raise `FormatError`, invalid
tables ValueError, and so does a string that holds more than the symbols asked for. Modules outside `compressai` that
have imported the coder classes by name keep what they have; import them after `install()`.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import re
import sys
import warnings
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pylatent import _native
from pylatent.compat._installation import Installation
from pylatent.compat.compressai._coder import BufferedRansEncoder, RansDecoder, RansEncoder, pmf_to_quantized_cdf
from pylatent.compat.compressai._tables import coder, prepare
from pylatent.errors import PylatentWarning

TESTED = ((1, 2, 6), (1, 2, 8))


def install() -> None:
    """Makes CompressAI use this coder. Calls nest: as many `uninstall` undo it. Supports CompressAI 1.2.6 to 1.2.8.

    Raises ImportError: CompressAI is not installed. RuntimeError: the native core is missing (CompressAI's own coder is
    then faster), or this CompressAI lacks something that would have to be replaced.
    """
    _installation.install()


def uninstall() -> None:
    """Undoes one `install`; the last one restores every attribute of CompressAI. RuntimeError if not installed."""
    _installation.uninstall()


def installed() -> contextlib.AbstractContextManager[None]:
    """`install` for the time of a `with` block."""
    return _installation.installed()


def _replace_all() -> Callable[[], None]:
    reason = _native.why_not_native()
    if reason is not None:
        raise RuntimeError(f"`install` needs the native core, without which CompressAI's own coder is faster: {reason}")
    try:
        models = importlib.import_module("compressai.entropy_models.entropy_models")
        ans, cxx = importlib.import_module("compressai.ans"), importlib.import_module("compressai._CXX")
    except ImportError as error:
        raise ImportError(f"`install` needs CompressAI (pip install 'pylatent[compressai]'): {error}") from error
    _warn_if_untested(importlib.metadata.version("compressai"))
    names: dict[int, tuple[Any, Any]] = {}
    for owner, name, ours in (
        (ans, "RansEncoder", RansEncoder),
        (ans, "BufferedRansEncoder", BufferedRansEncoder),
        (ans, "RansDecoder", RansDecoder),
        (models, "pmf_to_quantized_cdf", pmf_to_quantized_cdf),
        (cxx, "pmf_to_quantized_cdf", pmf_to_quantized_cdf),
    ):
        theirs = _required(owner, name)
        names[id(theirs)] = (theirs, ours)
    attributes = _attributes(models, ans)
    originals = [(owner, name, vars(owner).get(name)) for owner, name, _ in attributes]
    renamed = _rename(names)
    for owner, name, ours in attributes:
        setattr(owner, name, ours)

    def undo() -> None:
        for owner, name, theirs in originals:
            if theirs is None:
                delattr(owner, name)
            else:
                setattr(owner, name, theirs)
        for owner, name, theirs in renamed:
            setattr(owner, name, theirs)
        # Modules imported in the meantime have taken our names; two names of theirs map to one of ours, and only
        # the first of them is meant to be imported.
        _rename({id(ours): (ours, theirs) for theirs, ours in reversed(names.values())})

    return undo


def _attributes(models: ModuleType, ans: ModuleType) -> list[tuple[Any, str, Any]]:
    """The class attributes to set: (class, name, replacement)."""
    proxy, gaussian = _required(models, "_EntropyCoder"), _required(models, "GaussianConditional")
    attributes: list[tuple[Any, str, Any]] = [
        (gaussian, "build_indexes", _build_indexes(_required(gaussian, "build_indexes"))),
        (proxy, "_encoder", _CoderAttribute("_encoder", ans.RansEncoder, RansEncoder)),
        (proxy, "_decoder", _CoderAttribute("_decoder", ans.RansDecoder, RansDecoder)),
    ]
    classes = [_required(models, "EntropyModel")]
    with contextlib.suppress(ImportError):  # has no variable-rate models
        classes.append(
            _required(importlib.import_module("compressai.entropy_models.entropy_models_vbr"), "EntropyModelVbr")
        )
    for cls in classes:
        attributes.append((cls, "compress", _compress(_required(cls, "compress"), _required(cls, "quantize"))))
        attributes.append((cls, "decompress", _decompress(_required(cls, "decompress"))))
    return attributes


def _required(owner: Any, name: str) -> Any:
    if name not in vars(owner):
        raise RuntimeError(f"`install` does not know this version of CompressAI: {owner.__name__} has no `{name}`")
    return vars(owner)[name]


def _warn_if_untested(version: str) -> None:
    numbers = tuple(int(n) for n in re.findall(r"\d+", version)[:3])
    if not TESTED[0] <= numbers <= TESTED[1]:
        message = f"pylatent has been tested with CompressAI 1.2.6 to 1.2.8, and this is {version}"
        warnings.warn(message, PylatentWarning, stacklevel=6)


def _rename(names: dict[int, tuple[Any, Any]]) -> list[tuple[ModuleType, str, Any]]:
    """Points every module-level name in CompressAI that holds a key to its value; returns what the names held."""
    renamed = []
    for module_name, module in list(sys.modules.items()):
        if module_name.split(".")[0] != "compressai":
            continue
        for name, value in list(vars(module).items()):
            if id(value) in names:
                setattr(module, name, names[id(value)][1])
                renamed.append((module, name, value))
    return renamed


class _CoderAttribute:
    """The coder of an `_EntropyCoder`: ours while this descriptor is in place, and theirs again afterwards."""

    def __init__(self, name: str, theirs: type, ours: type) -> None:
        self._name, self._theirs, self._ours = name, theirs, ours
        self._coders: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    def __get__(self, owner: Any, cls: type | None = None) -> Any:
        if owner is None:
            return self
        if owner.name != "ans":
            return owner.__dict__[self._name]
        return self._coders.setdefault(owner, self._ours())

    def __set__(self, owner: Any, value: Any) -> None:
        owner.__dict__[self._name] = self._theirs() if isinstance(value, self._ours) else value


def _compress(theirs: Callable, quantize: Callable) -> Callable:
    def compress(
        self: Any, inputs: Tensor, indexes: Tensor, means: Tensor | None = None, qs: Any = None
    ) -> list[bytes]:
        if self.entropy_coder.name != "ans":
            return theirs(self, inputs, indexes, means, *_given(qs))
        symbols = None
        if qs is not None:
            symbols = _flat(self.quantize_variable(inputs, "symbols", means=means, qs=qs))
        elif type(self).quantize is quantize:
            symbols = _round(inputs, means)
        if symbols is None:
            symbols = _flat(self.quantize(inputs, "symbols", means))
        if inputs.dim() < 2:
            raise ValueError(f"`inputs` must have at least 2 dimensions, got shape {tuple(inputs.shape)}")
        if inputs.shape != indexes.shape:
            raise ValueError(f"`indexes` must have shape {tuple(inputs.shape)}, got {tuple(indexes.shape)}")
        tables = _tables(self)
        count = inputs.shape[0]
        return coder().encode_batch(symbols, _flat(indexes), count, tables, _native.thread_count(None))

    return compress


def _decompress(theirs: Callable) -> Callable:
    def decompress(
        self: Any,
        strings: list[bytes],
        indexes: Tensor,
        dtype: torch.dtype = torch.float,
        means: Tensor | None = None,
        qs: Any = None,
    ) -> Tensor:
        if self.entropy_coder.name != "ans":
            return theirs(self, strings, indexes, dtype, means, *_given(qs))
        if not isinstance(strings, tuple | list):
            raise ValueError(f"`strings` must be a list of bytes, got {type(strings).__name__}")
        if indexes.dim() < 2 or len(strings) != indexes.shape[0]:
            raise ValueError(
                f"`indexes` must have at least 2 dimensions, the first of size {len(strings)} (the number of strings), "
                f"got shape {tuple(indexes.shape)}"
            )
        if means is not None and means.shape != indexes.shape:
            per_channel = indexes.shape[:2] + (1,) * (indexes.dim() - 2)
            if means.shape[: indexes.dim()] != per_channel:
                raise ValueError(
                    f"`means` must have shape {tuple(indexes.shape)} or {tuple(per_channel)}, got {tuple(means.shape)}"
                )
        tables = _tables(self)
        symbols = np.empty(indexes.shape, dtype=np.int32)
        coder().decode_batch(strings, _flat(indexes), symbols, tables, _native.thread_count(None))
        outputs = torch.from_numpy(symbols).to(self._quantized_cdf)
        if qs is None:
            return self.dequantize(outputs, means, dtype)
        return self.dequantize_variable(outputs, means=means, dtype=dtype, qs=qs)

    return decompress


def _build_indexes(theirs: Callable) -> Callable:
    def build_indexes(self: Any, scales: Tensor) -> Tensor:
        if len(self.scale_table) < 2:
            return theirs(self, scales)
        scales = self.lower_bound_scale(scales)
        # The index is the number of thresholds below the scale, compared in the dtype that `scales <= threshold` takes.
        dtype = torch.result_type(scales, self.scale_table[0])
        thresholds = self.scale_table[:-1].to(dtype).sort().values
        if scales.is_cpu and dtype is torch.float32:
            counts = coder().count_below(scales.detach().contiguous().float().numpy(), thresholds.numpy())
            return torch.from_numpy(counts)
        return torch.bucketize(scales.to(dtype), thresholds, out_int32=True)

    return build_indexes


def _given(qs: Any) -> tuple:
    return () if qs is None else (qs,)


def _tables(model: Any) -> Any:
    model._check_cdf_size()
    model._check_cdf_length()
    model._check_offsets_size()
    return prepare(model._quantized_cdf, model._cdf_length, model._offset)


def _round(inputs: Tensor, means: Tensor | None) -> np.ndarray | None:
    """What their `quantize` gives, in one pass over memory; None where that is not provided for."""
    for values in (inputs,) if means is None else (inputs, means):
        if not (
            values.is_cpu and values.dtype is torch.float32 and values.is_contiguous() and values.shape == inputs.shape
        ):
            return None
    return coder().round_residuals(inputs.detach().numpy(), None if means is None else means.detach().numpy())


def _flat(values: Tensor) -> np.ndarray:
    return values.detach().reshape(-1).int().cpu().numpy()


_installation = Installation(_replace_all, "pylatent's coder is not installed in CompressAI")
