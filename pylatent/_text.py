"""Numbers as people read them, for messages and pages."""

from __future__ import annotations


def bytes_text(count: int) -> str:
    """`912 B`, `23.4 kB`, `1.18 MB`: three digits."""
    if count < 1000:
        return f"{count} B"
    for unit in ("kB", "MB", "GB"):
        if count < 999_500:
            return f"{count / 1000:.{3 - len(str(int(count / 1000)))}f} {unit}"
        count = round(count / 1000)
    return f"{count} TB"


def count(number: int, what: str) -> str:
    """`1 picture`, `2,000 pictures`."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")
