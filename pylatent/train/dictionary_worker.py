"""A process that makes parts of a dictionary's build: numbers come in on standard input, lines of JSON go out."""

from __future__ import annotations

import json
import sys

from pylatent._processes import Lines


def work(description: str) -> None:
    lines = Lines()
    from pylatent.train.dictionary_jobs import Job, make_part

    job = Job(**json.loads(description))
    while True:
        number = int(lines.take())
        try:
            left_out = make_part(number, job)
        except Exception as error:
            lines.say(error=f"{type(error).__name__}: {error}")
        else:
            lines.say(report={"left_out": left_out})


if __name__ == "__main__":
    work(sys.argv[1])
