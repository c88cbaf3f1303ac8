"""pylatent config: what was built, what was found, and what is used."""

from __future__ import annotations

from pylatent.cli._report import failures_reported


def config() -> None:
    """Show what this installation of pylatent was built with and what it uses."""
    with failures_reported():
        from pylatent.config import show_config

        show_config()
