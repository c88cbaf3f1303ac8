"""Transformed residual: what decoded pixels lack to be nearer to the original's, quantised in a cosine transform.

A section of a record (docs/format.md, "Transformed residual") for pictures whose decoded pixels are the same
everywhere. It bounds no pixel's error; at one PSNR it takes a third fewer bits than a pixel residual.
"""

from pylatent.transform_residual.section import SMALLEST_STEP, check_section, decode_coefficients, encode_coefficients

__all__ = ["SMALLEST_STEP", "check_section", "decode_coefficients", "encode_coefficients"]
