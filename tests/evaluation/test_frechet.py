"""FID's and KID's formulas against closed forms and their definitions; what patches there are."""

import numpy as np
import pytest
import torch

from pylatent.evaluation.frechet import frechet_distance, kernel_distance, patches


def gaussian(n, d, seed, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=generator, dtype=torch.float64)
    return torch.randn(n, d, generator=generator, dtype=torch.float64) @ mix + shift


@pytest.mark.parametrize(("n", "m", "d"), [(50, 70, 5), (6, 9, 20), (4, 40, 10)])
def test_frechet_distance_is_the_formula(n, m, d):
    sqrtm = pytest.importorskip("scipy.linalg").sqrtm
    a, b = gaussian(n, d, 0), gaussian(m, d, 1, shift=0.5)
    of_a, of_b = (np.cov(x.numpy(), rowvar=False) for x in (a, b))
    means = a.mean(0).numpy() - b.mean(0).numpy()
    # A root of a singular product needs a little on its diagonal.
    root = sqrtm((of_a + 1e-12 * np.eye(d)) @ (of_b + 1e-12 * np.eye(d))).real
    wanted = means @ means + np.trace(of_a + of_b - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-4)


def test_frechet_distance_in_closed_form():
    """Of one dimension: (m_a - m_b)² + (s_a - s_b)²; of a shift alone: its square; of the same set: 0."""
    a, b = torch.tensor([[1.0], [3.0], [8.0]]), torch.tensor([[0.0], [10.0]])
    wanted = (a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2
    assert frechet_distance(a, b) == pytest.approx(float(wanted))
    x = gaussian(30, 6, 2)
    assert frechet_distance(x, x + 2) == pytest.approx(6 * 4)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)


def test_kernel_distance_is_the_definition():
    a, b = gaussian(7, 4, 0), gaussian(5, 4, 1)

    def k(x, y):
        return float((x @ y / 4 + 1) ** 3)

    of_a = np.mean([k(a[i], a[j]) for i in range(7) for j in range(7) if i != j])
    of_b = np.mean([k(b[i], b[j]) for i in range(5) for j in range(5) if i != j])
    across = np.mean([k(x, y) for x in a for y in b])
    assert kernel_distance(a, b) == pytest.approx(of_a + of_b - 2 * across)


def test_kernel_distance_is_unbiased():
    """Of two draws from one distribution it is 0 on average, below 0 as often as above."""
    found = [kernel_distance(torch.randn(20, 3), torch.randn(20, 3)) for _ in range(300)]
    assert abs(np.mean(found)) < 4 * np.std(found) / 300**0.5
    assert min(found) < 0 < max(found)


def test_patches_are_two_grids():
    picture = torch.arange(3 * 70 * 100).view(3, 70, 100)
    found = patches(picture, 32)
    assert found.shape == (2 * 3 + 1 * 2, 3, 32, 32)
    assert torch.equal(found[0], picture[:, :32, :32])
    assert torch.equal(found[5], picture[:, 32:64, 64:96])
    assert torch.equal(found[7], picture[:, 16:48, 48:80])
    assert patches(picture[:, :31], 32).shape == (0, 3, 32, 32)


@pytest.mark.parametrize("shapes", [((1, 3), (4, 3)), ((4, 3), (4, 2)), ((4,), (4,))])
def test_features_that_cannot_be_compared(shapes):
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(ValueError, match="features must have shapes"):
            distance(*(torch.ones(shape) for shape in shapes))
    with pytest.raises(ValueError, match="features must be finite"):
        frechet_distance(torch.full((3, 2), float("nan")), torch.ones(3, 2))
