import pytest
import torch

from pylatent.layers import NeighbourhoodAttention, NeighbourhoodBlock

MAPS = [(9, 17, 7), (7, 7, 7), (16, 8, 3), (4, 5, 7), (1, 1, 7), (3, 12, 5)]  # height, width, kernel


def attend_one_by_one(attention: NeighbourhoodAttention, x: torch.Tensor) -> torch.Tensor:
    """The definition, a query at a time: the window is clamped to the map, the bias goes by the offset."""
    batch, height, width, channels = x.shape
    kernel, radius = attention.kernel, attention.kernel // 2
    q, k, v = attention.qkv(x).view(batch, height, width, 3, attention.heads, -1).unbind(3)
    out = torch.zeros(batch, height, width, attention.heads, channels // attention.heads, dtype=x.dtype)
    for i in range(height):
        for j in range(width):
            rows = [min(max(i - radius, 0), max(height - kernel, 0)) + n for n in range(min(kernel, height))]
            columns = [min(max(j - radius, 0), max(width - kernel, 0)) + n for n in range(min(kernel, width))]
            logits, values = [], []
            for r in rows:
                for c in columns:
                    dot = (q[:, i, j] * k[:, r, c]).sum(-1) * q.shape[-1] ** -0.5
                    logits.append(dot + attention.bias[:, r - i + kernel - 1, c - j + kernel - 1])
                    values.append(v[:, r, c])
            weights = torch.stack(logits).softmax(0)
            out[:, i, j] = (weights.unsqueeze(-1) * torch.stack(values)).sum(0)
    return attention.proj(out.flatten(3))


@pytest.mark.parametrize(("height", "width", "kernel"), MAPS)
def test_attention_is_its_definition_at_every_border(height, width, kernel):
    torch.manual_seed(0)
    attention = NeighbourhoodAttention(6, 2, kernel=kernel).double()
    torch.nn.init.normal_(attention.bias)
    x = torch.randn(2, height, width, 6, dtype=torch.float64)
    torch.testing.assert_close(attention.attend(x), attend_one_by_one(attention, x), rtol=1e-10, atol=1e-12)


def test_every_query_sees_exactly_its_window():
    attention = NeighbourhoodAttention(4, 1, kernel=3).double()
    with torch.no_grad():
        attention.qkv.weight.zero_()
        attention.qkv.bias.zero_()
        attention.qkv.weight[8:] = torch.eye(4)  # values are the input, all weights are equal
        attention.bias.zero_()
        attention.proj.weight.copy_(torch.eye(4))
        attention.proj.bias.zero_()
    x = torch.arange(30, dtype=torch.float64).view(1, 5, 6, 1).expand(-1, -1, -1, 4)
    y = attention.attend(x)[0, ..., 0]
    torch.testing.assert_close(y[0, 0], x[0, :3, :3, 0].mean())  # shifted inwards, not cut
    torch.testing.assert_close(y[2, 3], x[0, 1:4, 2:5, 0].mean())
    torch.testing.assert_close(y[4, 5], x[0, 2:, 3:, 0].mean())


def test_gradients():
    torch.manual_seed(0)
    block = NeighbourhoodBlock(4, 2, levels=3, kernel=3, mlp_ratio=2).double()
    x = torch.randn(2, 4, 4, 9, dtype=torch.float64, requires_grad=True)
    quality = torch.tensor([1.0, 2.5], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: block(x, quality), x)
    block(x, quality).sum().backward()
    assert block.attention.bias.grad.abs().sum() > 0


def test_quality_scales_both_branches():
    torch.manual_seed(0)
    block = NeighbourhoodBlock(4, 1, levels=3)
    with torch.no_grad():
        for gamma in (block.gamma_1, block.gamma_2):
            gamma.copy_(torch.tensor([0.0, 1.0, 3.0])[:, None].expand(-1, 4))
    x = torch.randn(3, 4, 8, 8)
    y = block(x, torch.tensor([1.0, 2.0, 2.5]))
    torch.testing.assert_close(y[0], x[0])
    with torch.no_grad():
        for gamma in (block.gamma_1, block.gamma_2):
            gamma[:] = 3**0.5  # what lies halfway between qualities 2 and 3, geometrically
    torch.testing.assert_close(y[2], block(x[2:])[0])
    assert block(x).shape == x.shape


def test_channels_and_kernels_that_do_not_fit():
    with pytest.raises(ValueError, match="multiple of heads = 3, got 8"):
        NeighbourhoodAttention(8, 3)
    with pytest.raises(ValueError, match="odd, got 4"):
        NeighbourhoodAttention(8, 2, kernel=4)
