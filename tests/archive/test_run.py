"""Making archives: plans, failures, retries, extension; and with real processes, killed on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import torch
from archive_cases import record, write
from extras import extra
from PIL import Image
from test_sources import make_tar

from pylatent import _processes, zoo
from pylatent.archive import Archive, local, run
from pylatent.archive.encode import make_shard
from pylatent.archive.plan import Plan, extend_plan, read_plan, read_sources
from pylatent.archive.reader import Shard
from pylatent.archive.report import read_report
from pylatent.archive.sources import Source
from pylatent.coding.container import LatFile
from pylatent.errors import FormatError, MismatchError, PylatentError


@pytest.fixture
def here(monkeypatch):
    """Shards are made in this process; the list holds the numbers of those that were."""
    made = []

    def make_shards(folder, numbers, model, workers, advance, max_pixels):
        for number in numbers:
            made.append(number)
            yield number, make_shard(zoo.shared(model), folder, number, max_pixels=max_pixels, advance=advance)

    monkeypatch.setattr(run, "make_shards", make_shards)
    return made


def test_lat_files_become_records(tmp_path, pictures, model, here):
    """From a folder and from a tar, byte for byte; a file of another model fails, with the reason."""
    codec = zoo.shared(model)
    lats = tmp_path / "lats" / "sub"
    lats.mkdir(parents=True)
    streams = {}
    for number, path in enumerate(sorted(pictures.rglob("*.png"))[:3]):
        stream = codec.compress(_tensor(Image.open(path)), number + 1)[0]
        streams[f"sub/{path.stem}"] = stream
        LatFile(codec.name, codec.fingerprint()[:8], stream).write(lats / f"{path.stem}.lat")
        shutil.copy(path, lats)  # pictures beside them are not looked at
    assert run.create(tmp_path / "a", [tmp_path / "lats"], model=model, coded=True).complete
    assert {one.key: one.stream for one in Archive(tmp_path / "a")} == streams
    with tarfile.open(tmp_path / "lats.tar", "w") as tar:
        tar.add(tmp_path / "lats", ".")
    LatFile("other-1", bytes(8), stream).write(lats / "other.lat")
    with tarfile.open(tmp_path / "more.tar", "w") as tar:
        tar.add(lats / "other.lat", "other.lat")
    summary = run.create(tmp_path / "b", [tmp_path / "lats.tar", tmp_path / "more.tar"], model=model, coded=True)
    assert {one.key: one.stream for one in Archive(tmp_path / "b")} == streams
    ((key, reason),) = summary.failures
    assert key == "other"
    assert "coded by model other-1 with hash 0000000000000000, the archive's has hash" in reason
    assert not summary.complete


def test_pictures_that_are_too_large(tmp_path, pictures, model, here):
    summary = run.create(tmp_path / "a", [pictures], model=model, max_pixels=1)
    assert summary.records == 0
    assert all("are more than the limit of 1:" in reason for _, reason in summary.failures)
    assert run.create(tmp_path / "a", model=model).complete


def test_folders_that_cannot_be_searched(tmp_path, pictures, model, here, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("class1"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    os.symlink(pictures, pictures / "class0" / "back")
    summary = run.create(tmp_path / "a", [pictures], model=model)
    assert (summary.records, summary.planned, summary.complete) == (12, 12, False)
    assert [(Path(path).name, failed) for path, _, failed in summary.passed] == [("back", False), ("class1", True)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.lats"))}


def made_here(archive: Path, model: str) -> dict[str, bytes]:
    """What the shards of an archive's plan are when they are made one after the other in this process."""
    folder = archive.with_name("here")
    shutil.copytree(archive / "plan", folder / "plan")
    shutil.copy(archive / "archive.json", folder)
    for number in range(len(read_plan(folder).shards)):
        make_shard(zoo.shared(model), folder, number)
    return contents(folder)


