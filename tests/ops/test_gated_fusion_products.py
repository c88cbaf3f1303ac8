"""The products that the gated fusion chooses from on the CPU, and how it chooses."""

import threading

import pytest
import torch
from tolerances import assert_close

from pylatent import _native
from pylatent._products import has_onednn
from pylatent.ops import gated_fusion
from pylatent.ops.gated_fusion import gated_fusion_reference
from pylatent.ops.gated_fusion import products as products

pytestmark = pytest.mark.skipif(_native.why_not_native() is not None, reason="needs the native core")

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
    """With deterministic algorithms, on fake tensors, and while another thread is trying."""
    made, calls = sleepless(monkeypatch, {"first": 1.0, "second": 0.5})
    _, x, weight = operands("nchw")
    with monkeypatch.context() as deterministic:
        deterministic.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
        assert chosen(made, x, weight) == "first"
    assert chosen(made, torch.nn.Parameter(x), weight) == "first"
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
