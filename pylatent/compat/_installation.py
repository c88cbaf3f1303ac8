"""A replacement for the whole process that nests: as many `uninstall` as `install` undo it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


class Installation:
    """`replace` puts the replacement in place and returns what undoes it; `missing` says that it is not in place."""

    def __init__(self, replace: Callable[[], Callable[[], None]], missing: str) -> None:
        self._replace, self._missing = replace, missing
        self._lock = threading.Lock()
        self._depth = 0
        self._undo: Callable[[], None] | None = None

    def install(self) -> None:
        with self._lock:
            if self._depth == 0:
                self._undo = self._replace()
            self._depth += 1

    def uninstall(self) -> None:
        with self._lock:
            if self._undo is None:
                raise RuntimeError(f"{self._missing}: `install` must be called first")
            self._depth -= 1
            if self._depth == 0:
                self._undo()
                self._undo = None

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        self.install()
        try:
            yield
        finally:
            self.uninstall()
