"""How many threads a picture gets: one if small, no more than there are cores free, and torch's own afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest
import torch
from small_codec import make_codec, picture
from torch.utils._python_dispatch import TorchDispatchMode

import pylatent
from pylatent import _native, _threads
from pylatent.codecs import model_file
from pylatent.refine import SgaPlus

needs_native = pytest.mark.skipif(_native.why_not_native() is not None, reason=str(_native.why_not_native()))


@pytest.fixture(autouse=True)
def three_threads(monkeypatch):
    """Torch is set to three, and there are cores free for all of them."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    monkeypatch.setattr(_threads, "free_cores", lambda: 8)
    yield
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)


def test_using():
    with _threads.using(2):
        assert torch.get_num_threads() == 2
        with _threads.using(5):
            assert torch.get_num_threads() == 5
        assert torch.get_num_threads() == 2
        with pytest.raises(KeyError), _threads.using(1):
            raise KeyError
        assert torch.get_num_threads() == 2
    with pytest.raises(ValueError, match="`threads` must be at least 1, got 0"), _threads.using(0):
        pass


@needs_native
@pytest.mark.skipif(sys.platform != "linux", reason="torch's OpenMP runtime is shared on Linux only")
def test_threads_that_start_meanwhile_are_not_concerned():
    seen = []
    with _threads.using(1):
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    assert seen == [3]


@needs_native
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_products_keep_to_the_limit():
    """Of MKL and of oneDNN: other threads of the process do no work."""
    script = """
import os, time, torch
from pylatent import _threads
torch.set_num_threads(2)
a, layer = torch.rand(700, 700), torch.nn.Conv2d(32, 32, 3)
def ticks():
    tasks = [name for name in os.listdir("/proc/self/task") if int(name) != os.getpid()]
    lines = [open(f"/proc/self/task/{name}/stat").read().rpartition(")")[2].split() for name in tasks]
    return sum(int(line[11]) + int(line[12]) for line in lines)
time.sleep(0.3)  # a team that has filled these tensors goes on spinning
before = ticks()
with torch.no_grad(), _threads.using(1):
    for _ in range(12):
        a @ a; a.double() @ a.double(); layer(torch.rand(1, 32, 96, 96)); torch.sigmoid(torch.rand(1 << 18))
print(ticks() - before)
"""
    out = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert int(out) <= 2


def counts(pixels):
    with _threads.for_pixels(pixels):
        return torch.get_num_threads()


def test_small_pictures_get_one_thread():
    assert (counts(0), counts(_threads.SMALL - 1), counts(_threads.SMALL)) == (1, 1, 3)


@pytest.mark.parametrize(("free", "expected"), [(8, 3), (3, 3), (2, 2), (1, 1), (0, 1), (-5, 1), (sys.maxsize, 3)])
def test_others_get_no_more_than_there_are_cores_free(monkeypatch, free, expected):
    monkeypatch.setattr(_threads, "free_cores", lambda: free)
    assert counts(1 << 20) == expected


@pytest.mark.parametrize(
    ("running", "ours", "free"),
    [(1, "R", 4), (0, "R", 4), (2, "R", 3), (2, "RR", 4), (3, "RSR", 3), (4, "SSS", 1), (9, "R", -4)],
)
def test_free_cores(monkeypatch, tmp_path, running, ours, free):
    """What runs on this machine but not in this process: a team of our own may be spinning."""
    monkeypatch.undo()
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    (tmp_path / "loadavg").write_text(f"0.50 0.40 0.30 {running}/123 4567\n")
    for number, state in enumerate(ours):
        task = tmp_path / "self" / "task" / str(number)
        task.mkdir(parents=True)
        (task / "stat").write_text(f"{number} (a name) R) {state} 1 2 3")
    (tmp_path / "self" / "task" / "ended").mkdir()
    assert _threads.free_cores(tmp_path) == free


def test_free_cores_where_the_system_does_not_say(monkeypatch, tmp_path):
    monkeypatch.undo()
    assert _threads.free_cores(tmp_path) == sys.maxsize
    (tmp_path / "loadavg").write_text("nonsense")
    assert _threads.free_cores(tmp_path) == sys.maxsize


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_busy_processes_are_seen(monkeypatch):
    monkeypatch.undo()
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        time.sleep(0.3)
        lowest = min(_threads.free_cores() for _ in range(50) if not time.sleep(0.002))
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert lowest <= (os.cpu_count() or 1) - 2


@pytest.mark.parametrize(("size", "expected"), [((48, 40), 1), ((256, 256), 3)])
def test_every_verb_keeps_to_the_limit(monkeypatch, size, expected):
    codec, seen = make_codec(), []

    def spy(target, name):
        function = getattr(target, name)

        def watched(*arguments, **options):
            seen.append((name, torch.get_num_threads()))
            return function(*arguments, **options)

        monkeypatch.setattr(target, name, watched)

    for name in ("analysis", "parameters_of", "synthesis", "quantize"):
        spy(codec, name)
    x = picture(*size)
    with torch.no_grad():
        latents = codec.analyze(x)
        codec.as_coded(latents)
        codec.synthesize(codec.decode(codec.encode(latents)))
    SgaPlus(codec).refine(x, lam=0.01, steps=1)
    assert {name for name, _ in seen} == {"analysis", "parameters_of", "synthesis", "quantize"}
    assert {count for _, count in seen} == {expected}


class Threads(TorchDispatchMode):
    """Notes the operators that run on large tensors with several threads."""

    def __init__(self):
        super().__init__()
        self.several = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if torch.get_num_threads() > 1 and isinstance(out, torch.Tensor) and out.numel() > 1 << 15:
            self.several.add(str(function))
        return out


@pytest.mark.parametrize(("size", "one_thread"), [((224, 224), True), ((272, 272), False)])
def test_no_operator_on_a_small_picture_is_shared_out(size, one_thread):
    """Elementwise operators share out more than 32,768 elements."""
    codec, pixels = make_codec(), picture(*size)[0].mul(255).byte()
    codec.lambdas = (0.001, 0.002, 0.004, 0.008)
    data, doubles = pylatent.compress(pixels, model=codec), pixels.double() / 255
    image = pylatent.images.to_image(pixels)
    with Threads() as seen:
        pylatent.compress(pixels, model=codec)
        pylatent.compress(doubles, model=codec)
        pylatent.compress(image, model=codec)
        pylatent.decompress(data, model=codec)
        pylatent.compress(pixels, model=codec, refine=2)
    views = ("view", "slice", "select", "permute", "detach", "unsqueeze")
    shared = {name for name in seen.several if not any(view in name for view in views)}
    assert (not shared) is one_thread, shared


def test_models_are_loaded_on_one_thread(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(model_file, "load_codec", lambda path: seen.append(torch.get_num_threads()) or make_codec())
    pylatent.load("default")
    assert seen == [1]
