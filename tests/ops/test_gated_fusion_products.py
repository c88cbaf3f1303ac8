"""The products that the gated fusion chooses from on the CPU, and how it chooses."""

import itertools
import threading

import pytest
import torch
from gated_fusion_bound import bounds
from tolerances import assert_close, assert_within
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

from pylatent import _native
from pylatent._products import has_onednn
from pylatent.ops import gated_fusion
from pylatent.ops.gated_fusion import cpu, gated_fusion_reference, small
from pylatent.ops.gated_fusion import products as products

pytestmark = [
    pytest.mark.skipif(_native.why_not_native() is not None, reason="needs the native core"),
    pytest.mark.usefixtures("one_thread"),
]

NAMES = ("y", "s", "weight_y", "weight_s", "bias_y", "bias_s")
LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch):
    monkeypatch.setattr(products, "_chosen", {})


def operands(layout, batch=1, channels=24, size=(9, 7), dtype=torch.float32):
    normal = torch.Generator().manual_seed(0)
    draw = [torch.randn(batch, channels, *size, generator=normal) for _ in range(2)]
    grad, x = (t.to(dtype).contiguous(memory_format=LAYOUTS[layout]) for t in draw)
    return grad, x, torch.randn(channels, channels, generator=normal).to(dtype)


def offered(monkeypatch, call):
    """What `call` lets `choose` choose from."""
    seen = []
    monkeypatch.setattr(products, "choose", lambda found, *_: seen.append(found) or found[0])
    call()
    return seen[0]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_product(monkeypatch, layout, batch):
    grad, x, weight = operands(layout, batch)
    last = layout == "nhwc"
    found = offered(monkeypatch, lambda: products.convolve(x, weight, None, last))
    assert len(found) == 2 + has_onednn(torch.float32)
    expected = torch.einsum("ck,bkhw->bchw", weight.double(), x.double())
    for call in found:
        for kernel in (weight, weight[:, :, None, None]):
            with torch.autocast("cpu", torch.bfloat16):  # which must leave float32 alone
                out = call(x, kernel, None, last)
            assert out.dtype == torch.float32, call
            assert out.is_contiguous(memory_format=LAYOUTS[layout]), call
            assert_close(out, expected, name=call.__name__)
    found = offered(monkeypatch, lambda: products.gradients(grad, x, weight, (True, True), last))
    to_x = torch.einsum("ck,bchw->bkhw", weight.double(), grad.double())
    to_weight = torch.einsum("bchw,bkhw->ck", grad.double(), x.double())
    for call in found:
        for needs in ((True, True), (True, False), (False, True)):
            for got, expected, needed in zip(call(grad, x, weight, needs, last), (to_x, to_weight), needs, strict=True):
                if needed:
                    assert_close(got, expected, name=call.__name__)


def test_bias_in_half_precision(monkeypatch):
    for layout in LAYOUTS:
        for batch in (1, 2):
            _, x, weight = operands(layout, batch, dtype=torch.bfloat16)
            bias = torch.randn(24).bfloat16()
            expected = torch.einsum("ck,bkhw->bchw", weight.double(), x.double()) + bias.double()[:, None, None]
            last = layout == "nhwc"
            for call in offered(
                monkeypatch, lambda x=x, weight=weight, last=last: products.convolve(x, weight, None, last)
            ):
                assert_close(call(x, weight, bias, last), expected, name=call.__name__)


def sleepless(monkeypatch, seconds):
    """A clock by which the products take so long."""
    now = [0.0]
    monkeypatch.setattr(products.time, "thread_time", lambda: now[0])
    monkeypatch.setattr(products.time, "perf_counter", lambda: now[0])

    def product(name):
        def call(x, weight, bias, channels_last):
            now[0] += seconds[name]
            calls.append((name, tuple(x.shape)))

        return call

    calls = []
    return {name: product(name) for name in seconds}, calls