def test_a_folder_of_pictures(tmp_path, pictures, model, here):
    steps = []
    summary = run.create(
        tmp_path / "a", [pictures], model=model, quality=2, labels="folder", shard_records=5, report=steps.append
    )
    assert (summary.shards, summary.planned, summary.records, summary.failures) == (4, 18, 18, [])
    assert summary.complete
    assert here == [0, 1, 2, 3]
    assert (steps[0].done, steps[-1].done, steps[-1].total) == (0, 18, 18)
    archive = Archive(tmp_path / "a")
    assert sorted(archive.keys()) == [f"class{n % 3}/{n:02}" for n in sorted(range(18), key=lambda n: (n % 3, n))]
    codec = zoo.shared(model)
    for one in archive:
        assert one.label == one.key.split("/")[0]
        x = Image.open(pictures / f"{one.key}.png")
        assert one.stream == codec.compress(_tensor(x), 2)[0], "batches must not change the bytes"
    report = read_report(tmp_path / "a", 0)
    assert (report.records, report.planned, report.failures) == (4, 4, [])
    before = contents(tmp_path / "a")
    assert run.create(tmp_path / "a", [pictures], model=model).complete
    assert run.create(tmp_path / "a", model=model, quality=2).complete
    assert len(here) == 4
    assert contents(tmp_path / "a") == before


def _tensor(image):
    from pylatent import images

    return images.read(image).tensor[None].float() / 255


def test_shards_are_cut_by_bytes(tmp_path, pictures, model, here):
    assert run.create(tmp_path / "a", [pictures], model=model, shard_bytes=400).shards > 2
    sizes = [path.stat().st_size for path in (tmp_path / "a").glob("*.lats")]
    assert max(sizes) < 900


def test_failed_pictures_are_recorded_and_tried_again(tmp_path, pictures, model, here):
    good = (pictures / "class1/04.png").read_bytes()
    (pictures / "class1/04.png").write_bytes(good[:60])
    (pictures / "class2/17.png").write_bytes(b"")
    summary = run.create(tmp_path / "a", [pictures], model=model, shard_records=6)
    assert (summary.records, summary.planned, summary.complete) == (16, 18, False)
    assert sorted(key for key, _ in summary.failures) == ["class1/04", "class2/17"]
    assert all("pictures/class" in reason for _, reason in summary.failures)
    before = contents(tmp_path / "a")
    again = run.create(tmp_path / "a", [pictures], model=model)
    assert again.failures == summary.failures
    assert contents(tmp_path / "a") == before
    assert here == [0, 1, 2, 1, 2]
    (pictures / "class1/04.png").write_bytes(good)
    shutil.copy(pictures / "class1/01.png", pictures / "class2/17.png")
    assert run.create(tmp_path / "a", model=model).complete
    assert len(Archive(tmp_path / "a")) == 18
    whole = run.create(tmp_path / "b", [pictures], model=model, shard_records=6)
    assert whole.complete
    assert contents(tmp_path / "a") == contents(tmp_path / "b"), "a retry gives what one run gives"


def test_a_batch_that_fails_is_tried_one_by_one(tmp_path, pictures, model, monkeypatch):
    codec = zoo.shared(model)

    class Picky:
        def __getattr__(self, name):
            return getattr(codec, name)

        def compress(self, x, quality, threads):
            if x.shape[1:] == marked.shape and any(torch.equal(one, marked) for one in x):
                raise ValueError("not this one")
            return codec.compress(x, quality, threads=threads)

    marked = _tensor(Image.open(pictures / "class1/07.png"))[0]
    monkeypatch.setattr(
        run, "make_shards", lambda folder, numbers, *_: ((n, make_shard(Picky(), folder, n)) for n in numbers)
    )
    summary = run.create(tmp_path / "a", [pictures], model=model, quality=3)
    assert [key for key, _ in summary.failures] == ["class1/07"]
    assert "not this one" in summary.failures[0][1]
    assert summary.records == 17


def test_new_pictures_extend_an_archive(tmp_path, pictures, model, here):
    assert run.create(tmp_path / "a", [pictures], model=model, shard_records=9).shards == 2
    before = contents(tmp_path / "a")
    shutil.copy(pictures / "class0/00.png", pictures / "class0/another.png")
    shutil.copy(pictures / "class0/00.png", pictures / "zzz.png")
    summary = run.create(tmp_path / "a", [pictures], model=model)
    assert (summary.shards, summary.records) == (3, 20)
    after = contents(tmp_path / "a")
    assert {name: after[name] for name in before} == before
    assert list(Archive(tmp_path / "a" / "shard-00002.lats").keys()) == ["class0/another", "zzz"]


