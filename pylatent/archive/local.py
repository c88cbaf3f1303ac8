"""Shards made by processes of this machine, each with one thread."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from pylatent.archive.report import ShardReport, report_of

_ATTEMPTS = 2

_Event = tuple[int, "ShardReport | str | int"]  # shard, and its report, why it is lost, or pictures dealt with


def make_shards(
    folder: Path, numbers: Sequence[int], model: str, workers: int, advance: Callable[[int], None]
) -> Generator[tuple[int, ShardReport | str], None, None]:
    """Makes the shards; yields, as they are finished, each number with its report, or with why it could not be made.

    A process that dies is replaced, and its shard tried once more. Processes do not outlive this iterator.
    """
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in numbers:
        todo.put(number)
    events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
    hands = [_Hand(folder, model, todo, events) for _ in range(min(workers, len(numbers)))]
    try:
        left = len(numbers)
        while left:
            number, event = events.get()
            if isinstance(event, int):
                advance(event)
            else:
                left -= 1
                yield number, event
    finally:
        for hand in hands:
            hand.stop()


class _Hand:
    """A thread that hands shards to a process of its own and listens to it."""

    def __init__(
        self, folder: Path, model: str, todo: queue.SimpleQueue[int], events: queue.SimpleQueue[_Event]
    ) -> None:
        self._command = [sys.executable, "-m", "pylatent.archive.worker", os.path.abspath(folder), model]
        self._todo, self._events = todo, events
        self._process: subprocess.Popen[str] | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the process, whatever it does; a shard that it has not finished does not exist."""
        self._stopped.set()
        process = self._process
        if process is not None:
            process.kill()
        self._thread.join()

    def _work(self) -> None:
        try:
            while not self._stopped.is_set():
                try:
                    number = self._todo.get_nowait()
                except queue.Empty:
                    return
                try:
                    outcome = self._make(number)
                except Exception as error:  # the iterator waits for an outcome of every shard
                    outcome = f"{type(error).__name__}: {error}"
                self._events.put((number, outcome))
        finally:
            self._end()

    def _make(self, number: int) -> ShardReport | str:
        reason = ""
        for _ in range(_ATTEMPTS):
            done = 0
            for message in self._messages(number):
                if "report" in message:
                    return report_of(message["report"])
                if "error" in message:
                    return str(message["error"])
                done += message["advance"]
                self._events.put((number, message["advance"]))
            reason = f"its process ended with code {self._end()}"
            self._events.put((number, -done))
            if self._stopped.is_set():
                break
        return reason

    def _messages(self, number: int) -> Iterator[dict[str, Any]]:
        """What the process says about a shard, until it ends or the reader has heard enough."""
        try:
            if self._process is None:
                self._process = _start(self._command)
                if self._stopped.is_set():
                    self._process.kill()
            stdin, stdout = self._process.stdin, self._process.stdout
            assert stdin is not None
            assert stdout is not None
            stdin.write(f"{number}\n")
            stdin.flush()
            yield from _lines(stdout)
        except (OSError, ValueError):
            return

    def _end(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        code = process.wait()
        process.stdout.close()
        return code


def _start(command: list[str]) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment
    )


def _lines(stdout: IO[str]) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in stdout)
