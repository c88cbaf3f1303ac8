"""Files: which are taken for pictures; outputs appear whole or not at all (temporary name, flush, rename)."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_PICTURES = re.compile(r"\.(avif|bmp|gif|jp2|jpe?g|p[bgnp]m|png|tga|tiff?|webp)", re.IGNORECASE)

temporary_files: set[str] = set()
"""Those being written, for whoever ends the process without unwinding it."""
_creating = threading.RLock()  # of a thread that may be interrupted while it holds it, by a handler that takes it


def is_picture(path: Path) -> bool:
    """Whether a folder's file is taken for a picture, by its extension."""
    return _PICTURES.fullmatch(path.suffix) is not None


def is_lat(path: Path) -> bool:
    """Whether a folder's file is taken for a .lat file, by its extension."""
    return path.suffix.lower() == ".lat"


def remove_temporary_files() -> None:
    """For whoever is about to end the process without unwinding it: no other thread creates one from here on."""
    _creating.acquire()
    for path in tuple(temporary_files):
        with contextlib.suppress(OSError):
            os.unlink(path)


@contextlib.contextmanager
def atomic_writer(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file that takes the name `path` when the block ends without an exception, and vanishes otherwise.

    The temporary file lies in the folder of `path`, so that the final rename stays within one file system. A symbolic
    link is followed, the permissions of a replaced file are kept, and what is no regular file (`/dev/null`, a named
    pipe) is written directly. Raises OSError as `open` and `write` do.
    """
    target = Path(os.path.realpath(path))
    mode = target.stat().st_mode if target.exists() else None
    if mode is not None and not stat.S_ISREG(mode):
        try:
            with open(target, "wb") as direct:
                yield direct
        except OSError as error:
            _name(error, path)
            raise
        return
    temporary = target.with_name(f".{target.name[:100]}.{os.urandom(4).hex()}.tmp")
    descriptor = -1
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with _creating:
            temporary_files.add(str(temporary))
            descriptor = os.open(temporary, flags, 0o666 if mode is None else stat.S_IMODE(mode))
        with open(descriptor, "wb") as file:
            descriptor = -1
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        if descriptor >= 0:
            os.close(descriptor)
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        _name(error, path)
        raise
    finally:
        temporary_files.discard(str(temporary))


def _name(error: BaseException, path: str | os.PathLike[str]) -> None:
    """Makes an OSError name the file that was asked for: a failed write names none, `open` the temporary one."""
    if isinstance(error, OSError):
        error.filename = os.fspath(path)
        error.filename2 = None


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes `data` to `path` as `atomic_writer` does."""
    with atomic_writer(path) as file:
        file.write(data)
