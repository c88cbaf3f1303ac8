"""ops.gaussian_bits on every device; the emulated ones run the CUDA kernels on the CPU."""

from __future__ import annotations

import math

import pytest
import torch
from tolerances import assert_close

from pylatent import _native
from pylatent.ops import gaussian_bits
from pylatent.ops.gaussian_bits import gaussian_bits_reference

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.fixture(autouse=True)
def native(device):
    """Skips where there are no native kernels for this device."""
    x = torch.ones(1, device=device)
    if not _native.is_emulated() and _native.why_not_native(x, DTYPES) is not None:
        pytest.skip(_native.why_not_native(x, DTYPES))


def tensors(device, shape=(2, 3, 5, 7), dtype=torch.float32, seed=0):
    """Residuals, some integral, with scales from 0.05 to 50: below the bound, narrow, wide enough for the series."""
    generator = torch.Generator().manual_seed(seed)
    scales = torch.exp(torch.empty(shape).uniform_(math.log(0.05), math.log(50), generator=generator))
    q = torch.randn(shape, generator=generator) * (scales + 0.3)
    q = torch.where(torch.rand(shape, generator=generator) < 0.4, q.round(), q)
    return q.to(device, dtype), scales.to(device, dtype)


def in_double(*inputs):
    return [x.detach().cpu().double().requires_grad_() for x in inputs]


def check(q, scales):
    """Bits and gradients against the float64 reference; the gradient coming in has both signs."""
    exact = in_double(q, scales)
    expected = gaussian_bits_reference(*exact)
    assert_close(gaussian_bits(q, scales, backend="native"), expected)
    mine = [x.detach().requires_grad_() for x in (q, scales)]
    bits = gaussian_bits(*mine, backend="native")
    assert bits.dtype == torch.float32
    assert_close(bits, expected)
    grad = torch.randn(bits.shape, generator=torch.Generator().manual_seed(1)).to(bits.device)
    bits.backward(grad)
    expected.backward(grad.cpu().double())
    for name, a, b in zip(("q", "scales"), mine, exact, strict=True):
        assert a.grad.dtype == a.dtype
        assert_close(a.grad, b.grad, name=f"the gradient of {name}")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (67,), (2, 3, 5, 7), (1, 8, 16, 16)], ids=str)
def test_reference(device, shape, dtype):
    check(*tensors(device, shape, dtype))


def test_blocks_and_threads(device):
    """Sizes around those of blocks, buffers and tasks of the CPU kernels."""
    sizes = (63, 64, 511, 513, 1025) if _native.is_emulated() else (63, 64, 511, 513, 16384, 3 * 16384 + 65)
    for size in sizes:
        check(*tensors(device, (size,)))


@pytest.mark.parametrize("scale", [0.11, 0.3, 2.0, 7.9, 8.1, 30.0, 250.0])
def test_accuracy_in_the_tails(device, scale):
    """Each element for itself, up to where the likelihood meets its bound."""
    q = torch.linspace(-6.5, 6.5, 131, device=device) * scale
    scales = torch.full_like(q, scale)
    exact = in_double(q, scales)
    expected = gaussian_bits_reference(*exact)
    torch.testing.assert_close(
        gaussian_bits(q, scales, backend="native").cpu().double(), expected.detach(), rtol=3e-6, atol=1e-5
    )


def test_gradients_at_the_bounds(device):
    """Both bounds let a gradient pass only where a step against it leads out of the bound."""
    q = torch.tensor([40.0, 40.0, 0.0, 0.0, 1.0, 1.0], device=device)
    scales = torch.tensor([6.0, 6.0, 0.02, 0.02, 0.02, 0.02], device=device)
    for signs in (1.0, -1.0):
        grad = signs * torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0], device=device)
        mine = [x.clone().requires_grad_() for x in (q, scales)]
        exact = in_double(q, scales)
        gaussian_bits(*mine, backend="native").backward(grad)
        gaussian_bits_reference(*exact).backward(grad.cpu().double())
        for a, b in zip(mine, exact, strict=True):
            torch.testing.assert_close(a.grad.cpu().double(), b.grad, rtol=1e-5, atol=1e-7)
            assert torch.equal(a.grad.cpu() == 0, b.grad.float() == 0)


