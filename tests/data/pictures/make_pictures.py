"""Makes the small pictures of this folder: one for each thing that picture files do and codecs do not expect.

Run it from anywhere: `python tests/data/pictures/make_pictures.py`. The files are committed; another Pillow or zlib
gives other bytes with the same pixels (but for the JPEGs, whose pixels may differ by a level or so).
"""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
PHOTOS = HERE.parents[2] / "examples" / "photos"


def main() -> None:
    photo = Image.open(PHOTOS / "leaves.png").convert("RGB")
    crop = photo.crop((300, 190, 396, 254))

    crop.save(HERE / "rgb_96x64.png")
    crop.crop((20, 10, 37, 41)).save(HERE / "rgb_17x31.png")
    crop.crop((50, 30, 51, 31)).save(HERE / "rgb_1x1.png")
    crop.convert("L").save(HERE / "grey_96x64.png")
    crop.convert("1").save(HERE / "bilevel_96x64.png")
    crop.quantize(32).save(HERE / "palette_96x64.png")

    rgba = crop.copy()
    rgba.putalpha(Image.linear_gradient("L").resize(crop.size))
    rgba.save(HERE / "alpha_96x64.png")
    opaque = crop.copy()
    opaque.putalpha(255)
    opaque.save(HERE / "alpha_opaque_96x64.png")

    # All 16 bits in use: the low byte is not a copy of the high one.
    ramp = np.arange(crop.width, dtype=np.uint16) * 5
    grey = np.array(crop.convert("L"), dtype=np.uint16) * 256 + ramp
    Image.fromarray(grey).save(HERE / "grey16_96x64.png")
    write_rgb16(HERE / "rgb16_96x64.png", np.array(crop, dtype=np.uint16) * 256 + ramp[:, None])

    # Orientation 6: shown after a quarter turn clockwise, so 96x64 as stored is 64x96 as seen.
    exif = Image.Exif()
    exif[0x0112] = 6
    crop.save(HERE / "exif_rotated_64x96.jpg", quality=92, exif=exif)

    crop.save(HERE / "icc_p3_96x64.png", icc_profile=display_p3())
    crop.convert("CMYK").save(HERE / "cmyk_96x64.jpg", quality=92)


def write_rgb16(path: Path, pixels: np.ndarray) -> None:
    """A 16-bit RGB PNG, which Pillow reads and does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    )


def display_p3() -> bytes:
    """A minimal ICC version 2 display profile: the P3 primaries adapted to D50, and a gamma of 2.2."""

    def xyz(x: float, y: float, z: float) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in (x, y, z)))

    name = b"Wide test profile\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(78)
    gamma = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256))
    tags = {
        b"desc": description,
        b"cprt": b"text\0\0\0\0CC0 1.0\0",
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.51512, 0.24120, -0.00105),
        b"gXYZ": xyz(0.29198, 0.69225, 0.04189),
        b"bXYZ": xyz(0.15710, 0.06657, 0.78407),
        b"rTRC": gamma,
        b"gTRC": gamma,
        b"bTRC": gamma,
    }
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for signature, data in tags.items():
        table += struct.pack(">4sII", signature, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4sI4s4s4s", start + len(body), b"\0" * 4, 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(
        ">6H4s28x3i", 2026, 1, 1, 0, 0, 0, b"acsp", *(round(v * 65536) for v in (0.9642, 1.0, 0.8249))
    )
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


if __name__ == "__main__":
    main()
