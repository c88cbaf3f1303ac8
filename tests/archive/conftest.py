import shutil

import numpy as np
import pytest
from PIL import Image
from small_codec import make_codec

from pylatent import zoo


@pytest.fixture(scope="session")
def small_model(tmp_path_factory):
    """The file of a small model."""
    path = tmp_path_factory.mktemp("model") / "small-1.safetensors"
    zoo.save_codec(make_codec(), path, name="small-1", card={})
    return path


@pytest.fixture
def model(tmp_path, monkeypatch, small_model):
    """The name of a small model that is installed, for other processes too."""
    monkeypatch.setenv("PYLATENT_HOME", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    shutil.copy(small_model, tmp_path / "models")
    return "small-1"


@pytest.fixture(scope="session")
def many_pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for n in range(18):
        path = folder / f"class{n % 3}" / f"{n:02}.png"
        path.parent.mkdir(exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 255, (4, 4, 3), np.uint8))
        coarse.resize(((32, 32), (48, 20))[n % 5 == 0], Image.Resampling.BICUBIC).save(path)
    return folder


@pytest.fixture
def pictures(tmp_path, many_pictures):
    """18 small pictures in two sizes, class0/00.png to class2/17.png."""
    return shutil.copytree(many_pictures, tmp_path / "pictures")
