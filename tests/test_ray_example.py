"""examples/label_with_ray.py labels every record of an archive of several shards, as `classify` does."""

import csv
import os
import runpy
import sys
from pathlib import Path

from archive_cases import write
from extras import extra
from small_codec import make_codec, picture

from pylatent import zoo
from pylatent.archive import Record
from pylatent.archive.classify import Labels
from pylatent.tasks import HeadHeader, LatentResNet, save_head

EXAMPLE = Path(__file__).parents[1] / "examples" / "label_with_ray.py"


def test_labels_of_an_archive(tmp_path, monkeypatch):
    ray = extra("ray")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("PYLATENT_HOME", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    zoo.save_codec(make_codec(), tmp_path / "models" / "small-1.safetensors", name="small-1", card={})
    codec = zoo.load("small-1")
    (tmp_path / "archive").mkdir()
    for number in range(3):
        wanted = [
            Record(f"{number}/{n}", None, codec.compress(picture(32, 32, seed=9 * number + n))[0]) for n in range(3)
        ]
        write(tmp_path / "archive" / f"{number}.lats", wanted, "small-1", codec.fingerprint()[:8])
    hash = codec.fingerprint()[:8].hex()
    header = HeadHeader(("a", "b"), "", {}, "small-1", hash, (1.0, 4.0), (32, 32), {})
    save_head(LatentResNet(codec.M, 2), tmp_path / "head.safetensors", header)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        names = runpy.run_path(str(EXAMPLE))
        names["main"](str(tmp_path / "archive"), str(tmp_path / "head.safetensors"), str(tmp_path / "labels.csv"))
    finally:
        ray.shutdown()
    with open(tmp_path / "labels.csv", newline="") as file:
        rows = {row["key"]: row for row in csv.DictReader(file)}
    expected = [row for rows in Labels(tmp_path / "head.safetensors", [tmp_path / "archive"]) for row in rows]
    assert {row.key: row.predicted for row in expected} == {key: row["predicted"] for key, row in rows.items()}
