"""Takes the screenshots of docs/images in a headless Chromium: `python tools/screenshots.py [NAME ...]`.

compare     the page of `pylatent compare` for one of the example photographs
docs        the start page of the documentation, which `make docs` has built
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from browser import Page, browser

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"


def compare(page: Page) -> None:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "page.html"
        photo = ROOT / "examples" / "photos" / "dragonfly.png"
        subprocess.run([sys.executable, "-m", "pylatent", "compare", photo, "-o", target], check=True, cwd=folder)
        page.open(target.as_uri(), 1200, 960)
        page.screenshot(IMAGES / "compare.jpg")


def docs(page: Page) -> None:
    start = ROOT / "build" / "site" / "index.html"
    if not start.exists():
        raise SystemExit("there is no documentation: run `make docs` first")
    page.open(start.as_uri(), 1280, 900)
    page.screenshot(IMAGES / "docs.jpg")


SHOTS = {"compare": compare, "docs": docs}

if __name__ == "__main__":
    with browser() as page:
        for name in sys.argv[1:] or SHOTS:
            SHOTS[name](page)
