import pytest
import torch
import torch.nn.functional as F
from extras import extra
from torch import nn

from pylatent.layers import DeformableAlignment, DeformConv2d


def randomised(block: DeformableAlignment) -> DeformableAlignment:
    """The block with a head that moves things: offsets of a pixel or so."""
    nn.init.normal_(block.head[-1].weight, std=0.3)
    nn.init.normal_(block.head[-1].bias, std=0.3)
    return block


@pytest.mark.parametrize("bias", [True, False])
def test_zero_offsets_give_the_plain_convolution(bias):
    torch.manual_seed(0)
    layer = DeformConv2d(6, 4, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2, bias=bias).double()
    x = torch.randn(2, 6, 9, 12, dtype=torch.float64)
    expected = F.conv2d(x, layer.weight, layer.bias, (2, 1), (1, 2), (1, 2), 2)
    offset = x.new_zeros(2, 2 * 15, *expected.shape[2:])
    torch.testing.assert_close(layer(x, offset), expected)
    halves = torch.full_like(offset[:, :15], 0.5)
    torch.testing.assert_close(
        layer(x, offset, halves), F.conv2d(x, layer.weight / 2, layer.bias, (2, 1), (1, 2), (1, 2), 2)
    )


def test_initialisation_is_that_of_a_convolution():
    torch.manual_seed(3)
    layer = DeformConv2d(8, 6, 3, groups=2)
    torch.manual_seed(3)
    plain = nn.Conv2d(8, 6, 3, groups=2)
    assert torch.equal(layer.weight, plain.weight)
    assert torch.equal(layer.bias, plain.bias)


def test_drop_in_for_torchvision():
    theirs_module = extra("torchvision.ops")
    arguments = {"stride": (1, 2), "padding": (2, 1), "dilation": (2, 1), "groups": 2}
    torch.manual_seed(1)
    theirs = theirs_module.DeformConv2d(4, 6, (3, 2), **arguments)
    torch.manual_seed(1)
    ours = DeformConv2d(4, 6, (3, 2), **arguments)
    assert repr(ours) == repr(theirs)
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value), key
    ours.load_state_dict(theirs_module.DeformConv2d(4, 6, (3, 2), **arguments).state_dict())
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 4, 7, 8)
    offset, mask = torch.randn(2, 2 * 2 * 6, 7, 5), torch.rand(2, 2 * 6, 7, 5)
    torch.testing.assert_close(ours(x, offset, mask), theirs(x, offset, mask), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours(x, offset), theirs(x, offset), rtol=1e-4, atol=1e-5)


def test_channels_that_do_not_divide():
    with pytest.raises(ValueError, match="`in_channels` must be a multiple of groups = 2, got 3"):
        DeformConv2d(3, 4, 3, groups=2)
    with pytest.raises(ValueError, match="`out_channels` must be a multiple of groups = 2, got 5"):
        DeformConv2d(4, 5, 3, groups=2)


def test_alignment_starts_from_plain_convolutions():
    torch.manual_seed(0)
    block = DeformableAlignment(5).double()
    y, reference = torch.randn(2, 2, 5, 6, 7, dtype=torch.float64)
    five, three = block.branches
    branches = [
        F.gelu(F.conv2d(reference, five.weight / 2, five.bias, padding=2)),
        F.gelu(F.conv2d(reference, three.weight / 2, three.bias, padding=1)),
        block.fine(torch.cat([y, reference], 1)),
    ]
    torch.testing.assert_close(block(y, reference), block.fuse(torch.cat(branches, 1)))


def test_alignment_follows_its_offsets():
    """An offset of (1, -2) at every tap moves the reference by it."""
    block = DeformableAlignment(3, kernel_sizes=(3,)).double()
    with torch.no_grad():
        block.head[-1].bias[:18] = torch.tensor([1.0, -2.0]).repeat(9)
    y, reference = torch.randn(2, 1, 3, 8, 9, dtype=torch.float64)
    moved = torch.roll(reference, (-1, 2), (2, 3))
    (three,) = block.branches
    branches = [
        F.gelu(F.conv2d(moved, three.weight / 2, three.bias, padding=1)),
        block.fine(torch.cat([y, reference], 1)),
    ]
    expected = block.fuse(torch.cat(branches, 1))
    torch.testing.assert_close(block(y, reference)[..., 3:5, 4:6], expected[..., 3:5, 4:6])


def test_four_heads_fit_into_one():
    """The published block has a head for the offsets and one for the masks of each kernel."""
    torch.manual_seed(0)
    channels, counts = 2, [50, 18, 25, 9]
    first = [nn.Conv2d(2 * channels, channels, 3, padding=1) for _ in counts]
    second = [nn.Conv2d(channels, count, 3, padding=1) for count in counts]
    block = DeformableAlignment(channels, hidden=4 * channels)
    block.head[0].load_state_dict(
        {
            "weight": torch.cat([head.weight for head in first]),
            "bias": torch.cat([head.bias for head in first]),
        }
    )
    with torch.no_grad():
        for i, (rows, head) in enumerate(zip(block.head[2].weight.split(counts), second, strict=True)):
            rows[:, i * channels : (i + 1) * channels] = head.weight
        block.head[2].bias.copy_(torch.cat([head.bias for head in second]))
    block.double()
    both = torch.randn(1, 2 * channels, 5, 6, dtype=torch.float64)
    four = [after.double()(F.gelu(before.double()(both))) for before, after in zip(first, second, strict=True)]
    torch.testing.assert_close(block.head(both), torch.cat(four, 1))


def test_gradients_of_the_alignment():
    torch.manual_seed(0)
    block = randomised(DeformableAlignment(2, kernel_sizes=(3,), hidden=3)).double()
    y, reference = torch.randn(2, 1, 2, 4, 3, dtype=torch.float64)
    names, values = zip(*block.named_parameters(), strict=True)

    def run(y, reference, *values):
        return torch.func.functional_call(block, dict(zip(names, values, strict=True)), (y, reference))

    inputs = [t.detach().clone().requires_grad_() for t in (y, reference, *values)]
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)


def test_state_dict_round_trip():
    first, second = randomised(DeformableAlignment(4)), DeformableAlignment(4)
    second.load_state_dict(first.state_dict())
    y, reference = torch.randn(2, 1, 4, 5, 6)
    assert torch.equal(first(y, reference), second(y, reference))
    assert sorted(first.state_dict())[:2] == ["branches.0.bias", "branches.0.weight"]


def test_alignment_compiles_and_exports():
    torch.manual_seed(0)
    block = randomised(DeformableAlignment(4))
    y, reference = torch.randn(2, 2, 4, 6, 5)
    expected = block(y, reference)
    torch.testing.assert_close(torch.compile(block, fullgraph=True, backend="aot_eager")(y, reference), expected)
    with torch.no_grad():
        size = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height", min=2), 3: torch.export.Dim("width", min=2)}
        program = torch.export.export(block, (y, reference), dynamic_shapes=(size, size))
    other = torch.randn(2, 3, 4, 5, 8)
    torch.testing.assert_close(program.module()(*other), block(*other))


def test_even_kernels_are_refused():
    with pytest.raises(ValueError, match=r"`kernel_sizes` must be odd, .*got \(4, 3\)"):
        DeformableAlignment(4, kernel_sizes=(4, 3))
