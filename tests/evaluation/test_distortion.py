"""PSNR and MS-SSIM against values from elsewhere and against a plain float64 NumPy computation."""

import math

import numpy as np
import pytest
import torch

from pylatent.evaluation import MS_SSIM_MIN_SIDE, ms_ssim, psnr


def patterned_pair(height, width):
    """A picture with structure at several scales and a distorted copy, from integers alone."""
    y = torch.arange(height).view(1, -1, 1)
    x = torch.arange(width).view(1, 1, -1)
    c = torch.arange(3).view(-1, 1, 1)
    a = (y * y // 7 + x * 3 + c * 40 + (y * x) // 11) % 256
    b = (a + (y * 31 + x * 17 + c * 7) % 41 - 20).clamp(0, 255)
    return a.to(torch.uint8), b.to(torch.uint8)


def ms_ssim_by_definition(a, b):
    """One plane, float64, the window applied as 121 shifted sums."""
    g = np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    window = np.outer(g, g) / g.sum() ** 2

    def blur(p):
        height, width = p.shape[0] - 10, p.shape[1] - 10
        return sum(window[i, j] * p[i : i + height, j : j + width] for i in range(11) for j in range(11))

    value, c1, c2 = 1.0, 6.5025, 58.5225
    for scale, weight in enumerate([0.0448, 0.2856, 0.3001, 0.2363, 0.1333]):
        if scale:
            a, b = (
                sum(
                    np.pad(p, ((0, p.shape[0] % 2), (0, p.shape[1] % 2)), "edge")[i::2, j::2]
                    for i in (0, 1)
                    for j in (0, 1)
                )
                / 4
                for p in (a, b)
            )
        ma, mb = blur(a), blur(b)
        va, vb, cov = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
        term = (2 * cov + c2) / (va + vb + c2)
        if scale == 4:
            term = term * (2 * ma * mb + c1) / (ma**2 + mb**2 + c1)
        value *= max(term.mean(), 0) ** weight
    return value


# Computed once with pytorch_msssim 1.0 (double input) and with NumPy's mean squared error.
@pytest.mark.parametrize(
    ("size", "want_ms_ssim", "want_psnr"),
    [((176, 192), 0.9971485367470653, 26.855735005332903), ((256, 320), 0.9964634842503021, 26.85456792295373)],
    ids=["176x192", "256x320"],
)
def test_published_implementation(size, want_ms_ssim, want_psnr):
    a, b = patterned_pair(*size)
    assert ms_ssim(a, b) == pytest.approx(want_ms_ssim, abs=1e-7)
    assert psnr(a, b) == pytest.approx(want_psnr, abs=1e-10)


@pytest.mark.parametrize("size", [(161, 161), (177, 203)], ids=["161x161", "177x203"])
def test_ms_ssim_by_definition_on_odd_sizes(size):
    a, b = patterned_pair(*size)
    want = np.mean([ms_ssim_by_definition(p.double().numpy(), q.double().numpy()) for p, q in zip(a, b, strict=True)])
    assert ms_ssim(a, b) == pytest.approx(want, abs=1e-12)


def test_identical_and_inverted_pictures():
    a, _ = patterned_pair(170, 180)
    assert psnr(a, a) == math.inf
    assert ms_ssim(a, a) == 1.0
    # Anticorrelated at every scale: the contrast-structure terms are negative and count as zero.
    assert ms_ssim(a, 255 - a) == 0.0


def test_one_grey_level_of_difference():
    a = torch.full((3, 4, 5), 7, dtype=torch.uint8)
    assert psnr(a, a + 1) == pytest.approx(20 * math.log10(255))


def test_floating_point_pictures_are_rounded_to_8_bits_first():
    a, b = patterned_pair(170, 170)
    nearly = (b.float() + 0.3) / 255
    assert psnr(a.float() / 255, nearly) == psnr(a, b)
    assert ms_ssim(a, nearly) == ms_ssim(a, b)
    assert psnr(a.float() / 255, torch.full_like(nearly, 1.5)) == psnr(a, torch.full_like(a, 255))


def test_small_pictures_have_psnr_only():
    a, b = patterned_pair(MS_SSIM_MIN_SIDE - 1, 400)
    assert psnr(a, b) > 0
    with pytest.raises(ValueError, match="at least 161 pixels, got a picture of 400x160"):
        ms_ssim(a, b)


def test_arguments():
    a, _ = patterned_pair(8, 8)
    with pytest.raises(ValueError, match="same shape"):
        psnr(a, a[:, :4])
    with pytest.raises(ValueError, match=r"shape \(C, H, W\)"):
        psnr(a[None], a[None])
    with pytest.raises(TypeError, match=r"torch\.int32"):
        psnr(a.int(), a.int())
