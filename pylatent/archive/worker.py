"""A process that makes shards: their numbers come in on standard input, lines of JSON go out for what happens."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from pylatent._processes import Lines


def work(folder: Path, model: str, max_pixels: int | None = None) -> None:
    lines = Lines()
    import torch

    from pylatent import zoo
    from pylatent.archive.encode import make_shard

    torch.set_num_threads(1)
    codec = zoo.load(model)
    while True:
        number = int(lines.take())
        try:
            report = make_shard(codec, folder, number, max_pixels=max_pixels, advance=lambda n: lines.say(advance=n))
        except Exception as error:
            lines.say(error=f"{type(error).__name__}: {error}")
        else:
            lines.say(report=asdict(report))


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
