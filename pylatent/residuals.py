"""What a record says its decoded pixels lack, in either of two ways, told apart by the first byte of its section."""

from __future__ import annotations

from torch import Tensor

from pylatent import pixel_residual, transform_residual
from pylatent.coding.container import TRANSFORMED


def check_residual(section: bytes, size: tuple[int, int]) -> None:
    """Raises FormatError for what can be seen to be wrong without decoding; size: (H, W) of the picture."""
    if section[0] == TRANSFORMED:
        transform_residual.check_section(section, size)
    else:
        pixel_residual.check_section(section, size)


def with_residual(section: bytes, hat: Tensor) -> Tensor:
    """uint8 (3, H, W) on the CPU, as the codec decodes them -> those of the section. Raises FormatError."""
    if section[0] == TRANSFORMED:
        return transform_residual.decode_coefficients(section, hat)
    return pixel_residual.decode_pixels(section, hat)
