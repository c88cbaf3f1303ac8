"""The bytes of an archive's files: on this machine mapped into memory, behind a URL read in ranges, ahead of their use.

URLs are those of fsspec (the extra `remote`): http, s3, gs, memory, …. A range that does not arrive whole is asked for
again; what never arrives is an OSError, so that nothing half-read is taken for a damaged record, or for a whole one.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pylatent.errors import FormatError, PylatentError

Result = TypeVar("Result")

_BLOCK = 1 << 18  # bytes of a range
_AHEAD = 8  # blocks that are asked for before a reader who goes forward needs them
_KEPT = 12  # blocks in memory, for each file
_WAITS = (0.0, 0.25, 1.0)  # seconds before each attempt
_REQUESTS = 16  # at a time, of a process
_AGAIN = (408, 429)  # of the client errors of HTTP, those that pass


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a URL of fsspec."""
    return isinstance(path, str) and "://" in path


def place_of(path: str | os.PathLike[str]) -> Path | str:
    """A path as such, a URL without a slash at its end."""
    return path.rstrip("/") if isinstance(path, str) and is_url(path) else Path(path)


def open_bytes(path: str) -> mmap.mmap | RemoteBytes:
    """The bytes of a file. Raises OSError, and FormatError if it is empty."""
    if is_url(path):
        data = RemoteBytes(path)
        if not len(data):
            raise FormatError(f"{path}: byte 0: the file is empty")
        return data
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise FormatError(f"{path}: byte 0: the file is empty")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


class RemoteBytes:
    """A file behind a URL: `len()`, `data[a:b]`, `data[i]`. Threads may share it; processes that fork may not."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._system, self._path = _system(url)
        size = _persistent(url, lambda: self._system.info(self._path).get("size"))
        if size is None:
            raise OSError(f"{url}: the server does not say how long the file is: copy it to this machine")
        self._size = int(size)
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._lock = threading.Lock()
        self._last = -1
        self._current = -1, b""  # the block that was used last

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: Any) -> Any:
        if not isinstance(part, slice):
            return self[part : part + 1][0]
        start, end, _ = part.indices(self._size)
        if start >= end:
            return b""
        first, last = start // _BLOCK, (end - 1) // _BLOCK
        number, data = self._current
        if first == last == number:
            return data[start - first * _BLOCK : end - first * _BLOCK]
        with self._lock:
            wanted = [self._block(number) for number in range(first, last + 1)]
            if first in (self._last, self._last + 1):  # a reader who goes forward
                for number in range(last + 1, min(last + 1 + _AHEAD, -(-self._size // _BLOCK))):
                    self._block(number)
            self._last = last
            while len(self._blocks) > max(_KEPT, len(wanted)):
                self._blocks.popitem(last=False)
        blocks = [block.result() for block in wanted]
        self._current = last, blocks[-1]
        data = blocks[0] if first == last else b"".join(blocks)
        return data[start - first * _BLOCK : end - first * _BLOCK]

    def close(self) -> None:
        with self._lock:
            self._blocks.clear()
            self._current = -1, b""

    def _block(self, number: int) -> Future[bytes]:
        found = self._blocks.get(number)
        if found is None or (found.done() and found.exception() is not None):
            start = number * _BLOCK
            found = _requests().submit(self._fetch, start, min(start + _BLOCK, self._size))
            self._blocks[number] = found
        self._blocks.move_to_end(number)
        return found

    def _fetch(self, start: int, end: int) -> bytes:
        def range_of_file() -> bytes:
            data = self._system.cat_file(self._path, start=start, end=end)
            if len(data) > end - start:
                raise _NoRanges(
                    f"{self.url}: of {end - start} bytes that were asked for, the server sent {len(data)}: it does not "
                    "serve ranges; copy the shard to this machine, or use a server that does"
                )
            if len(data) < end - start:
                raise OSError(errno.EIO, f"{len(data)} of bytes {start} to {end} arrived")
            return bytes(data)

        return _persistent(self.url, range_of_file)


class _NoRanges(OSError):
    pass


def list_files(url: str, suffix: str) -> list[str]:
    """The URLs of a folder's files that end so, sorted; where the server lists none, of the shards in archive.json.

    Raises FormatError if there are none, OSError, PylatentError.
    """
    system, path = _system(url)
    reason: object = "its list names none"
    try:
        entries = _persistent(url, lambda: system.ls(path, detail=False))
    except OSError as error:
        entries, reason = [], error
    found = sorted(entry for entry in entries if entry.endswith(suffix) and not Path(entry).name.startswith("."))
    if found:
        return [system.unstrip_protocol(entry) for entry in found]
    try:
        plan = json.loads(_persistent(url, lambda: system.cat_file(f"{path}/archive.json")))
        return [f"{url}/shard-{number:05}{suffix}" for number, count in enumerate(plan["shards"]) if count]
    except (OSError, ValueError, KeyError, TypeError):
        text = f"{url}: no archive: the folder holds no shard (*{suffix}) and no archive.json: {reason}"
        raise FormatError(text) from None


def names_file(url: str, suffix: str) -> bool:
    """Whether a URL is that of a file that ends so, rather than a folder's."""
    return urlsplit(url).path.endswith(suffix) or url.endswith(suffix)


def _system(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise PylatentError(f"{url}: URLs need fsspec: pip install 'pylatent[remote]' ({error})") from error
    try:
        return url_to_fs(url)
    except (ImportError, ValueError) as error:  # of packages for s3, gs …, and unknown protocols
        raise PylatentError(f"{url}: fsspec cannot open this: {error}") from error


def _persistent(url: str, work: Callable[[], Result]) -> Result:
    """What `work` returns, tried again where that makes sense; OSError."""
    reason: BaseException | None = None
    for wait in _WAITS:
        time.sleep(wait)
        try:
            return work()
        except _NoRanges:
            raise
        except PermissionError as error:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), url) from error
        except Exception as error:  # each file system has its own
            reason = error
            if isinstance(error, FileNotFoundError) and error.__cause__ is not None:
                reason = error.__cause__  # fsspec calls it so, whatever a server answers when asked for a size
            status = getattr(reason, "status", None)
            if status == 404 or isinstance(reason, FileNotFoundError):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url) from error
            if isinstance(status, int) and 400 <= status < 500 and status not in _AGAIN:
                break
    text = " ".join(str(reason).split()) or type(reason).__name__
    raise OSError(f"{url}: cannot be read: {text}") from reason


_pool: ThreadPoolExecutor | None = None


def _requests() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(_REQUESTS, thread_name_prefix="pylatent-remote")
    return _pool


def _forget_pool() -> None:
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)  # its threads are not there
