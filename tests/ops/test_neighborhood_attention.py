"""ops.neighborhood_attention on every device; the emulated ones run the CUDA kernels on the CPU."""

from __future__ import annotations

import random

import pytest
import torch
from tolerances import assert_close
from windows import attend_to_all

from pylatent import _native
from pylatent.ops import neighborhood_attention
from pylatent.ops.neighborhood_attention import KERNELS, neighborhood_attention_reference

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
NAMES = ("q", "k", "v", "bias")


@pytest.fixture(autouse=True)
def native(device):
    """Skips where there are no native kernels for this device."""
    x = torch.ones(1, device=device)
    if not _native.is_emulated() and _native.why_not_native(x, DTYPES) is not None:
        pytest.skip(_native.why_not_native(x, DTYPES))


def tensors(device, shape=(2, 5, 7, 2, 6), kernel=3, dtype=torch.float32, seed=0, bias=True):
    generator = torch.Generator().manual_seed(seed)
    qkv = [torch.randn(shape, generator=generator).to(device, dtype) for _ in range(3)]
    table = torch.randn(shape[3], 2 * kernel - 1, 2 * kernel - 1, generator=generator).to(device)
    return [*qkv, table if bias else None]


def in_double(*inputs):
    return [None if x is None else x.detach().cpu().double().requires_grad_() for x in inputs]


def check(inputs, kernel, dilation=1, scale=None):
    """The result and all gradients against brute force in float64."""
    exact = in_double(*inputs)
    expected = attend_to_all(*exact, kernel, dilation, inputs[0].shape[-1] ** -0.5 if scale is None else scale)
    mine = [None if x is None else x.detach().requires_grad_() for x in inputs]
    window = {"kernel": kernel, "dilation": dilation, "scale": scale, "backend": "native"}
    out = neighborhood_attention(*mine, **window)
    assert out.dtype == inputs[0].dtype
    assert out.is_contiguous()
    assert_close(out, expected)
    with torch.no_grad():
        assert torch.equal(neighborhood_attention(*mine, **window), out)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out)
    out.backward(grad)
    expected.backward(grad.cpu().double())
    for name, a, b in zip(NAMES, mine, exact, strict=True):
        if a is not None:
            assert a.grad.dtype == a.dtype
            assert_close(a.grad, b.grad, name=f"the gradient of {name}")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_and_dtype(device, kernel, dtype):
    check(tensors(device, (1, kernel + 2, kernel + 4, 2, 4), kernel, dtype), kernel)


SHAPES = [  # shape, kernel, dilation
    ((1, 3, 3, 1, 1), 3, 1),
    ((1, 7, 7, 1, 16), 7, 1),  # all windows are the map
    ((1, 8, 13, 1, 3), 7, 1),  # keys that all queries see
    ((1, 3, 40, 1, 17), 3, 1),  # several tiles
    ((1, 20, 5, 2, 32), 5, 1),
    ((1, 6, 7, 3, 5), 3, 2),  # residues of different lengths
    ((2, 9, 11, 1, 4), 3, 3),
    ((1, 6, 33, 1, 2), 3, 2),  # one residue has a tile more than the other
]


@pytest.mark.parametrize(("shape", "kernel", "dilation"), SHAPES, ids=str)
def test_borders_tiles_and_residues(device, shape, kernel, dilation):
    check(tensors(device, shape, kernel), kernel, dilation)


def test_without_a_bias_and_with_a_scale(device):
    check(tensors(device, bias=False), 3)
    check(tensors(device), 3, scale=0.3)


def test_random_configurations(device):
    """200 on the CPU kernels; an emulated schedule runs six."""
    emulated = _native.is_emulated()
    draw = random.Random(0)
    for i in range(6 if emulated else 200):
        kernel = draw.choice(KERNELS[:2] if emulated else KERNELS)
        dilation = draw.choice([1, 1, 2, 3] if kernel < 7 else [1, 1, 1, 2])
        least = kernel * dilation
        height, width = (least + draw.randint(0, 3 if emulated else draw.choice([3, 20])) for _ in range(2))
        shape = (draw.randint(1, 2), height, width if height * width < 600 else least, draw.randint(1, 3))
        inputs = tensors(device, (*shape, draw.randint(1, 20)), kernel, draw.choice(DTYPES), i, draw.random() < 0.8)
        check(inputs, kernel, dilation, draw.choice([None, 0.1]))


def test_strips_and_blocks_of_rows(device):
    """Larger than what a task of the CPU kernels takes, against plain torch."""
    shape = (1, 10, 21, 1, 4) if _native.is_emulated() else (1, 37, 290, 1, 4)
    inputs = tensors(device, shape, 5)
    mine, exact = [x.detach().requires_grad_() for x in inputs], in_double(*inputs)
    out, expected = neighborhood_attention(*mine, kernel=5), neighborhood_attention_reference(*exact, kernel=5)
    assert_close(out, expected)
    out.square().sum().backward()
    expected.square().sum().backward()
    for name, a, b in zip(NAMES, mine, exact, strict=True):
        assert_close(a.grad, b.grad, name=f"the gradient of {name}")


