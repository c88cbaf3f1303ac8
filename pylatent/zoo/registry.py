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
from pylatent._model_header import FILE_NAME, SUFFIX, Header, read_header
from pylatent.errors import ModelError

if TYPE_CHECKING:
    from pylatent.codecs import CLC
    from pylatent.codecs.base import Codec

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
    """The codec of a name ("default", "default-1", an added one), or of the path of a model file, or of a folder that
    `save_pretrained` wrote, in eval mode. `Codec.from_pretrained` gets one from the Hugging Face hub.

    Raises ModelError if there is no such model, naming those there are.
    """
    from pylatent._threads import at_most
    from pylatent.codecs.model_file import load_codec

    with at_most(1):  # thousands of operators on little data
        return load_codec(path_of(name_or_path)).to(device)


def shared(name_or_path: str | os.PathLike[str] = "default", *, device: str = "cpu") -> Codec:
    """As `load`, but the same object every time: for callers that leave its weights alone."""
    path = path_of(name_or_path)
    return _cached(path, path.stat().st_mtime_ns, device)


def path_of(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a model: of its name, or the path of the file or folder. ModelError if there is none."""
    text = os.fspath(name_or_path)
    if text.endswith(SUFFIX) or os.sep in text:
        return _file_of(text)
    installed = models()
    for model in installed:
        if model.name == resolve(text):
            return model.path
    if os.path.isdir(text):
        return _file_of(text)
    names = ", ".join(model.name for model in installed) or "none"
    raise ModelError(f"there is no model named {text}; installed: {names}. `pylatent models add FILE` adds one")


def _file_of(path: str | os.PathLike[str]) -> Path:
    """The model file that a path names: itself, or that of a folder that `save_pretrained` wrote."""
    file = Path(path) / FILE_NAME if os.path.isdir(path) else Path(path)
    if not file.is_file():
        raise ModelError(f"there is no model file {file}")
    return file


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
    """Install a model file, or that of a folder, under the name that it gives itself, unless it is installed already.

    Receivers beside the full one that the file has replace those that the same model has. The dictionary of a
    conditional codec must lie beside it, and is installed, too.

    Raises ModelError if the file is damaged, or the name taken by another model; OSError.
    """
    from pylatent.codecs import CLC
    from pylatent.codecs.model_file import load_codec

    file = _file_of(path)
    header = read_header(file)
    codec = load_codec(file)  # refuses a damaged file before it is installed
    if isinstance(codec, CLC):
        _install_dictionary(codec)
    return _install(header, file.read_bytes())


def _install_dictionary(codec: CLC) -> None:
    from pylatent.codecs.dictionary import read_facts
    from pylatent.codecs.model_file import dictionary_beside

    dictionary, target = codec.dictionary, dictionary_beside(home() / "any", codec)
    if target.is_file() and (found := read_facts(target)["hash"]) != dictionary.hash:
        raise ModelError(
            f"another dictionary named {dictionary.facts.name} is installed already ({target}, hash {found[:16]}); "
            f"this one has hash {dictionary.hash[:16]}: build it under another name"
        )
    home().mkdir(parents=True, exist_ok=True)
    dictionary.save(target)


def import_checkpoint(
    path: str | os.PathLike[str],
    name: str,
    *,
    lambdas: Sequence[float] | None = None,
    card: dict[str, Any] | None = None,
) -> ModelInfo:
    """Make a model of a checkpoint and install it as `name`.

    It is one of CompressAI's mbt2018-mean or bmshj2018-hyperprior, of TCM or TinyLIC, or of our ResidualHyperprior.
    lambdas: weights of 255² MSE that it was trained with, one a quality; those of a safetensors file's metadata if not
    given.

    Integer tables in the checkpoint are kept, others are built; the exact parameter network is built once, here. Where
    the same weights are installed under that name already, nothing is done. Raises ModelError, OSError.
    """
    from pylatent.codecs.model_file import model_bytes
    from pylatent.zoo.checkpoints import codec_from_checkpoint

    _refuse_alias(name)
    codec = codec_from_checkpoint(path, lambdas)
    card = card or {"imported from": Path(path).name}
    if codec.lambdas is not None:
        card = {**card, "recipe": {"lambdas": list(codec.lambdas)}}
    return _install(*model_bytes(codec, name=name, card=card))


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
            "which decodes the same files, with the receivers that it has"
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