def test_what_is_planned_is_not_planned_again(tmp_path):
    """Thousands of keys, since a fault may show in one of 256."""
    sources = [Source(f"{n:05}", None, f"{n:05}.png") for n in range(3000)]
    options = {"bytes_of": lambda sample: 100.0, "shard_bytes": 1 << 20, "shard_records": 700}
    plan = extend_plan(tmp_path, Plan("m", "00", None), sources, **options)
    assert plan.shards == [600] * 5
    assert [source for n in range(5) for source in read_sources(tmp_path, n)] == sources
    more = [*sources[1000:], *(Source(f"new{n}", None, "x") for n in range(50))]
    plan = extend_plan(tmp_path, plan, more, **options)
    assert plan.shards == [*[600] * 5, 50]
    assert read_plan(tmp_path) == plan == extend_plan(tmp_path, plan, sources[::-1], **options)
    with pytest.raises(FormatError, match=r"3000 keys are there twice, such as 'a\d+' from x and x"):
        extend_plan(tmp_path, plan, [Source(f"a{n % 3000}", None, "x") for n in range(6000)], **options)


def test_a_damaged_shard_is_made_again(tmp_path, pictures, model, here):
    run.create(tmp_path / "a", [pictures], model=model, shard_records=6)
    before = contents(tmp_path / "a")
    cut = before["shard-00001.lats"][:-5]
    (tmp_path / "a" / "shard-00001.lats").write_bytes(cut)
    (tmp_path / "a" / "shard-00002.lats").unlink()
    (tmp_path / "a" / ".shard-00002.lats.0123.tmp").write_bytes(b"left by a killed process")
    assert run.create(tmp_path / "a", model=model).complete
    assert here == [0, 1, 2, 1, 2]
    assert contents(tmp_path / "a") == before
    assert (tmp_path / "a" / "shard-00001.lats.damaged").read_bytes() == cut
    assert not list((tmp_path / "a").glob(".*.tmp"))


def test_records_of_a_damaged_shard_outlive_their_pictures(tmp_path, pictures, model, here):
    run.create(tmp_path / "a", [pictures], model=model)
    path = tmp_path / "a" / "shard-00000.lats"
    wanted = list(Archive(path))
    start = Shard(path).span(5)[0]
    data = bytearray(path.read_bytes()[:-5])
    data[start + 20] ^= 1
    path.write_bytes(data)
    shutil.rmtree(pictures)
    summary = run.create(tmp_path / "a", model=model)
    assert list(Archive(path)) == wanted[:5] + wanted[6:]
    assert [key for key, _ in summary.failures] == [wanted[5].key]
    assert "No such file" in summary.failures[0][1]


def test_an_interrupted_run_leaves_nothing(tmp_path, pictures, model, monkeypatch):
    def make_shards(folder, numbers, *_):
        (folder / ".shard-00000.lats.0123.tmp").write_bytes(b"of a process that is stopped")
        yield numbers[0], "nothing"
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "make_shards", make_shards)
    with pytest.raises(KeyboardInterrupt):
        run.create(tmp_path / "a", [pictures], model=model)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [".lock", "archive.json", "plan"]


def test_tars_and_labels(tmp_path, pictures, model, here):
    files = sorted(pictures.rglob("*.png"))
    first = {
        f"{path.stem}{suffix}": data
        for path in files[:9]
        for suffix, data in ((".cls", b"3"), (".png", path.read_bytes()))
    }
    second = {f"{path.stem}.png": path.read_bytes() for path in files[9:]}
    tars = [make_tar(tmp_path / "1.tar", first), make_tar(tmp_path / "2.tgz", second, "w:gz")]
    assert run.create(tmp_path / "a", tars, model=model, shard_records=4).complete
    archive = Archive(tmp_path / "a")
    assert sorted(archive.keys()) == sorted(path.stem for path in files)
    assert {archive[path.stem].label for path in files[:9]} == {"3"}
    assert {archive[path.stem].label for path in files[9:]} == {None}
    table = tmp_path / "labels.csv"
    table.write_text("".join(f"{path.relative_to(pictures)},l{path.stem}\n" for path in files))
    assert run.create(tmp_path / "b", [pictures], model=model, labels=table).complete
    assert Archive(tmp_path / "b")["class0/03"].label == "l03"
    table.write_text("class0/00,x\n")
    with pytest.raises(FormatError, match="has no label in the CSV file"):
        run.create(tmp_path / "c", [pictures], model=model, labels=table)


