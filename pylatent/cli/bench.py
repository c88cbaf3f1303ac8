"""pylatent bench: how fast this machine codes."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer

from pylatent.cli._check import check_device, check_model
from pylatent.cli._options import Device, Model, Threads
from pylatent.cli._report import failures_reported


def bench(
    model: Model = "default",
    device: Device = "cpu",
    threads: Threads = None,
    seconds: Annotated[float, typer.Option(help="Time spent on each line.", min=0.1)] = 1.0,
) -> None:
    """Time the entropy coder and a codec on this machine."""
    with failures_reported():
        check_model(model)
        import torch

        from pylatent import api
        from pylatent.config import show_config

        check_device(device)
        if threads is not None:
            torch.set_num_threads(threads)
        show_config()
        print(f"\n{'':<38}{'encode':>12}{'decode':>12}")
        _bench_coder(seconds)
        _bench_codec(api.load(model, device=device), seconds)


def _bench_coder(seconds: float) -> None:
    import torch

    from pylatent.coding import CdfTables, decode, encode

    generator = torch.Generator().manual_seed(1)
    scales = torch.exp(torch.linspace(-2.2, 5.5, 64))
    tables = CdfTables.gaussian(scales)
    shape = (192, 68, 120)  # the latents of one 1080p picture
    indexes = torch.randint(8, 40, shape, generator=generator, dtype=torch.uint8)
    symbols = (torch.randn(shape, generator=generator) * scales[indexes.long()]).round().int()
    for threads in sorted({1, torch.get_num_threads()}):
        data = encode(symbols, indexes, tables, threads=threads)
        forth = _median(partial(encode, symbols, indexes, tables, threads=threads), seconds)
        back = _median(partial(decode, data, indexes, tables, threads=threads), seconds)
        rates = "".join(f"{symbols.numel() / t / 1e6:>12.0f}" for t in (forth, back))
        print(f"{f'coder, Msymbol/s, threads={threads}':<38}{rates}")


def _bench_codec(codec: Any, seconds: float) -> None:
    import torch

    for height, width in ((512, 768), (1088, 1920)):
        # Smooth noise: about as many bits as a photograph.
        noise = torch.rand(1, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(1))
        x = torch.nn.functional.interpolate(noise, size=(height, width), mode="bicubic").clamp_(0, 1)
        x = x.to(codec.device)
        with torch.no_grad():
            streams = codec.compress(x)
            # Both ends on the CPU, as in use; the copies also wait for a GPU.
            forth = _median(partial(codec.compress, x), seconds)
            back = _median(lambda streams=streams: codec.decompress(streams).cpu(), seconds)  # type: ignore[misc]
        rates = "".join(f"{height * width / t / 1e6:>12.2f}" for t in (forth, back))
        print(f"{f'{codec.name}, Mpixel/s, {width}x{height}':<38}{rates}")


def _median(call: Callable[[], object], seconds: float) -> float:
    call()
    times: list[float] = []
    while sum(times) < seconds or len(times) < 3:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]
