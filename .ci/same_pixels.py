"""Decodes a folder's .lat files, and compares with the .png files of the same names beside them."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import pylatent

files = sorted(Path(sys.argv[1]).glob("*.lat"))
for path in files:
    decoded, shown = (np.asarray(image) for image in (pylatent.decompress(path), Image.open(path.with_suffix(".png"))))
    if not np.array_equal(decoded, shown):
        sys.exit(f"{path.name}: the pixels are not those of {path.with_suffix('.png').name}")
print(f"{len(files)} files decode to the same pixels")
sys.exit(not files)
