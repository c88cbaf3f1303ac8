"""What only the CUDA kernels of the deformable convolution have: tiles, splits, merged groups, precision of sums.

Everything else is tested with the CPU kernels, in test_deform_conv2d.py.
"""

import os

import pytest
import torch
from tolerances import assert_close

from pylatent import _native
from pylatent.ops import _deform_conv2d_cuda as cuda
from pylatent.ops._deform_conv2d_sizes import sizes
from pylatent.ops.deform_conv2d import deform_conv2d, deform_conv2d_reference

DEVICES = ["cuda", *(f"cuda-emulated-{i}" for i in range(int(os.environ.get("PYLATENT_SCHEDULES", "2"))))]
MODES = [torch.float32, "tf32", torch.float16, torch.bfloat16]
NAMES = ["input", "offset", "weight", "bias", "mask"]

pytestmark = pytest.mark.parametrize("device", DEVICES, indirect=True)


@pytest.fixture(params=MODES, ids=str)
def mode(request):
    """A dtype, or "tf32" for float32 that may be rounded."""
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = request.param == "tf32"
    yield request.param
    torch.backends.cuda.matmul.allow_tf32 = allowed


class Case:
    """Arguments of a call, and what the float64 reference makes of them."""

    def __init__(
        self, device, mode, channels, outputs, size, kernel=(3, 3), batch=1, groups=1, offset_groups=1,
        stride=1, padding=1, dilation=1, mask=True, channels_last=False,
    ):  # fmt: skip
        dtype = torch.float32 if mode == "tf32" else mode
        generator = torch.Generator().manual_seed(5)

        def random(*shape):
            return torch.randn(*shape, generator=generator)

        taps = kernel[0] * kernel[1]
        out = [(n + 2 * padding - dilation * (k - 1) - 1) // stride + 1 for n, k in zip(size, kernel, strict=True)]
        x = random(batch, channels, *size).to(dtype)
        weight = (random(outputs, channels // groups, *kernel) / (taps * channels / groups) ** 0.5).to(dtype)
        offset = 1.5 * random(batch, 2 * offset_groups * taps, *out)
        masks = random(batch, offset_groups * taps, *out).sigmoid() if mask else None
        if channels_last:
            x = x.to(memory_format=torch.channels_last)
        self.mode = mode
        self.geometry = (stride, padding, dilation)
        self.tensors = [t if t is None else t.to(device) for t in (x, offset, weight, random(outputs).to(dtype), masks)]
        self.grad = random(batch, outputs, *out).to(device, dtype)

    def run(self, function, tensors, **options):
        return function(*tensors[:4], *self.geometry, tensors[4], **options)

    def output(self):
        return self.run(deform_conv2d, self.tensors, backend="native")

    def gradients(self, names=NAMES, reference=False):
        names = [name for name in names if self.tensors[NAMES.index(name)] is not None]
        tensors = [t if t is None else t.detach().double() if reference else t.detach() for t in self.tensors]
        wanted = [tensors[NAMES.index(name)].requires_grad_() for name in names]
        out = self.run(deform_conv2d_reference if reference else deform_conv2d, tensors)
        return dict(zip(names, torch.autograd.grad(out, wanted, self.grad.to(out.dtype)), strict=True))

    def check_output(self):
        reference = self.run(deform_conv2d_reference, [t if t is None else t.double() for t in self.tensors])
        assert_close(self.output(), reference, self.mode)

    def check_gradients(self, names=NAMES):
        reference = self.gradients(names, reference=True)
        for name, grad in self.gradients(names).items():
            # Offsets and masks are float32 beside half dtypes, with gradients of that precision.
            assert_close(grad, reference[name], self.mode if self.mode == "tf32" else grad.dtype, name)


# 32 or 64 rows and 64 to 320 columns: each a little more than fits, so that the last tile is a small remainder.
@pytest.mark.parametrize(("tile", "outputs"), [(0, 70), (1, 66), (2, 132), (3, 200), (4, 324)])
def test_tiles_forward(device, mode, tile, outputs, monkeypatch):
    monkeypatch.setattr(cuda, "_TILE", tile)
    Case(device, mode, channels=21, outputs=outputs, size=(9, 8), kernel=(1, 2)).check_output()


@pytest.mark.parametrize(("tile", "channels"), [(0, 70), (1, 132)])
def test_tiles_of_input_gradient(device, mode, tile, channels, monkeypatch):
    monkeypatch.setattr(cuda, "_TILE", tile)
    case = Case(device, mode, channels=channels, outputs=40, size=(9, 8), kernel=(1, 2))
    case.check_gradients(["input", "offset", "mask"])


@pytest.mark.parametrize(("tile", "outputs"), [(0, 70), (1, 200), (2, 324)])
def test_tiles_of_weight_gradient(device, mode, tile, outputs, monkeypatch):
    monkeypatch.setattr(cuda, "_TILE", tile)
    case = Case(device, mode, channels=68, outputs=outputs, size=(7, 6), kernel=(1, 2))
    case.check_gradients(["weight"])


@pytest.mark.parametrize("splits", [1, 2, 7])
def test_splits_of_weight_gradient(device, mode, splits):
    """130 pixels are 5 or 9 steps: 7 splits have 1 or 2 steps, and some have none."""
    case = Case(device, mode, channels=8, outputs=10, size=(10, 13))
    x, offset, weight, _, mask = case.tensors
    pairs = [(v, v) for v in case.geometry]
    layout = cuda.Layout.of(sizes(x, offset, weight, *pairs), x.dtype)
    parts = layout.empty_weights(weight, splits)
    tensors = [layout.outputs_last(case.grad), layout.pixels(x), offset, mask, parts]
    _native.cuda_core().deform_conv2d_cuda_backward_weight(
        *(t.data_ptr() for t in tensors), splits, layout.shape(*pairs), *cuda._how(x)
    )
    expected = case.gradients(["weight"], reference=True)["weight"]
    assert_close(layout.from_weights(parts.sum(0)).to(x.dtype), expected, mode)


GROUPS = {
    "groups": {"channels": 48, "outputs": 80, "groups": 2},
    "more groups than offset groups": {"channels": 80, "outputs": 160, "groups": 4, "offset_groups": 2},
    "more offset groups than groups": {"channels": 24, "outputs": 10, "offset_groups": 3, "groups": 1},
    "neither divides the other": {"channels": 120, "outputs": 160, "groups": 2, "offset_groups": 3},
    "depthwise": {"channels": 6, "outputs": 12, "groups": 6},
    "depthwise in two merged groups": {"channels": 80, "outputs": 80, "groups": 80, "offset_groups": 5},
    "all channels apart": {"channels": 5, "outputs": 5, "groups": 5, "offset_groups": 5},
}


@pytest.mark.parametrize("name", GROUPS)
def test_groups(device, mode, name):
    case = Case(device, mode, size=(5, 4), kernel=(2, 1), **GROUPS[name])
    case.check_output()
    case.check_gradients()


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("mask", [True, False])
def test_ways_to_add(device, mode, mask, deterministic):
    torch.use_deterministic_algorithms(deterministic)
    case = Case(
        device, mode, channels=11, outputs=9, size=(9, 10), kernel=(2, 3), batch=2, stride=2, padding=2, dilation=2,
        mask=mask, channels_last=deterministic,
    )  # fmt: skip
    case.check_output()
    case.check_gradients()


def test_deterministic_gradients_are_the_same_bits(device):
    """Offsets that gather everything at a few pixels, so that many blocks add to the same."""
    case = Case(device, torch.float32, channels=8, outputs=8, size=(12, 12))
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    case.tensors[1] += (torch.stack([6 - rows, 6 - columns]).repeat(1, 9, 1, 1)).to(device)
    torch.use_deterministic_algorithms(True)
    first, *others = [case.gradients() for _ in range(3)]  # each launch has a schedule of its own
    for other in others:
        for name in NAMES:
            assert torch.equal(first[name], other[name]), name
    case.check_gradients()


@pytest.mark.parametrize("largest", [1e-30, 1e30])
def test_deterministic_sums_of_any_size(device, largest):
    case = Case(device, torch.float32, channels=4, outputs=4, size=(4, 4))
    torch.use_deterministic_algorithms(True)
    expected = case.gradients(["input"])["input"]
    case.grad *= largest
    assert_close(case.gradients(["input"])["input"] / largest, expected.double())
    case.grad.zero_()
    assert not case.gradients(["input"])["input"].any()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_deterministic_sums_do_not_hide_nan(device, value):
    case = Case(device, torch.float32, channels=4, outputs=4, size=(4, 4))
    torch.use_deterministic_algorithms(True)
    case.grad[0, 0, 0, 0] = value
    assert case.gradients(["input"])["input"].isnan().all()


@pytest.mark.parametrize("channels_last", [False, True])
def test_only_what_is_needed(device, channels_last):
    case = Case(device, torch.bfloat16, channels=8, outputs=8, size=(4, 5), channels_last=channels_last)
    reference = case.gradients(reference=True)
    for name in NAMES:
        grads = case.gradients([name])
        assert list(grads) == [name]
        assert_close(grads[name], reference[name], name=name)


def test_float64_runs_the_reference(device):
    case = Case(device, torch.float64, channels=4, outputs=4, size=(4, 4))
    case.tensors = [t.double() for t in case.tensors]
    with pytest.raises(RuntimeError, match="there is no native kernel for torch.float64"):
        case.output()
    assert case.gradients(["weight"])["weight"].dtype == torch.float64


def test_graph_replay(device):
    if device.type != "cuda":
        pytest.skip("graphs need a CUDA device")
    case = Case(device, torch.bfloat16, channels=16, outputs=16, size=(6, 5))
    case.gradients()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = case.output(), *case.gradients().values()
    for tensor in case.tensors:
        tensor.copy_(torch.rand_like(tensor))
    graph.replay()
    for result, expected in zip(captured, (case.output(), *case.gradients().values()), strict=True):
        torch.testing.assert_close(result, expected, rtol=1e-2, atol=1e-2)


def test_shapes_that_the_kernels_refuse(device):
    shape = [1] * 9 + [0, 0] + [1] * 5 + [8, 8]

    def forward(**changes):
        changed = [changes.get(str(i), v) for i, v in enumerate(shape)]
        _native.cuda_core().deform_conv2d_cuda_forward(0, 0, 0, 0, 0, 0, changed, 8, (1, 1, 1), 0, 0, -1, 0, 0)

    for changes, message in [
        ({"0": 0}, "`shape` must lie between 1 and"),
        ({"13": 2}, "`segments modulo groups` must be 0, got 1"),
        ({"14": 2}, "`segments modulo offset_groups` must be 0, got 1"),
        ({"16": 6}, "`segment modulo 16 bytes` must be 0, got 2"),
        ({"17": 7}, "`outputs modulo 16 bytes` must be 0, got 3"),
        ({"1": 1 << 20, "2": 1 << 20}, "`pixels of input` must lie between"),
    ]:
        with pytest.raises(ValueError, match=message):
            forward(**changes)
