"""Every path of the CUDA kernels of ops.gated_fusion: tiles, widths of loads and stores, products of float32, products
that torch computes."""

from __future__ import annotations

import emulation
import pytest
import torch
import torch.nn.functional as F
from tolerances import assert_close

from pylatent import _native
from pylatent.ops import gated_fusion
from pylatent.ops.gated_fusion import cost as cost
from pylatent.ops.gated_fusion import cuda, gated_fusion_reference

pytestmark = pytest.mark.parametrize("device", ["cuda", "cuda-emulated-0"], indirect=True)

LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
# Storage and whether float32 may be multiplied as TF32.
PRODUCTS = {"bf16": torch.bfloat16, "f16": torch.float16, "tf32": torch.float32, "float32": torch.float32}


@pytest.fixture
def products(request):
    name, before = request.param, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
    yield PRODUCTS[name], "tf32" if name == "tf32" else PRODUCTS[name]
    torch.backends.cuda.matmul.allow_tf32 = before


@pytest.fixture
def one_multiprocessor():
    """The emulated device chooses the tile for a GPU with this one alone, so that small shapes get large tiles."""
    if not _native.is_emulated():
        yield None
        return
    module = emulation.module("_emulated")
    module.set_multiprocessors(1)
    yield module
    module.set_multiprocessors(4)


def check(device, products, layout, shape, gradients=True):
    """(B, Cy, Cs, C, H, W): the result and all gradients against the float64 reference."""
    dtype, tolerance = products
    b, cy, cs, c, h, w = shape
    generator = torch.Generator().manual_seed(0)
    sizes = ((b, cy, h, w), (b, cs, h, w), (c, cy), (c, cs), (c,), (c,))
    scales = (1, 1, cy**-0.5, cs**-0.5, 1, 1)
    inputs = [(torch.randn(n, generator=generator) * x).to(device, dtype) for n, x in zip(sizes, scales, strict=True)]
    inputs[:2] = [x.contiguous(memory_format=LAYOUTS[layout]) for x in inputs[:2]]
    mine = [t.requires_grad_(gradients) for t in inputs]
    exact = [t.detach().cpu().double().requires_grad_(gradients) for t in inputs]
    out, expected = gated_fusion(*mine, backend="native"), gated_fusion_reference(*exact)
    assert_close(out, expected, tolerance)
    if not gradients:
        return
    grad = torch.randn(expected.shape, generator=generator).to(dtype)
    out.backward(grad.to(device))
    expected.backward(grad.double())
    for tensor, reference in zip(mine, exact, strict=True):
        assert_close(tensor.grad, reference.grad, tolerance)


