"""Models by name: those shipped inside the package, and those that the user has added.

Released weights have versioned names and are never changed or removed; "default" is an alias, resolved when encoding.
User models lie in PYLATENT_HOME (by default the platform's data folder), one file each.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pylatent._files import write_bytes
from pylatent.errors import ModelError
from pylatent.zoo.header import SUFFIX, Header, read_header

if TYPE_CHECKING:
    from pylatent.codecs.base import Codec
    from pylatent.codecs.chain import Chain

ALIASES = {"default": "default-2"}
_SHIPPED = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class ModelInfo:
    """A model that can be used by name. `size` is that of its file in bytes; `shipped`: it came with the package."""

    name: str
    path: Path
    size: int
    shipped: bool
    header: Header


def resolve(name: str) -> str:
    """The versioned name that an alias stands for; other names are returned as they are."""
    return ALIASES.get(name, name)


def home() -> Path:
    """The folder of the user's models; it need not exist."""
    if "PYLATENT_HOME" in os.environ:
        return Path(os.environ["PYLATENT_HOME"])
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "pylatent" / "models"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "pylatent" / "models"
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "pylatent" / "models"


def models() -> list[ModelInfo]:
    """All models that are installed, the shipped ones first. Files that are not models are passed over."""
    found = []
    for folder in (_SHIPPED, home()):
        for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []:
            try:
                header = read_header(path)
            except ModelError:
                continue
            found.append(ModelInfo(header.name, path, path.stat().st_size, folder == _SHIPPED, header))
    return found


def load(name_or_path: str | os.PathLike[str] = "default", *, device: str = "cpu") -> Codec:
    """The codec of a name ("default", "default-1", an added one) or of a model file's path, in eval mode.

    Raises ModelError if there is no such model, naming those there are.
    """
    from pylatent._threads import at_most
    from pylatent.zoo.store import load_codec

    with at_most(1):  # thousands of operators on little data
        return load_codec(path_of(name_or_path)).to(device)


def shared(name_or_path: str | os.PathLike[str] = "default", *, device: str = "cpu") -> Codec:
    """As `load`, but the same object every time: for callers that leave its weights alone."""
    path = path_of(name_or_path)
    return _cached(path, path.stat().st_mtime_ns, device)


