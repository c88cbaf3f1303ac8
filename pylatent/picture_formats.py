"""Which format a picture's name asks for. Without torch, so that a command line is checked at once."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image

from pylatent.errors import ImageError


def format_of(path: str | os.PathLike[str]) -> str:
    """Pillow's name of the format that `path` asks for by its extension; raises ImageError if it cannot be written."""
    extension = Path(path).suffix.lower()
    found = Image.registered_extensions().get(extension)
    if found is None or found not in Image.SAVE or extension == ".lat":  # which Pillow writes by our plugin
        shown = f"the extension '{extension}'" if extension else "a name without extension"
        raise ImageError(f"{os.fspath(path)}: {shown} names no picture format that can be written; .png always works")
    return found
