"""Labels an archive with a head over several workers: a shard is a task, and a task that is lost is done again by Ray.

    pip install 'pylatent[ray,tasks]'
    python examples/label_with_ray.py ARCHIVE head.safetensors labels.csv

ARCHIVE is a folder that all machines see, or a URL (s3://bucket/flowers). RAY_ADDRESS names a cluster; without it, Ray
runs on this machine.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import ray

from pylatent.archive import Archive


@ray.remote(num_cpus=1)
def label(shard: str, head: str) -> list[tuple[str, str, float]]:
    """Keys, predicted classes and their probabilities; records that cannot be decoded are left out."""
    import torch

    from pylatent.archive.classify import Labels

    torch.set_num_threads(1)
    return [(row.key, row.predicted, row.confidence) for rows in Labels(Path(head), [shard]) for row in rows]


def main(archive: str, head: str, output: str) -> None:
    """Labels all shards, and writes the rows in the order in which they come."""
    shards = [shard.path for shard in Archive(archive).shards()]
    waiting = [label.remote(shard, head) for shard in shards]
    with open(output, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["key", "predicted", "confidence"])
        while waiting:
            done, waiting = ray.wait(waiting)
            table.writerows(ray.get(done[0]))


if __name__ == "__main__":
    main(*sys.argv[1:])
