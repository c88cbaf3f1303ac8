"""The section of a record that holds a transformed residual: its step, and one band of rows after the other."""

from __future__ import annotations

from functools import cache
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from pylatent._threads import for_pixels
from pylatent.coding.container import TRANSFORMED, Cursor, varint
from pylatent.coding.rans import decode, encode
from pylatent.errors import FormatError
from pylatent.pixel_residual.lattice import bands
from pylatent.pixel_residual.tables import COST_BITS, LARGEST, costs, tables
from pylatent.transform_residual.context import GROUPS, Context, Step, steps
from pylatent.transform_residual.transform import SIDE, coefficients, residual
from pylatent.transform_residual.weights import TABLES

SMALLEST_STEP, LARGEST_STEP = 4, 1023  # eighths of a grey level
_LAMBDA = 0.12  # squared steps that a bit is worth

_TABLE_OF = torch.tensor(TABLES, dtype=torch.uint8)


class Coder(Protocol):
    """Where values come from: (bands of the step, its blocks), from the classes of their expected sizes, flat."""

    def values(self, step: Step, context: Context, classes: Tensor) -> Tensor: ...


def encode_coefficients(original: Tensor, hat: Tensor, step: int) -> tuple[bytes, Tensor]:
    """The section, and the pixels uint8 (3, H, W) that it makes of `hat`, whatever they are off by.

    original, hat: uint8 (3, H, W) on the CPU; hat is what the codec decodes. step: of quantisation, of coefficients in
    an orthonormal basis, 4 to 1023 eighths of a grey level.
    """
    coded, shown = [], torch.empty_like(hat)
    for rows in bands(*hat.shape[1:]):
        with for_pixels(hat[0, rows].numel()):
            difference = _whole(original[:, rows]).to(torch.int16) - _whole(hat[:, rows])
            coder = _Encoder(coefficients(difference) / step)
            shown[:, rows] = _walk(hat[:, rows], step, coder)
        coded.append(b"".join(coder.streams))
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
    whole = _whole(hat)
    context = Context(coefficients(whole), quantum)
    for step in steps():
        if not context.count(step):
            continue
        context.put(step, coder.values(step, context, context.classes(step)))
    shown = (whole + residual(context.coded.double() * quantum)).clamp_(0, 255).to(torch.uint8)
    return shown[:, : hat.shape[1], : hat.shape[2]]


def _whole(pixels: Tensor) -> Tensor:
    """uint8 (3, H, W) -> with whole blocks, the outermost pixels repeated."""
    rows, columns = (-side % SIDE for side in pixels.shape[1:])
    if not (rows or columns):
        return pixels
    return F.pad(pixels[None].float(), (0, columns, 0, rows), mode="replicate")[0].to(torch.uint8)


class _Encoder:
    """wanted: (3, 64, h, w), in steps."""

    def __init__(self, wanted: Tensor) -> None:
        self.wanted = wanted
        self.streams: list[bytes] = []

    def values(self, step: Step, context: Context, classes: Tensor) -> Tensor:
        """The nearest values, or the next ones towards 0 where that saves more bits than it is worth."""
        wanted = context.of(step, self.wanted[step.colour, GROUPS[step.group]])
        chosen = _TABLE_OF[classes.long()]
        size = wanted.abs().flatten()
        near = (size + 0.5).floor_().clamp_(max=LARGEST)
        some = near.nonzero()[:, 0]
        kept = near[some]
        farther = 2 * (size[some] - kept) + 1  # squared distance of the next value, less that of this one
        near[some] -= (farther < _saved()[chosen[some].long(), kept.long()]).to(near.dtype)
        values = near.view_as(wanted).copysign_(wanted).int()
        stream = encode(values.flatten(), chosen, tables())
        self.streams += [varint(len(stream)), stream]
        return values


@cache
def _saved() -> Tensor:
    """(tables, 1 + LARGEST): what bits of each size are worth beyond those of the next smaller one; of 0 nothing."""
    bits = torch.from_numpy(costs()[:, LARGEST:]).double() / (1 << COST_BITS)
    return F.pad(_LAMBDA * bits.diff(dim=1), (1, 0))


class _Decoder:
    """cursor: over the bytes of a band of rows."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor

    def values(self, step: Step, context: Context, classes: Tensor) -> Tensor:
        stream = self.cursor.take(self.cursor.varint("the length of a residual stream"), "a residual stream")
        values = decode(stream, _TABLE_OF[classes.long()], tables())
        if int(values.min()) < -LARGEST or int(values.max()) > LARGEST:
            raise FormatError(f"residual: a value is beyond {LARGEST}")
        return values.view(-1, len(context.places[step.second]))
