"""Means over pictures, the two BD-rates of a set, and the plot."""

import math
from dataclasses import replace

import pytest
from PIL import Image

from pylatent.evaluation.curves import Point, compare, mean_curve
from pylatent.evaluation.plot import Line, plot_curves


def point(quality, bpp, psnr, **known):
    return Point(quality=quality, pixels=1000, nbytes=bpp * 125, bpp=bpp, psnr=psnr, **known)


DARK = [point(1, 0.1, 30.0), point(2, 0.2, 33.0), point(3, 0.4, 36.0)]
BUSY = [point(1, 0.5, 25.0), point(2, 1.0, 28.0), point(3, 2.0, 31.0)]


def scaled(curve, factor):
    return [replace(p, bpp=p.bpp * factor) for p in curve]


def test_mean_curve():
    first, _, last = mean_curve([DARK, BUSY])
    assert (first.quality, first.nbytes, first.psnr) == (1, 37.5, 27.5)
    assert first.bpp == pytest.approx(0.3)
    assert last.psnr == 33.5
    assert first.ms_ssim is None
    assert first.exact is None


def test_speed_of_a_mean_is_that_of_the_whole_set():
    # 1000 pixels in 1 ms and 1000 in 3 ms: 2000 in 4 ms.
    fast, slow = (point(1, 1.0, 30.0, encode_seconds=s, exact=True) for s in (0.001, 0.003))
    (mean,) = mean_curve([[fast], [slow]])
    assert mean.encode_mps == pytest.approx(0.5)
    assert mean.decode_mps is None
    assert mean.exact is True


def test_one_wrong_picture_shows_in_the_mean():
    good, bad = point(1, 1.0, 30.0, exact=True), point(1, 1.0, 30.0, exact=False)
    assert mean_curve([[good], [bad], [good]])[0].exact is False


def test_ms_ssim_is_averaged_over_the_pictures_that_have_one():
    curves = [[point(1, 1.0, 30.0, ms_ssim=0.9)], [point(1, 1.0, 30.0)], [point(1, 1.0, 30.0, ms_ssim=0.8)]]
    assert mean_curve(curves)[0].ms_ssim == pytest.approx(0.85)


@pytest.mark.parametrize("curves", [[], [DARK, DARK[:2]], [DARK, [replace(DARK[0], quality=7), *DARK[1:]]]])
def test_mean_needs_curves_at_the_same_qualities(curves):
    with pytest.raises(ValueError, match="same qualities"):
        mean_curve(curves)


def test_compare_takes_both_means():
    # A picture at half the rate and one at twice the rate: -50 % and +100 %.
    result = compare([scaled(DARK, 0.5), scaled(BUSY, 2)], [DARK, BUSY])
    assert result.mean_of_pictures == pytest.approx(25)
    assert result.pictures == 2
    assert result.of_mean_curve == pytest.approx(100 * (1.05 / 0.6) - 100)


def test_pictures_that_cannot_be_compared_are_left_out():
    perfect = [replace(p, psnr=math.inf) for p in DARK]
    result = compare([perfect, scaled(BUSY, 0.5)], [DARK, BUSY])
    assert (result.of_mean_curve, result.pictures) == (None, 1)
    assert result.mean_of_pictures == pytest.approx(-50)
    assert compare([DARK], [BUSY[:1]]).mean_of_pictures is None


def test_plot(tmp_path):
    pytest.importorskip("matplotlib")
    plot_curves([Line("ours", DARK), Line("theirs", BUSY, published=True)], tmp_path / "rd.png", title="Two lines")
    with Image.open(tmp_path / "rd.png") as image:
        assert image.format == "PNG"
        # The subject's colour is there, so a line was drawn.
        assert (0xD1, 0x49, 0x5B) in {colour for _, colour in image.convert("RGB").getcolors(1 << 20)}
    assert [path.name for path in tmp_path.iterdir()] == ["rd.png"]
