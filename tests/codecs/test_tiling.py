from fractions import Fraction

import pytest
import torch

from pylatent.codecs.hyperprior import MeanScaleHyperprior
from pylatent.codecs.tiling import run_tiled


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(0)
    return MeanScaleHyperprior(4, 6).double().eval()


@pytest.mark.parametrize("size", [(64, 64), (208, 80), (96, 240)])
@torch.no_grad()
def test_tiles_of_the_analysis_join_without_a_trace(codec, size):
    x = torch.rand(1, 3, *size, dtype=torch.float64)
    tiled = run_tiled(codec.g_a, x, tile=64, halo=32, scale=Fraction(1, 16))
    torch.testing.assert_close(tiled, codec.g_a(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [(4, 4), (13, 5), (7, 18)])
@torch.no_grad()
def test_tiles_of_the_synthesis_join_without_a_trace(codec, size):
    y = torch.randn(2, 6, *size, dtype=torch.float64)
    tiled = run_tiled(codec.g_s, y, tile=4, halo=2, scale=Fraction(16))
    torch.testing.assert_close(tiled, codec.g_s(y), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [(13, 5), (18, 33)])
@torch.no_grad()
def test_tiles_of_the_hyper_transforms_join_without_a_trace(codec, size):
    y = torch.randn(1, 6, *size, dtype=torch.float64)
    z = codec.h_a(y)
    torch.testing.assert_close(run_tiled(codec.h_a, y, tile=8, halo=8, scale=Fraction(1, 4)), z, rtol=1e-12, atol=1e-12)
    tiled = run_tiled(codec.h_s, z, tile=2, halo=2, scale=Fraction(4))
    torch.testing.assert_close(tiled, codec.h_s(z), rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_a_halo_that_is_too_small_shows(codec):
    x = torch.rand(1, 3, 128, 64, dtype=torch.float64)
    tiled = run_tiled(codec.g_a, x, tile=64, halo=16, scale=Fraction(1, 16))
    assert not torch.allclose(tiled, codec.g_a(x), rtol=1e-9, atol=1e-9)
