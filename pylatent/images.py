"""Pictures in and out: whatever Pillow reads becomes 8-bit sRGB, and what had to be changed for that is reported.

What happens to pictures that are not 8-bit RGB without a profile, in this order:

    animated, several pages      the first picture is taken
    16-bit                       rounded to 8 bits; 12-bit, signed, 32-bit and floating-point grey is refused
    EXIF orientation             applied
    embedded ICC profile         converted to sRGB (relative colorimetric, black point compensated)
    grey, palette, CMYK, YCbCr   converted to RGB
    transparency                 composited on white
"""

from __future__ import annotations

import io
import os
import re
import sys
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image, ImageCms, ImageOps

from pylatent._files import write_bytes
from pylatent._threads import for_pixels
from pylatent.coding.container import MAGIC
from pylatent.errors import ImageError
from pylatent.picture_formats import format_of

# round(v / 257): 257 is odd, so there are no ties.
_TO_8_BITS = ((np.arange(1 << 16) + 128) // 257).astype(np.uint8)
# Pillow keeps the high byte of 16-bit RGB; read in the other byte order, the same bytes yield the low one.
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_BLACK_POINT_COMPENSATION = 0x2000  # of LittleCMS; ImageCms.Flags names it from Pillow 10.1 on
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # of TIFF
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": 4},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
}


@dataclass(frozen=True)
class Picture:
    """A picture as codecs take it: uint8 sRGB of shape (3, H, W), and what was converted on the way, one line each."""

    tensor: torch.Tensor
    notes: tuple[str, ...] = ()


def read(source: str | os.PathLike[str] | bytes | Image.Image, *, max_pixels: int | None = None) -> Picture:
    """Reads a picture from a path, from the bytes of a file, or from a Pillow image.

    max_pixels: files that claim more are refused; by default twice `PIL.Image.MAX_IMAGE_PIXELS`, as Pillow does.
    Raises ImageError.
    """
    if isinstance(source, Image.Image):
        return _convert(source, None, "the picture")
    name = "the picture" if isinstance(source, bytes) else os.fspath(source)
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise ImageError(f"{name}: cannot be read: {error.strerror or error}") from error
    return _convert(_open(data, name, max_pixels), data, name)


def to_image(tensor: torch.Tensor) -> Image.Image:
    """A Pillow image of a (3, H, W) tensor: uint8, or floating point in [0, 1], which is rounded to 8 bits."""
    if tensor.dim() != 3 or tensor.shape[0] != 3:
        raise ValueError(f"`tensor` must have shape (3, H, W), got {tuple(tensor.shape)}")
    if not tensor.is_floating_point() and tensor.dtype != torch.uint8:
        raise TypeError(f"`tensor` must be uint8 or floating point, got {tensor.dtype}")
    with for_pixels(tensor[0].numel()):
        if tensor.is_floating_point():
            # Channel by channel: a whole float copy of a 48-megapixel picture would be 576 MB.
            tensor = torch.stack([plane.detach().mul(255).round_().clamp_(0, 255).to(torch.uint8) for plane in tensor])
        return Image.fromarray(tensor.permute(1, 2, 0).contiguous().cpu().numpy())


def to_bytes(image: Image.Image, format: str = "PNG") -> bytes:
    """The bytes of a picture file; lossless where the format can be, JPEG at quality 95 without subsampling."""
    buffer = io.BytesIO()
    try:
        image.save(buffer, format, **_SAVE_OPTIONS.get(format, {}))
    except (OSError, ValueError, KeyError) as error:
        raise ImageError(f"the picture cannot be written as {format}: {error}") from error
    return buffer.getvalue()


