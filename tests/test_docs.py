"""What README.md, CONTRIBUTING.md and docs/ print: every dotted name exists, every command parses, every block runs.

Blocks run here, with what a page leaves to its reader (a picture `x`, a `codec`, …) and with fewer steps where they
ask for hundreds; those of pages in ELSEWHERE run in the test named there. A block that cannot run has a comment
`<!-- not run: REASON -->` on the line before it, with a reason of NOT_RUN, whose pattern the block must contain.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer
from small_codec import make_codec, picture

from pylatent import cli, zoo

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
ELSEWHERE = {
    "README.md": "tests/test_readme.py",
    "docs/archives.md": "tests/archive/test_archive_docs.py",
    "docs/pillow.md": "tests/test_pillow.py",
    "docs/pretrained.md": "tests/codecs/test_pretrained.py",
}
NOT_RUN = {
    "needs a GPU": r"cuda|\bGPU\b",
    "trains for hours": r"\btrain\b",
    "needs CompressAI": "EntropyBottleneck",
    "needs a network": "hub",
}
BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>.*?) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```", re.M | re.S)
PACKAGES = "archive codecs coding compat entropy evaluation images layers ops pillow refine tasks train zoo".split()  # noqa: SIM905
NAMES = re.compile(r"(?<![/\w.-])pylatent((?:\.[A-Za-z]\w*)+)")  # public ones
SHORT_NAMES = re.compile(rf"`((?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+)(?!\.?\w*[*/])")
COMMAND = re.compile(r"^(?:    (?=pylatent )|(?=pylatent ))(.*)$|`(pylatent [^`]*)`", re.M)
PHOTO = ROOT / "tests" / "data" / "pictures" / "rgb_96x64.png"
FILES = (".py", ".md", ".json", ".safetensors", ".h")


def blocks(language):
    return [
        pytest.param(page, match, id=f"{page}:{text.count(chr(10), 0, match.start('code')) + 1}")
        for page, text in PAGES.items()
        for match in BLOCK.finditer(text)
        if match["language"] == language
    ]


def test_every_dotted_name_is_there():
    """After `import pylatent` alone: what another import has made reachable does not count."""
    pages = [re.sub(r"^:::.*", "", text, flags=re.M) for text in PAGES.values()]  # `make docs` looks those up
    names = {name for text in pages for name in NAMES.findall(text)}
    names |= {f".{name}" for text in pages for name in SHORT_NAMES.findall(text)}
    names = sorted(name for name in names if not name.endswith(FILES))
    assert {".compat.compressai.installed", ".compat.torchvision.installed", ".ops.gated_fusion"} <= set(names)
    script = "import sys, pylatent\nfor name in sys.argv[1:]: eval('pylatent' + name)"
    subprocess.run([sys.executable, "-c", script, *names], check=True)


def test_every_command_has_its_verb_and_options():
    root = typer.main.get_command(cli.app)
    seen = 0
    for page, text in PAGES.items():
        for match in COMMAND.finditer(text):
            line = re.split(r" {3,}|\s#|[|>]", match[1] or match[2])[0]
            words = shlex.split(line)[1:]
            command = root
            while words and words[0] in getattr(command, "commands", {}):
                command = command.commands[words.pop(0)]
            if command is getattr(root, "commands", {}).get("eval"):
                command = command.commands["codec"]
            known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
            assert command is not root or not words or words[0].startswith("-"), f"{page}: no verb in `{line}`"
            for word in words:
                if word.startswith("-") and word != "-":
                    assert word.partition("=")[0] in known | {"-h", "--help"}, f"{page}: no {word} in `{line}`"
            seen += 1
    assert seen > 40


@pytest.mark.parametrize(
    ("page", "block"), [*blocks("sh"), *blocks("python"), *blocks("pycon"), *blocks("cpp"), *blocks("")]
)
def test_marks_are_true(page, block):
    assert block["reason"] is not None or block["language"] != "pycon", "sessions are shown, not run: say why"
    assert block["reason"] is None or re.search(NOT_RUN[block["reason"]], block["code"])
    assert block["language"] in ("sh", "python", "pycon", "cpp"), "say what language a block is in"


def test_pages_that_run_elsewhere_do():
    for page, test in ELSEWHERE.items():
        source = (ROOT / test).read_text(encoding="utf-8")
        assert Path(page).name in source
        assert "exec(" in source


def with_lambdas():
    codec = make_codec()
    codec.lambdas = (0.001, 0.002, 0.004, 0.008)
    return codec


def namespace():
    """What a page's reader has; the page's blocks add to it."""
    torch.manual_seed(0)
    codec, y = with_lambdas(), torch.randn(1, 192, 8, 12)
    names = {"codec": codec, "x": picture(32, 48), "torch": torch, "y": y, "y_hat": y.round(), "mu": y / 2}
    return names | {"scales": torch.rand_like(y) + 0.1, "reference": torch.randn_like(y)}


def shortened(code):
    return re.sub(r"(steps=|--refine )\d+", r"\g<1>2", code)


@pytest.mark.parametrize("page", sorted({each.values[0] for each in blocks("python")} - set(ELSEWHERE)))
def test_python_runs(page, tmp_path, monkeypatch):
    """A page's blocks, one after the other, in a folder with photo.png."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(PHOTO, tmp_path / "photo.png")
    names = namespace()
    for each in blocks("python"):
        of, block = each.values
        if of == page and block["reason"] is None:
            exec(compile(shortened(block["code"]), each.id, "exec"), names)


