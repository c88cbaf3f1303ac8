"""Makes the golden files of a model: .lat files that must decode for ever, and what they decode to.

    python tests/make_golden.py [MODEL]

Written to data/golden/MODEL: per case NAME.lat and, for the small ones, NAME.png (the 8-bit pixels), and latents.json
(SHA-256 of the quantised latents, which every machine computes exactly). Where pixels are defined in integers, too,
pixels.json holds their SHA-256, and light.json and perceptual.json, where there is such a receiver, of what that shows.
Those of a released model are never made anew.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

import torch

from pylatent import api, images, zoo
from pylatent._receivers import Receiver
from pylatent.codecs.latents import Latents
from pylatent.coding.container import LatFile

DATA = Path(__file__).parent / "data"
GOLDEN = DATA / "golden"
CASES: tuple[tuple[str, float | None], ...] = (
    ("rgb_1x1", 1.0),
    ("rgb_17x31", 4.0),
    ("rgb_96x64", 1.0),
    ("rgb_96x64", 3.703125),
    ("rgb_96x64", 8.0),
    ("grey_96x64", 5.5),
)
# With a pixel residual: picture, quality, bound.
CORRECTED: tuple[tuple[str, float, int], ...] = (("rgb_1x1", 1.0, 0), ("rgb_96x64", 4.0, 0), ("grey_96x64", 2.5, 3))
# With a transformed one: picture, PSNR. rgb_96x64_psnr41 has pixels without a bound, as was written for targets before.
TARGETED: tuple[tuple[str, float], ...] = (("rgb_96x64", 43.0),)
PHOTO = Path(__file__).parents[1] / "examples" / "photos" / "skyline.png"
PHOTO_QUALITY = 6.0


def digest(latents: Latents) -> str:
    """SHA-256 of all levels, the shallowest first, as little-endian float32."""
    levels = (level.detach().cpu().contiguous().numpy().astype("<f4").tobytes() for level in latents.levels)
    return hashlib.sha256(b"".join(levels)).hexdigest()


def digest_of_pixels(pixels: torch.Tensor) -> str:
    """SHA-256 of uint8 (3, H, W)."""
    return hashlib.sha256(pixels.contiguous().numpy().tobytes()).hexdigest()


def decode(path: Path) -> tuple[str, torch.Tensor]:
    """Digest of the latents of a golden file, and its pixels, uint8 (3, H, W)."""
    file = LatFile.read(path)
    codec = zoo.find(file.model, file.model_hash)
    latents = codec.decode([file.stream])
    with torch.no_grad():
        return digest(latents), codec.decompress_bytes([file.stream])[0]


def digest_by(receiver: Receiver, path: Path) -> str:
    """SHA-256 of a golden file's pixels as a receiver shows them."""
    file = LatFile.read(path)
    codec = zoo.find(file.model, file.model_hash)
    return digest_of_pixels(codec.decompress_bytes([file.stream], receiver=receiver)[0])


def main() -> None:
    codec = zoo.load(sys.argv[1] if len(sys.argv) > 1 else "default")
    folder = GOLDEN / codec.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    digests, shown = {}, {}
    for picture, quality in CASES:
        name = f"{picture}_q{quality:g}"
        path = folder / f"{name}.lat"
        path.write_bytes(api.compress(DATA / "pictures" / f"{picture}.png", quality=quality, model=codec))
        digests[name], pixels = decode(path)
        shown[name] = digest_of_pixels(pixels)
        images.write(images.to_image(pixels), path.with_suffix(".png"))
    for picture, quality, bound in CORRECTED if codec.defines_pixels else ():
        name = f"{picture}_q{quality:g}_e{bound}"
        path = folder / f"{name}.lat"
        source = DATA / "pictures" / f"{picture}.png"
        path.write_bytes(api.compress(source, quality=quality, max_error=bound, model=codec))
        digests[name], pixels = decode(path)
        shown[name] = digest_of_pixels(pixels)
    for picture, wanted in TARGETED if codec.defines_pixels else ():
        path = folder / f"{picture}_psnr{wanted:g}.lat"
        path.write_bytes(api.compress(DATA / "pictures" / f"{picture}.png", target_psnr=wanted, model=codec))
        digests[path.stem], pixels = decode(path)
        shown[path.stem] = digest_of_pixels(pixels)
    photo = folder / f"{PHOTO.stem}_q{PHOTO_QUALITY:g}.lat"
    photo.write_bytes(api.compress(PHOTO, quality=PHOTO_QUALITY, model=codec))
    digests[photo.stem], pixels = decode(photo)
    shown[photo.stem] = digest_of_pixels(pixels)
    if codec.defines_pixels:
        (folder / "pixels.json").write_text(json.dumps(shown, indent=1) + "\n")
    for receiver in codec.receivers:
        digests_by = {path.stem: digest_by(receiver, path) for path in sorted(folder.glob("*.lat"))}
        (folder / f"{receiver}.json").write_text(json.dumps(digests_by, indent=1) + "\n")
    (folder / "latents.json").write_text(json.dumps(digests, indent=1) + "\n")
    print(f"{folder}: {len(digests)} files, {sum(path.stat().st_size for path in folder.iterdir())} bytes")


if __name__ == "__main__":
    main()
