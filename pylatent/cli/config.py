"""pylatent config: what was built, what was found, and what is used."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from pylatent.cli._report import failures_reported


def config(as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """Show what this installation of pylatent was built with and what it uses."""
    with failures_reported():
        from pylatent._versions import line_of, versions

        known = {} if as_json else versions()
        for name, fact in known.items():  # at once: what follows needs torch, which takes seconds
            print(line_of(name, fact), flush=True)
        from dataclasses import asdict

        from pylatent.config import config as all_facts

        facts = asdict(all_facts())
        if as_json:
            print(json.dumps(facts))
            return
        for name, fact in facts.items():
            if name not in known:
                print(line_of(name, fact))
