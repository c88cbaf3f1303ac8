"""Files of released models decode for ever: the same latents everywhere, the same pixels, or those to a grey level."""

import json

import pytest
import torch
from make_golden import GOLDEN, decode, digest_by, digest_of_pixels

from pylatent import images
from pylatent._receivers import SIDES

FILES = sorted(GOLDEN.glob("*/*.lat"))


@pytest.mark.parametrize("model", ["default-1", "default-2"])
def test_there_are_golden_files_of_every_default_model(model):
    assert len([path for path in FILES if path.parent.name == model]) >= 7


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_latents_are_exactly_those_that_were_written(path):
    expected = json.loads((path.parent / "latents.json").read_text())[path.stem]
    digest, pixels = decode(path)
    assert digest == expected
    if (path.parent / "pixels.json").exists():
        assert digest_of_pixels(pixels) == json.loads((path.parent / "pixels.json").read_text())[path.stem]
    elif path.with_suffix(".png").exists():
        shown = images.read(path.with_suffix(".png")).tensor
        difference = pixels.to(torch.int16) - shown.to(torch.int16)
        assert int(difference.abs().max()) <= 1
    else:
        assert path.stem.startswith("skyline")


@pytest.mark.parametrize("path", sorted((GOLDEN / "default-2").glob("*.lat")), ids=lambda path: path.stem)
def test_other_receivers_show_exactly_what_they_showed(path):
    for receiver in SIDES:
        assert digest_by(receiver, path) == json.loads((path.parent / f"{receiver}.json").read_text())[path.stem]
