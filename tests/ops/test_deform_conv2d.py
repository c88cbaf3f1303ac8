"""ops.deform_conv2d on every device; the emulated ones run the CUDA kernels on the CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from deform_conv2d_cases import NAMES, Case
from tolerances import assert_close

from pylatent.ops import deform_conv2d
from pylatent.ops.deform_conv2d import _why_not_native, deform_conv2d_reference

LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
CASES = {
    "plain": Case(mask=False),
    "modulated": Case(),
    "rectangle": Case(channels=3, kernel=(2, 4), padding=(1, 2), size=(5, 9), out_channels=5),
    "strided": Case(kernel=(3, 2), stride=(2, 3), padding=(2, 0), dilation=(1, 2), size=(9, 8)),
    "groups": Case(channels=8, out_channels=4, groups=2, bias=False),
    "offset-groups": Case(channels=12, offset_groups=3, kernel=(1, 3), padding=(0, 1)),
    "groups-cross": Case(channels=12, out_channels=6, groups=2, offset_groups=3),
    "depthwise": Case(channels=5, out_channels=5, groups=5, offset_groups=5),
    "wide": Case(batch=1, channels=70, out_channels=37, size=(5, 6), kernel=(3, 3)),
    "long": Case(batch=1, channels=17, out_channels=3, size=(11, 13), reach=9.0),
    "pointwise": Case(channels=33, out_channels=8, kernel=(1, 1), padding=(0, 0), mask=False),
    # torch may take the input, channels last and an offset group a channel, for a picture in three dimensions.
    "narrow": Case(batch=3, channels=2, size=(2, 1), out_channels=7, kernel=(3, 2), padding=(2, 3), offset_groups=2),
    "one-pixel": Case(batch=3, size=(1, 1), kernel=(1, 1), padding=(0, 0)),
}


def skip_without_kernels(device, dtype=torch.float32):
    if (reason := _why_not_native(torch.ones(1, device=device, dtype=dtype))) is not None:
        pytest.skip(reason)


@pytest.fixture(autouse=True)
def native(request):
    if "device" in request.fixturenames:
        dtype = getattr(request.node, "callspec", None)
        dtype = dtype.params.get("dtype", torch.float32) if dtype else torch.float32
        skip_without_kernels(request.getfixturevalue("device"), dtype)


def call(tensors, geometry, backend="native"):
    input, offset, weight, bias, mask = tensors
    return deform_conv2d(input, offset, weight, bias, mask=mask, **geometry, backend=backend)


def with_gradients(tensors):
    return [None if t is None else t.detach().requires_grad_() for t in tensors]


def exact(tensors):
    return [None if t is None else t.detach().cpu().double().requires_grad_() for t in tensors]


def check(tensors, geometry, dtype=None):
    """Forward, with and without what the backward pass needs, and all gradients against the float64 reference."""
    mine, reference = with_gradients(tensors), exact(tensors)
    expected = call(reference, geometry, "torch")
    with torch.no_grad():
        assert_close(call(tensors, geometry), expected, dtype, "without gradients")
    out = call(mine, geometry)
    assert out.dtype == tensors[0].dtype
    assert_close(out, expected, dtype)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(7)).to(out.device, out.dtype)
    out.backward(grad)
    expected.backward(grad.cpu().double())
    compare_gradients(mine, reference, dtype)
    return out, mine


def compare_gradients(mine, reference, dtype=None):
    for name, tensor, expected in zip(NAMES, mine, reference, strict=True):
        if tensor is not None:
            assert tensor.grad.dtype == tensor.dtype
            assert_close(tensor.grad, expected.grad, dtype, f"the gradient of {name}")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_reference(device, case, dtype):
    check(case.tensors(device, dtype), case.geometry)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(device, layout):
    case = CASES["groups-cross"]
    input, *others = case.tensors(device, torch.float32)
    input = input.contiguous(memory_format=LAYOUTS[layout])
    out, mine = check([input, *others], case.geometry)
    assert out.is_contiguous(memory_format=LAYOUTS[layout])
    assert mine[0].grad.is_contiguous(memory_format=LAYOUTS[layout])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_exact_offsets_beside_half_precision(device, dtype):
    case = CASES["modulated"]
    input, offset, weight, bias, mask = case.tensors(device, torch.float32)
    half = [input.to(dtype), offset, weight.to(dtype), bias.to(dtype), mask]
    mine, reference = with_gradients(half), exact(half)
    out, expected = call(mine, case.geometry), call(reference, case.geometry, "torch")
    assert out.dtype == dtype
    assert_close(out, expected)
    out.float().sum().backward()
    expected.sum().backward()
    compare_gradients(mine, reference, dtype)


@pytest.mark.parametrize("case", ["modulated", "groups-cross", "strided"])
def test_gradcheck_of_the_reference(case):
    small = replace(CASES[case], batch=1, size=(4, 3), padding=(1, 1), dilation=(1, 1))

    def function(*tensors):
        return call(tensors, small.geometry, "torch")

    assert torch.autograd.gradcheck(function, with_gradients(small.tensors()))


def test_zero_offsets_are_a_convolution(device):
    case = CASES["groups"]
    input, offset, weight, *_ = case.tensors(device, torch.float32)
    out = call([input, torch.zeros_like(offset), weight, None, None], case.geometry)
    assert_close(out, F.conv2d(*(t.cpu().double() for t in (input, weight)), **case.geometry, groups=case.groups))


@pytest.mark.parametrize("needed", [*NAMES, "offset-mask"])
def test_some_gradients_alone(device, needed):
    case = CASES["groups-cross"]
    tensors = case.tensors(device, torch.float32)
    mine = [t.requires_grad_() if name in needed.split("-") else t for name, t in zip(NAMES, tensors, strict=True)]
    reference = exact(tensors)
    call(mine, case.geometry).square().sum().backward()
    call(reference, case.geometry, "torch").square().sum().backward()
    for name, tensor, expected in zip(NAMES, mine, reference, strict=True):
        if name in needed.split("-"):
            assert_close(tensor.grad, expected.grad, name=f"the gradient of {name}")
        else:
            assert tensor.grad is None


# Outside the picture, at its border, and not numbers at all.
HOSTILE = [float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 3e9, -3e9, 1e5, -1.0, 0.0, 7.0, 8.0, -2.0, 6.0]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("axis", [0, 1])
def test_hostile_offsets(device, dtype, axis):
    """They contribute nothing, to the result and to the gradients, and leave their neighbours alone."""
    case = CASES["offset-groups"]
    tensors = case.tensors(device, dtype)
    values = torch.tensor(HOSTILE, dtype=dtype, device=device)
    picked = tensors[1][:, axis::2]
    picked.flatten()[::3] = 0
    at = torch.arange(picked.numel(), device=device).view(picked.shape)
    tensors[1][:, axis::2] = torch.where(at % 3 == 0, values[at // 3 % len(HOSTILE)], picked)
    out, mine = check(tensors, case.geometry)
    assert out.isfinite().all()
    assert not mine[1].grad[~(tensors[1].abs() < 1e4)].any()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_pixels_that_are_not_finite_stay_where_they_are(device, value):
    """Samples that do not touch them do not see them, not even with weight zero."""
    case = replace(CASES["plain"], batch=1, reach=6.0)
    tensors = case.tensors(device, torch.float32)
    tensors[0][0, :, 0, 0] = value
    tensors[0][0, :, -1, -1] = value
    expected = call(exact(tensors), case.geometry, "torch")
    out = call(tensors, case.geometry)
    assert torch.equal(out.isfinite().cpu(), expected.isfinite())
    assert 0 < out.isfinite().sum() < out.numel()


EMPTY = {
    "batch": Case(batch=0),
    "channels": Case(channels=0),
    "out-channels": Case(out_channels=0),
    "height": Case(size=(0, 7), padding=(2, 1)),
    "width": Case(size=(6, 0), padding=(1, 3)),
    "output": Case(size=(2, 5), padding=(0, 0)),
}


@pytest.mark.parametrize("case", EMPTY.values(), ids=EMPTY)
def test_dimensions_of_size_zero(device, case):
    check(case.tensors(device, torch.float32), case.geometry)


def test_strided_tensors(device):
    case = CASES["modulated"]
    tensors = case.tensors(device, torch.float32)
    spread = []
    for tensor in tensors:
        wide = torch.full((*tensor.shape, 2), float("nan"), device=device)
        wide[..., 0] = tensor
        spread.append(wide[..., 0])
    check(spread, case.geometry)
    check([t if t.dim() == 1 else t.transpose(0, 1).contiguous().transpose(0, 1) for t in tensors], case.geometry)


@pytest.mark.parametrize("grad", ["expanded", "transposed", "channels-last"])
def test_strided_gradient(device, grad):
    case = CASES["modulated"]
    tensors = case.tensors(device, torch.float32)
    mine, reference = with_gradients(tensors), exact(tensors)
    for inputs, backend in ((mine, "native"), (reference, "torch")):
        out = call(inputs, case.geometry, backend)
        if grad == "expanded":
            out.sum().backward()
        else:
            factors = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view(out.shape).to(out)
            if grad == "transposed":
                factors = factors.transpose(2, 3).contiguous().transpose(2, 3)
            else:
                factors = factors.contiguous(memory_format=torch.channels_last)
            out.backward(factors)
    compare_gradients(mine, reference)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", ["modulated", "plain"])
def test_opcheck(device, case, layout):
    case = CASES[case]
    input, offset, weight, bias, mask = case.tensors(device, torch.float32)
    input = input.contiguous(memory_format=LAYOUTS[layout])
    geometry = (case.stride, case.padding, case.dilation)
    torch.library.opcheck(torch.ops.pylatent.deform_conv2d.default, (input, offset, weight, bias, mask, *geometry))
    grad = torch.ones(case.batch, case.out_channels, *case.out, device=device)
    backward = torch.ops.pylatent.deform_conv2d_backward.default
    for needed in ([True] * 4, [True, False, False, False], [False, False, True, False]):
        torch.library.opcheck(backward, (grad, input, offset, weight, mask, *geometry, needed))


def test_compile_with_dynamic_shapes(device):
    case = CASES["strided"]
    compiled = torch.compile(lambda tensors: 2 * call(tensors, case.geometry), fullgraph=True, dynamic=True)
    for size in [(9, 8), (7, 11)]:
        tensors = replace(case, size=size).tensors(device, torch.float32)
        mine, eager = with_gradients(tensors), with_gradients(tensors)
        out, expected = compiled(mine), 2 * call(eager, case.geometry)
        torch.testing.assert_close(out, expected)
        out.sum().backward()
        expected.sum().backward()
        for name, a, b in zip(NAMES, mine, eager, strict=True):
            torch.testing.assert_close(a.grad, b.grad, msg=name)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_autocast(device, dtype):
    """Offsets and masks keep their precision; gradients come in the dtypes of the tensors."""
    case = CASES["modulated"]
    tensors = case.tensors(device, torch.float32)
    mine, reference = with_gradients(tensors), exact(tensors)
    with torch.autocast(device.type, dtype):
        out = call(mine, case.geometry)
    assert out.dtype == dtype
    expected = call(reference, case.geometry, "torch")
    assert_close(out, expected)
    out.float().sum().backward()
    expected.sum().backward()
    for name, a, b in zip(NAMES, mine, reference, strict=True):
        assert a.grad.dtype == torch.float32
        assert_close(a.grad, b.grad, dtype, name)


def test_integers_and_pairs(device):
    case = Case(stride=(2, 2), padding=(1, 1), dilation=(2, 2))
    input, offset, weight, bias, mask = case.tensors(device, torch.float32)
    expected = deform_conv2d_reference(*exact([input, offset, weight, bias]), 2, 1, 2, exact([mask])[0])
    assert_close(deform_conv2d(input, offset, weight, bias, 2, 1, 2, mask, backend="native"), expected)
    assert_close(deform_conv2d(input, offset, weight, bias, [2, 2], (1, 1), 2, mask), expected)


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_any_number_of_threads(threads):
    skip_without_kernels("cpu")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for name in ("wide", "groups-cross", "long"):
            case = CASES[name]
            tensors = case.tensors(dtype=torch.float32)
            _, first = check(tensors, case.geometry)
            _, second = check(tensors, case.geometry)
            for name, a, b in zip(NAMES, first, second, strict=True):
                assert torch.equal(a.grad, b.grad), f"the gradient of {name} changes from run to run"
    finally:
        torch.set_num_threads(before)


def test_products_without_onednn():
    skip_without_kernels("cpu")
    with torch.backends.mkldnn.flags(enabled=False):
        check(CASES["wide"].tensors(dtype=torch.float32), CASES["wide"].geometry)


def zeros(*shape, dtype=torch.float32, device=None):
    return torch.zeros(shape, dtype=dtype, device=device)


ERRORS = [
    ({"input": None}, TypeError, "`input` must be a tensor, got NoneType"),
    ({"offset": [1]}, TypeError, "`offset` must be a tensor, got list"),
    ({"weight": 1}, TypeError, "`weight` must be a tensor, got int"),
    ({"bias": 1.0}, TypeError, "`bias` must be a tensor, got float"),
    ({"mask": True}, TypeError, "`mask` must be a tensor, got bool"),
    (
        {"input": zeros(2, 6, 6, 7, dtype=torch.int64)},
        TypeError,
        "`input` must be torch.float32 or .*, got torch.int64",
    ),
    (
        {"weight": zeros(4, 6, 3, 3, dtype=torch.float64)},
        TypeError,
        "`weight` must be torch.float32 like `input`, got .*",
    ),
    (
        {"bias": zeros(4, dtype=torch.float16)},
        TypeError,
        "`bias` must be torch.float32 like `input`, got torch.float16",
    ),
    (
        {"offset": zeros(2, 18, 6, 7, dtype=torch.float16)},
        TypeError,
        "`offset` must be torch.float32 like `input`, got .*",
    ),
    ({"mask": zeros(2, 9, 6, 7, dtype=torch.float64)}, TypeError, "`mask` must be torch.float32 like `input`, got .*"),
    ({"offset": zeros(2, 18, 6, 7, device="meta")}, ValueError, "`offset` must be on .* like `input`, got meta"),
    ({"input": zeros(6, 6, 7)}, ValueError, r"`input` must have 4 dimensions \(B, Cin, H, W\), got shape \(6, 6, 7\)"),
    ({"weight": zeros(4, 6, 9)}, ValueError, r"`weight` must have 4 dimensions \(Cout, .*\), got shape \(4, 6, 9\)"),
    ({"offset": zeros(18, 6, 7)}, ValueError, r"`offset` must have 4 dimensions \(B, .*\), got shape \(18, 6, 7\)"),
    (
        {"weight": zeros(4, 6, 0, 3)},
        ValueError,
        r"`weight` must have a kernel of at least 1 x 1, got shape \(4, 6, 0, 3\)",
    ),
    ({"weight": zeros(4, 5, 3, 3)}, ValueError, r"`weight` must have a divisor of the 6 channels of `input` .*, got 5"),
    ({"weight": zeros(3, 3, 3, 3)}, ValueError, r"`weight` must have a multiple of its 2 groups as shape\[0\], got 3"),
    (
        {"offset": zeros(2, 17, 6, 7)},
        ValueError,
        r"`offset` must have as shape\[1\] 2 \* 3 \* 3 times a divisor of `input`'s 6 channels, got 17",
    ),
    ({"offset": zeros(2, 72, 6, 7)}, ValueError, r"`offset` must have as shape\[1\] .* 6 channels, got 72"),
    ({"offset": zeros(2, 18, 6, 6)}, ValueError, r"`offset` must have shape \(2, 18, 6, 7\), got \(2, 18, 6, 6\)"),
    ({"offset": zeros(1, 18, 6, 7)}, ValueError, r"`offset` must have shape \(2, 18, 6, 7\), got \(1, 18, 6, 7\)"),
    ({"bias": zeros(5)}, ValueError, r"`bias` must have shape \(4,\), got \(5,\)"),
    ({"mask": zeros(2, 18, 6, 7)}, ValueError, r"`mask` must have shape \(2, 9, 6, 7\), got \(2, 18, 6, 7\)"),
    ({"dilation": 5}, ValueError, r"`input` is too small for this kernel, got shape .* for an output of \(-2, -1\)"),
    ({"stride": 0}, ValueError, "`stride` must be at least 1, got 0"),
    ({"padding": (1, -1)}, ValueError, r"`padding` must be at least 0, got \(1, -1\)"),
    ({"dilation": (1, 1, 1)}, ValueError, r"`dilation` must be an integer or two, got \(1, 1, 1\)"),
    ({"stride": 1.5}, ValueError, "`stride` must be an integer or two, got 1.5"),
    ({"backend": "cuda"}, ValueError, "`backend` must be 'auto', 'native' or 'torch', got 'cuda'"),
]


@pytest.mark.parametrize(("change", "error", "message"), ERRORS, ids=[e[2][:48] for e in ERRORS])
def test_errors(device, change, error, message):
    arguments = dict(zip(NAMES, Case().tensors(device, torch.float32), strict=True)) | Case().geometry
    arguments |= {
        name: value.to(device) if isinstance(value, torch.Tensor) and not value.is_meta else value
        for name, value in change.items()
    }
    with pytest.raises(error, match=f"^{message}$"):
        deform_conv2d(**arguments)
