"""Conditional latent coding at a scale of minutes: does a small residual hyperprior gain by a dictionary, and of what?

    python studies/clc/study.py PHOTOS BCCD [--base-steps 3000] [--steps 1200] [-o RESULT.json]

A small base is trained on the right parts of photographs, then frozen. Dictionaries are of the left parts of the same
photographs (related) or of blood cells (BCCD, unrelated); CLC is trained around the base for equal steps, with M of 1
or 3 references, and evaluated on the right parts of photographs that no training saw, with references as they are and
with noise of epsilon standard deviations. Unrelated references tell what the added networks bring by themselves.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pylatent import images
from pylatent.codecs import CLC, Dictionary, ResidualHyperprior
from pylatent.codecs.rounding import mixed, nearest
from pylatent.train.clc import ClcRecipe, train_clc
from pylatent.train.data import find_images, random_crops
from pylatent.train.dictionary import Build, build_dictionary

LAMBDAS = (0.0067, 0.025, 0.0932)
CROP, BATCH, ENTRIES, SPLIT, VALIDATION, WIDE = 128, 8, 256, 768, 8, 256
EPSILONS = (0.1, 0.3, 0.5)


def train_base(pictures: list[Tensor], steps: int, seed: int) -> ResidualHyperprior:
    torch.manual_seed(seed)
    codec = ResidualHyperprior((24, 32, 48), M=48, N=24, hyper=(32, 40), lambdas=LAMBDAS).train()
    weights = [each for name, each in codec.named_parameters() if not name.endswith("quantiles")]
    optimizer = torch.optim.Adam(weights, lr=2e-3)
    crops = random_crops(pictures, CROP, BATCH, seed)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 100) * (1 - step / steps)
        x = next(crops).float() / 255
        picks = (torch.arange(BATCH) + step) % len(LAMBDAS)
        output = codec(x, (picks + 1.0).tolist(), mixed)
        mse = (output.x_hat - x).square().mean((1, 2, 3))
        loss = torch.log(output.bpp + torch.tensor(LAMBDAS)[picks] * 255**2 * mse).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        if step % 500 == 0:
            print(f"base {step}: {float(loss.detach()):.3f}", flush=True)
    codec.eval()
    codec.fit_prior()
    codec.update()
    return codec


@torch.no_grad()
def evaluate(codec: Any, pictures: list[Tensor]) -> list[dict[str, float]]:
    """Mean bits per pixel and PSNR of each quality, the references' numbers among the bits."""
    rows = []
    for quality in range(1, len(LAMBDAS) + 1):
        bpp, psnr = 0.0, 0.0
        for picture in pictures:
            x = picture[None].float() / 255
            output = codec(x, float(quality), nearest)
            bpp += float(output.bpp) / len(pictures)
            psnr += float(-10 * torch.log10((output.x_hat - x).square().mean())) / len(pictures)
        rows.append({"quality": quality, "bpp": bpp, "psnr": psnr})
    return rows


def noisy(dictionary: Dictionary, epsilon: float) -> Dictionary:
    """Its latents with Gaussian noise of epsilon times each entry's standard deviation."""
    torch.manual_seed(0)
    y = dictionary.entries(torch.arange(len(dictionary))[None])[0]
    y = y + epsilon * y.flatten(1).std(1).view(-1, 1, 1, 1) * torch.randn_like(y)
    return replace(dictionary, latents=y.half(), steps=torch.ones(len(y)))


def swapped(codec: CLC, dictionary: Dictionary) -> CLC:
    """The same networks with another dictionary."""
    needed = {"name": dictionary.facts.name, "hash": dictionary.hash, "entries": len(dictionary)}
    other = CLC(codec.base, needed, references=codec.references, **_shape(codec))
    other.load_state_dict(codec.state_dict())
    other.attach(dictionary)
    return other.eval()


def _shape(codec: CLC) -> dict[str, int]:
    return {name: codec.config[name] for name in ("width", "hidden")}


def write_left_parts(paths: list[Path], folder: Path) -> None:
    for number, path in enumerate(paths):
        images.write(images.to_image(images.read(path).tensor[:, :, :SPLIT]), folder / f"{number:03d}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("bccd", type=Path)
    parser.add_argument("--base-steps", type=int, default=3000)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    started = time.process_time()
    paths = [path for path in find_images(arguments.photos) if images.read(path).tensor.shape[2] >= SPLIT + WIDE]
    right = [images.read(path).tensor[:, :, SPLIT:].clone() for path in paths]
    every = len(right) // VALIDATION
    held = [picture[:, :WIDE, :WIDE] for picture in right[::every]][:VALIDATION]
    training = [picture for number, picture in enumerate(right) if number % every]
    base = train_base(training, arguments.base_steps, arguments.seed)
    result: dict[str, Any] = {"steps": arguments.steps, "base_steps": arguments.base_steps, "seed": arguments.seed}
    result |= {"entries": ENTRIES, "photographs": len(training), "rows": [{"what": "base", **_rows(base, held)}]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "related").mkdir()
        write_left_parts(paths, folder / "related")
        sources = {"related": folder / "related", "unrelated": arguments.bccd}
        build = Build("any-1", entries=ENTRIES, crop=CROP)
        known = {
            kind: build_dictionary(base, source, folder / f"{kind}.dictionary", replace(build, name=f"{kind}-1"))
            for kind, source in sources.items()
        }
        for kind, references in (("related", 3), ("unrelated", 3), ("related", 1)):
            torch.manual_seed(arguments.seed)
            codec = CLC.around(base, known[kind], references=references, width=48, hidden=48)
            recipe = ClcRecipe(arguments.steps, crop=CROP, batch=BATCH, learning_rate=1e-3, seed=arguments.seed)
            train_clc(codec, training, recipe)
            result["rows"].append({"what": f"CLC, {kind}, M = {references}", **_rows(codec, held)})
            if (kind, references) == ("related", 3):
                others = {f"epsilon = {epsilon}": noisy(known[kind], epsilon) for epsilon in EPSILONS}
                others["entries of blood cells"] = known["unrelated"]
                for what, dictionary in others.items():
                    rows = _rows(swapped(codec, dictionary), held)
                    result["rows"].append({"what": f"the same, {what}", **rows})
            print(json.dumps(result["rows"][-1]), flush=True)
            result["processor_minutes"] = (time.process_time() - started) / 60
            if arguments.out is not None:
                arguments.out.write_text(json.dumps(result, indent=1) + "\n")


def _rows(codec: Any, pictures: list[Tensor]) -> dict[str, Any]:
    return {"qualities": evaluate(codec, pictures)}


if __name__ == "__main__":
    main()
