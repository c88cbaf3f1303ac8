"""--jobs: several processes make the same files, reports and exit code as one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from said import without_numpy_warning

from pylatent.cli import _parallel
from pylatent.cli._batch import Coded
from pylatent.cli._plan import Job


def pylatent(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "pylatent", *arguments], capture_output=True, text=True, cwd=folder, timeout=600
    )


@pytest.fixture
def photos(tmp_path):
    """Nine pictures, one of them grey, one damaged."""
    generator = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for number in range(7):
        pixels = generator.integers(0, 256, (24, 32 + number, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"in/{number}.png")
    Image.fromarray(pixels).convert("L").save(tmp_path / "in/grey.png")
    (tmp_path / "in/damaged.png").write_bytes((tmp_path / "in/0.png").read_bytes()[:200])
    return tmp_path


def test_the_same_as_one_process(photos):
    runs = []
    for number, jobs in enumerate(("1", "2")):
        done = pylatent(photos, "compress", "in", "-o", "out", "--jobs", jobs)
        shutil.move(photos / "out", photos / f"out{number}")
        files = {path.name: path.read_bytes() for path in (photos / f"out{number}").iterdir()}
        runs.append((done.returncode, done.stdout, without_numpy_warning(done.stderr), files))
    assert runs[0] == runs[1]
    code, _, said, files = runs[0]
    assert code == 1
    assert "pylatent: in/grey.png: grey converted to RGB\nin/grey.png -> out/grey.lat" in said
    assert "pylatent: in/damaged.png: damaged picture" in said
    assert said.splitlines()[-1].endswith("; 1 failed")
    assert len(files) == 8
    done = pylatent(photos, "decompress", "out1", "-o", "back", "--jobs", "2", "--format", "bmp")
    assert done.returncode == 0, done.stderr
    assert len(list((photos / "back").glob("*.bmp"))) == 8


class Moody:
    """A recipe that makes no picture, and dies of the third."""

    def ready(self):
        def work(job, say):
            if job.source.name == "3":
                os._exit(9)
            if job.source.name == "4":
                raise FileNotFoundError(2, "No such file or directory", "4")
            return Coded(b"data", 10, f"process {os.getpid()}")

        return work


def test_a_process_that_dies_fails_its_file_only(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])
    recipe = pytest.importorskip("test_jobs").Moody()
    jobs = [Job(Path(str(number)), tmp_path / f"{number}.out") for number in range(8)]
    outcomes = list(_parallel.outcomes(jobs, recipe, 2))
    failures = {number: outcome.failure for number, outcome in enumerate(outcomes) if outcome.failure}
    assert failures == {3: "its process ended with code 9", 4: "4: No such file or directory"}
    made = [outcome for outcome in outcomes if not outcome.failure]
    assert all((outcome.bytes_in, outcome.bytes_out) == (10, 4) for outcome in made)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{number}.out" for number in (0, 1, 2, 5, 6, 7)]
