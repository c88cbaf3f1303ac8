"""ops.sga_sample on every device; the emulated ones run the CUDA kernels on the CPU."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from philox import gumbel_noise, philox4x32
from tolerances import assert_close

from pylatent import _native
from pylatent.ops import sga_sample
from pylatent.ops.sga_sample import _PARAMETERS, sga_sample_reference

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
FORMS = list(_PARAMETERS)
FORM_IDS = [f"{method}-{classes}" for method, classes in FORMS]
all_forms = pytest.mark.parametrize(("method", "classes"), FORMS, ids=FORM_IDS)
both_classes = pytest.mark.parametrize("classes", [2, 3])


@pytest.fixture(autouse=True)
def native(device):
    """Skips where there are no native kernels for this device."""
    x = torch.ones(1, device=device)
    if not _native.is_emulated() and _native.why_not_native(x, DTYPES) is not None:
        pytest.skip(_native.why_not_native(x, DTYPES))


def latents(device, shape=(2, 3, 5, 7), dtype=torch.float32, seed=0):
    """Values of which some are integral, some half-integral, and some very near to an integer on either side."""
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(shape, generator=generator) * 3
    kind = torch.rand(shape, generator=generator)
    v = torch.where(kind < 0.1, v.round(), v)
    v = torch.where((kind >= 0.1) & (kind < 0.2), (2 * v).round() / 2, v)
    v = torch.where((kind >= 0.2) & (kind < 0.3), v.round() + 3e-5 * torch.sign(v), v)
    return v.to(device, dtype)


def gumbel(device, classes, shape=(2, 3, 5, 7), seed=1):
    noise = torch.empty((classes, *shape)).exponential_(generator=torch.Generator().manual_seed(seed))
    return -noise.log().to(device)


def check(v, tau, noise, method, classes, sample=None, **parameters):
    """Value and gradient against the float64 reference with the same noise."""
    exact = v.detach().cpu().double().requires_grad_()
    known = _PARAMETERS[method, classes] | parameters
    expected = sga_sample_reference(exact, float(tau), noise.cpu().double(), method=method, **known)
    mine = v.detach().requires_grad_()
    if sample is None:

        def sample(x):
            return sga_sample(x, tau, method=method, classes=classes, noise=noise, backend="native", **parameters)

    out = sample(mine)
    assert out.dtype == v.dtype
    assert_close(out, expected)
    assert_close(sample(v.detach()), expected, name="the result without gradients")
    grad = torch.randn(v.shape, generator=torch.Generator().manual_seed(2)).to(v.device, v.dtype)
    out.backward(grad)
    expected.backward(grad.cpu().double())
    assert mine.grad.dtype == v.dtype
    assert_close(mine.grad, exact.grad, name="the gradient")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("tau", [1.0, 0.4])
@all_forms
def test_reference(device, method, classes, tau, dtype):
    check(latents(device, dtype=dtype), tau, gumbel(device, classes), method, classes)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (67,), (1, 8, 16, 16)], ids=str)
@both_classes
def test_shapes(device, classes, shape):
    check(latents(device, shape), 0.7, gumbel(device, classes, shape), "ssl", classes)


@pytest.mark.parametrize(
    ("method", "classes", "parameters"),
    [
        ("ssl", 2, {"a": 1.0}),
        ("ssl", 2, {"a": 5.0}),
        ("ssl", 3, {"a": 0.8, "r": 0.653, "n": 1.4}),
        ("linear", 3, {"n": 2.5}),
        ("linear", 3, {"r": 0.5, "n": 1.0}),
        ("cosine", 3, {"n": 1.5, "r": 0.8}),
        ("atanh", 3, {"n": 2.0, "r": 0.9}),
    ],
    ids=str,
)
def test_parameters(device, method, classes, parameters):
    check(latents(device), 0.5, gumbel(device, classes), method, classes, **parameters)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@all_forms
def test_drawn_noise(device, method, classes, dtype):
    """Noise is that of the documented Philox words, and value and gradient belong to the same noise."""
    shape = (3, 271)
    v = latents(device, shape, dtype)
    key = torch.randint(0, 2**63 - 1, (2,), device=device, generator=torch.Generator(device).manual_seed(5))
    noise = gumbel_noise(key, classes, v.numel()).reshape(classes, *shape)

    def sample(x):
        generator = torch.Generator(device).manual_seed(5)
        return sga_sample(x, 0.6, method=method, classes=classes, generator=generator, backend="native")

    check(v, 0.6, noise, method, classes, sample)


@both_classes
def test_misaligned_views(device, classes):
    """Tensors that do not begin at a multiple of 16 bytes."""
    v, noise = latents(device, (300,))[1:], gumbel(device, classes, (300,))
    check(v, 0.6, noise[:, 1:], "ssl", classes)
    check(latents(device, (301,))[1:], 0.6, noise, "ssl", classes)  # as many as would allow vectors
    check(v[:-1], 0.6, noise[:, 2:].contiguous(), "linear", classes)


def test_philox_known_answers(device):
    """Of the authors' test vectors."""
    ones = 0xFFFFFFFFFFFFFFFF
    digits = philox4x32(np.array([0x85A308D3243F6A88], np.uint64), 0x0370734413198A2E, 0x299F31D0A4093822)
    assert philox4x32(np.array([0]), 0, 0).tolist() == [[0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]]
    all_ones = philox4x32(np.array([ones], np.uint64), ones, ones)
    assert all_ones.tolist() == [[0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]]
    assert digits.tolist() == [[0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]]


