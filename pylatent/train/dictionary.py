"""Building a dictionary: crops of pictures, their pooled features, clusters, and one crop for each.

    crops ─ analysis, or a backbone ─► maxima over grids of 1, 2, 4 ─ PCA ─► features ─ MiniBatchKMeans ─► K clusters
    the crop nearest to each centroid ─ analysis ─► its latents

Features are kept beside the output, a file for every batch of pictures (crop_features.py), so that a build that was cut
goes on where it was; they are removed when the dictionary is written. Needs scikit-learn, the extra `clc`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pylatent import images
from pylatent._threads import using
from pylatent.codecs.base import Codec
from pylatent.codecs.dictionary import MOST_ENTRIES, Dictionary, Facts, stored
from pylatent.codecs.features import Features
from pylatent.errors import PylatentError
from pylatent.train.crop_features import Parts, Place, cut, warn_of, y_of
from pylatent.train.data import find_images

_KMEANS_BATCH = 1000


@dataclass(frozen=True)
class Build:
    """What a dictionary is built with. entries: K; axes: PCA's, at most; half: latents in float16 instead of int8."""

    name: str
    entries: int = 3000
    axes: int = 256
    crop: int = 256
    half: bool = False
    seed: int = 42


Report = Callable[[int, int, str], None]
Outcome = tuple[int, "list[str] | str"]  # the number of a part, and which pictures it leaves out, or why there is none
MakeParts = Callable[[Parts, Sequence[int]], Generator[Outcome, None, None]]


def make_here(parts: Parts, numbers: Sequence[int]) -> Generator[Outcome, None, None]:
    """One part after the other, in this process; others are in dictionary_jobs.py."""
    for number in numbers:
        yield number, parts.make(number)


def build_dictionary(
    codec: Codec,
    folder: Path,
    out: Path,
    build: Build,
    report: Report = lambda done, total, doing: None,
    *,
    features: Features | None = None,
    make_parts: MakeParts = make_here,
) -> Dictionary:
    """A dictionary of all pictures below `folder`, cut into crops without overlap; written to `out`, and returned.

    features: of a backbone, None for those of the codec's own encoder. make_parts: who analyses the pictures; the
    result does not depend on it. Pictures that cannot be read, or are smaller than a crop, are left out with a
    PylatentWarning. Raises ValueError for a crop that does not fit the codec, or a number of entries that the pictures
    cannot give; ImageError without pictures; PylatentError if a part could not be made.
    """
    if build.crop < 1 or build.crop % codec.alignment:
        raise ValueError(f"`crop` must be a multiple of {codec.alignment} pixels for {codec.name}, got {build.crop}")
    if not 2 <= build.entries <= MOST_ENTRIES:
        raise ValueError(f"`entries` must be from 2 to {MOST_ENTRIES}, got {build.entries}")
    paths = find_images(folder)
    parts = Parts(codec, features, paths, build.crop, out.with_name(f"{out.name}.parts"))
    _complete(parts, make_parts, report)
    found, places = parts.load()
    if len(places) < build.entries:
        raise ValueError(
            f"{build.entries} entries need as many crops of {build.crop} pixels, the pictures below {folder} give "
            f"{len(places)}: ask for fewer entries, take smaller crops, or add pictures"
        )
    report(len(paths), len(paths), "clustering")
    mean, axes = _principal_axes(found, build)
    reduced = (found - mean) @ axes
    chosen = _one_a_cluster(reduced, build)
    latents = _latents_of(codec, [(paths[places[place][0]], places[place]) for place in chosen], build)
    values, steps = stored(latents, half=build.half)
    backbone = None if features is None else features.backbone
    facts = Facts(build.name, codec.name, codec.fingerprint().hex(), build.crop, len(places), build.seed, backbone)
    dictionary = Dictionary(facts, values, steps, reduced[chosen].contiguous(), mean, axes)
    dictionary.save(out)
    shutil.rmtree(parts.work)
    return dictionary


def _complete(parts: Parts, make_parts: MakeParts, report: Report) -> None:
    """Make the parts that are missing."""
    total, todo = len(parts.paths), parts.missing()
    done = total - sum(len(parts.pictures(number)[1]) for number in todo)
    report(done, total, "analysing")
    with closing(make_parts(parts, todo)) as outcomes:
        for number, outcome in outcomes:
            first, pictures = parts.pictures(number)
            if isinstance(outcome, str):
                raise PylatentError(f"features of pictures from {parts.paths[first]} on could not be made: {outcome}")
            warn_of(outcome)
            done += len(pictures)
            report(done, total, "analysing")
    if lost := parts.missing():
        first = parts.pictures(lost[0])[0]
        raise PylatentError(f"pictures from {parts.paths[first]} on have changed while they were analysed: try again")


def _principal_axes(features: Tensor, build: Build) -> tuple[Tensor, Tensor]:
    from sklearn.decomposition import PCA

    count = min(build.axes, *features.shape)
    found = PCA(count, svd_solver="randomized", random_state=build.seed).fit(features.numpy())
    as_tensor = [torch.from_numpy(np.ascontiguousarray(x, np.float32)) for x in (found.mean_, found.components_.T)]
    return as_tensor[0], as_tensor[1]


def _one_a_cluster(features: Tensor, build: Build) -> list[int]:
    """The crop nearest to each centroid; for a cluster without crops, the one that is worst represented so far."""
    from sklearn.cluster import MiniBatchKMeans

    if len(features) == build.entries:
        return list(range(build.entries))
    found = MiniBatchKMeans(
        build.entries, batch_size=_KMEANS_BATCH, n_init=3, random_state=build.seed, reassignment_ratio=0.0
    ).fit(features.numpy())
    centroids = torch.from_numpy(found.cluster_centers_).to(features.dtype)
    cluster = torch.from_numpy(found.labels_).long()
    away = (features - centroids[cluster]).square().sum(1)
    chosen = []
    for number in range(build.entries):
        members = (cluster == number).nonzero()[:, 0]
        if len(members):
            chosen.append(int(members[away[members].argmin()]))
    away[chosen] = -1
    spare = away.topk(build.entries - len(chosen)).indices.tolist()
    return sorted([*chosen, *spare])


def _latents_of(codec: Codec, crops: Sequence[tuple[Path, Place]], build: Build) -> Tensor:
    """Latents of the crops that were chosen; their pictures are read again."""
    latents, path, pixels = [], None, torch.empty(0)
    with using(1):
        for where, place in crops:
            if where != path:
                path, pixels = where, images.read(where).tensor
            latents.append(y_of(codec, cut(pixels, place, build.crop)[None]))
    return torch.cat(latents)
