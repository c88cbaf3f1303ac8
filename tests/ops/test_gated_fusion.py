"""ops.gated_fusion on every device; the emulated ones run the CUDA kernels on the CPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from gated_fusion_bound import UNIT, bounds
from tolerances import assert_close, assert_within

from pylatent import _native
from pylatent.ops import gated_fusion
from pylatent.ops.gated_fusion import cpu, gated_fusion_reference

NAMES = ("y", "s", "weight_y", "weight_s", "bias_y", "bias_s")
LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}


@pytest.fixture(autouse=True)
def native(device):
    """Skips where there are no native kernels for this device."""
    y = torch.empty(1, 1, 1, 1, device=device)
    if not _native.is_emulated() and (reason := _native.why_not_native(y, DTYPES)) is not None:
        pytest.skip(reason)


def tensors(device, shape=(2, 12, 8, 20, 3, 5), dtype=torch.float32, layout="nchw", seed=0):
    """y, s, weights and biases for shape (B, Cy, Cs, C, H, W)."""
    b, cy, cs, c, h, w = shape
    generator = torch.Generator().manual_seed(seed)

    def normal(*size, scale=1.0):
        return (torch.randn(*size, generator=generator) * scale).to(device, dtype)

    out = [normal(b, cy, h, w), normal(b, cs, h, w)]
    out = [x.contiguous(memory_format=LAYOUTS[layout]) for x in out]
    out += [normal(c, cy, scale=max(cy, 1) ** -0.5), normal(c, cs, scale=max(cs, 1) ** -0.5)]
    return [*out, normal(c), normal(c)]


def with_gradients(inputs):
    return [None if t is None else t.detach().requires_grad_() for t in inputs]


def in_double(inputs):
    return [None if t is None else t.detach().cpu().double().requires_grad_() for t in inputs]


def check(inputs, fuse=gated_fusion):
    """Forward, with and without what the backward pass needs, and all gradients against the float64 reference."""
    mine, exact = with_gradients(inputs), in_double(inputs)
    expected = gated_fusion_reference(*exact)
    with torch.no_grad():
        alone = fuse(*inputs, backend="native")
    out = fuse(*mine, backend="native")
    assert out.dtype == inputs[0].dtype
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(7)).to(out.device, out.dtype)
    out.backward(grad)
    expected.backward(grad.cpu().double())
    assert all(tensor is None or tensor.grad.dtype == tensor.dtype for tensor in mine)
    compare([alone, *results(out, mine)], [expected, *results(expected, exact)], limits(exact, grad, out.dtype))


def results(out, inputs):
    return [out, *(None if tensor is None else tensor.grad for tensor in inputs)]


def limits(exact, grad, dtype, **options):
    """The largest errors in half precision; None where the table of tolerances holds."""
    if dtype not in UNIT:
        return None
    errors = bounds(exact, grad.cpu().double(), dtype, **options)
    return errors[:1] + errors


def compare(actual, expected, errors):
    names = ("the result without gradients", "the result", *(f"the gradient of {name}" for name in NAMES))
    for i, (name, a, b) in enumerate(zip(names, actual, expected, strict=True)):
        if a is not None and errors is None:
            assert_close(a, b, name=name)
        elif a is not None:
            assert_within(a, b, errors[i], name)


# (B, Cy, Cs, C, H, W): channels and pixels that are odd, multiples of 4 and of 8, and beyond the size of a tile.
SHAPES = [
    (2, 12, 8, 20, 3, 5),
    (1, 40, 24, 72, 4, 9),
    (3, 33, 7, 35, 7, 7),
    (1, 64, 16, 32, 8, 16),
    (2, 8, 72, 136, 1, 1),
]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_reference(device, shape, dtype, layout):
    check(tensors(device, shape, dtype, layout))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products_in_half_precision(monkeypatch, shape, dtype, layout):
    """As on processors that multiply the dtype (AVX-512 BF16 and FP16, AMX), on every other one."""
    if (reason := _native.why_not_native()) is not None:
        pytest.skip(reason)
    monkeypatch.setattr(cpu, "product_dtype", lambda dtype: dtype)
    for seed in range(8):
        check(tensors("cpu", shape, dtype, layout, seed))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_float64(device, layout):
    inputs = tensors(device, dtype=torch.float64, layout=layout)
    if device.type == "cuda" or _native.is_emulated():
        with pytest.raises(RuntimeError, match="there is no native kernel for torch.float64"):
            gated_fusion(*inputs, backend="native")
        assert_close(gated_fusion(*inputs), gated_fusion_reference(*inputs).cpu())
    else:
        check(inputs)


@pytest.mark.parametrize("missing", [("bias_y",), ("bias_s",), ("bias_y", "bias_s")], ids="-".join)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_biases(device, missing, layout):
    check([None if name in missing else t for name, t in zip(NAMES, tensors(device, layout=layout), strict=True)])


def test_weights_of_convolutions(device):
    y, s, weight_y, weight_s, *biases = tensors(device)
    check([y, s, weight_y[..., None, None], weight_s, *biases])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_small_tensors_and_gradients(device, dtype, layout):
    """Those that "auto" leaves to eager torch on a CPU."""
    inputs = tensors(device, dtype=dtype, layout=layout)
    inputs[2] = inputs[2][..., None, None]
    mine, exact = with_gradients(inputs), in_double(inputs)
    expected, out = gated_fusion_reference(*exact), gated_fusion(*mine)
    with torch.no_grad():
        alone = gated_fusion(*inputs)
    assert all(result.is_contiguous(memory_format=LAYOUTS[layout]) for result in (alone, out))
    out.sum().backward()
    expected.sum().backward()
    errors = limits(exact, torch.ones_like(out), dtype, fused=False)
    compare([alone, *results(out, mine)], [expected, *results(expected, exact)], errors)


def test_kernels_of_another_size_are_refused_where_torch_would_take_them(device):
    y, s, *_ = tensors(device)
    with pytest.raises(ValueError, match=r"`weight_y` must have shape \(20, 12, 1, 1\), got \(20, 12, 3, 3\)"):
        gated_fusion(y, s, y.new_zeros(20, 12, 3, 3), y.new_zeros(20, 8, 3, 3))


def test_gradcheck_of_the_reference():
    assert torch.autograd.gradcheck(
        gated_fusion_reference, with_gradients(tensors("cpu", (2, 3, 2, 4, 2, 3), torch.float64))
    )


@pytest.mark.parametrize("needed", NAMES)
def test_gradient_of_one_input_alone(device, needed):
    inputs = tensors(device)
    mine = [t.requires_grad_() if name == needed else t for name, t in zip(NAMES, inputs, strict=True)]
    exact = in_double(inputs)
    gated_fusion(*mine, backend="native").sum().backward()
    gated_fusion_reference(*exact).sum().backward()
    i = NAMES.index(needed)
    assert_close(mine[i].grad, exact[i].grad)
    assert all(t.grad is None for j, t in enumerate(mine) if j != i)


@pytest.mark.parametrize(("dtype", "layout"), [(torch.float32, "nhwc"), (torch.float16, "nchw")], ids=str)
def test_opcheck(device, dtype, layout):
    inputs = tensors(device, dtype=dtype, layout=layout)
    out, gate = torch.ops.pylatent.gated_fusion(*inputs, True)
    for save in (False, True):
        torch.library.opcheck(torch.ops.pylatent.gated_fusion.default, (*inputs, save))
    for sums in (False, True):
        torch.library.opcheck(torch.ops.pylatent.gated_fusion_backward.default, (out, out, gate, sums))


def test_compile_with_dynamic_shapes(device):
    compiled = torch.compile(lambda *inputs: 2 * gated_fusion(*inputs, backend="native"), fullgraph=True, dynamic=True)
    for shape in [(2, 12, 8, 20, 3, 5), (3, 12, 8, 20, 4, 6)]:
        mine, eager = (with_gradients(tensors(device, shape)) for _ in range(2))
        out, expected = compiled(*mine), 2 * gated_fusion(*eager)
        torch.testing.assert_close(out, expected)
        out.sum().backward()
        expected.sum().backward()
        for name, a, b in zip(NAMES, mine, eager, strict=True):
            torch.testing.assert_close(a.grad, b.grad, msg=name)


@pytest.mark.parametrize(
    ("batch", "dtype", "layout"),
    [(1, torch.float32, "nchw"), (2, torch.float32, "nhwc"), (2, torch.bfloat16, "nchw")],
    ids=str,
)
def test_every_product_of_the_backward_is_traced(device, batch, dtype, layout):
    """By the tracer, which is what refuses; the test above compiles."""
    torch.compiler.reset()  # it makes so many versions of a function and no more
    traced = torch.compile(gated_fusion, fullgraph=True, backend="aot_eager")
    check(tensors(device, (batch, 12, 8, 20, 4, 6), dtype, layout), traced)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_autocast(device, dtype):
    inputs = tensors(device)
    mine, exact = with_gradients(inputs), in_double(inputs)
    with torch.autocast(device.type, dtype):
        out = gated_fusion(*mine, backend="native")
        with torch.no_grad():
            alone = gated_fusion(*inputs, backend="native")
    assert out.dtype == dtype
    expected = gated_fusion_reference(*exact)
    out.float().sum().backward()
    expected.sum().backward()
    assert all(tensor.grad.dtype == torch.float32 for tensor in mine)
    errors = limits(exact, torch.ones_like(out), dtype, cast=True)
    compare([alone, *results(out, mine)], [expected, *results(expected, exact)], errors)


EMPTY = [
    (0, 3, 2, 4, 2, 3),
    (2, 0, 2, 4, 2, 3),
    (2, 3, 0, 4, 2, 3),
    (2, 3, 2, 0, 2, 3),
    (2, 3, 2, 4, 0, 3),
    (2, 0, 0, 4, 2, 3),
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_dimensions_of_size_zero(device, shape, layout):
    check(tensors(device, shape, layout=layout))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_output_has_the_layout_of_y(device, layout):
    y, s, *weights = tensors(device, layout=layout)
    for other in LAYOUTS.values():
        out = gated_fusion(y, s.contiguous(memory_format=other), *weights, backend="native")
        assert out.is_contiguous(memory_format=LAYOUTS[layout])
        assert_close(out, gated_fusion_reference(*in_double([y, s, *weights])))


def test_strided_inputs(device):
    y, s, weight_y, weight_s = tensors(device, (2, 12, 8, 20, 6, 5))[:4]
    wide = tensors(device, (2, 12, 8, 40, 3, 5), seed=1)[4:]
    check([y[:, :, ::2], s[:, :, 1::2], weight_y.t().contiguous().t(), weight_s, *(bias[::2] for bias in wide)])


def test_strided_gradient(device):
    inputs = tensors(device)
    mine, exact = with_gradients(inputs), in_double(inputs)
    gated_fusion(*mine, backend="native").permute(0, 1, 3, 2).sum().backward()
    gated_fusion_reference(*exact).sum().backward()
    for name, a, b in zip(NAMES, mine, exact, strict=True):
        assert_close(a.grad, b.grad, name=name)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_saturated_gates(device, dtype):
    """Gates of 0 and 1, where the exponential overflows or vanishes, and their gradients."""
    gates = [-1e4, -200.0, -90.0, -20.0, 0.5, 20.0, 90.0, 200.0, 1e4]
    s = torch.tensor(gates, device=device, dtype=dtype).view(1, 1, 1, -1)
    y = torch.ones_like(s)
    one = torch.ones(1, 1, device=device, dtype=dtype)
    check([y, s, one, one, None, None])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_stays_where_it_is(device, dtype):
    inputs = tensors(device, (1, 12, 8, 20, 4, 4), dtype)
    inputs[0][0, 3, 1, 2] = float("nan")
    inputs[1][0, 5, 3, 0] = float("nan")
    out = gated_fusion(*inputs, backend="native").isnan()
    assert out[0, :, 1, 2].all()
    assert out[0, :, 3, 0].all()
    assert out.sum() == 2 * 20


ERRORS = [
    ({"y": None}, TypeError, "`y` must be a tensor, got NoneType"),
    ({"bias_s": 1.0}, TypeError, "`bias_s` must be a tensor, got float"),
    ({"y": torch.zeros(2, 12, 3, 5, dtype=torch.int32)}, TypeError, "`y` must be torch.float32 or .*, got torch.int32"),
    ({"y": torch.zeros(12, 3, 5)}, ValueError, r"`y` must have 4 dimensions \(B, Cy, H, W\), got shape \(12, 3, 5\)"),
    ({"s": torch.zeros(2, 8, 3)}, ValueError, r"`s` must have 4 dimensions \(B, Cs, H, W\), got shape \(2, 8, 3\)"),
    ({"s": torch.zeros(2, 8, 5, 3)}, ValueError, r"`s` must have shape \(2, 8, 3, 5\), got \(2, 8, 5, 3\)"),
    ({"s": torch.zeros(1, 8, 3, 5)}, ValueError, r"`s` must have shape \(2, 8, 3, 5\), got \(1, 8, 3, 5\)"),
    ({"weight_y": torch.zeros(20)}, ValueError, r"`weight_y` must have 2 dimensions \(C, Cy\), got shape \(20,\)"),
    ({"weight_y": torch.zeros(20, 8)}, ValueError, r"`weight_y` must have shape \(20, 12\), got \(20, 8\)"),
    ({"weight_s": torch.zeros(24, 8)}, ValueError, r"`weight_s` must have shape \(20, 8\), got \(24, 8\)"),
    (
        {"weight_s": torch.zeros(20, 8, 3, 3)},
        ValueError,
        r"`weight_s` must have shape \(20, 8, 1, 1\), got \(20, 8, 3, 3\)",
    ),
    ({"bias_y": torch.zeros(8)}, ValueError, r"`bias_y` must have shape \(20,\), got \(8,\)"),
    ({"bias_s": torch.zeros(20, 1)}, ValueError, r"`bias_s` must have shape \(20,\), got \(20, 1\)"),
    (
        {"weight_s": torch.zeros(20, 8).double()},
        TypeError,
        "`weight_s` must be torch.float32 like `y`, got torch.float64",
    ),
    ({"s": torch.zeros(2, 8, 3, 5, device="meta")}, ValueError, "`s` must be on .* like `y`, got meta"),
    ({"backend": "cuda"}, ValueError, "`backend` must be 'auto', 'native' or 'torch', got 'cuda'"),
]


@pytest.mark.parametrize(("change", "error", "message"), ERRORS, ids=[e[2][:40] for e in ERRORS])
def test_errors(device, change, error, message):
    arguments = dict(zip(NAMES, tensors(device), strict=True)) | {
        name: value.to(device) if isinstance(value, torch.Tensor) and not value.is_meta else value
        for name, value in change.items()
    }
    with pytest.raises(error, match=f"^{message}$"):
        gated_fusion(**arguments)


def test_workspace_outlives_inference_mode(device):
    inputs = tensors(device, (1, 12, 8, 20, 3, 7))
    expected = gated_fusion_reference(*in_double(inputs))
    with torch.inference_mode():
        assert_close(gated_fusion(*inputs, backend="native"), expected)
    with torch.no_grad():
        assert_close(gated_fusion(*inputs, backend="native"), expected)


def test_calls_in_several_threads_do_not_share_a_workspace(device):
    if _native.is_emulated():
        pytest.skip("the emulator runs one launch at a time")
    several = [tensors(device, (2, 12, 8, 20, 16, 16), seed=seed) for seed in range(4)]
    expected = [gated_fusion_reference(*in_double(inputs)) for inputs in several]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            results = pool.map(lambda inputs: gated_fusion(*inputs, backend="native"), several)
            for result, reference in zip(results, expected, strict=True):
                assert_close(result, reference)