def test_gradcheck_of_the_reference():
    inputs = in_double(*tensors("cpu", (1, 6, 7, 2, 2)))
    assert torch.autograd.gradcheck(
        lambda *x: neighborhood_attention_reference(*x, kernel=3, dilation=2), inputs, fast_mode=True
    )


@pytest.mark.parametrize("dilation", [1, 2])
def test_the_reference_is_the_definition(device, dilation):
    inputs = in_double(*tensors("cpu", (2, 11, 8, 2, 3)))
    expected = attend_to_all(*inputs, 3, dilation, 3**-0.5)
    assert_close(neighborhood_attention_reference(*inputs, kernel=3, dilation=dilation), expected)


def test_float64_runs_the_reference(device):
    inputs = [x.double() for x in tensors(device)]
    with pytest.raises(RuntimeError, match="there is no native kernel for torch.float64"):
        neighborhood_attention(*inputs, kernel=3, backend="native")
    out = neighborhood_attention(*inputs, kernel=3)
    assert torch.equal(out, neighborhood_attention_reference(*inputs, kernel=3))


def test_scores_far_from_zero(device):
    """The exponentials of scores of hundreds would overflow; the maximum is subtracted."""
    q, k, v, bias = tensors(device)
    q, k, bias = (8 * q).round(), (8 * k).round(), (100 * bias).round()  # scores without rounding
    mine, exact = [x.requires_grad_() for x in (q, k, v, bias)], in_double(q, k, v, bias)
    out, expected = neighborhood_attention(*mine, kernel=3, scale=1.0), attend_to_all(*exact, 3, 1, 1.0)
    assert_close(out, expected)
    out.sum().backward()
    expected.sum().backward()
    for a, b in zip(mine, exact, strict=True):  # the logarithms of the sums, up to 2000, are rounded to 1e-4
        torch.testing.assert_close(a.grad.cpu().double(), b.grad, rtol=1e-3, atol=1e-3)


def test_a_bias_that_excludes_offsets(device):
    q, k, v, bias = tensors(device)
    bias[:, :, 3:] = -torch.inf  # keys to the right
    bias[:, 0] = -torch.inf  # and those in the first row of a window at the bottom
    out = neighborhood_attention(q, k, v, bias, kernel=3, backend="native")
    assert_close(out, attend_to_all(*in_double(q, k, v, bias), 3, 1, 6**-0.5))


def test_one_query_that_is_not_a_number(device):
    """It spoils itself alone."""
    q, k, v, bias = tensors(device)
    q[0, 1, 2, 0] = torch.nan
    out = neighborhood_attention(q, k, v, bias, kernel=3, backend="native")
    assert out[0, 1, 2, 0].isnan().all()
    assert out.isnan().sum() == 6


def test_strides(device):
    """Chunks of one projection, views of a larger map, and elements that do not follow one another."""
    qkv = torch.randn(2, 6, 8, 3, 2, 6, generator=torch.Generator().manual_seed(0)).to(device)
    bias = tensors(device)[3]
    check([*qkv.unbind(3), bias], 3)
    check([*qkv[:, 1:, ::2].unbind(3), bias], 3)
    check([t.transpose(1, 2).contiguous().transpose(1, 2) for t in qkv.unbind(3)] + [bias], 3)
    check([t.permute(0, 1, 2, 4, 3).contiguous().permute(0, 1, 2, 4, 3) for t in qkv.unbind(3)] + [bias.mT], 3)


def test_strided_gradient(device):
    mine, exact = [x.requires_grad_() for x in tensors(device)], in_double(*tensors(device))
    neighborhood_attention(*mine, kernel=3, backend="native").permute(3, 1, 0, 4, 2).sum().backward()
    attend_to_all(*exact, 3, 1, 6**-0.5).sum().backward()
    for name, a, b in zip(NAMES, mine, exact, strict=True):
        assert_close(a.grad, b.grad, name=f"the gradient of {name}")


@pytest.mark.parametrize("shape", [(0, 4, 5, 2, 3), (2, 4, 5, 0, 3)], ids=str)
@pytest.mark.parametrize("backend", ["native", "torch"])
def test_empty(device, shape, backend):
    inputs = [x.requires_grad_() for x in tensors(device, shape)]
    out = neighborhood_attention(*inputs, kernel=3, backend=backend)
    assert out.shape == shape
    out.sum().backward()
    assert inputs[0].grad.shape == shape
    assert inputs[3].grad is None or not inputs[3].grad.any()


def test_opcheck(device):
    for q, k, v, bias in (tensors(device), tensors(device, bias=False)):
        grad, lse = torch.ones_like(q), torch.zeros(2, 2, 5, 7, device=q.device)
        window = (3, 1, None)
        torch.library.opcheck(torch.ops.pylatent.neighborhood_attention.default, (q, k, v, bias, *window))
        torch.library.opcheck(
            torch.ops.pylatent.neighborhood_attention_backward.default, (grad, q, k, v, bias, lse, *window)
        )


