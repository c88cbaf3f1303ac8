"""Building a dictionary: crops of pictures, their pooled latents, clusters, and one crop for each.

    crops ─ analysis ─► y ─ maxima over grids of 1, 2, 4 ─ PCA ─► features ─ MiniBatchKMeans ─► K clusters
    the crop nearest to each centroid ─ analysis ─► its latents

Features are kept beside the output, a file for every batch of pictures, so that a build that was cut goes on where it
was; they are removed when the dictionary is written. Needs scikit-learn, the extra `clc`.
"""

from __future__ import annotations

import hashlib
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from pylatent import images
from pylatent._files import write_bytes
from pylatent.codecs.base import Codec
from pylatent.codecs.dictionary import MOST_ENTRIES, Dictionary, Facts, pooled, stored
from pylatent.errors import ImageError, PylatentWarning
from pylatent.train.data import find_images

_PICTURES = 32  # in a file of features
_CROPS = 16  # through the analysis at a time
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


def build_dictionary(
    codec: Codec, folder: Path, out: Path, build: Build, report: Report = lambda done, total, doing: None
) -> Dictionary:
    """A dictionary of all pictures below `folder`, cut into crops without overlap; written to `out`, and returned.

    Pictures that cannot be read, or are smaller than a crop, are left out with a PylatentWarning. Raises ValueError for
    a crop that does not fit the codec, or a number of entries that the pictures cannot give; ImageError without
    pictures.
    """
    if build.crop < 1 or build.crop % codec.alignment:
        raise ValueError(f"`crop` must be a multiple of {codec.alignment} pixels for {codec.name}, got {build.crop}")
    if not 2 <= build.entries <= MOST_ENTRIES:
        raise ValueError(f"`entries` must be from 2 to {MOST_ENTRIES}, got {build.entries}")
    paths = find_images(folder)
    work = out.with_name(f"{out.name}.parts")
    features, places = _all_features(codec, paths, build, work, report)
    if len(places) < build.entries:
        raise ValueError(
            f"{build.entries} entries need as many crops of {build.crop} pixels, the pictures below {folder} give "
            f"{len(places)}: ask for fewer entries, take smaller crops, or add pictures"
        )
    report(len(paths), len(paths), "clustering")
    mean, axes = _principal_axes(features, build)
    reduced = (features - mean) @ axes
    chosen = _one_a_cluster(reduced, build)
    latents = _latents_of(codec, [(paths[places[place][0]], places[place]) for place in chosen], build)
    values, steps = stored(latents, half=build.half)
    facts = Facts(build.name, codec.name, codec.fingerprint().hex(), build.crop, len(places), build.seed)
    dictionary = Dictionary(facts, values, steps, reduced[chosen].contiguous(), mean, axes)
    dictionary.save(out)
    shutil.rmtree(work)
    return dictionary


Place = tuple[int, int, int]  # picture, top, left


def _all_features(
    codec: Codec, paths: Sequence[Path], build: Build, work: Path, report: Report
) -> tuple[Tensor, list[Place]]:
    """Pooled latents of all crops (n, D), and where these are."""
    work.mkdir(parents=True, exist_ok=True)
    features, places = [], []
    for first in range(0, len(paths), _PICTURES):
        report(first, len(paths), "analysing")
        some = paths[first : first + _PICTURES]
        part = work / f"{first:08d}-{_identity(codec, some, build)}.safetensors"
        if not part.exists():
            found = [(pooled(y), at) for y, at in _analysed(codec, list(enumerate(some, first)), build)]
            none = torch.empty(0, 21 * codec.level_shapes((1, 1))[0][0]), torch.empty(0, 3, dtype=torch.int64)
            tensors = {
                "features": torch.cat([none[0], *(feature for feature, _ in found)]),
                "places": torch.cat([none[1], *(torch.tensor(at) for _, at in found)]),
            }
            write_bytes(part, save(tensors))
        tensors = load(part.read_bytes())
        features.append(tensors["features"])
        places += [tuple(place) for place in tensors["places"].tolist()]
    return torch.cat(features), places


def _identity(codec: Codec, paths: Sequence[Path], build: Build) -> str:
    """What the features of some pictures depend on."""
    digest = hashlib.sha256(f"{build.crop}".encode() + _analysis_digest(codec))
    for path in paths:
        digest.update(f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def _analysis_digest(codec: Codec) -> bytes:
    """A codec's fingerprint is of what decodes; features come from what analyses."""
    digest = hashlib.sha256(codec.fingerprint())
    for name, value in codec.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.digest()


@torch.no_grad()
def _analysed(codec: Codec, pictures: Sequence[tuple[int, Path]], build: Build) -> Iterator[tuple[Tensor, list[Place]]]:
    """y before any gain, on the CPU, of the crops of pictures, in batches, and where they are."""
    for number, path in pictures:
        try:
            pixels = images.read(path).tensor
        except ImageError as error:
            warnings.warn(f"left out: {error}", PylatentWarning, stacklevel=2)
            continue
        places = [(number, *corner) for corner in corners(pixels.shape[1], pixels.shape[2], build.crop)]
        if not places:
            size = f"{pixels.shape[2]}x{pixels.shape[1]}"
            warnings.warn(f"left out: {path} has {size} pixels, crops have {build.crop}", PylatentWarning, stacklevel=2)
        for start in range(0, len(places), _CROPS):
            some = places[start : start + _CROPS]
            yield _y_of(codec, _cut(pixels, some, build)), some


def corners(height: int, width: int, crop: int) -> list[tuple[int, int]]:
    """(top, left) of as many crops as a picture holds without overlap, centred."""
    rows, columns = height // crop, width // crop
    top, left = (height - rows * crop) // 2, (width - columns * crop) // 2
    return [(top + crop * row, left + crop * column) for row in range(rows) for column in range(columns)]


def _cut(pixels: Tensor, places: Sequence[Place], build: Build) -> Tensor:
    side = build.crop
    return torch.stack([pixels[:, top : top + side, left : left + side] for _, top, left in places])


def _y_of(codec: Codec, crops: Tensor) -> Tensor:
    latents = codec.analyze(crops.to(codec.device).float() / 255)
    quality = None if latents.quality is None else crops.new_tensor(latents.quality, dtype=torch.float32)
    return codec.ungained(latents.y, None if quality is None else quality.to(codec.device)).float().cpu()


def _principal_axes(features: Tensor, build: Build) -> tuple[Tensor, Tensor]:
    from sklearn.decomposition import PCA

    count = min(build.axes, *features.shape)
    found = PCA(count, svd_solver="randomized", random_state=build.seed).fit(features.numpy())
    as_tensor = [torch.from_numpy(np.ascontiguousarray(x, np.float32)) for x in (found.mean_, found.components_.T)]
    return as_tensor[0], as_tensor[1]


def _one_a_cluster(features: Tensor, build: Build) -> list[int]:
    """The crop nearest to each centroid; for a cluster without crops, the one that is worst represented so far."""
    from sklearn.cluster import MiniBatchKMeans

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
    for where, place in crops:
        if where != path:
            path, pixels = where, images.read(where).tensor
        with torch.no_grad():
            latents.append(_y_of(codec, _cut(pixels, [place], build)))
    return torch.cat(latents)
