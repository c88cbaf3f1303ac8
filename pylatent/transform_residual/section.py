"""The section of a record that holds a transformed residual: its step, and one band of rows after the other."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from pylatent._threads import for_pixels
from pylatent.coding.container import TRANSFORMED, Cursor, varint
from pylatent.coding.rans import decode, encode
from pylatent.errors import FormatError
from pylatent.pixel_residual.lattice import bands
from pylatent.pixel_residual.tables import LARGEST, tables
from pylatent.transform_residual.choice import choose, worth
from pylatent.transform_residual.context import Context
from pylatent.transform_residual.steps import Step, steps
from pylatent.transform_residual.transform import coefficients, restored

SMALLEST_STEP, LARGEST_STEP = 4, 1023  # eighths of a grey level
_SHORT = 256  # bytes of a stream that may not be worth it: in small pictures there are many, of a few bytes each


class Coder(Protocol):
    """Codes the values of a step, and puts them into the context."""

    def code(self, step: Step, context: Context) -> None: ...


def encode_coefficients(original: Tensor, hat: Tensor, step: int) -> tuple[bytes, Tensor]:
    """The section, and the pixels uint8 (3, H, W) that it makes of `hat`, whatever they are off by.

    original, hat: uint8 (3, H, W) on the CPU; hat is what the codec decodes. step: of quantisation, of coefficients in
    an orthonormal basis, 4 to 1023 eighths of a grey level.
    """
    coded, shown = [], torch.empty_like(hat)
    for rows in bands(*hat.shape[1:]):
        with for_pixels(hat[0, rows].numel()):
            coder = _Encoder(coefficients(original[:, rows], hat[:, rows]), step)
            shown[:, rows] = _walk(hat[:, rows], step, coder)
        coded.append(coder.finish())
    head = (bytes([TRANSFORMED]), varint(step))
    return b"".join((*head, *(varint(len(band)) for band in coded[:-1]), *coded)), shown


def decode_coefficients(section: bytes, hat: Tensor) -> Tensor:
    """uint8 (3, H, W) on the CPU, as the codec decodes them -> those of the section. Raises FormatError."""
    step, parts = _split(section, (int(hat.shape[1]), int(hat.shape[2])))
    shown = torch.empty_like(hat)
    for rows, part in zip(bands(*hat.shape[1:]), parts, strict=True):
        coder = _Decoder(Cursor(part))
        with for_pixels(hat[0, rows].numel()):
            shown[:, rows] = _walk(hat[:, rows], step, coder)
        if coder.cursor.at != len(part):
            raise FormatError(f"residual: {len(part) - coder.cursor.at} bytes are left over in a band")
    return shown


def check_section(section: bytes, size: tuple[int, int]) -> None:
    """Raises FormatError for what can be seen to be wrong without decoding; size: (H, W) of the picture."""
    _split(section, size)


def _split(section: bytes, size: tuple[int, int]) -> tuple[int, list[bytes]]:
    """The step, and the bytes of every band of rows; size: (H, W) of the picture. Raises FormatError."""
    cursor = Cursor(section)
    cursor.take(1, "the kind of a residual")
    step = cursor.varint("the step of a residual")
    if not SMALLEST_STEP <= step <= LARGEST_STEP:
        raise FormatError(f"residual: its step is {step}, which is not {SMALLEST_STEP} to {LARGEST_STEP}")
    lengths = [cursor.varint("the length of a band") for _ in bands(*size)[1:]]
    parts = [cursor.take(length, "a band of a residual") for length in lengths]
    return step, [*parts, cursor.take(len(section) - cursor.at, "a band")]


@torch.no_grad()
@torch.autocast("cpu", enabled=False)
def _walk(hat: Tensor, quantum: int, coder: Coder) -> Tensor:
    """hat: uint8 (3, H, W), what the codec decodes -> the pixels with their residual, uint8 (3, H, W)."""
    context = Context(coefficients(hat), quantum)
    for step in steps():
        if context.blocks(step):
            coder.code(step, context)
    return restored(context.coded, quantum, hat)


class _Encoder:
    """wanted: coefficients int16 (3, 64, h, w); quantum: the step of their quantisation."""

    def __init__(self, wanted: Tensor, quantum: int) -> None:
        self.wanted, self.quantum = wanted, quantum
        self.streams: list[bytes] = []

    def code(self, step: Step, context: Context) -> None:
        chosen = context.tables(step)
        values = choose(self.wanted, self.quantum, chosen, step, context)
        stream = encode(values, chosen, tables()) if values.any() else b""
        if 0 < len(stream) < _SHORT and not worth(self.wanted, self.quantum, values, step, context, len(stream)):
            context.put(step, torch.zeros_like(values, dtype=torch.int32), LARGEST)
            stream = b""
        self.streams.append(stream)

    def finish(self) -> bytes:
        """The bytes of the band: as many streams as there are up to the last with a value that is not 0."""
        while self.streams and not self.streams[-1]:
            self.streams.pop()
        return b"".join(varint(len(stream)) + stream for stream in self.streams)


class _Decoder:
    """cursor: over the bytes of a band of rows."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor

    def code(self, step: Step, context: Context) -> None:
        if self.cursor.at == len(self.cursor.data):
            return
        stream = self.cursor.take(self.cursor.varint("the length of a residual stream"), "a residual stream")
        if not stream:
            return
        if not context.put(step, decode(stream, context.tables(step), tables()), LARGEST):
            raise FormatError(f"residual: a value is beyond {LARGEST}")
