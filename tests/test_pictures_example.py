"""examples/pictures.py: `.lat` files in matplotlib, torchvision, imageio and datasets, where these are."""

import re
from pathlib import Path

import pytest
import torch
from extras import extra

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "pictures.py"
CELLS = re.split(r"^# %% ", EXAMPLE.read_text(encoding="utf-8"), flags=re.M)[1:]


@pytest.fixture(scope="module")
def names():
    """What the first cells leave: pictures, as .lat files of the shipped model."""
    names = {"__file__": str(EXAMPLE)}
    for cell in CELLS[:2]:
        exec(f"# {cell}", names)
    return names


def run(title, names):
    (cell,) = [cell for cell in CELLS if cell.startswith(title)]
    exec(f"# {cell}", names)


def test_pillow(names):
    assert (names["folder"] / "leaves.jpg").exists()
    assert names["pixels"].shape == (3, *names["image"].size[::-1])


def test_matplotlib(names):
    pytest.importorskip("matplotlib")
    run("matplotlib", names)
    assert (names["folder"] / "leaves.pdf").exists()


def test_torchvision(names):
    extra("torchvision")
    run("torchvision", names)
    assert names["batch"].shape == (3, 3, 128, 128)
    assert 0.1 < names["batch"].mean() < 0.9
    from torchvision.transforms.functional import pil_to_tensor

    assert torch.equal(pil_to_tensor(names["image"]), names["pixels"])


def test_imageio(names):
    extra("imageio")
    run("imageio", names)
    assert names["array"].shape == (*names["image"].size[::-1], 3)


def test_datasets(names):
    extra("datasets")
    run("datasets", names)
    assert names["table"][0]["image"].format == "LAT"
    assert [row["image"].size[0] for row in names["table"]] == [384] * 3


def test_no_cell_is_forgotten():
    tested = {"Pillow", "A", "matplotlib", "torchvision", "imageio", "datasets"}
    assert {re.match(r"\w+", cell)[0] for cell in CELLS} == tested
