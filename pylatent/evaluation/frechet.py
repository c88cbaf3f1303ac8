"""How far apart two sets of pictures are, as sets of features: the Fréchet distance (FID's formula) and the kernel
distance (KID's).

    Heusel et al. 2017 (arXiv 1706.08500):    |m_a - m_b|² + tr(S_a + S_b - 2 (S_a S_b)^(1/2))
    Binkowski et al. 2018 (arXiv 1801.01401): the unbiased estimate of the squared maximum mean discrepancy under the
                                              kernel (x·y / d + 1)³, here of all pairs rather than of random subsets

m: means, S: covariances (n - 1 in the denominator) of vectors of d features. Published FID and KID are of Inception's
features: those of another network are other numbers. The Fréchet distance of few vectors is too large: compare it only
at equal numbers. Everything is computed in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Of two sets of features, (n, d) and (m, d), two vectors or more each. Raises ValueError for others."""
    a, b = _checked(a, b)
    means, factors = zip(*(_moments(each) for each in (a, b)), strict=True)
    # S = F' F, so the trace of the root of S_a S_b is the sum of the singular values of F_a F_b'.
    traces = sum(float(factor.square().sum()) for factor in factors)
    cross = float(torch.linalg.svdvals(factors[0] @ factors[1].T).sum())
    return float((means[0] - means[1]).square().sum()) + traces - 2 * cross


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Of two sets of features, (n, d) and (m, d), two vectors or more each; it may fall below 0, being unbiased."""
    a, b = _checked(a, b)

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def of_pairs(x: Tensor) -> float:
        of_all = kernel(x, x)
        return float(of_all.sum() - of_all.diagonal().sum()) / (len(x) * (len(x) - 1))

    return of_pairs(a) + of_pairs(b) - 2 * float(kernel(a, b).mean())


def patches(picture: Tensor, side: int) -> Tensor:
    """Of a picture (3, H, W): its side x side patches, and those of a grid moved by half a side -> (n, 3, side, side).

    As in high-fidelity compression since Mentzer et al. 2020 (arXiv 2006.09965, A.7); what fills no patch is left out.
    """
    grids = []
    for start in (0, side // 2):
        part = picture[:, start:, start:]
        rows, columns = part.shape[1] // side, part.shape[2] // side
        part = part[:, : rows * side, : columns * side].unflatten(1, (rows, side)).unflatten(3, (columns, side))
        grids.append(part.permute(1, 3, 0, 2, 4).reshape(rows * columns, 3, side, side))
    return torch.cat(grids)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean, and a factor of the covariance with as few rows as there can be."""
    mean = x.mean(0)
    factor = (x - mean) / (len(x) - 1) ** 0.5
    return mean, torch.linalg.qr(factor, mode="r").R if len(factor) > factor.shape[1] else factor


def _checked(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(
            f"features must have shapes (n, d) and (m, d), n and m at least 2, got {tuple(a.shape)}, {tuple(b.shape)}"
        )
    if not (a.isfinite().all() and b.isfinite().all()):
        raise ValueError("features must be finite")
    return a.double(), b.double()
