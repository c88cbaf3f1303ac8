"""The lane coder: round trips and arguments."""

import numpy as np
import pytest
import torch

from pylatent.coding import rans
from pylatent.coding.tables import CdfTables

SCALES = np.exp(np.linspace(np.log(0.11), np.log(256), 64))
TABLES = CdfTables.gaussian(SCALES)


def latent(n, spread, seed=0):
    """Symbols and indexes like a picture's: log-normal scales around `spread`, Gaussian residuals."""
    rng = np.random.default_rng(seed)
    sigma = spread * np.exp(rng.standard_normal(n))
    indexes = np.minimum(np.searchsorted(SCALES, sigma), 63)
    symbols = np.rint(rng.standard_normal(n) * SCALES[indexes])
    return torch.from_numpy(symbols.astype(np.int32)), torch.from_numpy(indexes.astype(np.uint8))


@pytest.mark.parametrize("n", [0, 1, 2, 63, 64, 65, 1000, 70000])
@pytest.mark.parametrize("spread", [0.05, 1.0, 40.0])
def test_round_trip(n, spread):
    symbols, indexes = latent(n, spread)
    data = rans.encode(symbols, indexes, TABLES)
    assert torch.equal(rans.decode(data, indexes, TABLES), symbols)


def test_any_int32_symbol():
    extremes = [-(2**31), 2**31 - 1, 0, -1, 1, 2**27, -(2**27), 1000, -1000, 5000]
    symbols = torch.tensor(extremes, dtype=torch.int32).repeat(64)
    indexes = torch.arange(64, dtype=torch.int32).repeat_interleave(len(extremes))
    data = rans.encode(symbols, indexes, TABLES)
    assert torch.equal(rans.decode(data, indexes, TABLES), symbols)
