"""Mutation check: do the emulated tests notice single edits of the CUDA kernels?

    make emulated && .venv/bin/python tests/emulator/mutants.py [operator ...] [-j JOBS] [-o REPORT]

Each file of `mutations/` lists edits of one operator's kernels and the tests that should notice. An edit is applied to
a copy of its file, which is compiled and linked in place of the original with the commands of the emulated build; the
tests then run against that module. An edit whose text does not occur exactly once, or does not compile, is an error:
the kernel has changed, and so must the list. An edit that no test notices is printed with the reason its author gives.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from runpy import run_path

SOURCE = Path(__file__).parents[2]
BUILD = Path(os.environ.get("PYLATENT_EMULATED", SOURCE / "build" / "emulated")).absolute()
LISTS = Path(__file__).parent / "mutations"
TIMEOUT = 600.0


@dataclass(frozen=True)
class Mutant:
    """One edit: `old`, which occurs once in `file`, becomes `new`. `survives`: why no test can notice, if none can."""

    name: str
    file: str
    old: str
    new: str
    survives: str | None = None


@dataclass(frozen=True)
class Operator:
    name: str
    module: str
    tests: list[str]
    mutants: list[Mutant]


def operators(names: list[str]) -> list[Operator]:
    found = []
    for path in sorted(LISTS.glob("*.py")):
        if names and path.stem not in names:
            continue
        listed = run_path(str(path))
        mutants = [Mutant(*entry) for entry in listed["MUTANTS"]]
        found.append(Operator(path.stem, listed["MODULE"], listed["TESTS"], mutants))
    return found


def commands(module: str) -> tuple[dict[Path, list[str]], list[str]]:
    """How ninja compiles each source of `module`, and how it links them."""
    listing = subprocess.run(["ninja", "-t", "compdb"], cwd=BUILD, check=True, capture_output=True, text=True).stdout
    entries = json.loads(listing)
    compile_ = {
        Path(entry["directory"], entry["file"]).resolve(): shlex.split(entry["command"])
        for entry in entries
        if f"/{module}.dir/" in entry["output"]
    }
    (link,) = (entry["command"] for entry in entries if Path(entry["output"]).name.startswith(f"{module}."))
    # ninja wraps the linker as ": && g++ ... && :"
    return compile_, shlex.split(link.split(" && ")[1])


def dependents(compile_: dict[Path, list[str]], file: Path) -> list[Path]:
    """The sources of the module that include `file`, or are it."""
    if file.resolve() in compile_:
        return [file.resolve()]
    found = []
    for source, command in compile_.items():
        target = command[command.index("-o") + 1]
        listing = subprocess.run(["ninja", "-t", "deps", target], cwd=BUILD, check=True, capture_output=True, text=True)
        paths = {Path(BUILD, line.strip()).resolve() for line in listing.stdout.splitlines()[1:] if line.strip()}
        if file.resolve() in paths:
            found.append(source)
    if not found:
        raise SystemExit(f"no source of the module includes {file}")
    return found


def mutate(mutant: Mutant, where: Path) -> Path:
    """A copy of the mutant's file under `where`, edited."""
    text = (SOURCE / mutant.file).read_text()
    if (count := text.count(mutant.old)) != 1:
        raise SystemExit(f"{mutant.name}: the text to edit occurs {count} times in {mutant.file}:\n{mutant.old}")
    copy = where / mutant.file
    copy.parent.mkdir(parents=True)
    copy.write_text(text.replace(mutant.old, mutant.new))
    return copy


def build(module: str, mutant: Mutant | None, where: Path) -> None:
    """The module with this edit, in the folder `where`."""
    compile_, link = commands(module)
    objects = {}
    if mutant is not None:
        original, copy = SOURCE / mutant.file, mutate(mutant, where)
        for i, source in enumerate(dependents(compile_, original)):
            command = list(compile_[source])
            output = command.index("-o") + 1
            objects[command[output]] = command[output] = str(where / f"{i}.o")
            input_ = command.index("-c") + 1
            command[input_] = str(copy if source == original.resolve() else source)
            compiler = 1 if Path(command[0]).name == "ccache" else 0
            command[compiler + 1 : compiler + 1] = [f"-I{where / 'csrc'}", f"-I{source.parent}", "-w"]
            command.append("-O1")  # compiles in half the time
            done = subprocess.run(command, cwd=BUILD, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{mutant.name}: does not compile\n{done.stderr[-3000:]}")
    link = [objects.get(word, word) for word in link]
    output = link.index("-o") + 1
    link[output] = str(where / Path(link[output]).name)
    subprocess.run(link, cwd=BUILD, check=True)


def run_tests(operator: Operator, where: Path) -> tuple[str | None, str]:
    """What noticed, or None; and the end of pytest's output."""
    environment = os.environ | {
        "PYLATENT_EMULATED": str(where),
        "PYLATENT_REQUIRE_NATIVE": "1",
        "PYLATENT_SCHEDULES": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header", *operator.tests]
    try:
        done = subprocess.run(command, cwd=SOURCE, env=environment, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return "the tests did not end", ""
    if done.returncode == 0:
        return None, done.stdout
    if done.returncode != 1:
        return f"the tests ended with code {done.returncode}", done.stdout + done.stderr
    reasons = [line[1:].strip() for line in done.stdout.splitlines() if line.startswith("E  ")]
    return (reasons[0] if reasons else "a test failed"), done.stdout


def check(operator: Operator, mutant: Mutant | None) -> str | None:
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        build(operator.module, mutant, Path(folder))
        noticed, output = run_tests(operator, Path(folder))
    if mutant is None and noticed is not None:
        raise SystemExit(f"{operator.name}: the tests fail without any edit\n{output[-3000:]}")
    return noticed


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("operator", nargs="*", help=f"of {', '.join(sorted(p.stem for p in LISTS.glob('*.py')))}")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument("-o", "--output", type=Path, help="also write a table in Markdown to this file")
    arguments = parser.parse_args()

    lines, caught, total, start = [], 0, 0, time.monotonic()
    for operator in operators(arguments.operator):
        check(operator, None)
        with ThreadPoolExecutor(arguments.jobs) as pool:
            results = pool.map(lambda mutant, operator=operator: check(operator, mutant), operator.mutants)
            for mutant, noticed in zip(operator.mutants, results, strict=True):
                total += 1
                caught += noticed is not None
                text = noticed if noticed is not None else f"**not caught**: {mutant.survives or 'no reason is known'}"
                print(f"{operator.name}: {mutant.name}: {text}", flush=True)
                lines.append(f"| {operator.name} | {mutant.name} | {text.replace('|', chr(92) + '|')[:160]} |")
    print(f"{caught} of {total} caught, {time.monotonic() - start:.0f} s")
    if arguments.output:
        head = [
            "# Mutants of the CUDA kernels",
            "",
            f"{caught} of {total} edits are noticed by the emulated tests.",
            "",
        ]
        head += [
            "Written by `python tests/emulator/mutants.py -o`.",
            "",
            "| kernel | edit | noticed by |",
            "|---|---|---|",
        ]
        arguments.output.write_text("\n".join(head + lines) + "\n")
    return 0 if caught >= 0.95 * total else 1


if __name__ == "__main__":
    sys.exit(main())
