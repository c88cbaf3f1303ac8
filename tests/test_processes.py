"""Processes that work for this one leave nothing half-written, however they end."""

import sys

import pytest

from pylatent._processes import Process

WORKER = """
import time
from pylatent import _files
from pylatent._processes import Lines

lines = Lines()
path = lines.take()
with _files.atomic_writer(path) as file:
    file.write(b"half")
    lines.say(begun=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a terminated process is not asked there")
@pytest.mark.parametrize("how", ["kill", "end"])
def test_half_a_file_vanishes(tmp_path, monkeypatch, how):
    code = tmp_path / "code"
    code.mkdir()
    (code / "half_a_file.py").write_text(WORKER)
    monkeypatch.syspath_prepend(str(code))
    process = Process("half_a_file")
    answers = process.ask(str(tmp_path / "out"))
    assert next(answers) == {"begun": True}
    assert len(list(tmp_path.glob(".out*"))) == 1
    if how == "kill":
        process.kill()
    assert process.end() == 3
    assert list(tmp_path.iterdir()) == [code]
