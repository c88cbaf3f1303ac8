"""Fused operators: each a plain function of tensors, with gradients, on CPU and CUDA."""

__all__: list[str] = []
