"""match_latents against its definition; its memory does not grow with the number of pairs."""

import importlib

import pytest
import torch
from tolerances import assert_close
from torch.profiler import ProfilerActivity, profile

from pylatent.ops import match_latents
from pylatent.ops.match_latents import match_latents_reference

SHAPES = [
    (2, 5, 7, (4, 6), (3, 5)),
    (1, 9, 4, (1, 1), (7, 2)),
    (3, 4, 4, (5, 1), (1, 1)),
    (1, 64, 80, (9, 13), (16, 16)),
]


@pytest.fixture(autouse=True, params=[0, None], ids=["fused", "as chosen"])
def few_pairs(request, monkeypatch):
    if request.param is not None:
        monkeypatch.setattr(importlib.import_module("pylatent.ops.match_latents"), "_FEW_PAIRS", request.param)


def inputs(shape, dtype=torch.float64, requires_grad=False):
    batch, d, v, size, others = shape
    generator = torch.Generator().manual_seed(0)
    shapes = (batch, d, *size), (batch, d, *others), (batch, v, *others)
    return [
        torch.randn(each, dtype=torch.float64, generator=generator).to(dtype).requires_grad_(requires_grad)
        for each in shapes
    ]


def outcome(function, tensors, temperature):
    """The result and the gradients of all inputs."""
    tensors = [each.detach().requires_grad_() for each in tensors]
    result = function(*tensors, temperature)
    weights = torch.linspace(-1, 1, result.numel(), dtype=torch.float64).view(result.shape)
    (result * weights.to(result.dtype)).sum().backward()
    return [result.detach(), *(each.grad for each in tensors)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_its_definition(shape, dtype):
    tensors = inputs(shape, dtype)
    temperature = 0.7 * shape[1] ** 0.5  # rounding errors grow with the scores
    expected = outcome(match_latents_reference, [each.double() for each in tensors], temperature)
    for ours, theirs in zip(outcome(match_latents, tensors, temperature), expected, strict=True):
        assert_close(ours, theirs, dtype)


def test_half_precision():
    """Probabilities are rounded to bfloat16 between the two products, and the result is a mean of values."""
    tensors = inputs(SHAPES[-1], torch.bfloat16)
    expected = match_latents_reference(*(each.double() for each in tensors), 8.0)
    assert_close(match_latents(*tensors, 8.0), expected, torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert match_latents(*inputs(SHAPES[-1], torch.float32), 8.0).dtype == torch.bfloat16


@pytest.mark.parametrize(
    "shape", [(2, 3, 2, (2, 3), (3, 2)), (1, 4, 3, (1, 1), (3, 2)), (2, 2, 2, (3, 1), (1, 1))], ids=str
)
def test_gradients(shape):
    tensors = inputs(shape, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *three: match_latents(*three, 0.7), tensors)
    assert torch.autograd.gradcheck(lambda *three: match_latents_reference(*three, 0.7), tensors)


def test_strides_and_compilation():
    tensors = inputs(SHAPES[0])
    expected = match_latents_reference(*tensors)
    strided = [each.contiguous(memory_format=torch.channels_last) for each in tensors]
    assert_close(match_latents(*strided), expected)
    assert_close(
        match_latents(*(each.flip(3).flip(3).transpose(2, 3).contiguous().transpose(2, 3) for each in tensors)),
        expected,
    )
    assert_close(torch.compile(match_latents, fullgraph=True, backend="eager", dynamic=True)(*tensors), expected)


@pytest.mark.parametrize(("batch", "v", "size"), [(0, 3, (2, 2)), (2, 0, (2, 2)), (1, 3, (0, 2))])
def test_empty(batch, v, size):
    tensors = inputs((batch, 4, v, size, (3, 3)), requires_grad=True)
    result = match_latents(*tensors)
    assert result.shape == (batch, v, *size)
    result.sum().backward()
    assert all(not each.grad.any() for each in tensors)


def peak_bytes(function, side):
    """The most memory that is in use at a time while forward and backward run, beside the inputs."""
    tensors = inputs((1, 6, 8, (side, side), (side, side)), torch.float32, requires_grad=True)
    function(*tensors).sum().backward()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        function(*tensors).sum().backward()
    used, most = 0, 0
    for event in recorded.profiler.kineto_results.events():
        if event.name() == "[memory]":
            used += event.nbytes()
            most = max(most, used)
    return most


def test_memory_does_not_grow_with_the_number_of_pairs():
    small, large = peak_bytes(match_latents, 46), peak_bytes(match_latents, 92)
    assert large < 5 * small  # 4 times the positions, 16 times the pairs
    assert large < 24 * 92 * 92 * (6 + 8) * 4
    assert peak_bytes(match_latents_reference, 46) > 46**4 * 4  # the meter sees the matrix


def test_errors():
    query, key, value = inputs(SHAPES[0])
    for wrong, message in (
        ((query[0], key, value), r"`query` must have shape \(B, C, H, W\), got \(5, 4, 6\)"),
        ((query, key.float(), value), "`key` must be a floating-point tensor as `query`"),
        ((query, key[:1], value), r"`key` must have shape \(2, 5, h, w\), h and w above 0, got \(1, 5, 3, 5\)"),
        ((query, key[..., :0], value[..., :0]), "h and w above 0"),
        ((query, key, value[..., 1:]), r"`value` must have shape \(2, v, 3, 5\), the positions of `key`"),
        ((query, key, value.to("meta")), "`value` must be on cpu as `query`, got meta"),
        ((query, key, value, 0.0), "`temperature` must be above 0, got 0.0"),
    ):
        with pytest.raises(ValueError, match=message):
            match_latents(*wrong)
