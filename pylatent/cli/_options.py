"""Options that several verbs have."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Engine(str, Enum):
    local = "local"
    ray = "ray"


EngineOption = Annotated[Engine, typer.Option("--engine", help="Processes of this machine, or tasks of Ray.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes; one for each core by default.", show_default=False)
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite existing files.")]
SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", help="Pass over inputs whose outputs exist: finish what an earlier run left.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")]
Threads = Annotated[
    int | None, typer.Option("--threads", help="CPU threads at most; the free cores by default.", min=1)
]
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs", "-j", min=1, help="Processes that share the files, each with one thread: for small pictures."
    ),
]
Device = Annotated[str, typer.Option("--device", help="Where the networks run: cpu, cuda, cuda:1 ...")]
Model = Annotated[str, typer.Option("--model", "-m", help="Name (`pylatent models list`) or file.")]
Quality = Annotated[
    float | None, typer.Option("--quality", "-q", help="From 1 to 8 for the default model; fractions welcome.")
]
Qualities = Annotated[
    list[float] | None,
    typer.Option("--quality", "-q", help="A quality; repeat for more; a spread over the model's by default."),
]
ReceiverName = Annotated[
    str | None,
    typer.Option(
        "--receiver",
        help="full (default), light (a preview, several times as fast, less exact) or perceptual (looks sharper, "
        "differs more from the original). The last two show no residual.",
    ),
]
Receivers = Annotated[
    list[str] | None,
    typer.Option(
        "--receiver",
        help="By which the model's files are shown: full (default), light or perceptual; repeat for several of them.",
    ),
]
Fast = Annotated[bool, typer.Option("--fast", help="The same as --receiver light.")]
Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", help="Measure this, too: lpips-vgg, lpips-alex (seconds a picture); repeat for more."),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        "--max-pixels", min=1, help="Refuse pictures of more pixels; Pillow's limit, about 179 million, by default."
    ),
]
RefineMethod = Annotated[
    str | None, typer.Option("--refine-method", help="ssl (default), atanh, linear, cosine, straight-through or noise.")
]
Head = Annotated[Path, typer.Option("--head", help="Head file that `pylatent train classifier` made.")]