def test_gradcheck_of_the_reference():
    scales = torch.tensor([0.2, 0.5, 1.0, 3.0, 20.0], dtype=torch.float64, requires_grad=True)
    q = torch.tensor([0.3, -1.2, 2.0, -7.5, 11.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gaussian_bits_reference, (q, scales))


def test_float64_runs_the_reference(device):
    q, scales = (x.double() for x in tensors(device))
    with pytest.raises(RuntimeError, match="there is no native kernel for torch.float64"):
        gaussian_bits(q, scales, backend="native")
    bits = gaussian_bits(q, scales)
    assert bits.dtype == torch.float64
    assert torch.equal(bits, gaussian_bits_reference(q, scales))


def test_mixed_dtypes(device):
    q, scales = tensors(device)
    scales = scales.bfloat16().requires_grad_()
    bits = gaussian_bits(q, scales, backend="native")
    bits.sum().backward()
    assert scales.grad.dtype == torch.bfloat16
    assert_close(bits, gaussian_bits_reference(*in_double(q, scales)))


def test_opcheck(device):
    for q, scales in (tensors(device), [x.transpose(1, 3) for x in tensors(device)]):
        torch.library.opcheck(torch.ops.pylatent.gaussian_bits.default, (q, scales))
        torch.library.opcheck(torch.ops.pylatent.gaussian_bits_backward.default, (scales, q, scales))


def test_compile_with_dynamic_shapes(device):
    compiled = torch.compile(lambda q, s: 2 * gaussian_bits(q, s, backend="native"), fullgraph=True, dynamic=True)
    for shape in [(2, 3, 5, 7), (1, 4, 6, 9)]:
        mine, eager = ([x.requires_grad_() for x in tensors(device, shape)] for _ in range(2))
        out, expected = compiled(*mine), 2 * gaussian_bits(*eager)
        torch.testing.assert_close(out, expected)
        out.sum().backward()
        expected.sum().backward()
        for a, b in zip(mine, eager, strict=True):
            torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_autocast_changes_nothing(device, backend):
    q, scales = tensors(device)
    expected = gaussian_bits(q, scales, backend=backend)
    with torch.autocast(device.type, torch.bfloat16):
        assert torch.equal(gaussian_bits(q, scales, backend=backend), expected)


def test_empty(device):
    check(*tensors(device, (2, 0, 3)))


def test_layouts(device):
    q, scales = tensors(device, (2, 6, 8, 5))
    last = q.contiguous(memory_format=torch.channels_last)
    assert gaussian_bits(last, scales, backend="native").is_contiguous(memory_format=torch.channels_last)
    for layout_q, layout_scales in ((last, scales), (q, scales.transpose(2, 3).contiguous().transpose(2, 3))):
        check(layout_q, layout_scales)
    check(q[:, 1::2, :, 2:], scales[:, 1::2, :, 2:])
    check(q[0, 0, 0, :1].expand(5, 7), scales[0, 0, 0, :1].expand(5, 7))
    check(q.flatten()[1:], scales.flatten()[3:-2][: q.numel() - 1].new_ones(q.numel() - 1))


def test_strided_gradient(device):
    mine = [x.requires_grad_() for x in tensors(device)]
    exact = in_double(*mine)
    gaussian_bits(*mine, backend="native").transpose(1, 2).sum().backward()
    gaussian_bits_reference(*exact).sum().backward()
    for a, b in zip(mine, exact, strict=True):
        assert_close(a.grad, b.grad)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_extreme_values(device, dtype):
    inf, nan = float("inf"), float("nan")
    q = torch.tensor([inf, -inf, 6e4, -6e4, 0.0, nan, 1.0], device=device, dtype=dtype)
    scales = torch.tensor([1.0, 9.0, 0.11, 9.0, 6e4, 1.0, nan], device=device, dtype=dtype)
    bits = gaussian_bits(q, scales, backend="native").cpu()
    highest = -math.log2(1e-9)
    assert bits[:4].tolist() == pytest.approx([highest] * 4)
    assert float(bits[4]) == pytest.approx(math.log2(float(scales[4]) * math.sqrt(2 * math.pi)), rel=1e-5)
    assert bits[5:].isnan().all()


ERRORS = [
    ({"q": [1.0]}, TypeError, "`q` must be a tensor, got list"),
    ({"scales": 1.0}, TypeError, "`scales` must be a tensor, got float"),
    ({"q": torch.zeros(2, 3, 5, 7, dtype=torch.int32)}, TypeError, "`q` must be torch.float32 or .*, got torch.int32"),
    ({"scales": torch.ones(3, 1, 1)}, ValueError, r"`scales` must have shape \(2, 3, 5, 7\), got \(3, 1, 1\)"),
    ({"scales": torch.ones(2, 3, 5, 7, device="meta")}, ValueError, "`scales` must be on .* like `q`, got meta"),
    ({"backend": "cuda"}, ValueError, "`backend` must be 'auto', 'native' or 'torch', got 'cuda'"),
]


@pytest.mark.parametrize(("change", "error", "message"), ERRORS, ids=[e[2][:40] for e in ERRORS])
def test_errors(device, change, error, message):
    q, scales = tensors(device)
    change = {k: v.to(device) if isinstance(v, torch.Tensor) and not v.is_meta else v for k, v in change.items()}
    with pytest.raises(error, match=f"^{message}$"):
        gaussian_bits(**({"q": q, "scales": scales} | change))
