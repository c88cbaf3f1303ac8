"""Writes the tables of README.md from the JSON in benchmarks/results, or checks that they are in step.

    python benchmarks/tables.py            # rewrite README.md
    python benchmarks/tables.py --check    # exit with 1 if that would change it

A table stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; everything between the two is made here.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    text = README.read_text(encoding="utf-8")
    wanted = with_tables(text)
    if not check:
        README.write_text(wanted, encoding="utf-8")
    elif wanted != text:
        print("README.md is not what benchmarks/results say: run `python benchmarks/tables.py`", file=sys.stderr)
        return 1
    return 0


def with_tables(text: str) -> str:
    """`text` with every marked section made anew. Raises ValueError where a marker is missing."""
    for name, make in (("rd", rd_section), ("speed", speed_section)):
        pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        if len(pattern.findall(text)) != 1:
            raise ValueError(f"README.md must have one section between `begin {name}` and `end {name}`")
        body = make()
        text = pattern.sub(lambda match, body=body: f"{match[1]}{body}{match[2]}", text)
    return text


def rd_section() -> str:
    """Rate, distortion and speed of the default model on Kodak pictures, and its BD-rates."""
    result = _load("rd-kodak12.json")
    environment = result["environment"]
    rows = [
        [
            f"{point['quality']:g}",
            f"{point['bpp']:.3f}",
            f"{point['psnr']:.2f}",
            f"{point['ms_ssim']:.4f}",
            f"{_speed(point, 'encode'):.1f}",
            f"{_speed(point, 'decode'):.1f}",
        ]
        for point in result["mean"]["codec"]
    ]
    mismatches = sum(not point["exact"] for picture in result["pictures"] for point in picture["codec"])
    lines = [
        f"Model `{result['model']}` on {len(result['pictures'])} pictures of Kodak's (the odd-numbered ones): mean "
        "over the pictures of the size of whole files, of the PSNR of 8-bit RGB and of MS-SSIM; speed with "
        f"{_count(environment['threads'], 'thread')} of {environment['cpu']}. "
        f"{'Every file' if mismatches == 0 else 'NOT every file'} decoded to exactly what was encoded.",
        "",
        *_table(["quality", "bpp", "PSNR, dB", "MS-SSIM", "encode, MP/s", "decode, MP/s"], rows),
        "",
        "![PSNR against bits per pixel](docs/images/rd-kodak12.png)",
        "",
        "Bits at equal PSNR (BD-rate; negative is fewer):",
        "",
    ]
    rows = [
        [description, _percent(rate["mean_of_pictures"]), _percent(rate["of_mean_curve"])]
        for description, rate in (
            (result["baselines"][name], result["bd_rate_percent"][name]) for name in result["baselines"]
        )
    ]
    for name, published in result.get("published", {}).items():
        rows.append([f"{name} on all 24 pictures: another set", "", _percent(published["bd_rate_of_mean_curve"])])
    lines += _table(["against", "mean of the pictures", "of the mean curve"], rows)
    return "\n".join(lines) + "\n"


def speed_section() -> str:
    """The whole codec and the coders against their peers, one part for each file of results that there is."""
    parts = [_codec_part(_load(path.name)) for path in sorted(RESULTS.glob("codec-*.json"))]
    parts += [_compat_part(_load(path.name)) for path in sorted(RESULTS.glob("compat-*.json"))]
    return "\n".join("\n".join(part) + "\n" for part in parts)


def _codec_part(result: dict[str, Any]) -> list[str]:
    names = list(result["rows"][0]["seconds"])
    head = [
        f"The whole codec, N={result['N']}, M={result['M']}, one picture at a time, against CompressAI's mbt2018-mean "
        f"with the same weights in the same run ({_versions(result)}; {result['cpu']}): milliseconds, and how many "
        "times as fast.",
        "",
    ]
    rows = []
    for row in result["rows"]:
        cells = [f"{row['verb']} {row['size']}, {_count(row['threads'], 'thread')}"]
        for name in names:
            ratio = "" if name == names[0] else f" ({row['speedup'][name]:.2f}x)"
            cells.append(f"{1e3 * row['seconds'][name]:.0f}{ratio}")
        rows.append(cells)
    return head + _table(["", *names], rows)


def _compat_part(result: dict[str, Any]) -> list[str]:
    head = [
        "CompressAI's bitstream, byte for byte, against CompressAI's own coder "
        f"({_versions(result)}; {_count(result['threads'], 'thread')} of {result['cpu']}; medians):",
        "",
    ]
    rows = [
        [
            row["name"],
            f"{row['bits_per_symbol']:.2f}" if "bits_per_symbol" in row else "",
            f"{row['compressai_ms']:.3g}",
            f"{row['pylatent_ms']:.3g}",
            f"{row['ratio']:.1f}x",
        ]
        for row in result["rows"]
    ]
    return head + _table(["", "bit/symbol", "CompressAI, ms", "pylatent, ms", "ratio"], rows)


def _versions(result: dict[str, Any]) -> str:
    versions = result["versions"]
    return ", ".join(f"{name} {versions[name]}" for name in ("pylatent", "compressai", "torch"))


def _load(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def _speed(point: dict[str, Any], verb: str) -> float:
    return point["pixels"] / point[f"{verb}_seconds"] / 1e6


def _percent(value: float | None) -> str:
    return "not comparable" if value is None else f"{value:+.1f} %".replace("-", "−")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]


if __name__ == "__main__":
    sys.exit(main())