def chosen(made, x, weight):
    names = {call: name for name, call in made.items()}
    return names[products.choose(tuple(made.values()), (x,), weight, None, False)]


def test_the_fastest_is_kept(monkeypatch):
    made, calls = sleepless(monkeypatch, {"first": 1.0, "second": 0.5, "third": 0.7})
    _, x, weight = operands("nchw")
    assert chosen(made, x, weight) == "second"
    tried = len(calls)
    assert chosen(made, x.clone(), weight) == "second"
    assert len(calls) == tried, "a kind of call is tried once"
    chosen(made, torch.randn(1, 24, 200, 300), weight)
    assert max(shape[2] * shape[3] for _, shape in calls) <= 4096, "few pixels are enough"


def test_ties_go_to_the_first(monkeypatch):
    made, _ = sleepless(monkeypatch, {"first": 1.0, "second": 0.97})
    _, x, weight = operands("nchw")
    assert chosen(made, x, weight) == "first"


def test_nothing_is_tried(monkeypatch):
    """With deterministic algorithms, on fake tensors, while operators are counted or another thread is trying."""
    made, calls = sleepless(monkeypatch, {"first": 1.0, "second": 0.5})
    _, x, weight = operands("nchw")
    with monkeypatch.context() as deterministic:
        deterministic.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
        assert chosen(made, x, weight) == "first"
    with FakeTensorMode() as mode:
        assert chosen(made, mode.from_tensor(x), weight) == "first"
    with FlopCounterMode(display=False):
        assert chosen(made, x, weight) == "first"
    lock = threading.Lock()
    lock.acquire()
    monkeypatch.setattr(products, "_trying", lock)
    assert chosen(made, x, weight) == "first"
    assert not calls


@pytest.mark.parametrize("layout", LAYOUTS)
def test_small_tensors_are_left_to_torch(monkeypatch, layout):
    def run(size, backend):
        grad, x, weight = operands(layout, size=size)
        bias = torch.randn(24, generator=torch.Generator().manual_seed(1))
        inputs = [t.requires_grad_() for t in (x, x.detach().clone(), weight, weight.detach().clone(), bias)]
        out = gated_fusion(*inputs, backend=backend)
        assert out.is_contiguous(memory_format=LAYOUTS[layout])
        return [out, *torch.autograd.grad(out, inputs, grad)], type(out.grad_fn).__name__

    small, name = run((9, 7), "auto")
    native, native_name = run((9, 7), "native")
    assert (name, native_name) == ("MulBackward0", "_GatedFusionBackward")
    for a, b in zip(small, native, strict=True):
        assert_close(a, b.double())
    assert run((128, 128), "auto")[1] == "_GatedFusionBackward"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(9, 7), (16, 16), (1, 1)], ids=str)
@pytest.mark.parametrize("biased", [True, False])
def test_small_tensors_without_gradients(layout, size, biased):
    """Eager torch's convolutions and one pass of ours, over whole vectors or not."""
    _, x, weight = operands(layout, size=size)
    bias = torch.randn(24, generator=torch.Generator().manual_seed(1)) if biased else None
    inputs = (x, 2 * x, weight, -weight, bias, bias)
    with torch.no_grad():
        out = gated_fusion(*inputs)
    assert_close(out, gated_fusion_reference(*(None if t is None else t.double() for t in inputs)))
    assert out.is_contiguous(memory_format=LAYOUTS[layout])


