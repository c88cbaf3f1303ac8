"""What `compress` and `decompress` take besides paths: bytes of any kind, files that are open, arrays and tensors."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
import torch
from PIL import Image

from pylatent import images
from pylatent._threads import for_pixels
from pylatent.codecs.checks import check_range
from pylatent.errors import PylatentWarning

_LOSSES = ("transparency composited", "first of", "16 bits rounded")  # of the notes of a picture, those worth a warning


def contents(source: Any, name: str) -> bytes | None:
    """The bytes of a bytes-like object or of an open file, from where it stands; None for anything else.

    Raises TypeError for a file that gives text.
    """
    if isinstance(source, bytes):
        return source
    if isinstance(source, bytearray | memoryview):
        return bytes(source)
    if isinstance(source, str | os.PathLike) or not callable(getattr(source, "read", None)):
        return None
    data = source.read()
    if not isinstance(data, bytes | bytearray | memoryview):
        kind = type(data).__name__
        raise TypeError(f"`{name}` must be a file that is open in binary mode ('rb'), got one that gives {kind}")
    return bytes(data)


def pixels(image: Any) -> torch.Tensor:
    """(3, H, W), uint8 or floating point in [0, 1], of whatever `compress` takes.

    Warns of transparency, of further pictures in the file and of 16-bit pixels, none of which is kept. Raises
    ImageError, ValueError and TypeError.
    """
    if isinstance(image, torch.Tensor):
        return _checked(image)
    if isinstance(image, np.ndarray):
        _check_array(image)
        if image.ndim == 3 and image.shape[2] == 3:  # sooner than through Pillow, which has four bytes a pixel
            return torch.from_numpy(image.transpose(2, 0, 1).copy(order="C"))
        image = Image.fromarray(np.ascontiguousarray(image))
    elif (data := contents(image, "image")) is not None:
        image = data
    elif not isinstance(image, str | os.PathLike | Image.Image):
        raise TypeError(
            "`image` must be a path, the bytes of a picture file, an open one, a Pillow image, an array or a tensor, "
            f"got {type(image).__name__}"
        )
    picture = images.read(image)
    if losses := [note for note in picture.notes if note.startswith(_LOSSES)]:
        name = os.fspath(image) if isinstance(image, str | os.PathLike) else "the picture"
        warnings.warn(f"{name}: {', '.join(losses)}", PylatentWarning, stacklevel=3)
    return picture.tensor


def _checked(image: torch.Tensor) -> torch.Tensor:
    if image.dim() != 3 or image.shape[0] != 3:
        raise ValueError(f"`image` must have shape (3, H, W), got {tuple(image.shape)}")
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise TypeError(f"`image` must be uint8 or floating point in [0, 1], got {image.dtype}")
    if image.is_floating_point():
        with for_pixels(image[0].numel()):
            check_range("image", image)
    return image


def _check_array(array: np.ndarray) -> None:
    grey = array.ndim == 2
    if array.dtype != np.uint8 or not (grey or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise TypeError(
            "`image` must be a uint8 array of shape (H, W), (H, W, 3) or (H, W, 4), or a tensor (3, H, W), got one "
            f"of {array.dtype} and shape {array.shape}"
        )
    if 0 in array.shape:
        raise ValueError(f"`image` must have pixels, got an array of shape {array.shape}")
