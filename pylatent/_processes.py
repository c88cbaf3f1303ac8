"""Processes of this machine that work for this one: lines go in, lines of JSON come back."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

from pylatent import _files


class Process:
    """A process with one thread that answers lines; it is started by the first one, and ends with its standard input.

    module: what it runs, by `python -m`. arguments: the rest of its command line. May be used from any one thread, and
    `kill` from another.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._process: subprocess.Popen[str] | None = None
        self._killed = False

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def ask(self, line: str) -> Iterator[dict[str, Any]]:
        """What the process says after a line, until it ends or the reader has heard enough."""
        try:
            if self._process is None:
                self._process = _start(self._command)
                if self._killed:
                    self._process.terminate()
            stdin, stdout = self._process.stdin, self._process.stdout
            assert stdin is not None
            assert stdout is not None
            stdin.write(f"{line}\n")
            stdin.flush()
            for answer in stdout:
                yield json.loads(answer)
        except (OSError, ValueError):
            return

    def end(self) -> int | None:
        """Lets the process end; its exit code, or None if there was no process."""
        process, self._process = self._process, None
        if process is None:
            return None
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            code = process.wait(_PATIENCE if self._killed else None)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        process.stdout.close()
        return code

    def kill(self) -> None:
        """Ends the process, whatever it does, and any that would be started later; a file half-written vanishes."""
        self._killed = True
        process = self._process
        if process is not None:
            process.terminate()


def _start(command: list[str]) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    with _without_interrupts():
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment
        )


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ctrl-C reaches a whole process group; processes that are started in the block do not hear it."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Lines:
    """The other side: lines that come in. When they end or SIGTERM comes, so does the process, whatever it does.

    Standard output is taken over for `say`; what else prints goes to standard error.
    """

    def __init__(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the starter decides
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        if sys.platform != "win32":  # where terminating a process asks nobody
            # A thread waits for it, all others block it: a handler would have to wait for this one's kernels.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            threading.Thread(target=self._await_termination, daemon=True).start()
        threading.Thread(target=self._listen, daemon=True).start()

    def take(self) -> str:
        """The next line; waits for it."""
        return self._lines.get()

    def say(self, **answer: object) -> None:
        self._out.write(json.dumps(answer) + "\n")
        self._out.flush()

    def _listen(self) -> None:
        for line in sys.stdin:
            self._lines.put(line.rstrip("\n"))
        _files.remove_temporary_files()
        os._exit(_ENDED)

    def _await_termination(self) -> None:
        signal.sigwait({signal.SIGTERM})
        _files.remove_temporary_files()
        os._exit(_ENDED)


_ENDED = 3
_PATIENCE = 5.0  # seconds that a process is given to remove what it is writing