@pytest.mark.parametrize("which", [0, 1], ids=["convolutions", "matrices"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_small_tensors_in_half_precision(monkeypatch, which, dtype):
    """By either product, whichever a trial would find faster, in every layout."""
    monkeypatch.setattr(cpu, "product_dtype", lambda dtype: dtype)
    monkeypatch.setattr(products, "choose", lambda found, *_: found[which])
    for batch, *layouts, biased in itertools.product((1, 3), LAYOUTS, LAYOUTS, (True, False)):
        inputs = [operands(layout, batch, dtype=dtype)[i] for i, layout in enumerate(layouts)]
        weight = operands("nchw", dtype=dtype)[2] / 5
        inputs += [weight[:16], weight[8:, :, None, None], *(weight[:2, 8:] if biased else (None, None))]
        mine = [None if t is None else t.detach().clone().requires_grad_() for t in inputs]
        exact = [None if t is None else t.detach().double().requires_grad_() for t in inputs]
        out, expected = gated_fusion(*mine), gated_fusion_reference(*exact)
        assert type(out.grad_fn).__name__ != "_GatedFusionBackward"
        with torch.no_grad():
            alone = gated_fusion(*inputs)
        assert all(result.is_contiguous(memory_format=LAYOUTS[layouts[0]]) for result in (out, alone))
        out.sum().backward()
        expected.sum().backward()
        errors = bounds(exact, torch.ones_like(expected), dtype, fused=False)
        case = f"batch {batch}, {layouts}, biases {biased}: "
        for result in (alone, out):
            assert_within(result, expected, errors[0], case + "the result")
        for name, a, b, error in zip(NAMES, mine, exact, errors[1:], strict=True):
            if a is not None:
                assert_within(a.grad, b.grad, error, case + name)


@pytest.mark.parametrize("trace", [lambda f, x: make_fx(f)(x), torch.jit.trace], ids=["make_fx", "jit"])
def test_small_tensors_seen_by_a_tracer(trace):
    """Which would miss what a native pass does in place."""
    _, x, weight = operands("nchw")
    with torch.no_grad():
        traced = trace(lambda y: gated_fusion(y, 2 * y, weight, weight), x)
        assert_close(traced(3 * x), gated_fusion_reference(3 * x.double(), 6 * x.double(), *2 * [weight.double()]))


def test_small_tensors_forward_mode():
    _, x, weight = operands("nchw")
    with forward_ad.dual_level():
        out = gated_fusion(forward_ad.make_dual(x, torch.ones_like(x)), x, weight, weight)
        tangent = forward_ad.unpack_dual(out).tangent
    assert_close(tangent, gated_fusion_reference(torch.ones_like(x).double(), x.double(), *2 * [weight.double()]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_torch_calls_on_one_thread(layout):
    """That its convolution chooses what is called in its place, for all that is small, and that nothing changes."""
    if not small._is_slow_conv2d():
        pytest.skip("this torch chooses another convolution")
    _, x, weight = operands(layout, 15)
    kernel = weight[:, :, None, None]
    backend = torch._C._select_conv_backend(x, kernel, None, (1, 1), (0, 0), (1, 1), False, (0, 0), 1)
    assert backend == torch._C._ConvBackend.Slow2d
    results = []
    for convolution in (small._slow_conv2d, torch.conv2d):
        inputs = [t.clone(memory_format=torch.preserve_format).requires_grad_() for t in (x, kernel, weight[0])]
        out = convolution(*inputs)
        results.append([out, *torch.autograd.grad(out.square().sum(), inputs)])
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)
        assert ours.stride() == theirs.stride()


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_trials_of_small_tensors(layout, graded):
    """Run as they are, they choose one of the two, and leave no gradient behind."""
    _, x, weight = operands(layout, dtype=torch.bfloat16)
    x.requires_grad_()
    assert products.choose(small._TRIALS, (x,), weight, graded, layout == "nhwc") in small._TRIALS
    assert len(products._chosen) == 1
    assert x.grad is None


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_product_of_matrices_does_not_broadcast(monkeypatch, layout):
    monkeypatch.setattr(cpu, "product_dtype", lambda dtype: dtype)
    monkeypatch.setattr(products, "choose", lambda found, *_: found[1])
    _, x, weight = operands(layout, dtype=torch.bfloat16)
    for bias, error in ((weight[0, :1], ValueError), (weight[0].float(), TypeError)):
        with pytest.raises(error, match="`bias_s` must "):
            gated_fusion(x, x, weight, weight, None, bias)
