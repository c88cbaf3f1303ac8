"""Answers that need no network come without torch, which takes seconds to import."""

import subprocess
import sys

import pytest

PROBE = """
import sys
from pylatent.cli import main
try: main(sys.argv[1:])
except SystemExit as end: code = end.code or 0
heavy = [name for name in ("torch", "rich.progress", "rich.markdown", "pylatent._C") if name in sys.modules]
print("CODE", code, *heavy)
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--version"], 0),
        (["--help"], 0),
        (["compress", "--help"], 0),
        (["models", "list"], 0),
        (["models", "remove", "none"], 1),
        (["models", "add", "none.safetensors"], 1),
        (["compress", "none.png"], 1),
        (["compress", "there.png"], 1),
        (["compress", "there.png", "--skip-existing"], 0),
        (["compress", "new.png", "-q", "99"], 2),
        (["compress", "new.png", "--model", "none"], 1),
        (["compress", "there.lat"], 1),
        (["decompress", "new.png"], 1),
        (["decompress", "there.lat", "--model", "none"], 1),
        (["info", "none.lat"], 1),
        (["compare", "none.png"], 1),
        (["compare", "new.png", "--crop", "1"], 2),
        (["eval", "new.png", "--json", "no/such/file"], 2),
        (["eval", "new.png", "-q", "99"], 2),
        (["eval", "empty"], 1),
        (["classify", "empty", "--head", "h"], 1),
        (["archive", "create", "a", "empty", "-q", "99"], 2),
        (["bench", "--model", "none"], 1),
    ],
)
def test_without_torch(tmp_path, arguments, code):
    for name in ("there.png", "new.png"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n")
    (tmp_path / "there.lat").write_bytes(b"\xecLAT\r\n")
    (tmp_path / "empty").mkdir()
    command = [sys.executable, "-c", PROBE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.stdout.splitlines()[-1] == f"CODE {code}", (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
