import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from typer.testing import CliRunner

pytest.importorskip("lightning_fabric", reason="training needs lightning-fabric (extra `train`)")

from pylatent import images, zoo
from pylatent.cli.train import app
from pylatent.codecs import NestedCodec, ResidualHyperprior
from pylatent.errors import ModelError, PylatentWarning
from pylatent.train.colours import unusual_colours
from pylatent.train.data import load_images
from pylatent.train.graph_step import GraphStep, Watch
from pylatent.train.muon import Muon, orthogonalize
from pylatent.train.rd import Trainer
from pylatent.train.recipe import Nested, Recipe, Residual

PICTURES = Path(__file__).parents[1] / "data" / "pictures"


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos" / "deep"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(2):
        coarse = generator.integers(0, 255, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((96, 80), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return tmp_path / "photos"


TINY = {"N": 4, "M": 6, "crop": 64, "batch": 2}
TINYLIC = {"N": 32, "M": 16}  # heads of 16 need as many channels


def test_orthogonalize_makes_all_singular_values_near_one():
    torch.manual_seed(0)
    for shape in ((6, 40), (40, 6)):
        values = torch.linalg.svdvals(orthogonalize(torch.randn(*shape)))
        assert float(values.min()) > 0.5
        assert float(values.max()) < 1.4


def test_muon_descends():
    torch.manual_seed(0)
    target, weight = torch.randn(4, 3, 5, 5), torch.nn.Parameter(torch.zeros(4, 3, 5, 5))
    optimizer = Muon([weight], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        (weight - target).pow(2).sum().backward()
        optimizer.step()
    assert float((weight.detach() - target).pow(2).mean()) < 0.2 * float(target.pow(2).mean())


def test_weight_decay_lets_unused_weights_go():
    weight = torch.nn.Parameter(torch.ones(2, 3, 1, 1))
    optimizer = Muon([weight], lr=0.1, weight_decay=0.5)
    for _ in range(2):
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.full_like(weight, 0.95**2))


def test_unusual_colours_are_of_three_kinds():
    torch.manual_seed(0)
    x = 0.2 + 0.3 * torch.rand(400, 3, 4, 4)
    assert torch.equal(unusual_colours(x, 0.0), x)
    y = unusual_colours(x, 0.2)
    assert float(y.min()) >= 0
    assert float(y.max()) <= 1
    changed = (y != x).flatten(1).any(1).float().mean()
    assert 0.35 < float(changed) < 0.55  # a permutation is the identity in one of six
    permuted = unusual_colours(x, 1.0)
    orders = torch.corrcoef(torch.cat([x[0].flatten(1), permuted[0].flatten(1)]))[:3, 3:]
    assert float(orders.abs().max()) > 0.5  # the same picture still
    saturation = (y - y.mean(1, keepdim=True)).abs().mean((1, 2, 3)) / (x - x.mean(1, keepdim=True)).abs().mean(
        (1, 2, 3)
    )
    assert float(saturation.min()) < 0.8
    assert float(saturation.max()) > 1.5


FORMS = [{}, {"nested": Nested(levels=3)}, {"residual": Residual((4, 5, 6), (4, 5))}, {"tinylic": True} | TINYLIC]


@pytest.mark.parametrize("form", FORMS, ids=["hyperprior", "nested", "residual", "tinylic"])
def test_a_step_does_not_wait_for_the_device(photos, tmp_path, form):
    """On a GPU, a number read from a tensor would; on the CPU it shows as the same operation."""

    class Waits(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            assert function is not torch.ops.aten._local_scalar_dense.default, "a number was read from a tensor"
            return function(*arguments, **(keywords or {}))

    trainer = Trainer(Recipe(**TINY | form), tmp_path / "run", precision="32-true")
    trainer.prepare()
    x = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with Waits():
        steps = [trainer._train_step(x) for _ in range(2)]
        with pytest.raises(AssertionError, match="read from a tensor"):
            float(steps[1].loss)
    assert all(np.isfinite([step.loss, step.bpp, step.psnr]).all() for step in steps)


def test_pictures_are_seen_as_compress_sees_them(tmp_path):
    shutil.copy(PICTURES / "exif_rotated_64x96.jpg", tmp_path)
    shutil.copy(PICTURES / "icc_p3_96x64.png", tmp_path)
    rotated, profiled = load_images(tmp_path, 16)
    assert torch.equal(rotated, images.read(PICTURES / "exif_rotated_64x96.jpg").tensor)
    assert torch.equal(profiled, images.read(PICTURES / "icc_p3_96x64.png").tensor)
    raw = np.asarray(Image.open(PICTURES / "icc_p3_96x64.png").convert("RGB"))
    assert not np.array_equal(profiled.permute(1, 2, 0).numpy(), raw)
    assert tuple(rotated.shape[1:]) != Image.open(PICTURES / "exif_rotated_64x96.jpg").size[::-1]


def test_training_lowers_the_loss(photos, tmp_path):
    trainer = Trainer(
        Recipe(**TINY, steps=80, learning_rate=1e-2, lambdas=(0.01, 0.05)), tmp_path / "run", precision="32-true"
    )
    trainer.prepare()
    losses = []
    trainer.run(photos, report=lambda progress: losses.append(progress.loss))
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_a_run_that_was_cut_resumes_where_it_was(photos, tmp_path):
    recipe = Recipe(**TINY, steps=6, lambdas=(0.01, 0.05))
    whole = Trainer(recipe, tmp_path / "run", precision="32-true")
    whole.prepare()

    def interrupt(progress):
        if progress.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        whole.run(photos, every=2, report=interrupt)
    again = Trainer(recipe, tmp_path / "run", precision="32-true")
    again.prepare()
    assert again.step == 4
    again.run(photos, every=2)
    assert again.step == 6
    assert [json.loads(line)["step"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()] == [2, 4, 6]
    assert not list((tmp_path / "run").glob("*.tmp"))


def test_the_command_trains_and_exports_a_model(photos, tmp_path):
    arguments = [
        "rd",
        str(photos),
        "-o",
        str(tmp_path / "run"),
        "--name",
        "tiny-1",
        "--steps",
        "2",
        "--N",
        "4",
        "--M",
        "6",
    ]
    result = CliRunner().invoke(app, [*arguments, "--crop", "64", "--batch", "2", "--precision", "32-true"])
    assert result.exit_code == 0, result.output
    codec = zoo.load(str(tmp_path / "run" / "tiny-1.safetensors"))
    assert codec.qualities == (1.0, 8.0)
    x = torch.rand(1, 3, 40, 24)
    assert codec.decompress(codec.compress(x, 8)).shape == x.shape


def test_the_command_trains_a_nested_codec_and_resumes(photos, tmp_path):
    run, model = tmp_path / "run", tmp_path / "run" / "nested-1.safetensors"
    arguments = ["rd", str(photos), "-o", str(run), "--name", "nested-1", "--codec", "nested", "--levels", "3"]
    arguments += ["--prior", "factorized", "--shrinking-dim", "--N", "4", "--M", "6", "--crop", "64", "--batch", "2"]
    arguments += ["--precision", "32-true"]
    for steps in ("2", "3"):
        result = CliRunner().invoke(app, [*arguments, "--steps", steps])
        assert result.exit_code == 0, result.output
    assert "trained for 3 steps" in result.output
    assert [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()] == [2, 3]
    codec = zoo.load(str(model))
    assert isinstance(codec, NestedCodec)
    assert codec.channels_of == (6, 3, 2)
    assert codec.lambdas is not None
    x = torch.rand(1, 3, 40, 24)
    assert codec.decompress(codec.compress(x, 8)).shape == x.shape


def test_training_a_nested_codec_lowers_the_loss(photos, tmp_path):
    recipe = Recipe(**TINY, nested=Nested(levels=3), steps=80, learning_rate=1e-2, lambdas=(0.01, 0.05))
    trainer = Trainer(recipe, tmp_path / "run", precision="32-true")
    trainer.prepare()
    losses = []
    trainer.run(photos, report=lambda progress: losses.append(progress.loss))
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_the_command_trains_a_residual_codec_and_goes_on_from_it(photos, tmp_path):
    run, model = tmp_path / "run", tmp_path / "run" / "residual-1.safetensors"
    arguments = [
        "rd",
        str(photos),
        "--codec",
        "residual",
        "--widths",
        "4,5,6",
        "--hyper",
        "4,5",
        "--N",
        "4",
        "--M",
        "6",
    ]
    arguments += [
        "--lambdas",
        "0.001,0.01,0.1",
        "--crop",
        "64",
        "--batch",
        "2",
        "--precision",
        "32-true",
        "--steps",
        "2",
    ]
    result = CliRunner().invoke(app, [*arguments, "-o", str(run), "--name", "residual-1"])
    assert result.exit_code == 0, result.output
    codec = zoo.load(str(model))
    assert isinstance(codec, ResidualHyperprior)
    assert codec.config["widths"] == [4, 5, 6]
    assert codec.lambdas == (0.001, 0.01, 0.1)
    x = torch.rand(1, 3, 40, 24)
    assert codec.decompress(codec.compress(x, 3)).shape == x.shape
    result = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "more"), "--start", str(model)])
    assert result.exit_code == 0, result.output
    more = zoo.load(str(tmp_path / "more" / "mymodel-1.safetensors"))
    assert (
        float((more.g_a[1].weight - codec.g_a[1].weight).detach().abs().max()) < 1e-3
    )  # two steps of the warm-up away


@pytest.mark.parametrize("lambdas", [(0.05,), (0.01, 0.05)], ids=["fixed", "variable"])
def test_training_tinylic_lowers_the_loss(photos, tmp_path, lambdas):
    recipe = Recipe(**TINY | TINYLIC, tinylic=True, steps=12, learning_rate=1e-2, lambdas=lambdas)
    trainer = Trainer(recipe, tmp_path / "run", precision="32-true")
    trainer.prepare()
    losses = []
    trainer.run(photos, report=lambda progress: losses.append(progress.loss))
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
    assert (trainer.codec.qualities is None) == (len(lambdas) == 1)


def test_the_command_trains_tinylic_validates_it_and_resumes(photos, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(photos, tmp_path / "large")
    for path in (tmp_path / "large").rglob("*.png"):
        Image.open(path).resize((256, 256)).save(path)
    arguments = ["rd", str(photos), "-o", str(run), "--name", "tinylic-1", "--codec", "tinylic", "--N", "32"]
    arguments += ["--M", "16", "--lambdas", "0.01", "--crop", "64", "--batch", "1", "--precision", "32-true"]
    for steps in ("2", "3"):
        result = CliRunner().invoke(app, [*arguments, "--steps", steps, "--validate", str(tmp_path / "large")])
        assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3]
    assert lines[0]["validation"][0]["quality"] is None
    codec = zoo.load(str(run / "tinylic-1.safetensors"))
    assert (codec.qualities, codec.lambdas) == (None, (0.01,))
    x = torch.rand(1, 3, 40, 24)
    assert codec.decompress(codec.compress(x)).shape == x.shape


def test_a_run_of_other_quality_levels_is_refused(photos, tmp_path):
    recipe = Recipe(**TINY | TINYLIC, tinylic=True, steps=1, lambdas=(0.01, 0.02, 0.05))
    trainer = Trainer(recipe, tmp_path / "run", precision="32-true")
    trainer.prepare()
    trainer.run(photos)
    for lambdas, levels in (((0.01, 0.05), "2 quality levels"), ((0.01,), "a fixed rate")):
        other = Trainer(replace(recipe, lambdas=lambdas), tmp_path / "run", precision="32-true")
        with pytest.raises(ModelError, match=f"holds a run of 3 quality levels, this one is of {levels}: give as"):
            other.prepare()
        with pytest.raises(ModelError, match=f"start from are of 3 quality levels, this one is of {levels}"):
            other.start_from(trainer.codec.float_state())


def test_a_loss_that_is_not_finite_stops_the_run(photos, tmp_path):
    recipe = Recipe(**TINY, steps=60, lambdas=(0.01, 0.05))
    trainer = Trainer(recipe, tmp_path / "run", precision="32-true")
    trainer.prepare()

    def spoil(progress):
        if progress.step == 4:
            trainer.codec.g_a[0].weight.data[0] = float("nan")

    kept = "the loss of step 6 is not finite: the checkpoint of step 4 stays; start from it with a smaller"
    with pytest.raises(ModelError, match=kept):
        trainer.run(photos, every=2, report=spoil)
    again = Trainer(recipe, tmp_path / "run", precision="32-true")
    again.prepare()
    assert again.step == 4
    assert all(value.isfinite().all() for value in again.codec.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--codec", "transformer"], "--codec must be hyperprior, nested, residual or tinylic"),
        (["--codec", "tinylic"], "`N` must be a multiple of 32, got 4"),
        (["--widths", "1,2,3"], "--widths is for --codec residual"),
        (["--codec", "residual", "--widths", "1,2"], "must be 3 whole numbers above 0 .* got 1,2"),
        (["--codec", "residual", "--hyper", "1,0"], "must be 2 whole numbers above 0"),
        (["--lambdas", "a"], "--lambdas must be numbers with commas between them"),
        (["--levels", "3"], "--levels is for --codec nested"),
        (["--zero-mean"], "--predict-mean is for --codec nested"),
        (["--codec", "nested", "--levels", "1"], "from 2 to 64, got 1"),
        (["--codec", "nested", "--prior", "uniform"], "must be .*factorized"),
        (["--codec", "nested", "--bin-width", "0.3"], "multiple of 1/256"),
    ],
)
def test_wrong_options_of_nested_codecs(tmp_path, options, message):
    result = CliRunner().invoke(
        app, ["rd", str(tmp_path), "-o", str(tmp_path / "run"), "--N", "4", "--M", "4", *options]
    )
    assert result.exit_code == 2
    assert re.search(message, result.output)


