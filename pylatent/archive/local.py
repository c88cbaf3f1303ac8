"""Shards made by processes of this machine, each with one thread."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from pylatent._processes import Process
from pylatent.archive.report import ShardReport, report_of

_ATTEMPTS = 2

_Event = tuple[int, "ShardReport | str | int"]  # shard, and its report, why it is lost, or pictures dealt with


def make_shards(
    folder: Path,
    numbers: Sequence[int],
    model: str,
    workers: int,
    advance: Callable[[int], None],
    max_pixels: int | None = None,
) -> Generator[tuple[int, ShardReport | str], None, None]:
    """Makes the shards; yields, as they are finished, each number with its report, or with why it could not be made.

    A process that dies is replaced, and its shard tried once more. Processes do not outlive this iterator.
    """
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in numbers:
        todo.put(number)
    events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
    arguments = (os.path.abspath(folder), model, *(() if max_pixels is None else (str(max_pixels),)))
    hands = [_Hand(arguments, todo, events) for _ in range(min(workers, len(numbers)))]
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
        self, arguments: Sequence[str], todo: queue.SimpleQueue[int], events: queue.SimpleQueue[_Event]
    ) -> None:
        self._todo, self._events = todo, events
        self._process = Process("pylatent.archive.worker", *arguments)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the process, whatever it does; a shard that it has not finished does not exist."""
        self._stopped.set()
        self._process.kill()
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
            self._process.end()

    def _make(self, number: int) -> ShardReport | str:
        reason = ""
        for _ in range(_ATTEMPTS):
            done = 0
            for message in self._process.ask(str(number)):
                if "report" in message:
                    return report_of(message["report"])
                if "error" in message:
                    return str(message["error"])
                done += message["advance"]
                self._events.put((number, message["advance"]))
            reason = f"its process ended with code {self._process.end()}"
            self._events.put((number, -done))
            if self._stopped.is_set():
                break
        return reason
