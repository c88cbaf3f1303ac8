"""What the native core does for transformed residuals is what torch does, at every SIMD level."""

import pytest
import torch
from residual_cases import pair
from simd_levels import LEVELS

from pylatent import _native
from pylatent.pixel_residual.tables import LARGEST
from pylatent.transform_residual import choice, context, native, steps
from pylatent.transform_residual.context import Context
from pylatent.transform_residual.section import LARGEST_STEP, SMALLEST_STEP
from pylatent.transform_residual.transform import coefficients, restored
from pylatent.transform_residual.weights import TABLES

pytestmark = [
    pytest.mark.skipif(_native.why_not_native() is not None, reason="needs the native core"),
    pytest.mark.usefixtures("one_thread"),
]


@pytest.fixture(params=LEVELS)
def use(request, monkeypatch):
    """use(native): the core, at most at the level of the test, or torch from then on."""
    level = LEVELS.index(request.param)
    if level > LEVELS.index(_native.core().simd):
        pytest.skip(f"this machine has {_native.core().simd} at most")
    made = _native.core().TransformResidual(steps.LEVELS, TABLES, steps.PARENTS, level)
    return lambda natively: monkeypatch.setattr(native, "core", lambda: made if natively else None)


def extremes(height, width):
    """Black where the other is white, in stripes, squares and at random; uint8 (3, H, W) each."""
    black = torch.rand(3, height, width, generator=torch.Generator().manual_seed(height)) < 0.5
    black[:, : height // 2] = ((torch.arange(height)[:, None] // 4 + torch.arange(width) // 4) % 2 == 0)[: height // 2]
    return black.byte() * 255, (~black).byte() * 255


def everything(original, hat, step):
    """All that coding finds on its way."""
    wanted, of_hat = coefficients(original, hat), coefficients(hat)
    known = Context(of_hat, step)
    found = [wanted, of_hat, known.near.clone(), known.far.clone(), known.busy.clone()]
    for part in steps.steps():
        if known.blocks(part):
            tables = known.tables(part)
            found += [tables, choice.choose(wanted, step, tables, part, known)]
    return [*found, known.coded, known.sizes, restored(known.coded, step, hat)]


@pytest.mark.parametrize("step", [SMALLEST_STEP, 88, LARGEST_STEP])
@pytest.mark.parametrize("size", [(1, 1), (7, 130), (300, 3), (41, 264), (16, 129)])
def test_coding_finds_what_it_does_in_torch(size, step, use):
    for original, hat in (pair(*size), extremes(*size)):
        found = []
        for natively in (True, False):
            use(natively)
            found.append(everything(original, hat, step))
        for ours, torchs in zip(*found, strict=True):
            assert ours.dtype == torchs.dtype
            assert torch.equal(ours, torchs)


def test_parts_of_larger_pictures_and_channels_last_are_read_where_they_are(use):
    original, hat = pair(48, 40)
    use(True)
    expected = coefficients(original[:, 16:32].contiguous(), hat[:, 16:32].contiguous())
    last = [planes.permute(1, 2, 0).contiguous().permute(2, 0, 1)[:, 16:32] for planes in (original, hat)]
    assert torch.equal(coefficients(original[:, 16:32], hat[:, 16:32]), expected)
    assert torch.equal(coefficients(*last), expected)
    values = torch.randint(-9, 10, expected.shape, dtype=torch.int16, generator=torch.Generator().manual_seed(1))
    assert torch.equal(restored(values, 40, hat[:, 16:32]), restored(values, 40, last[1]))


def test_any_values_become_pixels_as_in_torch(use):
    """Also the largest there are, of all signs."""
    generator = torch.Generator().manual_seed(2)
    hat = torch.randint(0, 256, (3, 30, 140), dtype=torch.uint8, generator=generator)
    values = torch.randint(-LARGEST, LARGEST + 1, (3, 64, 4, 18), generator=generator)
    for kind in (values, values.sign() * LARGEST, torch.full_like(values, LARGEST), values // 200):
        found = []
        for natively in (True, False):
            use(natively)
            found.append(restored(kind.to(torch.int16), LARGEST_STEP, hat))
        assert torch.equal(*found)


def test_values_are_put_as_in_torch_and_those_beyond_are_told(use):
    generator = torch.Generator().manual_seed(3)
    for part in steps.steps():
        found = []
        for natively in (True, False):
            use(natively)
            known = Context(torch.zeros(3, 64, 5, 7, dtype=torch.int16), 40)
            shape = known.tables(part).shape
            values = torch.randint(-300, 300, shape, generator=generator.manual_seed(part.group)).int() // 60
            assert known.put(part, values, LARGEST)
            found.append((known.coded.clone(), known.sizes.clone()))
            for beyond in (LARGEST + 1, -LARGEST - 1, 2**31 - 1, -(2**31) + 1):
                values[-1, -1] = beyond
                assert not known.put(part, values, LARGEST)
        assert torch.equal(found[0][0], found[1][0])
        assert torch.equal(found[0][1], found[1][1])


def test_classes_begin_at_their_levels(monkeypatch):
    """Also between the places that the core looks up: here the tables are numbered as the classes are."""
    numbers = tuple(range(steps.CLASSES))
    core = _native.core().TransformResidual(steps.LEVELS, numbers, steps.PARENTS)
    monkeypatch.setattr(native, "core", lambda: core)
    known, step = Context(torch.zeros(3, 64, 1, 1, dtype=torch.int16), 24), next(steps.steps())
    for number, level in enumerate(steps.LEVELS):
        for value, expected in ((level - 1, number), (level, number + 1)):
            monkeypatch.setattr(context, "WEIGHTS", (((value, 0, 0, 0, 0, 0),),))
            assert known.tables(step).tolist() == [[expected]]


def test_two_threads_find_what_one_does():
    """Of a picture that is large enough for every loop to use both."""
    original, hat = pair(544, 1920)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(everything(original, hat, 88))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))
