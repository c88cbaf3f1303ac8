"""The whole codec against CompressAI's mbt2018-mean: the same weights, the same pictures, one run.

    python benchmarks/bench_codec.py [--model default] [--quality 4] [--rounds 5] [-o RESULT.json]

Needs compressai. A picture goes from pixels in memory to bytes and back, one at a time: 768x512 (Kodak's size) and
1920x1080, on one and on two threads. The contenders take turns; a figure is the median over the rounds, of processor
time on one thread and of time by the clock on two (which needs a quiet machine). The weights are those of a model of
ours, with the gains of one quality folded into the transforms, so that CompressAI's class holds exactly the same
network. "with pylatent's coder" is CompressAI's own model inside `pylatent.compat.compressai.installed()`.

Nothing is timed before the contenders have been found to agree: rates within 1 %, PSNR within 0.05 dB, and the latents
that our decoder finds those that our encoder coded.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from harness import environment, take_turns, write_json
from torch import Tensor

import pylatent
from pylatent import images
from pylatent.codecs import Bitstream, Codec
from pylatent.codecs.state_dicts import hyperprior_from_compressai
from pylatent.compat import compressai as compat
from pylatent.evaluation import psnr
from pylatent.evaluation.measure import same_latents

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)
    from compressai.models import MeanScaleHyperprior

PHOTO = Path(__file__).parents[1] / "examples" / "photos" / "leaves.png"
SIZES = {"768x512": (512, 768), "1920x1080": (1080, 1920)}
STRIDE = 64


class CompressAI:
    """Their model; a picture is padded to multiples of 64 by repeating its border, as ours is to multiples of 16."""

    name = "CompressAI"

    def __init__(self, model: MeanScaleHyperprior) -> None:
        self.model = model

    def compress(self, x: Tensor) -> Any:
        height, width = x.shape[-2:]
        padded = F.pad(x, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        return self.model.compress(padded), (height, width)

    def decompress(self, coded: Any) -> Tensor:
        out, (height, width) = coded
        return self.model.decompress(out["strings"], out["shape"])["x_hat"][..., :height, :width]

    def nbytes(self, coded: Any) -> int:
        return sum(len(string) for strings in coded[0]["strings"] for string in strings)


class WithOurCoder(CompressAI):
    """Their model with pylatent's coder installed; installing takes well under a millisecond."""

    name = "CompressAI with pylatent's coder"

    def compress(self, x: Tensor) -> Any:
        with compat.installed():
            return super().compress(x)

    def decompress(self, coded: Any) -> Tensor:
        with compat.installed():
            return super().decompress(coded)


class Ours:
    """A picture to the bytes of a record and back."""

    name = "pylatent"

    def __init__(self, codec: Codec) -> None:
        self.codec = codec

    def compress(self, x: Tensor) -> bytes:
        return self.codec.compress(x)[0].to_record()

    def decompress(self, record: bytes) -> Tensor:
        return self.codec.decompress([Bitstream.from_record(record)])

    def nbytes(self, record: bytes) -> int:
        return len(record)


def contenders(name: str, quality: int) -> list[Any]:
    """CompressAI's model, the same with our coder, and our codec, all with the weights of model `name` at `quality`."""
    source = pylatent.load(name)
    weights = dict(source.float_state())
    gain, inverse = weights.pop("gain")[quality - 1], weights.pop("inverse_gain")[quality - 1]
    weights["g_a.6.weight"] = weights["g_a.6.weight"] * gain.view(-1, 1, 1, 1)
    weights["g_a.6.bias"] = weights["g_a.6.bias"] * gain
    weights["g_s.0.weight"] = weights["g_s.0.weight"] * inverse.view(-1, 1, 1, 1)
    theirs = MeanScaleHyperprior(source.N, source.M).eval()
    state = theirs.state_dict()
    if strangers := weights.keys() - state.keys():
        raise SystemExit(f"model {name} has weights that CompressAI's class does not know: {sorted(strangers)}")
    theirs.load_state_dict(state | weights)
    theirs.update(force=True)
    ours, tables = hyperprior_from_compressai(theirs.state_dict())
    ours.update(tables)
    ours.to(memory_format=torch.channels_last)  # as `pylatent.load` does
    return [CompressAI(theirs), WithOurCoder(theirs), Ours(ours)]


