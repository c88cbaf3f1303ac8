"""Sections of pages that are made from results, each between `<!-- begin NAME -->` and `<!-- end NAME -->`."""

from __future__ import annotations

import re
from collections.abc import Sequence


def with_section(text: str, name: str, body: str) -> str:
    """The page's text with another body in a section. Raises ValueError unless there is one of that name."""
    pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"the page must have one section between `begin {name}` and `end {name}`")
    return pattern.sub(lambda match: f"{match[1]}{body}{match[2]}", text)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table whose first column is text and whose others are numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in ([cell or " " for cell in head], rule, *rows)]
