"""The section of a record that holds a pixel residual: its bound, and one band of rows after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from pylatent._threads import for_pixels
from pylatent.coding.container import MAX_ERROR, UNBOUNDED, Cursor, varint
from pylatent.errors import FormatError
from pylatent.pixel_residual.band import BandDecoder, BandEncoder, walk
from pylatent.pixel_residual.lattice import bands, with_margin


def encode_pixels(original: Tensor, hat: Tensor, max_error: int) -> tuple[bytes, Tensor]:
    """The section, and the pixels uint8 (3, H, W) that it makes of `hat`, each within `max_error` of `original`.

    original, hat: uint8 (3, H, W) on the CPU; hat is what the codec decodes. max_error: 0 to 127.
    """
    coded, shown = [], torch.empty_like(hat)
    for rows in bands(*hat.shape[1:]):
        with for_pixels(hat[0, rows].numel()):
            coder = BandEncoder(with_margin(original[:, rows]), max_error)
            shown[:, rows] = walk(hat[:, rows], max_error, coder)
        coded.append(bytes(coder.out))
    return b"".join((bytes([max_error]), *(varint(len(band)) for band in coded[:-1]), *coded)), shown


def decode_pixels(section: bytes, hat: Tensor) -> Tensor:
    """uint8 (3, H, W) on the CPU, as the codec decodes them -> those of the section. Raises FormatError."""
    max_error, parts = _split(section, (int(hat.shape[1]), int(hat.shape[2])))
    shown = torch.empty_like(hat)
    for rows, part in zip(bands(*hat.shape[1:]), parts, strict=True):
        coder = BandDecoder(Cursor(part))
        with for_pixels(hat[0, rows].numel()):
            shown[:, rows] = walk(hat[:, rows], max_error, coder)
        if coder.cursor.at != len(part):
            raise FormatError(f"pixel residual: {len(part) - coder.cursor.at} bytes are left over in a band")
    return shown


def check_section(section: bytes, size: tuple[int, int]) -> None:
    """Raises FormatError for what can be seen to be wrong without decoding; size: (H, W) of the picture."""
    _split(section, size)


def _split(section: bytes, size: tuple[int, int]) -> tuple[int, list[bytes]]:
    cursor = Cursor(section)
    head = cursor.take(1, "the bound of a pixel residual")[0]
    if head == UNBOUNDED:
        raise FormatError(f"pixel residual: its first byte is {UNBOUNDED}, steps of 1 that are no bound")
    lengths = [cursor.varint("the length of a band") for _ in bands(*size)[1:]]
    parts = [cursor.take(length, "a band of a pixel residual") for length in lengths]
    parts.append(cursor.take(len(section) - cursor.at, "a band"))
    return head & MAX_ERROR, parts