def test_reproducible_by_seed(device):
    v = latents(device)

    def sample(seed):
        return sga_sample(v, 0.5, generator=torch.Generator(device).manual_seed(seed), backend="native")

    assert torch.equal(sample(3), sample(3))
    assert not torch.equal(sample(3), sample(4))
    torch.manual_seed(11)
    first, second = sga_sample(v, 0.5), sga_sample(v, 0.5)
    torch.manual_seed(11)
    assert torch.equal(sga_sample(v, 0.5), first)
    assert not torch.equal(first, second)


@all_forms
def test_distribution(method, classes):
    """Under the drawn noise, each candidate has the largest share with the probability softmax(l / tau)."""
    count, tau = 100_000, 0.8
    noise = gumbel_noise(torch.tensor([17, 4]), classes, count)
    for place in (0.13, 0.5, 0.71):
        logits = torch.log(shares_without_noise(4 + place, method, classes)) / tau
        largest = torch.argmax(logits[:, None] + noise, 0)
        for candidate, probability in enumerate(torch.softmax(logits, 0).tolist()):
            got = float((largest == candidate).double().mean())
            assert abs(got - probability) < 5 * math.sqrt(probability * (1 - probability) / count) + 1e-5


def test_drawn_sides(device):
    """With two classes, the sample lies on the side of ceil as often as softmax(l / tau) says."""
    count = 4000 if _native.is_emulated() else 100_000
    generator = torch.Generator(device).manual_seed(8)
    v = torch.full((count,), 4.3, device=device)
    for tau in (0.9, 0.4):
        probability = float(torch.softmax(torch.log(shares_without_noise(4.3, "ssl", 2)) / tau, 0)[1])
        got = float((sga_sample(v, tau, generator=generator, backend="native") > 4.5).double().mean())
        assert abs(got - probability) < 5 * math.sqrt(probability * (1 - probability) / count)


def test_integers_are_dead_with_two_classes_only(device):
    v = torch.tensor([-2.0, 0.0, 1.0, 40.0], device=device).repeat(50).requires_grad_()
    out = sga_sample(v, 1.0, classes=2, backend="native")
    assert torch.equal(out, v)
    out.sum().backward()
    assert torch.all(v.grad == 0)
    v.grad = None
    out = sga_sample(v, 1.0, classes=3, method="linear", r=0.6, backend="native")
    assert torch.all((out - v).abs() <= 1)
    assert not torch.equal(out, v)
    out.sum().backward()
    assert torch.any(v.grad != 0)