def test_wrong_arguments_of_the_command(tmp_path):
    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(app, ["rd", str(tmp_path / "empty"), "--crop", "100"])
    assert result.exit_code == 2
    assert "multiple of 64" in result.output
    result = CliRunner().invoke(
        app, ["rd", str(tmp_path / "empty"), "--N", "4", "--M", "4", "-o", str(tmp_path / "run")]
    )
    assert result.exit_code == 1
    assert "no pictures" in result.output


@pytest.mark.filterwarnings("always::pylatent.errors.PylatentWarning")
def test_what_cannot_be_trained_says_why(photos, tmp_path):
    """Another architecture in the folder of a run, crops that are larger than the pictures, no pictures."""
    small = ["--N", "4", "--crop", "64", "--batch", "1", "--steps", "1", "-o", str(tmp_path / "run")]
    assert CliRunner().invoke(app, ["rd", str(photos), "--M", "6", *small]).exit_code == 0
    done = CliRunner().invoke(app, ["rd", str(photos), "--M", "8", *small])
    assert done.exit_code == 1
    assert "run holds a run of another architecture: " in done.stderr
    assert "has shape " in done.stderr
    large = ["--N", "4", "--M", "6", "--crop", "128", "--steps", "1", "-o", str(tmp_path / "other")]
    done = CliRunner().invoke(app, ["rd", str(photos), *large])
    assert done.exit_code == 1
    assert "both sides of at least 128 pixels: the largest shorter side is 80; take smaller crops" in done.stderr
    (tmp_path / "empty").mkdir()
    done = CliRunner().invoke(app, ["rd", str(tmp_path / "empty"), *large])
    assert (done.exit_code, "there are no pictures below " in done.stderr) == (1, True)


