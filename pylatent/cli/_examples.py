"""Examples at the end of each verb's help, and in docs/command-line.md."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "pylatent": (
        "pylatent compress photo.png",
        "pylatent decompress photo.lat -o decoded.png",
        "pylatent --install-completion bash    completes verbs and options; zsh, fish and powershell, too",
    ),
    "compress": (
        "pylatent compress photo.png                          photo.lat beside it",
        "pylatent compress photos/ -o coded/ --quality 3 --jobs 4",
        "pylatent compress photo.png --target-bpp 0.3 --strict",
        "pylatent compress photo.png --refine 500             smaller, for more time",
        "pylatent compress photo.png --max-error 0            lossless; 2: no pixel is off by more than 2",
        "pylatent compress photo.png --verify                 with a checksum of the decoded pixels",
        "pylatent compress - -o - < photo.png > photo.lat",
    ),
    "decompress": (
        "pylatent decompress photo.lat                        photo.png beside it",
        "pylatent decompress coded/ -o decoded/ --format webp --skip-existing",
        "pylatent decompress coded/ -o previews/ --fast",
        "pylatent decompress photo.lat --receiver perceptual",
    ),
    "compare": (
        "pylatent compare photo.png -o report.html",
        "pylatent compare photo.png --receiver full --receiver perceptual",
    ),
    "info": ("pylatent info photo.lat", "pylatent info --json coded/", "pylatent info --check photo.lat"),
    "classify": (
        "pylatent classify cells/ --head head.safetensors -o labels.parquet",
        "pylatent classify photo.lat --head head.safetensors",
    ),
    "bench": ("pylatent bench --threads 1",),
    "config": ("pylatent config --json",),
    "eval codec": (
        "pylatent eval photos/ --plot rd.png",
        "pylatent eval photos/ --receiver full --receiver perceptual --metric lpips-vgg",
        "pylatent eval photo.png -q 2 -q 4 --json - --no-baselines",
    ),
    "eval classifier": ("pylatent eval classifier cells/ --head head.safetensors --part test",),
    "train rd": ("pylatent train rd photos/ -o runs/mine --name mine-1",),
    "train classifier": ("pylatent train classifier cells/ -o runs/cells",),
    "train context": ("pylatent train context photos/ --model mine-1 -o mine-2.safetensors --name mine-2",),
    "clc build": ("pylatent clc build references/ -o references-1.dictionary --model mine-1 --entries 512",),
    "clc info": ("pylatent clc info references-1.dictionary",),
    "train clc": ("pylatent train clc photos/ --model mine-1 --dictionary references-1.dictionary --name clc-1",),
    "train perceptual": (
        "pylatent train perceptual photos/ --model mine-1 -o runs/p --name mine-p-1",
        "pylatent train perceptual photos/ -o runs/p --model mine-2 --receiver-only --qualities 1,3,5",
    ),
    "train light": ("pylatent train light photos/ --model mine-2",),
    "archive create": (
        "pylatent archive create flowers photos/ --labels folder",
        "pylatent archive create flowers                      continues where it was cut",
    ),
    "archive ls": ("pylatent archive ls --long flowers",),
    "archive info": ("pylatent archive info flowers --json",),
    "archive verify": ("pylatent archive verify flowers --decode",),
    "archive cat": ("pylatent archive cat flowers roses/two > two.lat",),
    "archive extract": ("pylatent archive extract flowers roses/two -o out --format png",),
    "archive export": ("pylatent archive export flowers flowers.tar",),
    "models list": ("pylatent models list --json",),
    "models add": ("pylatent models add mine-1.safetensors",),
    "models import": ("pylatent models import checkpoint.pth mbt2018-mean-3 --lambdas 0.0067",),
    "models remove": ("pylatent models remove mine-1",),
}


def examples(verb: str) -> str:
    """The text below a verb's options; the mark keeps its lines from being filled."""
    return "\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in EXAMPLES[verb])])
