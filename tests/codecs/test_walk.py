"""The walk in steps: a codec with slices, phases and corrections codes exactly, refines and trains like any other."""

import dataclasses
import gc

import pytest
import torch
from sliced_codec import SLICES, SlicedCodec
from small_codec import make_context, picture

from pylatent.codecs import Latents, Part, Step, checkerboard
from pylatent.codecs.rounding import mixed, nearest
from pylatent.codecs.steps import check_steps
from pylatent.coding.container import Bitstream
from pylatent.errors import FormatError, MismatchError, ModelError
from pylatent.refine import SgaPlus, true_loss

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = [(1, 1), (1, 40), (17, 31), (64, 64), (96, 80), (4096, 33)]


def make_sliced(cls=SlicedCodec, seed=0):
    torch.manual_seed(seed)
    codec = cls().eval()
    with torch.no_grad():
        codec.g_a.weight.mul_(40)
        codec.h_a.weight.mul_(8)
        for network in (*codec.context, *codec.correction):
            network[-1].weight.mul_(4)
        for network in codec.context:
            network[-1].bias[codec.width :].add_(12)
    codec.fit_prior()
    codec.update()
    return codec


def assert_same(a, b):
    for field in ("levels", "means", "scales"):
        for level, (x, y) in enumerate(zip(getattr(a, field), getattr(b, field), strict=True)):
            assert x is y is None or torch.equal(x, y), f"{field} of level {level}"


@pytest.fixture(scope="module")
def sliced():
    return make_sliced()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@torch.no_grad()
def test_decode_returns_what_encode_quantised(sliced, size):
    latents = sliced.analyze(picture(*size, batch=2))
    streams = sliced.encode(latents)
    assert [len(stream.sections) for stream in streams] == [1 + 2 * SLICES] * 2
    decoded = sliced.decode([Bitstream.from_record(stream.to_record()) for stream in streams])
    assert_same(decoded, sliced.as_coded(latents))
    assert_same(decoded, sliced.quantize(latents, nearest, exact=True).latents)
    assert sliced.synthesize(decoded).shape == (2, 3, *size)
    assert_same(sliced.decode(streams[1:]), decoded[1])
    empty = [section for section in streams[0].sections if section == b"\0"]
    assert len(empty) == (SLICES if size == (1, 1) else 0)


@torch.no_grad()
def test_the_steps_see_each_other_and_the_float_networks_do_as_the_exact_ones(sliced):
    latents = sliced.analyze(picture(96, 80))
    coded, walked = sliced.as_coded(latents), sliced.quantize(latents, nearest).latents
    corrections = coded.y - coded.means[0] - torch.round(latents.y - coded.means[0])
    assert float(corrections.abs().max()) == 0.5
    assert float(corrections.abs().mean()) > 0.1
    close = (coded.means[0] - walked.means[0]).abs() < 0.1  # a symbol that rounds otherwise changes what follows
    assert float(close.float().mean()) > 0.7
    y = latents.y.clone()
    y[:, :3, ::2, ::2] += 9
    changed = sliced.as_coded(dataclasses.replace(latents, levels=(y, latents.levels[1]))).means[0] != coded.means[0]
    assert not changed[:, :3, ::2, ::2].any()  # the first phase of the first slice depends on z alone
    assert changed[:, :3, ::2, 1::2].any()
    assert all(changed[:, at : at + 3].any() for at in range(3, 15, 3))
    bits = sliced.quantize(latents, nearest, exact=True).bits[0]
    sections = sliced.encode(latents)[0].sections[1:]
    assert 8 * sum(map(len, sections)) == pytest.approx(float(bits), rel=0.03, abs=2 * SLICES * 40)


@torch.no_grad()
def test_bytes_depend_on_the_latents_alone(sliced):
    latents = sliced.analyze(picture(96, 80, batch=3))
    streams = sliced.encode(latents, threads=1)
    assert sliced.encode(latents, threads=2) == streams
    assert [sliced.encode(latents[number])[0] for number in range(3)] == streams
    with torch.autocast("cpu", torch.bfloat16):
        assert sliced.encode(latents) == streams


def test_gradients_reach_every_weight_through_every_step():
    codec = make_sliced().train()
    output = codec(picture(96, 80, batch=2))
    (output.bpp.sum() + output.x_hat.square().mean()).backward()
    for name, parameter in codec.named_parameters():
        if name != "entropy_bottleneck.quantiles":
            assert torch.any(parameter.grad != 0), name
    loss = output.bpp.mean().detach()
    optimizer = torch.optim.Adam(codec.parameters(), lr=1e-3)
    for _ in range(5):
        optimizer.zero_grad()
        codec.quantize(codec.analyze(picture(96, 80, batch=2)), mixed).bits[0].mean().backward()
        optimizer.step()
    assert float(codec(picture(96, 80, batch=2)).bpp.mean().detach()) < 0.97 * float(loss)


def test_refinement_lowers_the_true_loss(sliced):
    x = picture(64, 48)
    refined = SgaPlus(sliced, learning_rate=0.05).refine(x, lam=1e-6, steps=8)
    assert float(refined.best.loss) < 0.99 * float(refined.history[0].true.loss)
    assert_same(sliced.decode(sliced.encode(refined.latents)), sliced.as_coded(refined.latents))
    assert float(true_loss(sliced, refined.latents, x, 1e-6).loss) == pytest.approx(float(refined.best.loss))


