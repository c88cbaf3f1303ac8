"""Writes docs/models/NAME.md: what a shipped model file says of itself, and its measured rates and distortions.

python tools/model_card.py default-2 benchmarks/results/rd-kodak12.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pylatent import zoo

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("results", type=Path, help="JSON that studies/rate_distortion/study.py wrote with this model")
    options = parser.parse_args()
    info = next(model for model in zoo.models() if model.name == zoo.resolve(options.model))
    result = json.loads(options.results.read_text())
    lines = [
        f"# {info.name}",
        "",
        f"{info.header.architecture} with {', '.join(f'{k} = {v}' for k, v in info.header.config.items())}; "
        f"{info.size / 1e6:.1f} MB; fingerprint `{info.header.hash}`.",
        "",
    ]
    lines += [f"- **{key}**: {value}" for key, value in info.header.card.items() if key != "recipe"]
    recipe = info.header.card.get("recipe", {})
    lines += ["- **recipe**: " + ", ".join(f"{key} {value}" for key, value in recipe.items())] if recipe else []
    lines += ["", f"## {result['set']}: real file sizes, 8-bit pictures, means over the pictures", ""]
    lines += ["| quality | bpp | PSNR, dB | MS-SSIM |", "|---|---|---|---|"]
    lines += [
        f"| {point['quality']:g} | {point['bpp']:.3f} | {point['psnr']:.2f} | {point['ms_ssim']:.4f} |"
        for point in result["mean"]["codec"]
    ]
    path = ROOT / "docs" / "models" / f"{info.name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