# Tiles of channels and pixels, by shapes that fill one, but for a few channels and pixels, and go round the pipeline.
TILES = {
    (128, 128): (1, 72, 200, 120, 4, 31),
    (64, 128): (2, 72, 200, 60, 2, 31),
    (64, 64): (3, 200, 72, 60, 2, 10),
    (32, 32): (1, 200, 136, 28, 4, 7),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("products", PRODUCTS, indirect=True)
@pytest.mark.parametrize("tile", TILES, ids=lambda tile: f"{tile[0]}x{tile[1]}")
def test_tiles(device, one_multiprocessor, tile, products, layout):
    shape = TILES[tile]
    if one_multiprocessor is not None:
        pixels = shape[0] * shape[4] * shape[5]
        assert one_multiprocessor.gated_fusion_cuda_tile(shape[3], pixels, 1) == tile
    check(device, products, layout, shape, gradients=False)


# 16 bytes, 8 bytes and single elements at a time, of weights, inputs and outputs.
WIDTHS = [
    (2, 16, 24, 40, 4, 4),
    (2, 12, 20, 36, 2, 6),
    (2, 13, 16, 33, 3, 5),
    (2, 16, 18, 34, 3, 6),
    (1, 8, 8, 8, 14, 14),
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("products", ["bf16", "float32"], indirect=True)
@pytest.mark.parametrize("shape", WIDTHS, ids=str)
def test_widths_of_loads_and_stores(device, shape, products, layout):
    check(device, products, layout, shape)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("products", PRODUCTS, indirect=True)
@pytest.mark.parametrize("shape", [*WIDTHS, (3, 8, 8, 8, 20, 24)], ids=str)
def test_products_apart(device, shape, products, layout, monkeypatch):
    monkeypatch.setattr(cuda, "products_apart", lambda *_: True)
    check(device, products, layout, shape)
    check(device, products, layout, shape, gradients=False)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_products_apart_without_biases(device, layout, monkeypatch):
    monkeypatch.setattr(cuda, "products_apart", lambda *_: True)
    generator = torch.Generator().manual_seed(0)
    y, s = (
        torch.randn(2, 8, 3, 4, generator=generator).to(device).contiguous(memory_format=LAYOUTS[layout])
        for _ in range(2)
    )
    weights = [torch.randn(6, 8, 1, 1, generator=generator).to(device) for _ in range(2)]
    for biases in [(None, None), (torch.ones(6, device=device), None), (None, torch.ones(6, device=device))]:
        arguments = (y, s, *weights, *biases)
        expected = gated_fusion_reference(*(None if t is None else t.cpu().double() for t in arguments))
        out = gated_fusion(*arguments, backend="native")
        assert_close(out, expected)
        assert out.is_contiguous(memory_format=LAYOUTS[layout])


@pytest.mark.parametrize("products", ["bf16"], indirect=True)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gate_in_several_turns(device, one_multiprocessor, products, layout, monkeypatch):
    """More elements than the threads of 16 blocks take at once."""
    monkeypatch.setattr(cuda, "products_apart", lambda *_: True)
    check(device, products, layout, (1, 8, 8, 40, 32, 32), gradients=False)


# Pixels, channels, whether torch should compute the products, and whether it should in a graph.
WAYS = [
    (torch.bfloat16, False, 196, 192, False, False),
    (torch.bfloat16, False, 1536, 320, False, True),
    (torch.bfloat16, False, 98304, 320, True, True),
    (torch.float16, False, 12544, 192, False, True),
    (torch.float32, True, 196, 192, False, False),
    (torch.float32, True, 8160, 192, True, True),
]


@pytest.mark.parametrize(("dtype", "tf32", "pixels", "channels", "apart", "in_graph"), WAYS, ids=str)
def test_ways_that_were_measured(device, dtype, tf32, pixels, channels, apart, in_graph):
    saved = cost.seconds_saved(dtype, tf32, pixels, channels, channels, channels, save=False)
    assert (saved > cost.LAUNCHES, saved > 0) == (apart, in_graph)


def test_no_products_of_nothing(device):
    y, s = torch.empty(1, 0, 2, 2), torch.empty(1, 4, 2, 2)
    assert not cuda.products_apart(y, s, 1 << 20, False, False)


# Rows of pixels so long that a block takes one, and more pixels and channels than a block of the other kernel takes.
@pytest.mark.parametrize(
    ("layout", "products", "shape"),
    [
        ("nchw", "bf16", (1, 2, 2, 3, 33, 32)),
        ("nchw", "bf16", (1, 2, 2, 3, 13, 11)),
        ("nchw", "f16", (1, 2, 2, 3, 36, 19)),
        ("nchw", "float32", (1, 2, 2, 3, 34, 16)),
        ("nhwc", "bf16", (2, 2, 2, 72, 10, 7)),
        ("nhwc", "float32", (2, 2, 2, 36, 12, 11)),
        ("nhwc", "float32", (2, 2, 2, 9, 12, 11)),
    ],
    indirect=["products"],
    ids=str,
)
def test_long_sums(device, layout, products, shape):
    check(device, products, layout, shape)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_addresses_that_are_not_aligned(device, layout):
    generator = torch.Generator().manual_seed(0)
    memory = torch.randn(4000, generator=generator).to(device, torch.bfloat16)

    def at(offset, *shape):
        x = memory[offset : offset + torch.Size(shape).numel()]
        if len(shape) == 4 and layout == "nhwc":
            b, c, h, w = shape
            return x.view(b, h, w, c).permute(0, 3, 1, 2)
        return x.view(shape)

    for offset in (0, 1, 4):
        inputs = [at(offset, 2, 8, 4, 4), at(300 + offset, 2, 16, 4, 4), at(offset, 24, 8), at(offset, 24, 16)]
        expected = gated_fusion_reference(*(t.cpu().double() for t in inputs))
        assert_close(gated_fusion(*inputs, backend="native"), expected)


def test_graph_and_stream(device):
    """A captured graph computes from what its inputs hold when it is replayed, on the stream it was captured on."""
    if _native.is_emulated():
        pytest.skip("graphs need a CUDA device")
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(n, generator=generator).to(device) for n in ((2, 8, 4, 4), (2, 16, 4, 4), (24, 8), (24, 16))]
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        gated_fusion(*inputs, backend="native")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        out = gated_fusion(*inputs, backend="native")
    for tensor in inputs:
        tensor.copy_(torch.randn(tensor.shape, generator=generator))
    graph.replay()
    torch.cuda.synchronize(device)
    assert_close(out, gated_fusion_reference(*(t.cpu().double() for t in inputs)))


def test_float32_is_as_exact_as_its_products(device):
    """Split into two TF32 numbers, float32 keeps all but the last bits; as one it keeps eleven.

    A tensor core cuts its sums off instead of rounding them: up to a unit in the last place of the largest partial sum
    for each of its additions, three products of 256 / 8 steps.
    """
    generator = torch.Generator().manual_seed(0)
    y, s = (torch.randn(1, 256, 4, 4, generator=generator) for _ in range(2))
    weight_y, weight_s = (torch.randn(16, 256, generator=generator) / 16 for _ in range(2))
    inputs = [t.to(device) for t in (y, s, weight_y, weight_s)]
    expected = gated_fusion_reference(*(t.cpu().double() for t in inputs))
    before, errors = torch.backends.cuda.matmul.allow_tf32, []
    for allow in (False, True):
        torch.backends.cuda.matmul.allow_tf32 = allow
        errors.append(float((gated_fusion(*inputs, backend="native").cpu() - expected).abs().max()))
    torch.backends.cuda.matmul.allow_tf32 = before
    largest = max(float(F.conv2d(a.abs(), w.abs()[:, :, None, None]).max()) for a, w in ((y, weight_y), (s, weight_s)))
    assert errors[0] < 3 * 256 / 8 * 2**-24 * largest
    assert errors[1] > 20 * errors[0]


@pytest.mark.parametrize("pixels", [131, 258, 516, 1032])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_rows_that_take_a_block(device, dtype, pixels):
    """Gradients of long rows, moved by 1, 2, 4 or 8 elements. Those of the weights, torch's sums, are not looked at."""
    generator = torch.Generator().manual_seed(0)
    sizes = ((1, 2, 1, pixels), (1, 2, 1, pixels), (2, 2), (2, 2), (2,), (2,))
    mine = [torch.randn(n, generator=generator).to(device, dtype).requires_grad_() for n in sizes]
    exact = [t.detach().cpu().double().requires_grad_() for t in mine]
    out, expected = gated_fusion(*mine, backend="native"), gated_fusion_reference(*exact)
    grad = torch.randn(expected.shape, generator=generator).to(dtype)
    out.backward(grad.to(device))
    expected.backward(grad.double())
    for i in (0, 1, 4, 5):
        assert_close(mine[i].grad, exact[i].grad, dtype)