@torch.no_grad()
def test_sections_of_another_order_or_count_are_refused(sliced):
    (stream,) = sliced.encode(sliced.analyze(picture(96, 80)))
    sections = stream.sections
    for wrong in (
        sections[::-1],
        (sections[0], *sections[:0:-1]),
        (*sections[:2], sections[3], sections[2], *sections[4:]),
    ):
        with pytest.raises(FormatError):
            sliced.decode([dataclasses.replace(stream, sections=wrong)])
    for wrong in (sections[:-1], (*sections, b"\0")):
        with pytest.raises(FormatError, match=f"has {len(wrong)} sections, model unnamed needs 11"):
            sliced.decode([dataclasses.replace(stream, sections=wrong)])
    with pytest.raises(MismatchError, match="table indexes"):
        sliced.decode([dataclasses.replace(stream, index_crc=stream.index_crc ^ 1)])
    with pytest.raises(FormatError, match="at least"):
        sliced.decode([dataclasses.replace(stream, size=(1 << 20, 1 << 20))])


@torch.no_grad()
def test_a_codec_without_exact_networks_says_so():
    class Inexact(SlicedCodec):
        exact = False

    codec = make_sliced(Inexact)
    latents = codec.analyze(picture(96, 80))
    (stream,) = codec.encode(latents)
    assert not stream.exact
    assert Bitstream.from_record(stream.to_record()) == stream
    decoded = codec.decode([stream])
    assert_same(decoded, codec.as_coded(latents))
    torch.testing.assert_close(decoded.y, codec.quantize(latents, nearest).latents.y)
    with pytest.raises(MismatchError, match="written by a model without exact networks"):
        make_sliced().decode([stream])
    with pytest.raises(MismatchError, match="has no exact form, so another machine"):
        codec.decode([dataclasses.replace(stream, index_crc=stream.index_crc ^ 1)])
    fingerprint = codec.fingerprint()
    codec.context[0][-1].bias.add_(0.7)  # as if this machine computed something else
    assert codec.fingerprint() != fingerprint  # it does here, because the weights do
    with pytest.raises(MismatchError, match="has no exact form, so another machine"):
        codec.decode([stream])


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((), "must have 1 to 64 coded steps, got 0"),
        ((Step(0),) * 65, "got 65"),
        ((Step(0, coded=False),), "1 to 64 coded steps, got 0"),
        ((Step(0), Step(0)), "channel 0 of level 0 is coded 2 times"),
        ((Step(0, checkerboard(0)),), r"channel 0 of level 0 is coded 0 times at phase \(0, 1\)"),
        ((Step(0, (Part(0, 3),)),), "channel 3 of level 0 is coded 0 times"),
        ((Step(0, (Part(0, 9),)),), "channels up to 9"),
        ((Step(1),), "level 1, which has no such channels"),
    ],
)
def test_steps_that_do_not_cover_the_levels_once_are_refused(steps, message):
    with pytest.raises(ModelError, match=message):
        check_steps(steps, (4,))


def test_parts_are_gathered_one_by_one_in_raster_order():
    values = torch.arange(4 * 3 * 5).view(1, 4, 3, 5)
    quarters = tuple(Part(i, i + 1, (i // 2, i % 2)) for i in range(4))
    step = Step(0, quarters)
    check_steps(
        tuple(
            Step(
                0, tuple(dataclasses.replace(p, phase=((i + k) // 2 % 2, (i + k) % 2)) for i, p in enumerate(quarters))
            )
            for k in range(4)
        ),
        (4,),
    )
    gathered = step.gather(values, 1, (4, 3, 5))
    expected = [values[0, i, i // 2 :: 2, i % 2 :: 2].flatten() for i in range(4)]
    assert torch.equal(gathered[0], torch.cat(expected))
    assert step.count((4, 3, 5)) == gathered.shape[1] == 6 + 4 + 3 + 2
    back = torch.zeros_like(values)
    step.scatter(gathered, back)
    assert torch.equal(back[back != 0].sort().values, gathered[gathered != 0].sort().values)
    assert torch.equal(step.gather(back, 1, (4, 3, 5)), gathered)


def test_latents_move_and_are_indexed():
    latents = Latents(
        (torch.rand(3, 2, 4, 4, requires_grad=True), torch.rand(3, 1, 2, 2)),
        (64, 64),
        (1.0, 2.0, 3.0),
        (torch.rand(3, 2, 4, 4), torch.rand(1, 1, 1)),
        (torch.rand(3, 2, 4, 4), None),
    )
    assert latents.y is latents.levels[0]
    assert not latents.detach().y.requires_grad
    assert latents.to("meta").levels[1].device.type == "meta"
    assert [one.quality for one in latents] == [(1.0,), (2.0,), (3.0,)]
    for chosen, quality in ((1, (2.0,)), (-1, (3.0,)), (slice(1, None), (2.0, 3.0)), ([2, 0], (3.0, 1.0))):
        some = latents[chosen]
        rows = [chosen] if isinstance(chosen, int) else chosen
        assert some.quality == quality
        for field in ("levels", "means", "scales"):
            for value, whole in zip(getattr(some, field), getattr(latents, field), strict=True):
                assert value is whole or torch.equal(value, whole[rows])
    with pytest.raises(IndexError, match="no picture 3: these are latents of 3"):
        latents[3]


def test_a_walk_leaves_nothing_for_the_garbage_collector():
    """Large pictures after each other would else pile up: Python does not count the bytes of tensors."""
    codec = make_context()
    latents = codec.analyze(picture(64, 48), 3)
    streams = codec.encode(latents)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for call in (lambda: codec.encode(latents), lambda: codec.decode(streams), lambda: codec.as_coded(latents)):
            call()
            gc.collect()
            assert not any(type(thing) is torch.Tensor for thing in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.enable()
        gc.garbage.clear()
