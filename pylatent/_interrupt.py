"""Ctrl-C and SIGTERM of the command line: always a clean end, whatever was going on.

A KeyboardInterrupt inside an import is swallowed or turned into other errors by half-imported modules, so a command
that is interrupted there ends at once. Anywhere else it unwinds by SystemExit, which no library takes for an error.
"""

from __future__ import annotations

# `signal`, `contextlib` and `typing` take 25 ms to import, and until `install` has run Ctrl-C is a traceback.
import _signal  # type: ignore[import-not-found]
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

INTERRUPTED, TERMINATED = 130, 143
_WORDS = {INTERRUPTED: "interrupted", TERMINATED: "terminated"}
_SHOW_CURSOR = "\033[?25h"

_pressed: int | None = None


def pressed() -> int | None:
    """The exit code that the user has asked for by Ctrl-C or a signal, or None."""
    return _pressed


def install() -> None:
    """Handles Ctrl-C and SIGTERM from here on."""
    _signal.signal(_signal.SIGINT, on_signal)
    _signal.signal(_signal.SIGTERM, on_signal)


def ignore() -> None:
    """From here on neither does anything: the command has done its work, and what is left is Python's own end."""
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
    _signal.signal(_signal.SIGTERM, _signal.SIG_IGN)


class handled:
    """In the block both are handled, after it as before."""

    def __enter__(self) -> None:
        self._before = _signal.getsignal(_signal.SIGINT), _signal.getsignal(_signal.SIGTERM)
        install()

    def __exit__(self, *exception: object) -> None:
        global _pressed
        _signal.signal(_signal.SIGINT, self._before[0])
        _signal.signal(_signal.SIGTERM, self._before[1])
        _pressed = None


def on_signal(number: int, frame: FrameType | None) -> None:
    """Ends the command: by SystemExit, or within an import at once."""
    global _pressed
    _pressed = INTERRUPTED if number == _signal.SIGINT else TERMINATED
    if _importing(frame):
        _leave(_pressed)
    raise SystemExit(_pressed)


def message(code: int) -> str:
    """What is said at the end of a command that was ended by a signal."""
    return _WORDS[code]


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _leave(code: int) -> None:
    """Ends the process without unwinding; files that are being written vanish, child processes end with their pipes."""
    remove = getattr(sys.modules.get("pylatent._files"), "remove_temporary_files", None)
    if remove is not None:
        remove()
    try:  # noqa: SIM105
        os.write(2, f"{_SHOW_CURSOR if os.isatty(2) else ''}pylatent: {_WORDS[code]}\n".encode())
    except OSError:
        pass
    os._exit(code)