def picture(height: int, width: int) -> Tensor:
    """(1, 3, height, width) in [0, 1]: the demo's photograph, mirrored at its borders until it is large enough."""
    photo = images.read(PHOTO).tensor.float().div(255)
    for dim, length in ((1, height), (2, width)):
        period = torch.cat([photo, photo.flip(dim)], dim)
        photo = torch.cat([period] * (length // period.shape[dim] + 1), dim).narrow(dim, 0, length)
    return photo[None].contiguous()


def check(runners: list[Any], x: Tensor) -> dict[str, dict[str, float]]:
    """Size and PSNR of every contender; ends the run where they do not agree."""
    found = {}
    for runner in runners:
        coded = runner.compress(x)
        x_hat = runner.decompress(coded)[0]
        found[runner.name] = {"bytes": runner.nbytes(coded), "psnr": psnr(x_hat, x[0])}
    first, last = found[runners[0].name], found[runners[-1].name]
    codec = runners[-1].codec
    latents = codec.analyze(x)
    if not same_latents(codec.as_coded(latents), codec.decode(codec.encode(latents))):
        raise SystemExit("our decoder does not give what our encoder coded: nothing to measure")
    if abs(last["bytes"] / first["bytes"] - 1) > 0.01 or abs(last["psnr"] - first["psnr"]) > 0.05:
        raise SystemExit(f"the contenders do not do the same job: {found}")
    return found


def compare(runners: list[Any], x: Tensor, rounds: int, threads: int) -> list[dict[str, Any]]:
    """Both directions: seconds of each contender, and how many times as fast as CompressAI it is."""
    torch.set_num_threads(threads)
    coded = [runner.compress(x) for runner in runners]
    calls = {
        "compress": {runner.name: lambda runner=runner: runner.compress(x) for runner in runners},
        "decompress": {
            runner.name: lambda runner=runner, data=data: runner.decompress(data)
            for runner, data in zip(runners, coded, strict=True)
        },
    }
    rows = []
    for verb, sides in calls.items():
        seconds = take_turns(sides, rounds, wall=threads > 1)
        speedup = {name: seconds[CompressAI.name] / taken for name, taken in seconds.items()}
        rows.append({"verb": verb, "threads": threads, "seconds": seconds, "speedup": speedup})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--quality", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    runners = contenders(options.model, options.quality)
    ours = runners[-1].codec
    torch.set_num_threads(1)
    result: dict[str, Any] = {"environment": environment("compressai", "numpy")}
    del result["environment"]["threads"]  # told with each row
    result |= {"model": pylatent.load(options.model).name, "N": ours.N, "M": ours.M, "quality": options.quality}
    result["rows"] = []
    print(", ".join(f"{key} {value}" for key, value in result["environment"].items()), f"N={ours.N} M={ours.M}")
    for name, size in SIZES.items():
        x = picture(*size)
        agreement = check(runners, x)
        print(f"{name}: " + ", ".join(f"{who} {a['bytes']} bytes {a['psnr']:.3f} dB" for who, a in agreement.items()))
        for threads in options.threads:
            for row in compare(runners, x, options.rounds, threads):
                result["rows"].append({"size": name, **row, "agreement": agreement})
                for who, taken in row["seconds"].items():
                    print(
                        f"{name:>9}  {threads} thread(s)  {row['verb']:10}  {who:32} {1e3 * taken:8.1f} ms "
                        f"{size[0] * size[1] / taken / 1e6:6.2f} MP/s  {row['speedup'][who]:5.2f}x"
                    )
    write_json(options.output, result)


if __name__ == "__main__":
    with torch.no_grad():
        main()
