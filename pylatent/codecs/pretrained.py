"""Models as Hugging Face's libraries keep them: in folders, and on the hub, whose client the extra `hub` installs.

A folder holds one file, `model.safetensors`, which is a model file of pylatent like any other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pylatent._model_header import FILE_NAME, SUFFIX
from pylatent.errors import ModelError, PylatentError

if TYPE_CHECKING:
    from pylatent.codecs.base import Codec

Kind = TypeVar("Kind", bound="Pretrained")


class Pretrained:
    """The part of a codec that stores it and loads it."""

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], *, name: str | None = None, card: Mapping[str, Any] | None = None
    ) -> None:
        """Writes the codec, which must be ready for coding (`update`), into a folder, for `from_pretrained`.

        name, card: as the model file is to give them; the codec's own by default. Transforms are stored in half
        precision, so files that were coded with a codec before it was stored may need that codec itself. Raises
        ModelError, ValueError for a name that no model can have, OSError.
        """
        from pylatent.codecs.model_file import save_codec
        from pylatent.coding.container import check_model_name

        codec = cast("Codec", self)
        name, kept = name or codec.name, dict(codec.card or {} if card is None else card)
        check_model_name(name)
        if codec.lambdas is not None and "recipe" not in kept:
            kept["recipe"] = {"lambdas": list(codec.lambdas)}
        folder = Path(save_directory)
        codec.check_ready()
        folder.mkdir(parents=True, exist_ok=True)
        save_codec(codec, folder / FILE_NAME, name=name, card=kept)

    @classmethod
    def from_pretrained(
        cls: type[Kind],
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        device: str = "cpu",
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
    ) -> Kind:
        """The codec of a folder that `save_pretrained` wrote, of a model file, or of a repository of the hub.

        The last (`"owner/name"`, with all options but `device`) is tried where there is no such folder or file, and
        needs the extra `hub`. `Codec.from_pretrained` loads any architecture, a subclass's its own alone. In eval mode.

        Raises ModelError for what is not there, is no model, or is damaged.
        """
        from pylatent.codecs.model_file import load_codec

        given = os.fspath(pretrained_model_name_or_path)
        path = Path(given) / FILE_NAME if os.path.isdir(given) else Path(given)
        if path.exists() or given.endswith(SUFFIX) or os.path.isdir(given):
            if not path.is_file():
                raise ModelError(f"there is no model file {path}")
        else:
            hub = _hub(f"there is no folder {given}, and to look for it on the hub")
            try:
                path = hub.from_pretrained(
                    given,
                    revision=revision,
                    token=token,
                    cache_dir=None if cache_dir is None else os.fspath(cache_dir),
                    force_download=force_download,
                    local_files_only=local_files_only,
                ).path
            except PylatentError:
                raise
            except Exception as error:  # of the hub's client, which has dozens of kinds
                reason = " ".join(str(error).split())[:300]
                raise ModelError(f"there is no folder {given}, nor can it be had from the hub: {reason}") from error
        codec = load_codec(path)
        if not isinstance(codec, cls):
            raise ModelError(f"{given} is a {type(codec).__name__}, not a {cls.__name__}: load it with Codec")
        return codec.to(device)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        branch: str | None = None,
        create_pr: bool | None = None,
        commit_message: str = "Model of pylatent",
    ) -> str:
        """Uploads the model, with a card, to a repository of the hub, and returns the address of the commit.

        Needs the extra `hub`. Raises ModelError unless the codec is ready for coding, and what the hub's client raises.
        """
        codec = cast("Codec", self)
        codec.check_ready()
        hub = _hub("to upload a model")(codec=codec)
        config = {"name": codec.name, "architecture": type(codec).__name__, "arguments": codec.config}
        return hub.push_to_hub(
            repo_id,
            config=config,
            private=private,
            token=token,
            branch=branch,
            create_pr=create_pr,
            commit_message=commit_message,
        )


def _hub(purpose: str) -> Any:
    """huggingface_hub's mixin around a codec, or around the path of a model file that it has downloaded."""
    try:
        from huggingface_hub import ModelHubMixin, hf_hub_download
    except ImportError as error:
        raise ModelError(f"{purpose}, huggingface_hub is needed: pip install 'pylatent[hub]' ({error})") from error

    class Hub(ModelHubMixin, library_name="pylatent", tags=["image-compression"]):  # type: ignore[call-arg]
        def __init__(self, *, codec: Codec | None = None, path: Path | None = None) -> None:
            self.codec, self.path = codec, path

        def _save_pretrained(self, save_directory: Path) -> None:
            assert self.codec is not None
            self.codec.save_pretrained(save_directory)

        @classmethod
        def _from_pretrained(cls, *, model_id: str, **options: Any) -> Hub:
            return cls(path=Path(hf_hub_download(model_id, FILE_NAME, **options)))

    return Hub
