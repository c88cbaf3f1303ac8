"""The functions that most people call: a picture to the bytes of a `.lat` file and back."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeAlias, overload

import numpy as np
import torch
from PIL import Image

from pylatent import images, zoo
from pylatent._inputs import contents
from pylatent._inputs import pixels as pixels_of
from pylatent._threads import for_pixels, using
from pylatent.coding.container import HASH_BYTES, LatFile
from pylatent.correction import check_defines_pixels, check_max_error, corrected
from pylatent.errors import MismatchError
from pylatent.high_quality import completed, compressed
from pylatent.rate_control import search_target
from pylatent.refine.plan import Plan
from pylatent.verify import verified
from pylatent.zoo import load

if TYPE_CHECKING:
    from pylatent._receivers import Receiver
    from pylatent.codecs.base import Codec

Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO

__all__ = ["compress", "decode_image", "decompress", "load"]


def compress(
    image: Source | Image.Image | np.ndarray | torch.Tensor,
    *,
    quality: float | None = None,
    target_bpp: float | None = None,
    target_psnr: float | None = None,
    refine: int | Plan = 0,
    max_error: int | None = None,
    model: str | os.PathLike[str] | Codec = "default",
    device: str | torch.device | None = None,
    threads: int | None = None,
    verify: bool = False,
) -> bytes:
    """Compresses a picture to the bytes of a `.lat` file.

    image: a path, the bytes of a picture file or the file itself, open in binary mode, a Pillow image, a uint8 array
        (H, W), (H, W, 3) or (H, W, 4), all converted as `pylatent.images` says, with a PylatentWarning where
        transparency, further pictures or 16-bit pixels are not kept; or a (3, H, W) tensor: uint8, or floating point in
        [0, 1].
    quality: in the model's range (1 to 8 for `default`), fractions welcome, rounded to 1/64; the model's own default
        if none of the three is given. The highest (above 5 for `default`) have a residual (`pylatent.high_quality`).
    target_bpp: the highest quality whose file, header included, has at most so many bits per pixel.
    target_psnr: the lowest quality whose decoded picture has at least so many dB over 8-bit RGB. In the upper part of
        the model's range and above it either target takes a lower quality and a residual, where that is better. A
        target that is out of reach all the same gives the nearest file and a TargetWarning that says what was reached.
    refine: steps of SGA+ refinement, or a `pylatent.refine.Plan`: a smaller file of the same or better quality, decoded
        as any other; a step takes about as long as one or two encodings. A target is then reached by refining several
        times, with another lambda where the model's qualities end.
    max_error: grey levels by which no pixel of any channel may be off: 0 for lossless, up to 127. A residual is coded
        on top of the picture, as what its model decodes, in 8 bits. For models whose pixels are defined in integers.
    model: a name, the path of a model file, or a codec from `load`.
    device: where the networks of a named model run, "cpu" if not given; a codec from `load` stays where it is.
    threads: CPU threads at most, torch's own number if not given. A small picture takes one, and a larger one no more
        than there are cores free.
    verify: decode the file, too, and store a checksum of its pixels, by which `decompress` sees on any machine that
        they are the same; a DistortionWarning tells of a picture below 20 dB. For models whose pixels are defined in
        integers, ModelError for others.

    A picture whose fine patterns would be lost, with less than 20 dB, gets a residual that makes it 20 dB, unless
    `target_bpp` says how large a file may be (`pylatent.correction`). No photograph that we have is one.

    Raises ImageError, ModelError, and ValueError or TypeError for wrong arguments.
    """
    if sum(option is not None for option in (quality, target_bpp, target_psnr)) > 1:
        raise ValueError("give only one of `quality`, `target_bpp` and `target_psnr`")
    if max_error is not None:
        check_max_error(max_error)
        if target_bpp is not None or target_psnr is not None:
            raise ValueError("`max_error` has no target beside it: give it with `quality`, or alone")
    if device is not None and not isinstance(model, str | os.PathLike):
        raise ValueError("`device` is for named models: move the codec with `.to(device)` before")
    for name, value in (("target_bpp", target_bpp), ("target_psnr", target_psnr)):
        if value is not None and not value > 0:
            raise ValueError(f"`{name}` must be above 0, got {value}")
    pixels = pixels_of(image)
    with _threads(threads), torch.no_grad():
        codec = zoo.shared(model, device=str(device or "cpu")) if isinstance(model, str | os.PathLike) else model
        if max_error is not None:
            check_defines_pixels(codec)
        model_hash = codec.fingerprint()[:HASH_BYTES]
        with for_pixels(pixels[0].numel()):
            x = pixels.to(codec.device)
            x = (x.float().div_(255) if x.dtype == torch.uint8 else x.float())[None]
        plan = (Plan(steps=refine) if refine else None) if isinstance(refine, int) else refine
        if target_bpp is None and target_psnr is None:
            if plan is None and max_error is None:
                (stream,) = compressed(codec, x, quality, [pixels])
            else:
                stream = codec.compress(x, quality)[0] if plan is None else plan.compress(codec, x, quality)
                if max_error is None:
                    stream = completed(stream, codec, pixels)
                else:
                    stream = corrected(stream, codec, x[0], max_error)
            data = LatFile(codec.name, model_hash, stream).to_bytes()
            return verified(data, codec, x[0]) if verify else data
        if codec.qualities is None and plan is None:
            raise ValueError(f"model {codec.name} has one fixed rate: no target can be searched for without `refine`")
        data = search_target(codec, model_hash, x, target_bpp, target_psnr, plan, verify=verify)
        return verified(data, codec, x[0]) if verify else data


@overload
def decompress(
    data: Source,
    *,
    as_tensor: Literal[False] = False,
    model: str | os.PathLike[str] | Codec | None = None,
    device: str | torch.device | None = None,
    threads: int | None = None,
    receiver: Receiver = "full",
) -> Image.Image: ...
@overload
def decompress(
    data: Source,
    *,
    as_tensor: Literal[True],
    model: str | os.PathLike[str] | Codec | None = None,
    device: str | torch.device | None = None,
    threads: int | None = None,
    receiver: Receiver = "full",
) -> torch.Tensor: ...
def decompress(
    data: Source,
    *,
    as_tensor: bool = False,
    model: str | os.PathLike[str] | Codec | None = None,
    device: str | torch.device | None = None,
    threads: int | None = None,
    receiver: Receiver = "full",
) -> Image.Image | torch.Tensor:
    """Decompresses a `.lat` file, given as bytes of any kind, as a path, or open in binary mode.

    Returns a Pillow image, or with `as_tensor` the floating-point (3, H, W) tensor in [0, 1] on the CPU.

    model: a name, the path of a model file, or a codec from `load`; by default the installed one that the file names.
    device, threads: as for `compress`.
    receiver: "light" for a preview, sooner and less exact; "perceptual" for a picture that looks sharper and
        differs more from the original; by models that have such a receiver, ModelError for others. Neither shows a
        residual.

    Raises FormatError for damaged bytes, ModelError for a model that is not installed, MismatchError for another model
    than the writer's or one that computes something else (other pixels, too, where the file has their checksum),
    OSError.
    """
    file = _file(data)
    with _threads(threads), torch.no_grad():
        codec = _decoder(file, model, device)
        if as_tensor:
            return codec.decompress([file.stream], receiver=receiver)[0].cpu()
        return images.to_image(codec.decompress_bytes([file.stream], receiver=receiver)[0])


def decode_image(
    input: Source | torch.Tensor,
    *,
    model: str | os.PathLike[str] | Codec | None = None,
    device: str | torch.device | None = None,
    threads: int | None = None,
) -> torch.Tensor:
    """A `.lat` file as torchvision's `decode_image` gives pictures: a uint8 tensor (3, H, W) on the CPU.

    input: a path, bytes of any kind, a uint8 tensor (N,) of them, or a file that is open in binary mode. The rest, and
    what it raises, as for `decompress`.
    """
    if isinstance(input, torch.Tensor):
        if input.dtype != torch.uint8 or input.dim() != 1:
            raise TypeError(f"`input` must be a uint8 tensor (N,), got {input.dtype} {tuple(input.shape)}")
        input = input.cpu().numpy().tobytes()
    file = _file(input)
    with _threads(threads), torch.no_grad():
        return _decoder(file, model, device).decompress_bytes([file.stream])[0].cpu()


def _file(data: Source) -> LatFile:
    found = contents(data, "data")
    if found is not None:
        return LatFile.from_bytes(found)
    if not isinstance(data, str | os.PathLike):
        raise TypeError(f"`data` must be the bytes of a .lat file, a path or an open file, got {type(data).__name__}")
    return LatFile.read(data)


def _threads(count: int | None) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if count is None else using(count)


def _decoder(file: LatFile, model: str | os.PathLike[str] | Codec | None, device: str | torch.device | None) -> Codec:
    if model is None:
        return zoo.find(file.model, file.model_hash, device=str(device or "cpu"))
    if device is not None and not isinstance(model, str | os.PathLike):
        raise ValueError("`device` is for named models: move the codec with `.to(device)` before")
    codec = zoo.shared(model, device=str(device or "cpu")) if isinstance(model, str | os.PathLike) else model
    found = codec.fingerprint()[:HASH_BYTES]
    if found != file.model_hash:
        raise MismatchError(
            f"the file was written by model {file.model} with hash {file.model_hash.hex()}, not by {codec.name} with "
            f"hash {found.hex()}"
        )
    return codec
