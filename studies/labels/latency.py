"""Times of latent_classification.py: each pipeline and its parts per picture, and archive bytes to labels per second.

Weights are random: they do not change the time. Where bfloat16 is faster, a head's or EfficientNet's time is that.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data import QUALITIES, Data
from harness import environment, take_turns
from jobs import ADAPTER, PIXELS, make, normalised
from torch import nn

from pylatent import zoo
from pylatent._files import write_bytes
from pylatent.archive import Archive, decode_batches
from pylatent.codecs.base import Codec

QUALITY = QUALITIES[0]
_HEADS = ("LatentResNet", "FusionGated", "LatentMLP")
_ROUNDS = {1: 7, 32: 1}  # of three calls each
_THROUGHPUT_ROUNDS = 2

Call = Callable[[], Any]


@torch.no_grad()
def measure(data: Data, path: Path, threads: tuple[int, ...], pictures: int = 128) -> None:
    """Writes the times in milliseconds per picture, and pictures per second, as JSON."""
    codec = zoo.shared("default")
    models = {name: _quick(make(name, data, 3)) for name in (PIXELS, ADAPTER, *_HEADS)}
    rows = []
    for count, batch in itertools.product(threads, (1, 32)):
        torch.set_num_threads(count)
        times = take_turns(_calls(data, codec, models, batch), _ROUNDS[batch], wall=count > 1)
        fastest = {name: 1e3 * seconds / batch for name, seconds in _fastest(times).items()}
        rows.append({"batch": batch, "threads": count, "ms": fastest})
        print(rows[-1], flush=True)
    results = {"quality": QUALITY, "environment": environment("timm"), "rows": rows}
    results["archive_to_labels"] = _throughput(data, codec, models, pictures)
    write_bytes(path, json.dumps(results).encode())


def _calls(data: Data, codec: Codec, models: dict[str, nn.Module], batch: int) -> dict[str, Call]:
    """Parts and whole pipelines; a name that ends in " bf16" is another form of the one without."""
    x = data.pixels(np.arange(batch))
    streams = codec.compress(x, QUALITY)
    latents = codec.decode(streams)
    calls: dict[str, Call] = {
        "analysis": lambda: codec.analyze(x, QUALITY),
        "encode": lambda: codec.encode(codec.analyze(x, QUALITY)),
        "decode": lambda: codec.decode(streams),
        "synthesis": lambda: codec.synthesize(latents),
    }
    for name, model in models.items():
        if name == ADAPTER and batch > 1:
            continue  # it takes as long as a pixel model
        # In batches, bfloat16 is always the faster one where a processor has it.
        for form in ("", " bf16") if batch == 1 else (" bf16",):
            takes_pixels = name == PIXELS
            given = normalised(x) if takes_pixels else latents
            calls[f"{name}{form}"] = _forward(model, given, form)
            if takes_pixels:
                calls[f"decode, synthesis, {name}{form}"] = lambda m=model, f=form: _forward(
                    m, normalised(codec.decompress(streams)), f
                )()
            else:
                calls[f"decode, {name}{form}"] = lambda m=model, f=form: _forward(m, codec.decode(streams), f)()
                if name in ("LatentResNet", "FusionGated"):
                    calls[f"encode, {name}{form}"] = lambda m=model, f=form: _encode(codec, x, m, f)
    return calls


def _encode(codec: Codec, x: torch.Tensor, model: nn.Module, form: str) -> None:
    """What an archive's maker would do: bytes, and a label from the same latents as will be decoded."""
    latents = codec.analyze(x, QUALITY)
    codec.encode(latents)
    _forward(model, codec.as_coded(latents), form)()


def _forward(model: nn.Module, given: Any, form: str) -> Call:
    def call() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=form == " bf16"):
            return model(given)

    return call


def _fastest(times: dict[str, float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, seconds in times.items():
        plain = name.removesuffix(" bf16")
        found[plain] = min(seconds, found.get(plain, seconds))
    return found


def _throughput(data: Data, codec: Codec, models: dict[str, nn.Module], pictures: int) -> dict[str, Any]:
    """Pictures per second from a shard to labels, while a second thread decodes ahead; the sides take turns."""
    archive = Archive(data.archive_path(QUALITY))
    positions = range(min(pictures, len(archive)))

    def classify(name: str, form: str) -> None:
        for batch in decode_batches(archive, codec, batch=32, positions=positions):
            given = normalised(codec.synthesize(batch.latents)) if name == PIXELS else batch.latents
            _forward(models[name], given, form)().argmax(1).tolist()

    sides = [(name, form) for name in (PIXELS, *_HEADS) for form in (" bf16",)]
    times: dict[str, list[tuple[float, float]]] = {name + form: [] for name, form in sides}
    for turn in range(_THROUGHPUT_ROUNDS + 1):
        for name, form in sides:
            wall, processor = time.perf_counter(), time.process_time()
            classify(name, form)
            if turn:
                times[name + form].append((time.perf_counter() - wall, time.process_time() - processor))
    wall = _fastest({name: float(np.median([t[0] for t in both])) for name, both in times.items()})
    processor = _fastest({name: float(np.median([t[1] for t in both])) for name, both in times.items()})
    return {
        "pictures": len(positions),
        "threads": torch.get_num_threads(),
        "per_second": {name: len(positions) / seconds for name, seconds in wall.items()},
        "per_processor_second": {name: len(positions) / seconds for name, seconds in processor.items()},
    }


def _quick(model: nn.Module) -> nn.Module:
    return model.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