def test_training_reads_pictures_as_coding_does(tmp_path):
    """EXIF orientation is applied, and what cannot be read is left out with a warning."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 70)).save(tmp_path / "turned.jpg", exif=exif)
    (tmp_path / "damaged.png").write_bytes(b"nothing")
    with pytest.warns(PylatentWarning, match=r"left out: .*damaged.png: not a picture"):
        (picture,) = load_images(tmp_path, 64)
    assert picture.shape == (3, 80, 70)


def test_what_cannot_be_captured_is_found():
    with Watch() as watch:
        torch.ones(3).mul_(2).to(torch.bfloat16).clone()
    assert watch.found is None
    with Watch() as watch:
        torch.ones(3, device="meta").copy_(torch.ones(3))
    assert "a step copies from cpu to meta" in watch.found
    with Watch() as watch:
        float(torch.ones(1))
    assert "a step waits for the device to read a number" in watch.found


def test_a_batch_that_cannot_be_captured_is_told(tmp_path):
    recipe, told = Recipe(**TINY, lambdas=(0.01, 0.05, 0.1)), []
    trainer = Trainer(recipe, tmp_path, precision="32-true")
    with pytest.warns(PylatentWarning, match=r"graph, .*: --batch 2 is no multiple of the 3 qualities: 3 is$"):
        step = GraphStep(lambda: told.append(1), trainer.why_not_captured())
    step()
    assert told == [1]
    assert Trainer(replace(recipe, batch=6), tmp_path, precision="32-true").why_not_captured() is None


def test_a_step_reads_nothing_of_the_last_one_but_its_tensors(photos, tmp_path):
    """What a captured graph would not see: new tensors in place of those that the first steps wrote."""
    trainer = Trainer(Recipe(**TINY, steps=20, lambdas=(0.01, 0.05)), tmp_path / "run", precision="32-true")
    trainer.prepare()
    x = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)

    def places():
        state = [trainer.scale, trainer.failed, *trainer.average.values(), *trainer.codec.float_state().values()]
        for optimizer in (trainer.muon, trainer.adam):
            state += [t for each in optimizer.state.values() for t in each.values()]
        return [t.data_ptr() for t in state]

    trainer._train_step(x)
    before, weight = places(), trainer.codec.g_a[0].weight.detach().clone()
    trainer.step += 1
    trainer._train_step(x)
    assert places() == before
    assert not torch.equal(trainer.codec.g_a[0].weight, weight)
    assert [float(group["lr"]) for group in trainer.muon.param_groups] == [float(trainer._rate)]
