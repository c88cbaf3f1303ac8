"""`.lat` files in the tools that people use: run it whole, or cell by cell in an editor that knows `# %%`.

    pip install matplotlib torchvision imageio datasets

It writes into a temporary folder, and ends with two figures there.
"""

# %% Pillow: save, open, convert
import tempfile
from pathlib import Path

from PIL import Image

import pylatent

here = Path(__file__).parent
folder = Path(tempfile.mkdtemp())
for photo in sorted((here / "photos").glob("*.png")):
    target = folder / "lat" / "photos" / f"{photo.stem}.lat"
    target.parent.mkdir(parents=True, exist_ok=True)
    original = Image.open(photo)
    original.thumbnail((384, 384))
    original.save(target, quality=3)

path = folder / "lat" / "photos" / "leaves.lat"
image = Image.open(path)
print(f"{image.size[0]}x{image.size[1]}, {path.stat().st_size} bytes, model {image.info['model']}")
image.save(folder / "leaves.jpg", quality=90)
image.resize((64, 43)).save(folder / "small.png")

# %% A tensor, in torchvision's manner
pixels = pylatent.decode_image(path)
print(pixels.shape, pixels.dtype)

# %% matplotlib: show
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
left.imshow(plt.imread(path))
left.set_title("leaves.lat")
right.hist(pixels.flatten(1).T.numpy(), bins=32, histtype="step", label=["red", "green", "blue"])
right.legend()
figure.savefig(folder / "leaves.pdf")

# %% torchvision: a data set
import torch
from torchvision.datasets import ImageFolder
from torchvision.transforms import CenterCrop, Compose, ToTensor

dataset = ImageFolder(
    folder / "lat", Compose([CenterCrop(128), ToTensor()]), is_valid_file=lambda name: name.endswith(".lat")
)
batch, labels = next(iter(torch.utils.data.DataLoader(dataset, batch_size=3)))
print(batch.shape, dataset.classes)

# %% imageio: arrays
import imageio.v3 as iio

array = iio.imread(path, plugin="pillow")
iio.imwrite(folder / "half.png", array[::2, ::2])
print(array.shape, array.dtype)

# %% datasets: a column of pictures
from datasets import Dataset, Features
from datasets import Image as ImageFeature

names = sorted(str(name) for name in folder.rglob("*.lat"))
table = Dataset.from_dict({"image": names}, features=Features({"image": ImageFeature()}))
print(table[0]["image"].size, table.features)