def test_ties_round_to_even(device):
    """Three classes around k = round(v): at 0.5 they are -1, 0, 1, at 1.5 they are 1, 2, 3."""
    v = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5], device=device)
    lowest = torch.tensor([50.0, 0.0, 0.0], device=device)[:, None].expand(3, 5)
    out = sga_sample(v, 1.0, classes=3, noise=lowest, backend="native")
    assert out.tolist() == pytest.approx([-1, 1, 1, -1, -3], abs=1e-5)


@both_classes
def test_tau_as_a_tensor(device, classes):
    v, noise = latents(device), gumbel(device, classes)
    for tau in (1.0, 0.3, 0.01):
        expected = sga_sample(v, tau, classes=classes, noise=noise, backend="native")
        tensor = torch.tensor(tau, device=device)
        assert torch.equal(sga_sample(v, tensor, classes=classes, noise=noise, backend="native"), expected)
        # On CUDA torch multiplies by the reciprocal of a number, and divides by a tensor: the last bits differ.
        torch.testing.assert_close(
            sga_sample(v, tensor, classes=classes, noise=noise, backend="torch"),
            sga_sample(v, tau, classes=classes, noise=noise, backend="torch"),
            rtol=1e-4,
            atol=1e-5,
        )


@both_classes
def test_tau_is_at_least_a_twentieth(device, classes):
    v, noise = latents(device), gumbel(device, classes)
    for backend in ("native", "torch"):
        least = sga_sample(v, 0.05, classes=classes, noise=noise, backend=backend)
        assert torch.equal(sga_sample(v, 1e-9, classes=classes, noise=noise, backend=backend), least)


@all_forms
def test_gradcheck_of_the_reference(method, classes):
    v = torch.tensor([0.21, -1.37, 2.62, 0.09, -0.48, 3.499], dtype=torch.float64, requires_grad=True)
    noise = gumbel("cpu", classes, v.shape).double()
    parameters = _PARAMETERS[method, classes]
    assert torch.autograd.gradcheck(lambda x: sga_sample_reference(x, 0.7, noise, method=method, **parameters), v)


@all_forms
def test_logits_by_hand(method, classes):
    """softmax((l / tau + g) / tau) without noise at tau = 1, against the formulas written out."""
    for v in (0.3, 0.45, 2.8):
        shares = shares_without_noise(v, method, classes)
        candidates = torch.tensor([math.floor(v), math.ceil(v)] if classes == 2 else [round(v) + i for i in (-1, 0, 1)])
        x = torch.tensor([v], dtype=torch.float64)
        noise = torch.zeros(classes, 1, dtype=torch.float64)
        out = sga_sample_reference(x, 1.0, noise, method=method, **_PARAMETERS[method, classes])
        assert float(out) == pytest.approx(float((shares * candidates).sum()), rel=1e-6)


def shares_without_noise(v: float, method: str, classes: int) -> torch.Tensor:
    """f / sum(f) of each candidate, from the paper's formulas."""

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    if classes == 2:
        w = [v - math.floor(v), math.ceil(v) - v]
        a = _PARAMETERS[method, 2].get("a")
        f = {
            "atanh": lambda x: math.exp(-math.atanh(x)),
            "linear": lambda x: 1 - x,
            "cosine": lambda x: math.cos(math.pi * x / 2) ** 2,
            "ssl": lambda x: sigmoid(-a * math.log(x / (1 - x))),
        }[method]
    else:
        w = [abs(v - (round(v) + i)) for i in (-1, 0, 1)]
        p = _PARAMETERS[method, 3]
        r, n, a = p["r"], p["n"], p.get("a")
        f = {
            "atanh": lambda x: math.exp(-math.atanh(min(r * x, 1 - 1e-5))) ** n,
            "linear": lambda x: max(1 - r * x, 1e-6) ** n,
            "cosine": lambda x: math.cos(min(r * x, 1) * math.pi / 2) ** n + 1e-7,
            "ssl": lambda x: (
                max(sigmoid(-a * math.log(c := min(max(r * x, 1e-6), 1 - 1e-6)) + a * math.log(1 - c)), 1e-6) ** n
            ),
        }[method]
    values = torch.tensor([f(x) for x in w], dtype=torch.float64)
    return values / values.sum()


