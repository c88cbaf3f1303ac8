"""Fused operators: each a plain function of tensors, with gradients, on CPU and CUDA."""

from pylatent.ops.deform_conv2d import deform_conv2d
from pylatent.ops.gated_fusion import gated_fusion
from pylatent.ops.gaussian_bits import gaussian_bits
from pylatent.ops.match_latents import match_latents
from pylatent.ops.neighborhood_attention import neighborhood_attention
from pylatent.ops.sga_sample import sga_sample

__all__ = [
    "deform_conv2d",
    "gated_fusion",
    "gaussian_bits",
    "match_latents",
    "neighborhood_attention",
    "sga_sample",
]
