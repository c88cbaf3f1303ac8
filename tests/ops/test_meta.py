"""Operators on meta tensors give results of the right shape, dtype and device, and check their arguments."""

from __future__ import annotations

import pytest
import torch

from pylatent import layers, ops


def meta(*shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device="meta")


CALLS = {
    "gated_fusion": (
        lambda: ops.gated_fusion(meta(2, 3, 4, 5), meta(2, 6, 4, 5), meta(7, 3), meta(7, 6), meta(7), meta(7)),
        (2, 7, 4, 5),
    ),
    "deform_conv2d": (
        lambda: ops.deform_conv2d(
            meta(2, 4, 9, 8), meta(2, 18, 5, 4), meta(6, 4, 3, 3), meta(6), stride=2, padding=1, mask=meta(2, 9, 5, 4)
        ),
        (2, 6, 5, 4),
    ),
    "sga_sample": (lambda: ops.sga_sample(meta(2, 3, 4), 0.5, method="linear", classes=3), (2, 3, 4)),
    "gaussian_bits": (lambda: ops.gaussian_bits(meta(2, 3, 4), meta(2, 3, 4)), (2, 3, 4)),
    "neighborhood_attention": (
        lambda: ops.neighborhood_attention(*(meta(2, 7, 9, 3, 4) for _ in range(3)), meta(3, 13, 13)),
        (2, 7, 9, 3, 4),
    ),
    "GatedFusion": (lambda: layers.GatedFusion(4, 6, 8).to("meta")(meta(1, 4, 3, 3), meta(1, 6, 3, 3)), (1, 8, 3, 3)),
    "DeformableAlignment": (
        lambda: layers.DeformableAlignment(8).to("meta")(meta(1, 8, 6, 6), meta(1, 8, 6, 6)),
        (1, 8, 6, 6),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_shapes(name):
    call, shape = CALLS[name]
    out = call()
    assert (tuple(out.shape), out.device.type, out.dtype) == (shape, "meta", torch.float32)


def test_errors():
    with pytest.raises(ValueError, match=r"`s` must have shape \(2, 6, 4, 5\), got \(2, 6, 5, 4\)"):
        ops.gated_fusion(meta(2, 3, 4, 5), meta(2, 6, 5, 4), meta(7, 3), meta(7, 6))
    with pytest.raises(RuntimeError, match="there are native kernels for cpu and cuda tensors, not for meta"):
        ops.gaussian_bits(meta(2, 3), meta(2, 3), backend="native")
