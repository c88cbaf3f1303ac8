"""Fused operators: each a plain function of tensors, with gradients, on CPU and CUDA."""

from pylatent.ops.deform_conv2d import deform_conv2d

__all__ = ["deform_conv2d"]
