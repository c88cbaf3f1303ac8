"""What nvcc says about every kernel, and how many of its blocks a multiprocessor holds."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ARCHITECTURES = {"sm_80": 167936, "sm_90": 233472}  # bytes of shared memory of a multiprocessor
RESERVED_SHARED_BYTES = 1024  # of each block
REGISTERS, WARPS, BLOCKS = 65536, 64, 32  # of a multiprocessor, on both


@dataclass(frozen=True)
class Resources:
    registers: int
    spilled_bytes: int


def short_name(demangled: str) -> str:
    """`forward<float, 2>` with its namespaces, the same for what nvcc and the host compiler call it."""
    depth, end = 0, len(demangled)
    text = re.sub(r"\(anonymous namespace\)::|_GLOBAL__N__\w+::|\((int|bool|unsigned int)\)", "", demangled)
    for i, character in enumerate(text):
        depth += (character == "<") - (character == ">")
        if character == "(" and depth == 0:
            end = i
            break
    text = text[:end].removeprefix("void ").replace("__nv_bfloat16", "bf16").replace("__half", "f16")
    head, _, arguments = text.partition("<")
    arguments = re.sub(r"(\w+::)+", "", arguments).replace("true", "1").replace("false", "0")
    return head.removeprefix("pylatent::") + ("<" + arguments if arguments else "")


def of_operator(operator: str, kernel: str) -> str:
    return kernel if kernel.startswith(f"{operator}::") else f"{operator}::{kernel}"


def demangle(names: list[str]) -> list[str]:
    done = subprocess.run(["c++filt"], input="\n".join(names), check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def compiled(build: Path) -> Iterator[tuple[str, str, Resources]]:
    """(kernel, architecture, resources) of every kernel that the CUDA build in the folder `build` compiles."""
    listing = subprocess.run(["ninja", "-t", "compdb"], cwd=build, check=True, capture_output=True, text=True).stdout
    pattern = re.compile(
        r"Compiling entry function '(\w+)' for '(sm_\d+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads"
        r".*?Used (\d+) registers",
        re.S,
    )
    for entry in json.loads(listing):
        if not entry["file"].endswith("_cuda.cu"):
            continue
        command = shlex.split(entry["command"])
        command[command.index("-o") + 1] = "/dev/null"
        for option in ("-MT", "-MF"):
            at = command.index(option)
            del command[at : at + 2]
        command.remove("-MD")
        done = subprocess.run([*command, "-Xptxas=-v"], cwd=build, check=True, capture_output=True, text=True)
        found = pattern.findall(done.stderr)
        for name, (_, architecture, stores, loads, registers) in zip(
            demangle([f[0] for f in found]), found, strict=True
        ):
            kernel = of_operator(Path(entry["file"]).parent.name, short_name(name))
            yield kernel, architecture, Resources(int(registers), int(stores) + int(loads))


def occupancy(architecture: str, registers: int, threads: int, shared_bytes: int) -> float:
    """Warps that a multiprocessor holds at once, of those it could."""
    warps = -(-threads // 32)
    registers_of_warp = -(-registers * 32 // 256) * 256
    by_registers = REGISTERS // 4 // registers_of_warp * 4 // warps  # each quarter of it has its own
    by_shared = ARCHITECTURES[architecture] // (-(-shared_bytes // 128) * 128 + RESERVED_SHARED_BYTES)
    return min(by_registers, by_shared, WARPS // warps, BLOCKS) * warps / WARPS


def symbols(module: Path) -> dict[int, str]:
    """Kernels of an emulated module by address."""
    listing = subprocess.run(["nm", str(module)], check=True, capture_output=True, text=True).stdout
    entries = [line.split() for line in listing.splitlines() if len(line.split()) == 3]
    names = demangle([name for _, _, name in entries])
    return {int(address, 16): short_name(name) for (address, _, _), name in zip(entries, names, strict=True)}