def test_compile_with_dynamic_shapes(device):
    compiled = torch.compile(
        lambda *x: 2 * neighborhood_attention(*x, kernel=3, backend="native"), fullgraph=True, dynamic=True
    )
    for shape in [(2, 5, 7, 2, 6), (1, 4, 9, 3, 5)]:
        mine, eager = ([x.requires_grad_() for x in tensors(device, shape)] for _ in range(2))
        out, expected = compiled(*mine), 2 * neighborhood_attention(*eager, kernel=3, backend="native")
        torch.testing.assert_close(out, expected)
        out.sum().backward()
        expected.sum().backward()
        for a, b in zip(mine, eager, strict=True):
            torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_autocast_changes_nothing(device, backend):
    inputs = tensors(device)
    expected = neighborhood_attention(*inputs, kernel=3, backend=backend)
    with torch.autocast(device.type, torch.bfloat16):
        assert torch.equal(neighborhood_attention(*inputs, kernel=3, backend=backend), expected)


def test_threads_change_nothing(device):
    """Sums of gradients have one order, whatever the number of threads; so do those of the bias."""
    shape = (1, 6, 9, 2, 4) if _native.is_emulated() else (2, 40, 40, 2, 16)

    def run():
        inputs = [x.requires_grad_() for x in tensors(device, shape, 5)]
        out = neighborhood_attention(*inputs, kernel=5, backend="native")
        return [out, *torch.autograd.grad(out.square().sum(), inputs)]

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = run()
        torch.set_num_threads(3)
        assert all(torch.equal(a, b) for a, b in zip(run(), expected, strict=True))
    finally:
        torch.set_num_threads(before)


ZEROS = torch.zeros(2, 5, 7, 2, 6)
ERRORS = [
    ({"q": [1.0]}, TypeError, "`q` must be a tensor, got list"),
    ({"bias": 1.0}, TypeError, "`bias` must be a tensor, got float"),
    ({"q": ZEROS.int()}, TypeError, "`q` must be torch.float32 or .*, got torch.int32"),
    ({"q": ZEROS[0]}, ValueError, r"`q` must have 5 dimensions \(B, H, W, heads, D\), got shape \(5, 7, 2, 6\)"),
    ({"k": ZEROS[1:]}, ValueError, r"`k` must have shape \(2, 5, 7, 2, 6\), got \(1, 5, 7, 2, 6\)"),
    ({"v": ZEROS.half()}, TypeError, "`v` must be torch.float32 like `q`, got torch.float16"),
    ({"v": ZEROS.to("meta")}, ValueError, "`v` must be on .* like `q`, got meta"),
    ({"bias": torch.zeros(2, 5, 3)}, ValueError, r"`bias` must have shape \(2, 5, 5\), got \(2, 5, 3\)"),
    ({"kernel": 4}, ValueError, "`kernel` must be odd and between 3 and 13, got 4"),
    ({"kernel": 15}, ValueError, "`kernel` must be odd and between 3 and 13, got 15"),
    ({"dilation": 0}, ValueError, "`dilation` must be at least 1, got 0"),
    (
        {"dilation": 2},
        ValueError,
        r"`q` must have at least kernel \* dilation = 6 rows and columns, got 5 x 7; pad it, or use .*",
    ),
    ({"backend": "cuda"}, ValueError, "`backend` must be 'auto', 'native' or 'torch', got 'cuda'"),
]


@pytest.mark.parametrize(("change", "error", "message"), ERRORS, ids=[e[2][:40] for e in ERRORS])
def test_errors(device, change, error, message):
    change = {k: v.to(device) if isinstance(v, torch.Tensor) and not v.is_meta else v for k, v in change.items()}
    with pytest.raises(error, match=f"^{message}$"):
        neighborhood_attention(**(dict(zip(NAMES, tensors(device), strict=True)) | {"kernel": 3} | change))


def test_heads_without_elements(device):
    empty = torch.zeros(1, 3, 3, 1, 0, device=device)
    with pytest.raises(ValueError, match=r"`q` must have heads of at least 1 element, got shape \(1, 3, 3, 1, 0\)"):
        neighborhood_attention(empty, empty, empty, kernel=3)


def test_heads_too_large_for_a_cuda_thread(device):
    inputs = tensors(device, (1, 3, 3, 1, 33))
    if not (_native.is_emulated() or device.type == "cuda"):
        check(inputs, 3)
        return
    with pytest.raises(RuntimeError, match="the CUDA kernels take heads of at most 32 elements, not 33"):
        neighborhood_attention(*inputs, kernel=3, backend="native")
    assert_close(neighborhood_attention(*inputs, kernel=3), attend_to_all(*in_double(*inputs), 3, 1, 33**-0.5))