def test_what_is_refused(tmp_path, pictures, model, here):
    with pytest.raises(FormatError, match="no plan to continue"):
        run.create(tmp_path / "a", model=model)
    assert not (tmp_path / "a").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="no pictures in"):
        run.create(tmp_path / "a", [tmp_path / "empty"], model=model)
    shutil.copy(pictures / "class0/00.png", pictures / "class0/03.jpg")
    with pytest.raises(FormatError, match=r"1 keys are there twice, such as 'class0/03' from .*03\.jpg and .*03\.png"):
        run.create(tmp_path / "a", [pictures], model=model)
    assert run.create(tmp_path / "a", [pictures], model=model, keep_extensions=True).records == 19
    with pytest.raises(ValueError, match="the quality must be from 1 to 4"):
        run.create(tmp_path / "b", [pictures], model=model, quality=5)
    with pytest.raises(MismatchError, match=r"is made with quality 4\.0, not 2"):
        run.create(tmp_path / "a", model=model, quality=2)
    with pytest.raises(MismatchError, match="made with model small-1 .* not with default-2"):
        run.create(tmp_path / "a", model="default")
    write(tmp_path / "a" / "shard-00000.lats", [record("a")])
    with pytest.raises(MismatchError, match="was written by a model with hash 0123456789abcdef"):
        run.create(tmp_path / "a", model=model)
    write(tmp_path / "empty" / "other.lats", [record("a")])
    with pytest.raises(FormatError, match="holds shards, but no plan"):
        run.create(tmp_path / "empty", [pictures], model=model)
    with run._lock(tmp_path / "a"), pytest.raises(PylatentError, match="another run is working on"):
        run.create(tmp_path / "a", model=model)
    (tmp_path / "a" / "archive.json").write_text('{"version": 2}')
    with pytest.raises(FormatError, match=r"archive\.json"):
        run.create(tmp_path / "a", model=model)


def test_real_processes_and_one_that_dies(tmp_path, pictures, model, monkeypatch):
    """Two workers; the first process kills itself at its first shard, and is replaced."""
    poison = tmp_path / "poison"
    (poison / "sitecustomize.py").parent.mkdir()
    (poison / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'pylatent.archive.worker' in ' '.join(sys.orig_argv) and not os.path.exists(os.environ['DIED']):\n"
        "    open(os.environ['DIED'], 'w').close()\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    monkeypatch.setenv("DIED", str(tmp_path / "died"))
    monkeypatch.syspath_prepend(str(poison))
    done = []
    summary = run.create(
        tmp_path / "a", [pictures], model=model, shard_records=5, workers=2, report=lambda p: done.append(p.done)
    )
    assert (tmp_path / "died").exists()
    assert summary.complete
    assert done[-1] == 18
    assert contents(tmp_path / "a") == made_here(tmp_path / "a", model)


HAPLESS = """
import sys
number = sys.stdin.readline()
print('{"advance": 2}', flush=True)
if number == "1\\n":
    sys.exit(5)
print('{"error": "unlucky"}', flush=True)
sys.stdin.read()
"""


def test_a_process_that_always_dies_loses_its_shard_only(tmp_path, monkeypatch):
    def start(command):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        return subprocess.Popen([sys.executable, "-c", HAPLESS], text=True, **pipes)

    monkeypatch.setattr(_processes, "_start", start)
    moves = []
    found = dict(local.make_shards(tmp_path, [1, 2], "m", 1, moves.append))
    assert found == {1: "its process ended with code 5", 2: "unlucky"}
    assert sum(moves) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_kill_9_and_run_again(tmp_path, pictures, model):
    """The command is killed when the first shard is there; its worker ends too; the next run completes the archive."""
    command = [
        sys.executable,
        "-c",
        "from pylatent.cli import main; main()",
        "archive",
        "create",
        str(tmp_path / "a"),
        str(pictures),
        "--model",
        model,
        "--shard-records",
        "3",
        "--workers",
        "1",
        "--quiet",
        "--json",
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=environment)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "a").glob("*.lats")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    result = subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
    assert json.loads(result.stdout)["records"] == 18
    assert not list((tmp_path / "a").glob(".*.tmp"))
    assert contents(tmp_path / "a") == made_here(tmp_path / "a", model)
    assert len(set(Archive(tmp_path / "a").keys())) == 18


def test_ray_gives_the_same_records(tmp_path, pictures, model, monkeypatch):
    extra("ray")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    (pictures / "class1/04.png").write_bytes(b"")
    arguments = {"model": model, "shard_records": 5, "workers": 2}
    local_summary = run.create(tmp_path / "a", [pictures], **arguments)
    ray_summary = run.create(tmp_path / "b", [pictures], engine="ray", **arguments)
    assert ray_summary == local_summary
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
