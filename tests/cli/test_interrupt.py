"""Ctrl-C at any moment: one line and exit code 130, whatever is being imported, and no partial file."""

import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from said import without_numpy_warning

from pylatent import _interrupt

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

# The signal comes from a process of its own, so that it finds this one wherever it is.
INTERRUPTED = """
import os, sys, time
delay, number = float(sys.argv.pop(1)), int(sys.argv.pop(1))
from pylatent import _interrupt
from pylatent.__main__ import main
_interrupt.install()
if os.fork() == 0:
    time.sleep(delay)
    os.kill(os.getppid(), number)
    os._exit(0)
main()
"""


def interrupted(delay, *arguments, number=signal.SIGINT):
    command = [sys.executable, "-c", INTERRUPTED, str(delay), str(int(number)), *arguments]
    # Not in the checkout, whose package has no native module.
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd="/")


@pytest.fixture
def photos(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (96, 128, 3)).astype(np.uint8)
    for number in range(400):
        Image.fromarray(pixels).save(tmp_path / f"{number:03}.png")
    return tmp_path


def test_any_moment(photos):
    """From the first import to the middle of the pictures; where it was depends on the machine, the answer does not."""
    generator = random.Random(5)
    for delay in [0, *(generator.uniform(0, 0.3) for _ in range(6)), *(generator.uniform(0.3, 3) for _ in range(6))]:
        done = interrupted(delay, "compress", str(photos), "--quiet", "--force")
        assert (done.returncode, done.stdout) == (130, ""), (delay, done.stderr)
        assert without_numpy_warning(done.stderr) == "pylatent: interrupted\n", delay
        assert not list(photos.glob(".*")), delay


def test_other_verbs_and_sigterm(photos):
    for verb in (["models", "list"], ["--help"], ["eval", str(photos)]):
        done = interrupted(0.02, *verb)
        assert done.returncode == 130, done.stderr
        assert done.stderr.endswith("pylatent: interrupted\n")
        assert "Traceback" not in done.stderr
    done = interrupted(0.5, "compress", str(photos), number=signal.SIGTERM)
    assert done.returncode == 143
    assert done.stderr.endswith("pylatent: terminated\n")


def test_processes_end_with_the_command(photos):
    done = interrupted(6, "compress", str(photos), "--jobs", "2", "--quiet", "--force")
    if done.returncode == 0:
        pytest.skip("this machine was done before")
    assert (done.returncode, without_numpy_warning(done.stderr)) == (130, "pylatent: interrupted\n")
    assert not list(photos.glob(".*"))


def test_an_error_after_ctrl_c_is_the_interruption(monkeypatch, capsys):
    """What libraries make of it, when a callback swallows it for example, is not reported as a defect."""
    from pylatent import cli
    from pylatent.cli import _report

    def swallowed(*_):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except SystemExit:
            raise RuntimeError("unlucky") from None

    monkeypatch.setattr("pylatent._versions.version_line", swallowed)
    monkeypatch.setattr(cli, "app", lambda args: _reporting(_report, swallowed))
    with pytest.raises(SystemExit) as caught:
        cli.main([])
    assert caught.value.code == 130
    assert capsys.readouterr().err == "pylatent: interrupted\n"


def _reporting(report, work):
    with report.failures_reported():
        work()


def test_within_an_import_the_process_ends_at_once(tmp_path):
    """Where an exception would be swallowed by the module that is imported."""
    (tmp_path / "half.py").write_text(
        "import os, signal\nfrom pylatent import _files\n"
        "try:\n"
        "    with _files.atomic_writer('out') as file:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "except BaseException:\n"
        "    print('swallowed')\n"
    )
    command = "from pylatent import _interrupt; _interrupt.install(); import half; print('went on')"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "pylatent: interrupted\n")
    assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == ["half.py"]


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with _interrupt.handled():
        assert signal.getsignal(signal.SIGINT) == _interrupt.on_signal
        with pytest.raises(SystemExit):
            _interrupt.on_signal(signal.SIGINT, None)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert _interrupt.pressed() is None


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("redirection", "verb", "code", "message"),
    [
        (">&-", "compress 000.png -o - --quiet", 1, "000.png: standard output: Bad file descriptor"),
        (">&-", "models list", 1, "standard output: Bad file descriptor"),
        (">/dev/full", "models list", 1, "No space left on device"),
        (">&-", "compress 000.png -o 000.lat --quiet", 0, ""),
        ("<&-", "compress - -o x.lat", 1, "standard input: Bad file descriptor"),
        ("2>&-", "info none.lat", 1, ""),
    ],
)
def test_closed_streams(photos, redirection, verb, code, message):
    command = f'"$0" -m pylatent {verb} {redirection}'
    done = subprocess.run(["sh", "-c", command, sys.executable], capture_output=True, text=True, cwd=photos)
    assert done.returncode == code, done.stderr
    assert without_numpy_warning(done.stderr) == (f"pylatent: {message}\n" if message else "")
