"""What integers cost in a synthesis: BD-rate of each layer in integers, all others in floats, and of all of them.

    python benchmarks/integer_synthesis_cost.py VALIDATION KODAK [--weights CHECKPOINT ...] [-o RESULT.json]

Layers: centres of the pictures in VALIDATION (256 x 384), against the float network that the integers stand for, so
that it is the rounding of activations and results that is seen. Total: pictures of KODAK, and with --weights (a state
dict with the float g_s and inverse_gain that the model was made of) the rounding of weights, too. Bits are those of the
files, the same on all sides; PSNR is of 8-bit pictures.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from harness import environment, write_json
from torch import Tensor

import pylatent
from pylatent import images
from pylatent.codecs import Codec, Latents
from pylatent.codecs.integer import IntegerSynthesis, _apply
from pylatent.codecs.integer_ranges import FloatLayer, apply_layer, float_layers
from pylatent.evaluation import bd_rate, psnr
from pylatent.train.data import find_images
from pylatent.train.validate import load_centres

QUALITIES = (1.0, 3.0, 5.0, 8.0)


def with_one(layers: list[FloatLayer], synthesis: IntegerSynthesis, number: int, y_hat: Tensor) -> Tensor:
    """Pixels (1, 3, H, W) of latents after the inverse gain, with one layer in integers (-1: none)."""
    values = before = y_hat
    for place, layer in enumerate(layers):
        if place == number:
            integers = synthesis.layers[place]
            low, high = (
                (-synthesis.largest, synthesis.largest)
                if place == 0
                else (synthesis.layers[place - 1].low, synthesis.layers[place - 1].high)
            )
            units = integers.units.view(-1, 1, 1)
            into = torch.round(values * units).clamp(low, high).long()
            skip = torch.round(before * _units(synthesis, place + 1).view(-1, 1, 1)).long() if integers.skip else into
            result = _apply(integers, into, skip) / _units(synthesis, place + 1).view(-1, 1, 1)
            values, before = result.float(), values
        else:
            values, before = apply_layer(layer, values, before), values
    return values


def _units(synthesis: IntegerSynthesis, place: int) -> Tensor:
    """Of a layer's inputs; those of the pixels are 255."""
    return synthesis.layers[place].units if place < len(synthesis.layers) else torch.full((3,), 255.0)


def decoded(codec: Codec, picture: Tensor, quality: float) -> tuple[Latents, float]:
    stream = codec.compress(picture[None].float() / 255, quality)[0]
    return codec.decode([stream]), 8 * sum(map(len, stream.sections)) / picture[0].numel()


def shown(pixels: Tensor, picture: Tensor) -> Tensor:
    cropped = pixels[0, :, : picture.shape[1], : picture.shape[2]]
    return cropped.clamp(0, 1).mul(255).round().byte()


Curves = dict[str, dict[str, list[tuple[float, float]]]]


def curves(codec: Codec, pictures: dict[str, Tensor], sides: dict[str, Callable[[Latents, Tensor], Tensor]]) -> Curves:
    """By side and picture, (bits per pixel, PSNR) at each quality."""
    found: Curves = {name: {key: [] for key in pictures} for name in sides}
    for key, picture in pictures.items():
        for quality in QUALITIES:
            latents, bits = decoded(codec, picture, quality)
            for name, side in sides.items():
                found[name][key].append((bits, psnr(side(latents, picture), picture)))
        print(key, flush=True)
    return found


def costs(found: Curves, against: str) -> dict[str, float]:
    """Mean BD-rate of the pictures, in percent."""
    return {
        name: sum(bd_rate(curve, found[against][key]) for key, curve in of_side.items()) / len(of_side)
        for name, of_side in found.items()
        if name != against
    }


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("validation", type=Path)
    parser.add_argument("kodak", type=Path)
    parser.add_argument("--model", default="default-2")
    parser.add_argument("--weights", type=Path, nargs="*", default=[])
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    codec: Any = pylatent.load(options.model)
    synthesis = codec._ready().synthesis
    layers = float_layers(codec.g_s)

    def one(number: int, latents: Latents, picture: Tensor) -> Tensor:
        gain = codec._gain(codec.inverse_gain, torch.tensor(latents.quality))
        return shown(with_one(layers, synthesis, number, latents.y * gain), picture)

    def of_integers(latents: Latents, picture: Tensor) -> Tensor:
        return codec.synthesize_bytes(latents)[0]

    def of_floats(float_codec: Any) -> Callable[[Latents, Tensor], Tensor]:
        return lambda latents, picture: shown(
            float_codec.synthesis(latents.levels, torch.tensor(latents.quality)), picture
        )

    centres = [picture[:, :, 64:448] for picture in load_centres(options.validation, 512)]
    centres = [picture[:, 128:384] for picture in centres]
    sides: dict[str, Callable[[Latents, Tensor], Tensor]] = {
        layer.name: partial(one, number) for number, layer in enumerate(layers)
    }
    sides |= {"none": of_floats(codec), "all": of_integers}
    by_layer = costs(curves(codec, {str(n): x for n, x in enumerate(centres)}, sides), "none")
    whole = {"float": of_floats(codec), "integers": of_integers}
    if options.weights:
        state: dict[str, Tensor] = {}
        for path in options.weights:
            state |= torch.load(path, weights_only=True)
        other: Any = pylatent.load(options.model)
        kept = {key: value.float() for key, value in state.items() if key.startswith(("g_s.", "inverse_gain"))}
        coding = other._coding
        other.load_state_dict(kept, strict=False)
        other._coding = coding
        whole["original"] = of_floats(other)
    pictures = {path.name: images.read(path).tensor for path in find_images(options.kodak)}
    found = curves(codec, pictures, whole)
    total = {f"against {name}": costs(found, name)["integers"] for name in whole if name != "integers"}
    for name, value in {**by_layer, **{f"Kodak, {key}": value for key, value in total.items()}}.items():
        print(f"{name}: {value:+.3f} %")
    results = {"validation_pictures": len(centres), "layers": by_layer, "kodak_pictures": len(pictures), "kodak": total}
    write_json(options.output, {"environment": environment(), **results})


if __name__ == "__main__":
    main()