def write(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Writes `image` in the format of the extension of `path`, whole or not at all; raises ImageError and OSError."""
    write_bytes(path, to_bytes(image, format_of(path)))


_limit = threading.Lock()


def _open(data: bytes, name: str, max_pixels: int | None) -> Image.Image:
    if data.startswith(MAGIC):  # our plugin would decode it, to be coded once more with another loss
        raise ImageError(f"{name}: this is a .lat file already: `pylatent decompress` makes a picture of it")
    with _limit:  # Pillow has but a global one
        limit = Image.MAX_IMAGE_PIXELS
        try:
            if max_pixels is not None:
                Image.MAX_IMAGE_PIXELS = None
            with warnings.catch_warnings():
                # Between one and two times Pillow's limit it only warns; pictures of that size are our business.
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                image = Image.open(io.BytesIO(data))
        except Image.DecompressionBombError as error:
            found = re.search(r"\((\d+) pixels\)", str(error))
            raise _too_large(name, f"{int(found[1]):,}" if found else "its", 2 * (limit or 0)) from error
        except Exception as error:  # damaged files make Pillow's plugins raise nearly anything
            begin = f"it begins {data[:8].hex(' ')}" if data else "it is empty"
            raise ImageError(f"{name}: not a picture in a format that Pillow reads: {begin}") from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    if max_pixels is not None and image.width * image.height > max_pixels:
        raise _too_large(name, f"{image.width * image.height:,}", max_pixels)
    return image


def _too_large(name: str, pixels: str, limit: int) -> ImageError:
    return ImageError(
        f"{name}: {pixels} pixels are more than the limit of {limit:,}: raise it with --max-pixels (`max_pixels` of "
        f"pylatent.images.read)"
    )


def _convert(image: Image.Image, data: bytes | None, name: str) -> Picture:
    notes: list[str] = []
    try:
        image = _load(image, data, notes)
        image = _upright(image, notes)
        profile = image.info.get("icc_profile")
        image, alpha = _split_alpha(image)
        image = _to_srgb(image, profile, notes)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # see _open
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{name}: damaged picture: {reason}") from error
    if alpha is not None:
        if alpha.getextrema()[0] == 255:
            notes.append("opaque alpha channel dropped")
        else:
            notes.append("transparency composited on white")
            image = Image.composite(image, Image.new("RGB", image.size, "white"), alpha)
    with for_pixels(image.width * image.height):
        return Picture(torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous(), tuple(notes))


def _load(image: Image.Image, data: bytes | None, notes: list[str]) -> Image.Image:
    """The first frame, decoded, with 8 bits a channel."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        notes.append(f"first of {frames} pictures taken")
    low = None if data is None else _low_bytes(image, data)
    if image.mode == "I" or image.mode.startswith("I;16"):
        _check_wide_grey(image)
    image.load()
    if low is not None:
        notes.append("16 bits rounded to 8")
        high = image
        value = np.asarray(high).astype(np.uint16) << 8 | np.asarray(low)
        image = Image.frombytes(high.mode, high.size, _TO_8_BITS[value].tobytes())
        image.info = {key: value for key, value in high.info.items() if key != "transparency"}
        image.getexif().update(high.getexif())
    elif image.mode == "I" or image.mode.startswith("I;16"):
        notes.append("16 bits rounded to 8")
        image = _from_wide_grey(image)
    elif image.mode == "F":
        raise ImageError("floating-point pixels are not supported: convert the picture to 8 or 16 bits first")
    return image


def _low_bytes(image: Image.Image, data: bytes) -> Image.Image | None:
    """The low bytes of a 16-bit colour picture (`image` itself will load the high ones), None for any other."""
    raw = [_raw_mode(tile) for tile in getattr(image, "tile", None) or ()]
    if not raw or raw[0][-4:-1] != ";16" or raw[0].startswith(("I", "L")):
        return None
    twin: Any = Image.open(io.BytesIO(data))
    tiles = []
    for tile in twin.tile:
        arguments = tile[3]
        swapped = _raw_mode(tile)[:-1] + _OTHER_ORDER[raw[0][-1]]
        arguments = (swapped, *arguments[1:]) if isinstance(arguments, tuple) else swapped
        tiles.append(getattr(type(tile), "_make", tuple)((*tile[:3], arguments)))
    twin.tile = tiles
    twin.load()
    return twin


def _raw_mode(tile: Any) -> str:
    """How a tile's pixels lie in the file; Pillow gives it alone or as the first of several arguments."""
    arguments = tile[3]
    raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return raw if isinstance(raw, str) else ""


def _check_wide_grey(image: Image.Image) -> None:
    """Raises ImageError unless grey values of 0..65535 are what the pixels stand for."""
    raw = next((_raw_mode(tile) for tile in getattr(image, "tile", None) or ()), "")
    kind = None
    if raw == "I;12":
        kind = "12-bit"
    elif raw.startswith("I;16") and raw.endswith("S"):
        kind = "signed 16-bit"
    elif image.mode == "I" and not raw.startswith("I;16") and image.format != "PPM":
        kind = "32-bit"
    elif getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        kind = "inverted 16-bit"
    if kind is not None:
        raise ImageError(f"{kind} grey pixels are not supported: convert the picture to 8 bits, or 16 from 0 to 65535")


def _from_wide_grey(image: Image.Image) -> Image.Image:
    value = np.asarray(image)
    if value.min() < 0 or value.max() > 0xFFFF:
        raise ImageError(f"grey pixels with values {value.min()}..{value.max()} are not supported, only 0..65535")
    grey = Image.fromarray(_TO_8_BITS[value])
    grey.info = {key: value for key, value in image.info.items() if key != "transparency"}
    grey.getexif().update(image.getexif())
    return grey


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    if image.getexif().get(ExifTags.Base.Orientation, 1) not in range(2, 9):
        return image
    notes.append("turned as its EXIF orientation says")
    return ImageOps.exif_transpose(image)


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    if image.mode in ("RGBa", "La"):
        image = image.convert("RGBA" if image.mode == "RGBa" else "LA")
    if "transparency" in image.info:
        image = image.convert("LA" if image.mode in ("1", "L") else "RGBA")
    if image.mode in ("RGBA", "LA", "PA"):
        alpha = image.getchannel("A")
        return image.convert("L" if image.mode == "LA" else "RGB"), alpha
    return image, None


def _to_srgb(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    kind = {"1": "grey", "L": "grey", "CMYK": "CMYK", "LAB": "Lab", "P": "palette", "YCbCr": "YCbCr"}.get(image.mode)
    if image.mode in ("P", "1", "YCbCr", "RGBX"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    converted = None
    if profile:
        try:
            converted = _apply_profile(image, profile)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            notes.append("unusable colour profile ignored")
    if converted is not None:
        image = converted
        notes.append("colours converted from the embedded profile to sRGB")
    if kind is not None:
        notes.append(f"{kind} converted to RGB")
    return image.convert("RGB")


def _apply_profile(image: Image.Image, profile: bytes) -> Image.Image | None:
    """`image` in sRGB, or None where the profile is sRGB in all but name."""
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        image.mode,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=_BLACK_POINT_COMPENSATION,  # type: ignore[arg-type]
    )
    if image.mode in ("L", "RGB"):
        steps = np.linspace(0, 255, 9).astype(np.uint8)
        grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
        probe = Image.fromarray(grid).convert(image.mode)
        before, after = np.array(probe.convert("RGB")), np.array(ImageCms.applyTransform(probe, transform))
        if np.abs(after.astype(np.int16) - before).max() <= 1:
            return None
    return ImageCms.applyTransform(image, transform)
