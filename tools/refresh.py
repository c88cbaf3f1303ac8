"""Everything in README.md and docs that depends on the default weights, made anew: figures, plot and photograph.

    python tools/refresh.py KODAK CURVES

KODAK is the folder of Kodak pictures, CURVES that of published curves (see studies/rate_distortion/study.py). The
figures of speed against CompressAI come from benchmarks/bench_codec.py, which needs CompressAI installed and a quiet
machine, and are not touched.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
SHOWN = "dragonfly-side-by-side.png"


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    kodak, curves = sys.argv[1:]
    images = ROOT / "docs" / "images"
    images.mkdir(parents=True, exist_ok=True)
    result = ROOT / "benchmarks" / "results" / "rd-kodak12.json"
    run(
        "studies/rate_distortion/study.py",
        kodak,
        "--curves",
        curves,
        "-o",
        str(result),
        "--plot",
        str(images / "rd-kodak12.png"),
    )
    with tempfile.TemporaryDirectory() as folder:
        run("examples/demo.py", "-o", folder)
        with Image.open(Path(folder) / SHOWN) as sheet:
            sheet.save(images / "side-by-side.jpg", quality=93, subsampling=0, optimize=True)
    run("tools/tables.py")


def run(script: str, *arguments: str) -> None:
    subprocess.run([sys.executable, str(ROOT / script), *arguments], check=True)


if __name__ == "__main__":
    main()
