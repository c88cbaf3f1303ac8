"""Published checkpoints: PyTorch's format with code refused, or safetensors, and the codecs that they describe."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pylatent._model_header import SUFFIX
from pylatent.codecs.base import Codec
from pylatent.codecs.residual import residual_from_state_dict
from pylatent.codecs.state_dicts import (
    from_compressai,
    hyperprior_from_compressai,
    tcm_from_state_dict,
    tinylic_from_state_dict,
)
from pylatent.coding.tables import CdfTables
from pylatent.errors import ModelError


def codec_from_checkpoint(path: str | os.PathLike[str], lambdas: Sequence[float] | None = None) -> Codec:
    """A codec ready for coding from a checkpoint file, as `import_checkpoint` takes it. Raises ModelError."""
    state, known = read_checkpoint(Path(path)), tuple(lambdas or read_lambdas(Path(path)))
    parameters = from_compressai(state)
    if any(name.startswith("lrp_transforms.") for name in parameters):
        return _prepared(*tcm_from_state_dict(state), known)
    if any(name.startswith("sc_transform_1.") for name in parameters):
        return _prepared(*tinylic_from_state_dict(state), known)
    if any(name.endswith(".conv1.weight") for name in parameters):
        residual = residual_from_state_dict(parameters, known)
        residual.fit_prior()
        residual.update()
        return residual
    return _prepared(*hyperprior_from_compressai(state), known)


def _prepared(codec: Codec, tables: tuple[CdfTables, CdfTables] | None, lambdas: tuple[float, ...]) -> Codec:
    if lambdas and len(lambdas) != (1 if codec.qualities is None else codec.qualities[1]):
        raise ModelError(
            f"the checkpoint has {codec.qualities or 'a fixed rate'}, but {len(lambdas)} lambdas are given"
        )
    codec.lambdas = lambdas or None
    codec.update(tables)
    return codec


def read_lambdas(path: Path) -> tuple[float, ...]:
    """The weights of the distortion that a safetensors checkpoint's metadata give as "lambdas", numbers and spaces."""
    if path.suffix != SUFFIX:
        return ()
    try:
        with safe_open(path, framework="pt") as file:
            return tuple(float(value) for value in (file.metadata() or {}).get("lambdas", "").split())
    except (OSError, SafetensorError, ValueError) as error:
        raise ModelError(f"{path} has metadata that cannot be read: {error}") from error


def why_not_pickles() -> str | None:
    """The reason why PyTorch's format is refused, or None: `weights_only` of torch before 2.10 let code through."""
    if torch.__version__ >= "2.10":  # a TorchVersion, which compares numbers
        return None
    return (
        f"files of PyTorch's format are read by torch 2.10 or newer, since older ones can be made to run code in them, "
        f"and this is {torch.__version__}; update torch, or use a {SUFFIX} file of the same tensors"
    )


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Tensors of a published checkpoint: safetensors, or PyTorch's format with code refused.

    Raises ModelError if it is none, or one of PyTorch's format while `why_not_pickles` gives a reason.
    """
    if path.suffix == SUFFIX:
        try:
            with safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path} cannot be read as a checkpoint: {error}") from error
    if path.exists() and (reason := why_not_pickles()) is not None:
        raise ModelError(f"{path} cannot be read as a checkpoint: {reason}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds; every one means that the file is not usable
        # torch's own text would advise to run the code in the file.
        refused = isinstance(error, pickle.UnpicklingError)
        reason = "it is damaged, or holds more than tensors" if refused else str(error).partition("\n")[0]
        if isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        raise ModelError(f"{path} cannot be read as a checkpoint: {reason}") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"{path} does not hold a state dict of tensors")
    return state
