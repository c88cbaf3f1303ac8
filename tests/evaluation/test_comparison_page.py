"""The page of `pylatent compare`: what it measures, what it holds, and what it does in a browser."""

import base64
import io
import json
import re

import pytest
import torch
from browser import browser, why_no_browser
from PIL import Image
from small_codec import make_codec, picture

from pylatent.evaluation import AVIF, JPEG, WEBP, psnr
from pylatent.evaluation.comparison import at_equal_sizes
from pylatent.evaluation.html import comparison_page
from pylatent.evaluation.html.plot import rate_plot
from pylatent.evaluation.measures import PSNR

NAME = 'a <b> & "c" </script>.png'


@pytest.fixture(scope="module")
def comparison():
    torch.manual_seed(3)
    pixels = picture(180, 240)[0].mul(255).round().byte()
    baselines = [each for each in (JPEG, WEBP, AVIF) if each.is_available]
    return at_equal_sizes(make_codec(), pixels, [1.0, 2.0, 4.0], baselines=baselines)


@pytest.fixture(scope="module")
def page(comparison):
    return comparison_page(comparison, NAME, "the middle, 240 × 180 of 999 × 999")


def held(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def opened(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_sizes_match(comparison):
    assert [rate.ours["full"].point.quality for rate in comparison.rates] == [1, 2, 4]
    for rate in comparison.rates:
        for baseline in comparison.baselines:
            found = rate.others[baseline.name]
            assert len(found.data) >= len(rate.ours["full"].data) or found.point.quality == 100
            quality = found.point.quality
            assert quality == 1 or len(baseline.compress(comparison.picture, quality - 1)) < len(rate.ours["full"].data)
            assert found.point.psnr == psnr(found.decoded, comparison.picture)
    assert comparison.mismatches == 0


def test_pictures_are_embedded_as_they_decode(comparison, page):
    data = held(page)
    original = torch.tensor(list(opened(data["original"]).convert("RGB").tobytes()), dtype=torch.uint8)
    assert torch.equal(original, comparison.picture.permute(1, 2, 0).flatten())
    for rate, shown in zip(comparison.rates, data["rates"], strict=True):
        ours, *others = shown["versions"]
        assert torch.equal(
            torch.tensor(list(opened(ours["src"]).convert("RGB").tobytes()), dtype=torch.uint8),
            rate.ours["full"].decoded.permute(1, 2, 0).flatten(),
        )
        for version, baseline in zip(others, comparison.baselines, strict=True):
            assert base64.b64decode(version["src"].partition(",")[2]) == rate.others[baseline.name].data
            assert version["src"].startswith(f"data:{baseline.media_type};base64,")


def test_names_are_text(page):
    assert "<b> & " not in page
    assert "a &lt;b&gt; &amp; &quot;c&quot; &lt;/script&gt;.png" in page
    assert page.count("</script>") == 2


def test_a_plot_without_a_curve_is_left_out(comparison):
    assert rate_plot(["a"], [[comparison.rates[0].ours["full"].point]], PSNR, 100) == ""


@pytest.fixture(scope="module")
def tab(page, tmp_path_factory):
    if (reason := why_no_browser()) is not None:
        pytest.skip(reason)
    file = tmp_path_factory.mktemp("page") / "page.html"
    file.write_text(page, encoding="utf-8")
    with browser() as tab:
        tab.uri = file.as_uri()
        yield tab


def place(tab, selector):
    return tab.run(
        f"(({{left, top, width, height}}) => [left, top, width, height])"
        f"(document.querySelector('{selector}').getBoundingClientRect())"
    )


def share(tab):
    return tab.run("Number(document.querySelector('.divider').getAttribute('aria-valuenow'))")


def scale(tab):
    return tab.run("view.scale / fit()")


class TestInABrowser:
    def test_the_slider_follows_mouse_and_keys(self, tab):
        tab.open(tab.uri)
        left, top, width, height = place(tab, ".stage")
        assert share(tab) == 50
        tab.drag((left + width / 2, top + height / 2), (left + width / 4, top + height / 3))
        assert share(tab) == 25
        clip = tab.run("document.querySelector('.layer.right').style.clipPath")
        assert clip.startswith("inset(0")
        assert "25%" in clip
        tab.key("ArrowRight", 39)
        assert share(tab) == 26
        tab.key("End", 35)
        assert share(tab) == 100

    def test_what_is_seen_at_the_slider(self, tab, comparison, tmp_path):
        """Left of it the pixels of one version, right of it those of the other."""
        tab.open(tab.uri)
        tab.run("split(0.25)")
        rate = tab.run("view.rate")
        tab.run("zoom(1)")
        assert tab.run("view.scale") >= 1
        tab.screenshot(tmp_path / "shot.png")
        shot = Image.open(tmp_path / "shot.png").convert("RGB")
        left, top, *_ = place(tab, ".layer.left img")
        factor = tab.run("view.scale")
        versions = [comparison.rates[rate].ours["full"], comparison.rates[rate].others[comparison.baselines[0].name]]
        for x, version in ((20, versions[0]), (200, versions[1])):
            seen = [shot.getpixel((round(left + factor * (x + i + 0.5)), round(top + factor * 30.5))) for i in range(8)]
            wanted = version.decoded[:, 30, x : x + 8].T
            assert (torch.tensor(seen) - wanted).abs().float().mean() < 12

    def test_every_version_loads(self, tab, comparison):
        tab.open(tab.uri)
        count = tab.run(
            "Promise.all(data.rates.flatMap(r => r.versions.map(v => picture(v.src)))"
            ".map(p => p.then(i => i.naturalWidth * i.naturalHeight))).then(a => a.filter(n => n === 240 * 180).length)"
        )
        assert count == len(comparison.rates) * (1 + len(comparison.baselines))

    def test_rates_and_versions_can_be_chosen(self, tab):
        tab.open(tab.uri)
        tab.run("document.querySelectorAll('.rates button')[2].click()")
        tab.settle()
        assert tab.run("document.querySelectorAll('tr.chosen').length") == tab.run("names.length")
        before = tab.run("document.querySelector('.layer.right img').src")
        tab.run("selects[1].value = 'original'; selects[1].dispatchEvent(new Event('change'))")
        tab.settle()
        after = tab.run("document.querySelector('.layer.right img').src")
        assert before != after == tab.run("data.original")
        tab.run("document.querySelector('.plot [data-line=\"0\"][data-point=\"0\"]').dispatchEvent(new Event('click'))")
        assert tab.run("view.rate") == 0

    def test_zoom_and_pan(self, tab):
        tab.open(tab.uri)
        left, top, width, height = place(tab, ".stage")
        middle = left + width / 2, top + height / 2
        tab.mouse("mouseWheel", *middle, deltaX=0, deltaY=-200, modifiers=2, button="none")
        assert scale(tab) > 2
        before = tab.run("view.x")
        tab.drag((middle[0] + 100, middle[1]), (middle[0] + 40, middle[1]))
        assert tab.run("view.x") == pytest.approx(before + 60 / tab.run("view.scale"))
        assert share(tab) == 50
        tab.key("ArrowLeft", 37)
        assert tab.run("view.x") == pytest.approx(before)
        tab.key("0", 48)
        assert scale(tab) == 1

    def test_fingers(self, tab):
        tab.open(tab.uri, 390, 800, touch=True)
        left, top, width, height = place(tab, ".stage")
        y = top + height / 2
        tab.touch("touchStart", (left + width / 2, y))
        tab.touch("touchMove", (left + 0.6 * width, y))
        tab.touch("touchMove", (left + 0.8 * width, y))
        tab.touch("touchEnd")
        assert share(tab) == 80
        tab.touch("touchStart", (left + 0.4 * width, y), (left + 0.5 * width, y))
        tab.touch("touchMove", (left + 0.3 * width, y), (left + 0.5 * width, y))
        tab.touch("touchMove", (left + 0.2 * width, y), (left + 0.6 * width, y))
        tab.touch("touchEnd")
        assert scale(tab) == pytest.approx(4, rel=0.05)
        assert tab.run("document.documentElement.scrollWidth <= innerWidth")

    def test_nothing_is_fetched_and_nothing_complains(self, tab):
        tab.open(tab.uri, dark=True)
        assert set(tab.requests) <= {tab.uri, "about:blank"}
        assert tab.complaints == []
        assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
        # The policy holds, too: what would be fetched is refused.
        refused = tab.run("fetch('https://example.org/').then(() => false, () => true)")
        assert refused
