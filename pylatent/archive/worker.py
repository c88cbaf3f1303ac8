"""A process that makes shards: numbers of shards come in on standard input, a line of JSON goes out for what happens.

Started by `run.py`; ends with its standard input, at once, so that no process outlives the one that started it.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path

_ENDED = 3


def work(folder: Path, model: str) -> None:
    import torch

    from pylatent import zoo
    from pylatent.archive.encode import make_shard

    numbers: queue.SimpleQueue[int] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(numbers,), daemon=True).start()
    torch.set_num_threads(1)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else prints does not disturb the protocol

    def say(**content: object) -> None:
        out.write(json.dumps(content) + "\n")
        out.flush()

    codec = zoo.load(model)
    while True:
        number = numbers.get()
        try:
            say(report=asdict(make_shard(codec, folder, number, advance=lambda n: say(advance=n))))
        except Exception as error:
            say(error=f"{type(error).__name__}: {error}")


def _listen(numbers: queue.SimpleQueue[int]) -> None:
    for line in sys.stdin:
        numbers.put(int(line))
    os._exit(_ENDED)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the starter decides
    work(Path(sys.argv[1]), sys.argv[2])
