"""Every word of the device vocabulary against plain loops."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

SEEDS = range(6)


def test_partial_blocks(kernels: ModuleType) -> None:
    x, out = torch.randn(1000), torch.zeros(1000)
    for seed in SEEDS:
        kernels.set_seed(seed)
        kernels.swap_pairs(x.data_ptr(), out.zero_().data_ptr(), 1000, 96, 0)
        assert torch.equal(out.view(-1, 2).flip(1).flatten(), x)


@pytest.mark.parametrize("warps", [1, 3])
def test_grids_in_three_dimensions(kernels: ModuleType, warps: int) -> None:
    x = torch.randint(-1000, 1000, (2, 3, 7, 45), dtype=torch.int32)
    out = torch.zeros(2, 3, 7, dtype=torch.int32)
    kernels.sum_rows(x.data_ptr(), out.data_ptr(), 2, 3, 7, 45, warps)
    assert torch.equal(out, x.sum(-1, dtype=torch.int32))


@pytest.mark.parametrize("lanes", [32, 13])
@pytest.mark.parametrize("width", [32, 8])
def test_shuffles_and_votes(kernels: ModuleType, lanes: int, width: int) -> None:
    out = torch.zeros(lanes, 8, dtype=torch.int32)
    kernels.shuffles(out.data_ptr(), lanes, width)

    def value(lane: int) -> int:
        return 100 + lane if lane < lanes else -1  # poison

    for lane in range(lanes):
        first = lane // width * width
        down = lane + 2 if lane + 2 < first + width else lane
        up = lane - 2 if lane - 2 >= first else lane
        assert out[lane, :4].tolist() == [value(first + 3), value(lane ^ 2), value(down), value(up)]
        assert out[lane, 4] == sum(1 << i for i in range(0, lanes, 3))
        assert out[lane, 5] == 1
        assert out[lane, 6] == (102 if lane % 2 == 0 else -1)
        assert out[lane, 7] == value(lane)


def test_atomics(kernels: ModuleType) -> None:
    x = torch.randint(0, 37, (500,), dtype=torch.int32)
    for seed in SEEDS:
        counts = torch.zeros(37, dtype=torch.int32)
        kernels.set_seed(seed)
        kernels.histogram(x.data_ptr(), counts.data_ptr(), 500, 37, 0)
        assert torch.equal(counts, torch.bincount(x, minlength=37).int())


@pytest.mark.parametrize("count", [2, 4])
def test_ldmatrix(kernels: ModuleType, count: int) -> None:
    rows = torch.arange(32 * 8, dtype=torch.int16).view(32, 8) * 37
    matrices = rows.view(4, 8, 8)[:count]
    for transposed in (False, True):
        out = torch.zeros(32, count, dtype=torch.int32)
        kernels.load_matrices(rows.data_ptr(), out.data_ptr(), count, transposed)
        elements = out.view(torch.int16).view(8, 4, count, 2)  # row, column pair, matrix, of the pair
        expected = matrices.mT if transposed else matrices
        assert torch.equal(elements.permute(2, 0, 1, 3).reshape(count, 8, 8), expected)


def fragments(a: torch.Tensor, b: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Registers of 32 lanes: a (16, K) and b (K, 8), `step` neighbours along K in a register (PTX manual, 9.7.14)."""
    k = a.shape[1]
    half = k // 2
    a_registers = a.new_empty(8, 4, 4, step)  # group, thread of the group, register, element
    b_registers = b.new_empty(8, 4, 2, step)
    for i in range(4):
        rows, columns = slice(i % 2 * 8, i % 2 * 8 + 8), slice(i // 2 * half, i // 2 * half + half)
        a_registers[:, :, i] = a[rows, columns].reshape(8, 4, step)
    for i in range(2):
        b_registers[:, :, i] = b[i * half : i * half + half].T.reshape(8, 4, step)
    return a_registers, b_registers


@pytest.mark.parametrize(("kind", "dtype"), [("bf16", torch.bfloat16), ("f16", torch.float16), ("tf32", torch.float32)])
def test_mma(kernels: ModuleType, kind: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    k = 8 if kind == "tf32" else 16
    a, b = torch.randn(16, k).to(dtype), torch.randn(k, 8).to(dtype)
    d = torch.randn(16, 8)
    a_registers, b_registers = fragments(a, b, 1 if kind == "tf32" else 2)
    registers = torch.stack([d[:8].view(8, 4, 2), d[8:].view(8, 4, 2)], 2).contiguous()
    kernels.multiply(a_registers.data_ptr(), b_registers.data_ptr(), registers.data_ptr(), kind)
    result = torch.cat([registers[:, :, 0].reshape(8, 8), registers[:, :, 1].reshape(8, 8)])

    if kind == "tf32":
        a, b = (((x.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32) for x in (a, b))
    torch.testing.assert_close(result, (d.double() + a.double() @ b.double()).float(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("signed_b", [False, True])
@pytest.mark.parametrize("signed_a", [False, True])
def test_mma_of_bytes(kernels: ModuleType, signed_a: bool, signed_b: bool) -> None:
    """Sums wrap at 2^31."""
    torch.manual_seed(0)
    bytes_of = {False: torch.uint8, True: torch.int8}
    a, b = torch.randint(0, 256, (16, 32)).to(torch.uint8), torch.randint(0, 256, (32, 8)).to(torch.uint8)
    a[0], b[:, 0] = 255, 255
    a[1], b[:, 1] = 128, 128
    d = torch.randint(-(2**31), 2**31, (16, 8)).int()
    a_registers, b_registers = fragments(a, b, 4)
    registers = torch.stack([d[:8].view(8, 4, 2), d[8:].view(8, 4, 2)], 2).contiguous()
    kernels.multiply_bytes(a_registers.data_ptr(), b_registers.data_ptr(), registers.data_ptr(), signed_a, signed_b)
    result = torch.cat([registers[:, :, 0].reshape(8, 8), registers[:, :, 1].reshape(8, 8)])
    product = a.view(bytes_of[signed_a]).long() @ b.view(bytes_of[signed_b]).long()
    assert torch.equal(result, (d.long() + product).int())


def test_permuted_bytes(kernels: ModuleType) -> None:
    words = torch.randint(-(2**31), 2**31, (32, 3)).int()
    words[:, 2] = torch.tensor([sum((lane * 5 + 3 * i) % 8 << 4 * i for i in range(4)) for lane in range(32)]).int()
    out = torch.zeros(32, dtype=torch.int32)
    kernels.permute_bytes(words.data_ptr(), out.data_ptr())
    for row, got in zip(words, out, strict=True):
        source = row[:2].contiguous().view(torch.uint8)
        expected = [int(source[int(row[2]) >> 4 * i & 7]) for i in range(4)]
        assert got.view(1).view(torch.uint8).tolist() == expected


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "f16"])
def test_pipelined_product(kernels: ModuleType, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    a, b = torch.randn(50, 64).to(dtype), torch.randn(64, 72).to(dtype)
    for seed in SEEDS:
        out = torch.full((50, 72), torch.nan)
        kernels.set_seed(seed)
        kernels.product(a.data_ptr(), b.data_ptr(), out.data_ptr(), 50, 72, 64, 3 if dtype is torch.bfloat16 else 2, 0)
        torch.testing.assert_close(out, a.float() @ b.float(), rtol=1e-5, atol=1e-4)


def test_philox(kernels: ModuleType) -> None:
    """The known answers of Random123 (kat_vectors, philox4x32 10)."""
    ones = 2**64 - 1
    assert kernels.philox(0, 0, 0, 0) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    assert kernels.philox(ones, ones, 2**32 - 1, 2**32 - 1) == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)
    counter = 0x85A308D3243F6A88, 0x0370734413198A2E
    assert kernels.philox(*counter, 0xA4093822, 0x299F31D0) == (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)