def path_of(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a model by name or path. Raises ModelError if there is none, naming those there are."""
    text = os.fspath(name_or_path)
    if text.endswith(SUFFIX) or os.sep in text:
        if not Path(text).is_file():
            raise ModelError(f"there is no model file {text}")
        return Path(text)
    installed = models()
    for model in installed:
        if model.name == resolve(text):
            return model.path
    names = ", ".join(model.name for model in installed) or "none"
    raise ModelError(f"there is no model named {text}; installed: {names}. `pylatent models add FILE` adds one")


def find(name: str, model_hash: bytes, *, device: str = "cpu") -> Codec:
    """The installed codec whose fingerprint begins with `model_hash`, as a file's header gives it.

    Raises ModelError if it is not installed: `name` is what the file calls it.
    """
    for model in models():
        if bytes.fromhex(model.header.hash).startswith(model_hash):
            return _cached(model.path, model.path.stat().st_mtime_ns, device)
    raise ModelError(
        f"this file was written by model {name} with hash {model_hash.hex()}, which is not installed; "
        f"get its model file and run `pylatent models add FILE`"
    )


@lru_cache(maxsize=4)
def _cached(path: Path, modified: int, device: str) -> Codec:
    return load(path, device=device)


def installed(name: str) -> ModelInfo | None:
    """The installed model of a name or alias, or None."""
    return next((model for model in models() if model.name == resolve(name)), None)


def add(path: str | os.PathLike[str]) -> ModelInfo:
    """Install a model file under the name that it gives itself; nothing is done where it is installed already.

    A light receiver that the file has is added to the same model, or replaces the one it has.

    Raises ModelError if the file is damaged, or the name taken by another model; OSError.
    """
    from pylatent.zoo.store import load_codec

    header = read_header(path)
    load_codec(path)  # refuses a damaged file before it is installed
    return _install(header, Path(path).read_bytes())


def import_checkpoint(
    path: str | os.PathLike[str],
    name: str,
    *,
    lambdas: Sequence[float] | None = None,
    card: dict[str, Any] | None = None,
) -> ModelInfo:
    """Make a model of a checkpoint and install it as `name`.

    It is one of CompressAI's mbt2018-mean or bmshj2018-hyperprior, or of our ResidualHyperprior. lambdas: weights of
    255² MSE that it was trained with, one a quality; those of a safetensors file's metadata if not given.

    Integer tables in the checkpoint are kept, others are built; the exact parameter network is built once, here. Where
    the same weights are installed under that name already, nothing is done. Raises ModelError, OSError.
    """
    from pylatent.zoo.store import model_bytes

    _refuse_alias(name)
    codec = codec_from_checkpoint(path, lambdas)
    card = card or {"imported from": Path(path).name}
    if codec.lambdas is not None:
        card = {**card, "recipe": {"lambdas": list(codec.lambdas)}}
    return _install(*model_bytes(codec, name=name, card=card))


def codec_from_checkpoint(path: str | os.PathLike[str], lambdas: Sequence[float] | None = None) -> Chain:
    """A codec ready for coding from a checkpoint file, as `import_checkpoint` takes it. Raises ModelError."""
    from pylatent.codecs.residual import residual_from_state_dict
    from pylatent.codecs.state_dicts import from_compressai, hyperprior_from_compressai
    from pylatent.zoo.store import read_checkpoint, read_lambdas

    state, known = read_checkpoint(Path(path)), tuple(lambdas or read_lambdas(Path(path)))
    parameters = from_compressai(state)
    if any(name.endswith(".conv1.weight") for name in parameters):
        residual = residual_from_state_dict(parameters, known)
        residual.fit_prior()
        residual.update()
        return residual
    codec, tables = hyperprior_from_compressai(state)
    if known and len(known) != (1 if codec.gain is None else len(codec.gain)):
        raise ModelError(f"the checkpoint has {codec.qualities or 'a fixed rate'}, but {len(known)} lambdas are given")
    codec.lambdas = known or None
    codec.update(tables)
    return codec


def remove(name: str) -> ModelInfo:
    """Remove a model that was added; its files can then no longer be decoded here.

    Raises ModelError for models of the package, which are never removed, and for unknown ones; OSError.
    """
    model = installed(name)
    if model is None:
        names = ", ".join(model.name for model in models() if not model.shipped) or "none"
        raise ModelError(f"there is no model named {name}; added ones: {names}")
    if model.shipped:
        raise ModelError(f"{model.name} came with the package, and is never removed: files written with it need it")
    model.path.unlink()
    return model


def _install(header: Header, data: bytes) -> ModelInfo:
    _refuse_alias(header.name)
    known = installed(header.name)
    same = known is not None and known.header.hash == header.hash
    if known is not None and same and (known.header.light == header.light or not header.light):
        return known
    if known is not None and same and known.shipped:
        raise ModelError(
            f"{known.name} came with the package and is never changed; pass the file itself as the model, "
            "which decodes the same files, with the light receiver that it has"
        )
    if known is not None and not same:
        raise ModelError(
            f"a different model named {header.name} is installed already ({known.path}); choose another name, or run "
            f"`pylatent models remove {header.name}` first"
        )
    home().mkdir(parents=True, exist_ok=True)
    target = home() / f"{header.name}{SUFFIX}"
    write_bytes(target, data)
    return ModelInfo(header.name, target, len(data), False, header)


def _refuse_alias(name: str) -> None:
    if name in ALIASES:
        raise ModelError(f"{name} is an alias of {ALIASES[name]} and cannot be the name of a model")
