"""pylatent info: what a .lat file is, without its model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from pylatent.cli._inputs import CODED, find, read_source, shown, with_name
from pylatent.cli._report import EXIT_FAILED, bytes_text, complain, count, explain, failures_reported

SAME = "the same pixels are decoded here"


def info(
    inputs: Annotated[list[Path], typer.Argument(help=".lat files, folders of them, or - for standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Decode the pictures and compare their pixels with the checksums of the files."),
    ] = False,
) -> None:
    """Describe .lat files: picture, model, quality, and where the bits go."""
    with failures_reported():
        found = find(inputs, CODED)
        found.report()
        failed = len(found.failed)
        for source, _ in found.files:
            try:
                data = read_source(source, CODED)
                facts = _facts(shown(source), data)
                if check:
                    facts["check"] = _check(data)
                    failed += facts["check"] != SAME
            except Exception as error:
                complain(with_name(source, explain(error)))
                failed += 1
            else:
                print(json.dumps(facts) if as_json else _text(facts))
        if failed:
            raise typer.Exit(EXIT_FAILED)


def _facts(name: str, data: bytes) -> dict[str, Any]:
    from pylatent.coding.container import VERSION, LatFile

    file = LatFile.from_bytes(data)
    height, width = file.stream.size
    sizes = [len(section) for section in file.stream.sections]
    residual = file.stream.residual
    return {
        "file": name,
        "format_version": VERSION,
        "width": width,
        "height": height,
        "model": file.model,
        "model_hash": file.model_hash.hex(),
        "quality": file.stream.quality,
        "exact": file.stream.exact,
        "pixel_crc": None if file.stream.pixel_crc is None else f"{file.stream.pixel_crc:08x}",
        "bytes": len(data),
        "bpp": 8 * len(data) / (height * width),
        "sections": [
            {"section": number, "bytes": size, "bpp": 8 * size / (height * width)} for number, size in enumerate(sizes)
        ],
        "max_error": file.stream.max_error,
        "residual_step": file.stream.residual_step,
        "residual_bytes": None if residual is None else len(residual),
        "overhead_bytes": len(data) - sum(sizes) - len(residual or b""),
    }


def _check(data: bytes) -> str:
    """What decoding the file here shows of its pixels."""
    from pylatent import zoo
    from pylatent.codecs.pixel_crc import pixel_crc
    from pylatent.coding.container import LatFile

    file = LatFile.from_bytes(data)
    stream, wanted = replace(file.stream, pixel_crc=None), file.stream.pixel_crc
    if wanted is None:
        return "the file holds no checksum of its pixels; `pylatent compress --verify` stores one"
    codec = zoo.find(file.model, file.model_hash)
    found = pixel_crc(codec.decompress_bytes([stream])[0])
    return SAME if found == wanted else f"other pixels are decoded here, CRC {found:08x}"


def _text(facts: dict[str, Any]) -> str:
    pixels = facts["width"] * facts["height"]

    def amount(size: int) -> str:
        return f"{bytes_text(size):>8}  {8 * size / pixels:.4f} bit per pixel"

    quality = "fixed rate" if facts["quality"] is None else f"{facts['quality']:.4g}"
    if facts["residual_bytes"] is not None:
        quality += ", and a residual"
    lines = [
        f"{facts['file']}: pylatent picture, .lat version {facts['format_version']}",
        f"  picture   {facts['width']}x{facts['height']} pixels",
        f"  model     {facts['model']}, hash {facts['model_hash']}",
        f"  quality   {quality}",
        f"  size    {amount(facts['bytes'])}, 1:{3 * pixels / facts['bytes']:.1f} of 8-bit RGB",
    ]
    if not facts["exact"]:
        lines.append("  networks  not exact: another machine than the writer's may refuse to decode it")
    if facts["pixel_crc"] is not None:
        lines.append(f"  pixels    CRC {facts['pixel_crc']}")
    if "check" in facts:
        lines.append(f"  check     {facts['check']}")
    lines += [f"  part {part['section'] + 1:<2} {amount(part['bytes'])}" for part in facts["sections"]]
    if facts["residual_bytes"] is not None:
        lines.append(f"  residual{amount(facts['residual_bytes'])}, {_precision(facts)}")
    return "\n".join([*lines, f"  header  {amount(facts['overhead_bytes'])}"])


def _precision(facts: dict[str, Any]) -> str:
    """What the residual makes of the pixels."""
    error = facts["max_error"]
    if error is None:
        return (
            f"in steps of {facts['residual_step']:g} grey levels, for the quality, PSNR or size that was asked for:\n"
            f"{'':12}a pixel may be off by any amount; `pylatent compress --max-error` sets a limit"
        )
    return f"no pixel is off by more than {count(error, 'grey level')}" if error else "lossless"