def test_float64_runs_the_reference(device):
    v, noise = latents(device).double(), gumbel(device, 2).double()
    with pytest.raises(RuntimeError, match="there is no native kernel for torch.float64"):
        sga_sample(v, 1.0, noise=noise, backend="native")
    assert torch.equal(sga_sample(v, 1.0, noise=noise), sga_sample_reference(v, 1.0, noise, a=2.3))


@both_classes
def test_plain_torch_draws_its_own_noise(device, classes):
    v = latents(device)

    def sample(seed):
        generator = torch.Generator(device).manual_seed(seed)
        return sga_sample(v, 0.5, classes=classes, generator=generator, backend="torch")

    assert torch.equal(sample(1), sample(1))
    assert not torch.equal(sample(1), sample(2))


@both_classes
def test_opcheck(device, classes):
    v, noise = latents(device), gumbel(device, classes)
    key = torch.tensor([5, 6], device=device)
    tau = torch.tensor(0.5, device=device)
    op = torch.ops.pylatent.sga_sample.default
    for x in (v, v.transpose(1, 3), v[:, :, ::2]):
        torch.library.opcheck(op, (x, None, 0.5, None, key, 3, classes, 1.4, 0.9, 1.5, True))
    torch.library.opcheck(op, (v, tau, 0.0, noise, None, 1, classes, 1.4, 0.9, 1.5, False))


@both_classes
def test_compile_with_dynamic_shapes(device, classes):
    def function(v, tau, noise):
        return 2 * sga_sample(v, tau, classes=classes, noise=noise, backend="native")

    compiled = torch.compile(function, fullgraph=True, dynamic=True)
    for shape in [(2, 3, 5, 7), (1, 4, 6, 9)]:
        noise, tau = gumbel(device, classes, shape), torch.tensor(0.6, device=device)
        mine, eager = (latents(device, shape).requires_grad_() for _ in range(2))
        out, expected = compiled(mine, tau, noise), function(eager, tau, noise)
        torch.testing.assert_close(out, expected)
        out.sum().backward()
        expected.sum().backward()
        torch.testing.assert_close(mine.grad, eager.grad)


def test_compiled_draws_fresh_noise(device):
    compiled = torch.compile(lambda v: sga_sample(v, 0.5, backend="native"), fullgraph=True)
    v = latents(device)
    assert not torch.equal(compiled(v), compiled(v))


@pytest.mark.parametrize("backend", ["native", "torch"])
@both_classes
def test_autocast_changes_nothing(device, classes, backend):
    v, noise = latents(device), gumbel(device, classes)
    expected = sga_sample(v, 0.5, classes=classes, noise=noise, backend=backend)
    with torch.autocast(device.type, torch.bfloat16):
        assert torch.equal(sga_sample(v, 0.5, classes=classes, noise=noise, backend=backend), expected)


@both_classes
def test_empty(device, classes):
    check(latents(device, (2, 0, 3)), 0.5, gumbel(device, classes, (2, 0, 3)), "ssl", classes)
    assert sga_sample(latents(device, (2, 0, 3)), 0.5, classes=classes, backend="native").shape == (2, 0, 3)


@both_classes
def test_layouts(device, classes):
    shape = (2, 6, 8, 5)
    v, noise = latents(device, shape), gumbel(device, classes, shape)
    last = v.contiguous(memory_format=torch.channels_last)
    out = sga_sample(last, 0.5, classes=classes, backend="native")
    assert out.is_contiguous(memory_format=torch.channels_last)
    check(last, 0.5, noise, "ssl", classes)
    check(v[:, 1::2, :, 2:], 0.5, noise[:, :, 1::2, :, 2:], "ssl", classes)
    check(v[:1, :1].expand(3, 4, 8, 5), 0.5, noise[:, :1, :1].expand(classes, 3, 4, 8, 5), "ssl", classes)
    check(v, 0.5, noise.transpose(3, 4).contiguous().transpose(3, 4).double(), "ssl", classes)


