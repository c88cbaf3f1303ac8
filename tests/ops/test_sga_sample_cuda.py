"""What only the CUDA kernel of sga_sample has: a grid that may be smaller than the tensor."""

import emulation
import pytest
import torch
from tolerances import assert_close

from pylatent import _native
from pylatent.ops import sga_sample
from pylatent.ops.sga_sample import _PARAMETERS, sga_sample_reference

pytestmark = pytest.mark.parametrize("device", ["cuda", "cuda-emulated-0"], indirect=True)


@pytest.fixture
def one_multiprocessor():
    module = emulation.module("_emulated") if _native.is_emulated() else None
    if module is not None:
        module.set_multiprocessors(1)
    yield
    if module is not None:
        module.set_multiprocessors(4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_several_turns(device, one_multiprocessor, dtype):
    """More elements than 16 blocks of 128 threads take at once, four a thread."""
    count, generator = 16 * 128 * 4 + 601, torch.Generator().manual_seed(0)
    v = (3 * torch.randn(count, generator=generator)).to(dtype)
    noise = -torch.empty(2, count).exponential_(generator=generator).log()
    out = sga_sample(v.to(device), 0.5, noise=noise.to(device), backend="native")
    assert_close(out, sga_sample_reference(v.double(), 0.5, noise.double(), **_PARAMETERS["ssl", 2]), dtype)
