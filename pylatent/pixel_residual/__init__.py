"""Pixel residual: what decoded pixels lack to be the original's, or within a few grey levels of them, coded exactly.

A section of a record (docs/format.md, "Pixel residual") for pictures whose decoded pixels are the same everywhere.
"""

from pylatent.pixel_residual.section import check_section, decode_pixels, encode_pixels

__all__ = ["check_section", "decode_pixels", "encode_pixels"]