@pytest.mark.filterwarnings("default::pylatent.PylatentWarning")  # targets that a picture this small cannot reach
@pytest.mark.parametrize(("page", "block"), [each for each in blocks("sh") if each.values[0] not in ELSEWHERE])
def test_shell_runs(page, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYLATENT_HOME", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    codec = with_lambdas()
    card = {"recipe": {"lambdas": codec.lambdas}}
    zoo.save_codec(codec, tmp_path / "models" / "small-1.safetensors", name="small-1", card=card)
    monkeypatch.setitem(zoo.registry.ALIASES, "default", "small-1")
    (tmp_path / "photos").mkdir()
    for name in ("photo.png", "photos/one.png"):
        shutil.copy(PHOTO, name)
    for line in shortened(block["code"]).splitlines() if block["reason"] is None else ():
        words = shlex.split(line, comments=True)
        if words[0] == "pylatent":
            with pytest.raises(SystemExit) as caught:
                cli.main([*words[1:], *(["--force"] if words[1] == "compress" else [])])
            assert not caught.value.code, line
        else:
            check_tool(words)


def test_every_page_is_in_the_site_and_links_stay_in_it():
    """As `make docs` demands, which warns of others."""
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    pages = {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")}
    assert pages == listed, "add the page to `nav` in mkdocs.yml"
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", PAGES[f"docs/{page}"]):
            path = (ROOT / "docs" / page).parent / target
            assert path.exists(), f"docs/{page} links to {target}, which is not there"
            assert (ROOT / "docs") in path.resolve().parents, f"docs/{page}: name {target}, a link leaves the site"


MAKE = [line for text in PAGES.values() for line in re.findall(r"^(?:    )?((?:make |\.ci/).*)$", text, re.M)]


def check_tool(words):
    """`make TARGET`, `pip install …` and scripts of the repository: that there is such a target, extra or script."""
    if words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
        assert words[1] in targets
    elif words[0] == "pip":
        extras = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.M)
        for asked in re.findall(r"\[(.*?)\]", " ".join(words)):
            assert set(asked.split(",")) <= set(extras)
    else:
        assert (ROOT / words[0]).exists()


def test_make_targets_and_scripts():
    assert len(MAKE) >= 8
    for line in MAKE:
        check_tool(shlex.split(line, comments=True))
