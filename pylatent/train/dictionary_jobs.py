"""Parts of a build (crop_features.py) made by processes of a machine, or by Ray on machines that share a file system.

What they make has the bytes that one process would make, where all processors are of one kind.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from pylatent import _hands, _ray
from pylatent.codecs.features import timm_features
from pylatent.train.crop_features import Parts
from pylatent.train.data import find_images
from pylatent.train.dictionary import MakeParts, Outcome


@dataclass(frozen=True)
class Job:
    """What another process needs to make a part: paths are absolute; features: a model of timm's, or None."""

    model: str
    folder: str
    work: str
    crop: int
    features: str | None


def by_processes(model: str, folder: Path, features: str | None, workers: int) -> MakeParts:
    """`workers` processes of this machine, each with one thread."""

    def make(parts: Parts, numbers: Sequence[int]) -> Generator[Outcome, None, None]:
        job = json.dumps(asdict(_job(parts, model, folder, features)))
        with closing(
            _hands.do_jobs("pylatent.train.dictionary_worker", [job], numbers, workers, lambda count: None)
        ) as outcomes:
            for number, outcome in outcomes:
                yield number, outcome if isinstance(outcome, str) else outcome["left_out"]

    return make


def by_ray(model: str, folder: Path, features: str | None, workers: int | None) -> MakeParts:
    """Tasks of Ray; pictures, model and the output's folder must lie at the same paths on all its machines."""

    def make(parts: Parts, numbers: Sequence[int]) -> Generator[Outcome, None, None]:
        yield from _ray.do_jobs(make_part, (_job(parts, model, folder, features),), numbers, workers)

    return make


def make_part(number: int, job: Job) -> list[str]:
    """Make one part; returns why pictures were left out. Codec and features stay loaded for the next one."""
    return _parts(job).make(number)


@lru_cache(maxsize=1)
def _parts(job: Job) -> Parts:
    from pylatent import zoo

    features = None if job.features is None else timm_features(job.features)
    return Parts(zoo.load(job.model), features, find_images(Path(job.folder)), job.crop, Path(job.work))


def _job(parts: Parts, model: str, folder: Path, features: str | None) -> Job:
    return Job(model, str(folder), str(parts.work.absolute()), parts.crop, features)
