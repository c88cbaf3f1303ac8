"""Writes the tables of README.md and of pages in docs from the JSON in benchmarks/results, or checks them.

    python tools/tables.py            # rewrite the pages
    python tools/tables.py --check    # exit with 1 if that would change one

A table stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; everything between the two is made here.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attention_table import attention_codecs_section, neighborhood_attention_section
from clc_table import clc_section
from integer_table import integer_section
from pages import table, with_section

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
RESULTS = ROOT / "benchmarks" / "results"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        wanted = with_tables(page, text)
        if wanted != text and check:
            stale.append(page.relative_to(ROOT).as_posix())
        elif wanted != text:
            page.write_text(wanted, encoding="utf-8")
    if stale:
        found = ", ".join(stale)
        print(f"not what benchmarks/results say: {found}; run `python tools/tables.py`", file=sys.stderr)
    return 1 if stale else 0


def with_tables(page: Path, text: str) -> str:
    """`text` with every marked section of the page made anew. Raises ValueError where a marker is missing."""
    for name, make in PAGES[page].items():
        text = with_section(text, name, make())
    return text


def rd_section() -> str:
    """Rate, distortion and speed of the default model on Kodak pictures, and its BD-rates."""
    result = _load("rd-kodak12.json")
    rows = [
        [
            f"{point['quality']:g}",
            f"{point['bpp']:.3f}",
            f"{point['psnr']:.2f}",
            f"{point['ms_ssim']:.4f}",
        ]
        for point in result["mean"]["codec"]
    ]
    mismatches = sum(not point["exact"] for picture in result["pictures"] for point in picture["codec"])
    lines = [
        f"Model `{result['model']}` on {len(result['pictures'])} pictures of Kodak's (the odd-numbered ones): mean "
        "over the pictures of the size of whole files, of the PSNR of 8-bit RGB and of MS-SSIM. "
        f"{'Every file' if mismatches == 0 else 'NOT every file'} decoded to exactly what was encoded.",
        "",
        *table(["quality", "bpp", "PSNR, dB", "MS-SSIM"], rows),
        "",
        "![PSNR against bits per pixel](images/rd-kodak12.png)",
        "",
        "Bits at equal PSNR (BD-rate; negative is fewer):",
        "",
    ]
    rates = _bd_rates(result)
    for name, published in result.get("published", {}).items():
        what = f"{name}: on all 24 pictures, another set"
        rates.append([what, "–", _percent(published["bd_rate_of_mean_curve"])])
    lines += table(["", "mean of the pictures", "of the mean curve"], rates)
    return "\n".join(lines) + "\n"


def summary_section() -> str:
    """What a newcomer wants to know: bits at equal PSNR, and times of a picture."""
    result = _load("rd-kodak12.json")
    lines = table(["bits at equal PSNR (BD-rate)", "mean of the pictures", "of the mean curve"], _bd_rates(result))
    count = len(result["pictures"])
    worst, *_, best = (point["psnr"] for point in result["mean"]["codec"])
    what = f"Model `{result['model']}`, qualities 1 to 8 ({worst:.0f} to {best:.0f} dB)"
    lines += ["", f"{what}, {count} pictures of Kodak's (768x512), sizes of whole files."]
    return "\n".join(lines) + "\n"


def _bd_rates(result: dict[str, Any]) -> list[list[str]]:
    return [
        [f"against {description}", _percent(rate["mean_of_pictures"]), _percent(rate["of_mean_curve"])]
        for description, rate in zip(result["baselines"].values(), result["bd_rate_percent"].values(), strict=True)
    ]


def speed_section() -> str:
    """The whole codec and the coders against their peers, one part for each file of results that there is."""
    parts = []
    for kind, make in (("codec", _codec_part), ("rans", _rans_part), ("compat", _compat_part)):
        parts += ["\n".join(make(_load(path.name))) + "\n" for path in sorted(RESULTS.glob(f"{kind}-*.json"))]
    return "\n".join(parts)


def operators_section() -> str:
    """The fused operators on a CPU against their peers: one float32 latent, one thread."""
    names = ("sga-sample", "gaussian-bits", "gated-fusion", "deform-conv2d")
    results = {name: _load(f"{name}-zen4.json") for name in names}
    found, alone = results["deform-conv2d"]["environment"], results["sga-sample"]["environment"]["torch"]
    head = [
        f"One latent of 32x48 (a picture of 768x512), float32, one thread (torch {alone}; {found['torch']} for the "
        f"deformable convolution, beside torchvision {found['torchvision']}; {found['processor']}, beside other work). "
        "Microseconds, and how many times as long the others take:",
        "",
    ]
    rows = [cells for name in names for row in results[name]["rows"] if (cells := _operator_cells(name, row))]
    return "\n".join(head + table(["", "channels", "pylatent, µs", "others"], rows)) + "\n"


def _operator_cells(name: str, row: dict[str, Any]) -> list[str] | None:
    shape, threads = row["shape"], row["threads"]
    wanted = {"dtype": "float32", "layout": "nchw"}
    if threads != 1 or shape[0] != 1 or shape[2:] != [32, 48] or shape[1] not in (192, 320):
        return None
    if any(row.get(key, value) != value for key, value in wanted.items()):
        return None
    form = f" {row['method']}, {row['classes']} classes" if "method" in row else ""
    ratios = {**row.get("ratio", row.get("over", {}))}
    if "of_the_floor" in row:
        ratios["its two convolutions alone"] = 1 / row["of_the_floor"]
    ours = row.get("us", row.get("microseconds"))["pylatent"]
    others = ", ".join(
        f"{side} {ratio:.2f}x" if ratio < 10 else f"{side} {ratio:.0f}x" for side, ratio in ratios.items()
    )
    return [f"`{name.replace('-', '_')}`{form}, {row['pass']}", str(shape[1]), f"{ours:,.0f}", others]


def refinement_methods_section() -> str:
    """Every method of refinement on crops."""
    result = _load("refinement-kodak12.json")
    runs = sorted(result["crops"], key=lambda run: run["loss_percent"])
    quality, steps = runs[0]["quality"], runs[0]["steps"]
    head = [
        f"The middle 256x256 pixels of four pictures of Kodak's at quality {quality:g}, {steps} steps: mean change of "
        "the true loss, of the bits and of the PSNR.",
        "",
    ]
    rows = [
        [
            run["method"] + (f", {run['classes']} classes" if run["method"] not in _WITHOUT_CLASSES else ""),
            "as published" if run["settings"] == "published" else "default",
            f"{run['learning_rate']:g}",
            _percent(run["loss_percent"]),
            _percent(run["bpp_percent"]),
            f"{run['psnr_gain']:+.2f} dB".replace("-", "−"),
        ]
        for run in runs
    ]
    return "\n".join(head + table(["method", "settings", "learning rate", "loss", "bits", "PSNR"], rows)) + "\n"


def refinement_pictures_section() -> str:
    """Whole pictures with and without refinement."""
    result = _load("refinement-kodak12.json")
    plain = {point["quality"]: point for point in result["unrefined"]}
    rows, every = [], True
    for name, found in sorted(
        result["pictures"].items(), key=lambda item: (item[1]["pictures"], item[0]), reverse=True
    ):
        by_picture = [rate for rate in found["bd_rate_by_picture"].values() if rate is not None]
        same = [
            result["pictures"]["ssl2_500"]["bd_rate_by_picture"][picture] for picture in found["bd_rate_by_picture"]
        ]
        every = every and found["all_exact"]
        rows.append(
            [
                _METHOD_NAMES.get(name, name),
                str(found["pictures"]),
                ", ".join(f"{quality:g}" for quality in found["qualities"]),
                _percent(found["bd_rate_mean_of_pictures"]),
                f"{_percent(max(by_picture))} to {_percent(min(by_picture))}",
                _percent(sum(same) / len(same)),
            ]
        )
    titles = ["", "pictures", "qualities", "BD-rate, mean", "by picture", "the first row on these pictures"]
    lines = table(titles, rows)
    lines += ["", f"{'Every file' if every else 'NOT every file'} decoded to exactly the latents that were optimised."]
    best = result["pictures"]["ssl2_500"]
    points = []
    for point in best["mean"]:
        before = plain[point["quality"]]
        points.append(
            f"quality {point['quality']:g}: {before['bpp']:.3f} bpp, {before['psnr']:.2f} dB became "
            f"{point['bpp']:.3f} bpp, {point['psnr']:.2f} dB"
        )
    return (
        "\n".join([*lines, "", f"Mean over the {best['pictures']} pictures, ssl, 500 steps: {'; '.join(points)}."])
        + "\n"
    )


def refinement_time_section() -> str:
    """A step of refinement against the same loop in plain torch."""
    result = _load("refinement-step-zen5.json")
    steps, parts = result["steps"], result["parts"]
    names = {"eager": "plain torch", "pylatent": "pylatent, float32", "pylatent bf16": "pylatent, bf16"}
    rows = [
        [
            name,
            f"{1e3 * steps[side]:.1f}",
            f"{steps['eager'] / steps[side]:.2f}x",
            f"{1e3 * parts['synthesis'][side]:.1f}",
        ]
        for side, name in names.items()
    ]
    rate = parts["sampling and rate"]
    loss, decode = result["true loss, 200 steps"], result["decode"]
    height, width = result["size"]
    return "\n".join(
        [
            f"Milliseconds a step on {width}x{height} pixels, one thread ({result['environment']['processor']}, torch "
            f"{result['environment']['torch']}):",
            "",
            *table(["", "step", "as fast", "of it synthesis and its gradient"], rows),
            "",
            f"Sampling and rate of y alone, with gradients: {1e3 * rate['torch']:.1f} ms in plain torch, "
            f"{1e3 * rate['native']:.2f} ms here ({rate['torch'] / rate['native']:.1f}x). After 200 steps the loss "
            f"with bf16 differs by {_percent(100 * (loss['bf16'] / loss['float32'] - 1))} from that with float32. "
            f"Decoding to pixels takes {1e3 * decode['refined']:.0f} ms refined and {1e3 * decode['unrefined']:.0f} ms "
            "unrefined.",
            "",
        ]
    )


_WITHOUT_CLASSES = ("straight-through", "noise")
_METHOD_NAMES = {
    "ssl2_500": "ssl, 2 classes, 500 steps",
    "ssl2_2000": "ssl, 2 classes, 2000 steps",
    "cosine3_500": "cosine, 3 classes, 500 steps",
}


def _codec_part(result: dict[str, Any]) -> list[str]:
    names = list(result["rows"][0]["seconds"])
    head = [
        f"The whole codec, N={result['N']}, M={result['M']}, one picture at a time, against CompressAI's mbt2018-mean "
        f"with the same weights in the same run ({_versions(result['environment'])}). Milliseconds, of the processor "
        "on one thread and by the clock on two, and how many times as fast:",
        "",
    ]
    rows = []
    for row in result["rows"]:
        cells = [f"{row['verb']} {row['size']}, {_count(row['threads'], 'thread')}"]
        for name in names:
            ratio = "" if name == names[0] else f" ({row['speedup'][name]:.2f}x)"
            cells.append(f"{1e3 * row['seconds'][name]:.0f}{ratio}")
        rows.append(cells)
    return head + table(["", *names], rows)


def _rans_part(result: dict[str, Any]) -> list[str]:
    peers = result["peers"]
    head = [
        f"The entropy coder alone, {peers['symbols']:,} symbols at about 2.2 bits, one thread "
        f"({_versions(result['environment'])}). Millions of symbols in a second, and how many times as fast pylatent "
        'is in the same kind of call: "inside" is the native call alone, on inputs that are ready for it, "whole" from '
        "tensors to bytes or back:",
        "",
    ]
    rows = [
        [name, *(f"{peers[verb]['msym_s'][name]:.0f}" for verb in ("encode", "decode"))]
        for name in ("pylatent inside", "pylatent whole")
    ]
    # The fastest variant of a peer need not be the same one in both directions.
    for encoding, decoding in zip(peers["encode"]["ratio"], peers["decode"]["ratio"], strict=True):
        encoder, decoder = encoding.split(" to ")[1], decoding.split(" to ")[1]
        cells = [encoder if encoder == decoder else f"{encoder}; decoding: {decoder.removeprefix('torch_ans ')}"]
        for verb, peer, ratio in (("encode", encoder, encoding), ("decode", decoder, decoding)):
            cells.append(f"{peers[verb]['msym_s'][peer]:.1f} ({peers[verb]['ratio'][ratio]:.1f}x)")
        rows.append(cells)
    return head + table(["", "encode, Msymbol/s", "decode, Msymbol/s"], rows)


def _compat_part(result: dict[str, Any]) -> list[str]:
    head = [
        "CompressAI's own bitstream, byte for byte, against CompressAI's coder, one thread "
        f"({_versions(result['versions'])}), in milliseconds:",
        "",
    ]
    # The coders were run at several rates; one is enough here.
    rates = {row["bits_per_symbol"] for row in result["rows"] if "bits_per_symbol" in row}
    shown = min(rates, key=lambda rate: abs(rate - 2.2))
    rows = [
        [row["name"], f"{row['compressai_ms']:.3g}", f"{row['pylatent_ms']:.3g}", f"{row['ratio']:.1f}x"]
        for row in result["rows"]
        if row.get("bits_per_symbol", shown) == shown
    ]
    return head + table([f"at {shown:.1f} bit/symbol", "CompressAI", "pylatent", "times as fast"], rows)


def _versions(found: dict[str, Any]) -> str:
    names = ("compressai", "torch-ans", "torch")
    versions = ", ".join(f"{name} {found[name]}" for name in names if name in found)
    return f"{versions}; {found['processor']}" if "processor" in found else versions


def _load(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def _percent(value: float | None) -> str:
    return "not comparable" if value is None else f"{value:+.1f} %".replace("-", "−")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


PAGES: dict[Path, dict[str, Callable[[], str]]] = {
    ROOT / "README.md": {"summary": summary_section},
    DOCS / "measurements.md": {
        "rd": rd_section,
        "speed": speed_section,
        "attention": attention_codecs_section,
        "integers": integer_section,
        "operators": operators_section,
    },
    DOCS / "operators.md": {"neighborhood": neighborhood_attention_section},
    DOCS / "clc.md": {"study": clc_section},
    DOCS / "refinement.md": {
        "methods": refinement_methods_section,
        "pictures": refinement_pictures_section,
        "time": refinement_time_section,
    },
}

if __name__ == "__main__":
    sys.exit(main())
