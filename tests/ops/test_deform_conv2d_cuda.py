"""What only the CUDA kernels of the deformable convolution have: tiles, blocks, merged groups, ways to add.

Everything else is tested with the CPU kernels, in test_deform_conv2d.py.
"""

import os

import pytest
import torch
from tolerances import assert_close

from pylatent import _native
from pylatent.ops.deform_conv2d import cuda as cuda
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
            # The gradient of the columns, from which come those of offset and mask, is rounded to the mode.
            assert_close(grad, reference[name], self.mode, name)


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of 64 pixels."""
    monkeypatch.setattr(cuda, "_tile_bytes", lambda device: 1)


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize(("batch", "size"), [(1, (9, 15)), (3, (7, 6)), (2, (8, 4))])
def test_tiles(device, mode, batch, size, channels_last, small_tiles):
    """Tiles end within a row, within a picture, and with the last picture; the last tile may be one pixel."""
    case = Case(device, mode, channels=12, outputs=10, size=size, batch=batch, channels_last=channels_last)
    case.check_output()
    case.check_gradients()


@pytest.mark.parametrize("channels_last", [True, False])
def test_tiles_of_groups(device, mode, channels_last, small_tiles):
    case = Case(
        device, mode, channels=120, outputs=160, size=(6, 7), batch=2, kernel=(1, 2), groups=2, offset_groups=3,
        channels_last=channels_last,
    )  # fmt: skip
    case.check_output()
    case.check_gradients()


@pytest.mark.parametrize("multiprocessors", [1, 200])
def test_blocks(device, mode, multiprocessors):
    """A block takes all taps of its pixels, or 32 samples."""
    if device.type == "cuda":
        pytest.skip("a device has the multiprocessors that it has")
    module = _native.cuda_core()
    module.set_multiprocessors(multiprocessors)
    try:
        # 9 vectors of channels: the lanes of a sample take one, or two.
        vector = 4 if mode in (torch.float32, "tf32") else 8
        case = Case(device, mode, channels=9 * vector, outputs=4, size=(5, 9))
        case.check_output()
        case.check_gradients()
    finally:
        module.set_multiprocessors(4)


def test_views_that_begin_anywhere(device):
    """Kernels read 16 bytes at a time."""
    case = Case(device, torch.float32, channels=8, outputs=6, size=(4, 5), channels_last=True)
    x = case.tensors[0]
    memory = torch.empty(x.numel() + 1, device=device)[1:]
    case.tensors[0] = memory.as_strided(x.shape, x.stride()).copy_(x)
    case.check_output()
    case.check_gradients()


@pytest.mark.parametrize("exact", ["offset", "mask", "neither"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_offsets_and_masks_in_half_precision(device, dtype, exact):
    """Each in the dtype of the input or in float32, and so its gradient."""
    case = Case(device, dtype, channels=8, outputs=8, size=(5, 4))
    for i, name in ((1, "offset"), (4, "mask")):
        if name != exact:
            case.tensors[i] = case.tensors[i].to(dtype)
    case.check_output()
    case.check_gradients()
    for name, grad in case.gradients().items():
        assert grad.dtype == (torch.float32 if name == exact else dtype)


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
        assert_close(grads[name], reference[name], case.mode, name)


def test_weight_without_offset(device):
    """The columns are made where nothing else needs the corners."""
    case = Case(device, torch.float32, channels=8, outputs=8, size=(4, 5))
    case.check_gradients(["input", "weight"])


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
    shape = [1] * 9 + [0, 0] + [1] * 5 + [8]

    def gather(pixels=(0, 1), dtypes=(0, 0, 0), **changes):
        changed = [changes.get(str(i), v) for i, v in enumerate(shape)]
        _native.cuda_core().deform_conv2d_cuda_gather(0, 0, 0, 0, changed, pixels, dtypes, 0, 0)

    for changes, message in [
        ({"0": 0}, "`shape` must lie between 1 and"),
        ({"13": 2}, "`segments modulo groups` must be 0, got 1"),
        ({"14": 2}, "`segments modulo offset_groups` must be 0, got 1"),
        ({"16": 6}, "`segment modulo 16 bytes` must be 0, got 8"),
        ({"1": 1 << 20, "2": 1 << 20}, "`pixels of input` must lie between"),
        ({"pixels": (0, 2)}, "`pixels of the tile` must lie between 1 and 1, got 2"),
        ({"pixels": (2, 1)}, "`first pixel of the tile` must lie between 0 and 1, got 2"),
        ({"5": 1 << 14, "6": 1 << 14}, "`samples of the tile` must lie between"),
        ({"dtypes": (0, 2, 0)}, "has no kernel for float16"),
        ({"dtypes": (2, 0, 3)}, "has no kernel for bfloat16"),
        ({"dtypes": (1, 1, 1)}, "has no kernel for float64"),
    ]:
        with pytest.raises(ValueError, match=message):
            gather(**changes)
