"""Numbered jobs done by processes of this machine, each with one thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any

from pylatent._processes import Process

_ATTEMPTS = 2

Report = dict[str, Any]
_Event = tuple[int, "Report | str | int"]  # job, and its report, why it is lost, or how far it is


def do_jobs(
    module: str, arguments: Sequence[str], numbers: Sequence[int], workers: int, advance: Callable[[int], None]
) -> Generator[tuple[int, Report | str], None, None]:
    """Does the jobs; yields, as they are finished, each number with its report, or with why it could not be done.

    module: run by `python -m` with `arguments`, it is told numbers by lines, and says (pylatent._processes.Lines)
    `advance` with a count any number of times, then `report` or `error`. advance: is told these counts.

    A process that dies is replaced, and its job tried once more. Processes do not outlive this iterator.
    """
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in numbers:
        todo.put(number)
    events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
    hands = [_Hand(module, arguments, todo, events) for _ in range(min(workers, len(numbers)))]
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
    """A thread that hands jobs to a process of its own and listens to it."""

    def __init__(
        self, module: str, arguments: Sequence[str], todo: queue.SimpleQueue[int], events: queue.SimpleQueue[_Event]
    ) -> None:
        self._todo, self._events = todo, events
        self._process = Process(module, *arguments)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the process, whatever it does; a job that it has not finished is not done."""
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
                    outcome = self._do(number)
                except Exception as error:  # the iterator waits for an outcome of every job
                    outcome = f"{type(error).__name__}: {error}"
                self._events.put((number, outcome))
        finally:
            self._process.end()

    def _do(self, number: int) -> Report | str:
        reason = ""
        for _ in range(_ATTEMPTS):
            done = 0
            for message in self._process.ask(str(number)):
                if "report" in message:
                    report: Report = message["report"]
                    return report
                if "error" in message:
                    return str(message["error"])
                done += message["advance"]
                self._events.put((number, message["advance"]))
            reason = f"its process ended with code {self._process.end()}"
            self._events.put((number, -done))
            if self._stopped.is_set():
                break
        return reason