def test_strided_gradient(device):
    v, noise = latents(device), gumbel(device, 3)
    mine, exact = v.clone().requires_grad_(), v.cpu().double().requires_grad_()
    sga_sample(mine, 0.5, classes=3, noise=noise, backend="native").transpose(1, 2).sum().backward()
    expected = sga_sample_reference(exact, 0.5, noise.cpu().double(), **_PARAMETERS["ssl", 3])
    expected.transpose(1, 2).sum().backward()
    assert_close(mine.grad, exact.grad)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@all_forms
def test_extreme_values(device, method, classes, dtype):
    values = [float("nan"), float("inf"), -float("inf"), 6e4, -6e4, 1e-7, -1e-7]
    v = torch.tensor(values, device=device, dtype=dtype).requires_grad_()
    out = sga_sample(v, 0.05, method=method, classes=classes, backend="native")
    out.sum().backward()
    assert out[:3].isnan().all()
    assert out[3:].isfinite().all()
    assert v.grad[3:].isfinite().all()
    assert ((out - v)[3:].abs() <= 1).all()


def test_extreme_noise(device):
    """Noise far beyond what is drawn selects one candidate."""
    v = torch.tensor([0.3, 0.3, 0.3], device=device)
    noise = torch.full((3, 3), -1e5, device=device).fill_diagonal_(1e5)
    out = sga_sample(v, 0.05, classes=3, noise=noise, backend="native")
    assert out.tolist() == pytest.approx([-1, 0, 1], abs=1e-6)
    out = sga_sample(v[:2], 0.05, classes=2, noise=noise[:2, :2], backend="native")
    assert out.tolist() == pytest.approx([0, 1], abs=1e-6)


V = torch.zeros(2, 3)
ERRORS = [
    ({"v": [1.0]}, TypeError, "`v` must be a tensor, got list"),
    ({"v": torch.zeros(2, 3, dtype=torch.int32)}, TypeError, "`v` must be torch.float32 or .*, got torch.int32"),
    ({"tau": 0.0}, ValueError, "`tau` must be a positive number, got 0.0"),
    ({"tau": float("nan")}, ValueError, "`tau` must be a positive number, got nan"),
    ({"tau": torch.ones(1)}, ValueError, r"`tau` must have shape \(\), got \(1,\)"),
    ({"tau": torch.ones((), dtype=torch.float64)}, TypeError, "`tau` must be torch.float32, got torch.float64"),
    ({"tau": torch.ones((), device="meta")}, ValueError, "`tau` must be on .* like `v`, got meta"),
    ({"method": "tanh"}, ValueError, "`method` must be one of atanh, linear, cosine, ssl, got 'tanh'"),
    ({"classes": 4}, ValueError, "`classes` must be 2 or 3, got 4"),
    ({"method": "linear", "a": 1.0}, ValueError, "`a` must be None for linear with 2 classes, got 1.0"),
    ({"r": 0.9}, ValueError, "`r` must be None for ssl with 2 classes, got 0.9"),
    ({"classes": 3, "n": -1.0}, ValueError, "`n` must be a positive number, got -1.0"),
    ({"noise": 1.0}, TypeError, "`noise` must be a tensor, got float"),
    ({"noise": torch.zeros(2, 3)}, ValueError, r"`noise` must have shape \(2, 2, 3\), got \(2, 3\)"),
    ({"noise": torch.zeros(2, 2, 3).int()}, TypeError, "`noise` must be torch.float32 or .*, got torch.int32"),
    ({"noise": torch.zeros(2, 2, 3, device="meta")}, ValueError, "`noise` must be on .* like `v`, got meta"),
    ({"backend": "cuda"}, ValueError, "`backend` must be 'auto', 'native' or 'torch', got 'cuda'"),
]


@pytest.mark.parametrize(("change", "error", "message"), ERRORS, ids=[e[2][:40] for e in ERRORS])
def test_errors(device, change, error, message):
    change = {k: x.to(device) if isinstance(x, torch.Tensor) and not x.is_meta else x for k, x in change.items()}
    with pytest.raises(error, match=f"^{message}$"):
        sga_sample(**({"v": V.to(device), "tau": 0.5} | change))
