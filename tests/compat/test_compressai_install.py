"""CompressAI's models with and without `install()`: the same strings, tensors and tables, and no trace afterwards."""

import copy
import importlib.metadata
import math
import pickle
import sys

import pytest
import torch
from extras import extra

from pylatent import _native
from pylatent.compat import compressai as compat
from pylatent.compat.compressai import _install
from pylatent.errors import FormatError, PylatentWarning

pytestmark = pytest.mark.skipif(_native.why_not_native() is not None, reason="install() needs the native core")

SCALES = [math.exp(math.log(0.11) + i * (math.log(256) - math.log(0.11)) / 63) for i in range(64)]


def test_without_compressai(monkeypatch):
    monkeypatch.setitem(sys.modules, "compressai.entropy_models.entropy_models", None)
    with pytest.raises(ImportError, match=r"needs CompressAI \(pip install 'pylatent\[compressai\]'\)"):
        compat.install()


def test_without_native_core(monkeypatch):
    monkeypatch.setattr(_native, "_reason", "PYLATENT_PURE is set")
    with pytest.raises(RuntimeError, match="PYLATENT_PURE is set"):
        compat.install()


def test_uninstall_needs_install():
    with pytest.raises(RuntimeError, match="`install` must be called first"):
        compat.uninstall()


@pytest.fixture(scope="module")
def models():
    return extra("compressai.models")


@pytest.fixture
def entropy(models):
    return sys.modules["compressai.entropy_models"]


def small(models, name):
    """A model of that class with random weights that use many tables, ready to code."""
    torch.manual_seed(0)
    model = getattr(models, name)(8, 12).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "weight" in key:
                parameter.mul_(2.5)
        model.entropy_bottleneck.quantiles[:, 0, 0] = torch.linspace(-30, -1, len(model.entropy_bottleneck.quantiles))
    model.update(scale_table=SCALES, force=True) if hasattr(model, "gaussian_conditional") else model.update(force=True)
    return model


@pytest.mark.parametrize(
    "name", ["FactorizedPrior", "ScaleHyperprior", "MeanScaleHyperprior", "JointAutoregressiveHierarchicalPriors"]
)
def test_models_give_the_same_strings(models, name):
    x = torch.rand(2, 3, 128, 64, generator=torch.Generator().manual_seed(1))
    before = small(models, name)
    with torch.no_grad():
        theirs = before.compress(x)
        expected = before.decompress(**theirs)["x_hat"]
        with compat.installed():
            during = small(models, name)
            for model in (before, during):
                ours = model.compress(x)
                assert ours == theirs
                assert torch.equal(model.decompress(**ours)["x_hat"], expected)
            for key, buffer in before.state_dict().items():  # update() has built the same tables
                assert torch.equal(buffer, during.state_dict()[key]), key
        assert during.compress(x) == theirs
    assert max(map(len, theirs["strings"][0])) > 100


def test_entropy_models(entropy):
    torch.manual_seed(0)
    gaussian = entropy.GaussianConditional(SCALES)
    gaussian.update()
    shape = (3, 5, 6, 7)
    scales, means = torch.rand(shape).exp() ** 3, torch.randn(shape)
    y = (means + scales * torch.randn(shape)).to(memory_format=torch.channels_last)
    indexes = gaussian.build_indexes(scales)
    one_mean = means[:, :, :1, :1]
    strings, coarse = gaussian.compress(y, indexes, means), gaussian.compress(y, indexes)
    decoded = [
        gaussian.decompress(strings, indexes, means=means),
        gaussian.decompress(strings, indexes, means=one_mean),
        gaussian.decompress(coarse, indexes),
        gaussian.decompress(coarse, indexes, torch.double),
    ]
    with compat.installed():
        assert gaussian.compress(y, indexes, means) == strings
        assert gaussian.compress(y, indexes) == coarse
        again = [
            gaussian.decompress(strings, indexes, means=means),
            gaussian.decompress(tuple(strings), indexes, means=one_mean),
            gaussian.decompress(coarse, indexes),
            gaussian.decompress(coarse, indexes, torch.double),
        ]
    for a, b in zip(decoded, again, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


@pytest.mark.parametrize("largest", [4.0e6, 5.0e6, 1.2e8])
def test_rounding(entropy, largest):
    """Ties go to even; from 2^22 on another path rounds."""
    gaussian = entropy.GaussianConditional(SCALES)
    gaussian.update()
    y = torch.cat([torch.arange(-40, 40) / 4, torch.tensor([-0.0, largest + 0.5, 0.49999997, -0.50000006])]).view(
        1, 4, -1
    )
    means = torch.where(torch.arange(21) % 2 == 0, 0.0, 0.25).expand_as(y).contiguous()
    indexes = torch.full(y.shape, 20)
    expected = [
        gaussian.compress(y, indexes),
        gaussian.compress(y, indexes, means),
        gaussian.compress(-y, indexes, means),
    ]
    with compat.installed():
        assert gaussian.compress(y, indexes) == expected[0]
        assert gaussian.compress(y, indexes, means) == expected[1]
        assert gaussian.compress(-y, indexes, means) == expected[2]


def test_own_quantize_is_used(entropy):
    class Coarse(entropy.GaussianConditional):
        def quantize(self, inputs, mode, means=None):
            return 3 * super().quantize(inputs, mode, means)

    gaussian = Coarse(SCALES)
    gaussian.update()
    y, indexes = torch.arange(12.0).view(1, 3, 4), torch.full((1, 3, 4), 30)
    expected = gaussian.compress(y, indexes)
    with compat.installed():
        assert gaussian.compress(y, indexes) == expected


def test_variable_rate_bottleneck(entropy):
    if not hasattr(entropy, "EntropyBottleneckVbr"):
        pytest.skip("this CompressAI has no variable-rate models")
    torch.manual_seed(0)
    bottleneck = entropy.EntropyBottleneckVbr(4)
    bottleneck.update()
    x, qs = torch.randn(2, 4, 3, 3) * 5, torch.tensor(0.7)
    strings = bottleneck.compress(x, qs)
    expected = bottleneck.decompress(strings, (3, 3), qs)
    with compat.installed():
        assert bottleneck.compress(x, qs) == strings
        assert torch.equal(bottleneck.decompress(strings, (3, 3), qs), expected)


def test_mixture_conditional_made_before_install(entropy):
    if not hasattr(entropy, "GaussianMixtureConditional"):
        pytest.skip("this CompressAI has no mixtures")
    mixture = entropy.GaussianMixtureConditional(K=2)

    def arguments():  # which CompressAI changes in place
        torch.manual_seed(0)
        y, scales, means = torch.randn(1, 4, 3, 3) * 4, torch.rand(1, 8, 3, 3) + 0.3, torch.randn(1, 8, 3, 3)
        return y, scales, means, torch.full((1, 8, 3, 3), 0.5)

    (string, abs_max, bitmap), quantised = mixture.compress(*arguments())
    with compat.installed():
        assert isinstance(mixture.entropy_coder._encoder, compat.RansEncoder)
        (again, *_), _ = mixture.compress(*arguments())
        decoded = mixture.decompress(again, abs_max, bitmap, *arguments()[1:])
    assert again == string
    assert torch.equal(decoded, quantised)
    assert not isinstance(mixture.entropy_coder._encoder, compat.RansEncoder)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_build_indexes(entropy, dtype):
    gaussian = entropy.GaussianConditional(SCALES)
    table = gaussian.scale_table
    scales = torch.cat(
        [table, table.nextafter(torch.tensor(0.0)), table.nextafter(torch.tensor(1e9)), torch.rand(500) * 9]
    )
    special = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, -1.0])
    scales = torch.cat([scales, special]).to(dtype).reshape(1, -1, 1)
    expected = gaussian.build_indexes(scales)
    single = gaussian.build_indexes(scales[0, 5, 0])
    with compat.installed():
        ours = gaussian.build_indexes(scales)
        assert torch.equal(gaussian.build_indexes(scales[0, 5, 0]), single)
    assert ours.dtype == expected.dtype
    assert torch.equal(ours, expected)


def test_errors_of_installed_models(entropy):
    gaussian = entropy.GaussianConditional(SCALES)
    y, indexes = torch.zeros(2, 3, 4), torch.zeros(2, 3, 4, dtype=torch.int)
    with compat.installed():
        with pytest.raises(ValueError, match=r"Run update\(\) first"):
            gaussian.compress(y, indexes)
        gaussian.update()
        strings = gaussian.compress(y, indexes)
        with pytest.raises(ValueError, match=r"`indexes` must have shape \(2, 3, 4\), got \(2, 3\)"):
            gaussian.compress(y, indexes[..., 0])
        with pytest.raises(ValueError, match="at least 2 dimensions"):
            gaussian.compress(y[0, 0], indexes[0, 0])
        with pytest.raises(ValueError, match="`strings` must be a list"):
            gaussian.decompress(strings[0], indexes)
        with pytest.raises(ValueError, match="the first of size 1"):
            gaussian.decompress(strings[:1], indexes)
        with pytest.raises(ValueError, match="`means` must have shape"):
            gaussian.decompress(strings, indexes, means=torch.zeros(2, 3, 2))
        with pytest.raises(FormatError, match="at least 8 bytes"):
            gaussian.decompress([b"", b""], indexes)
        with pytest.raises(IndexError, match=r"`indexes\[0\]` must be in \[0, 64\)"):
            gaussian.decompress(strings, indexes + torch.tensor([0, 64])[:, None, None])


def attributes():
    """Every module-level name of CompressAI and every attribute of its entropy models, by identity."""
    state = {}
    for name, module in sys.modules.items():
        if name.split(".")[0] == "compressai":
            state |= {(name, key): value for key, value in vars(module).items()}
            for value in vars(module).values():
                if isinstance(value, type) and value.__module__.startswith("compressai.entropy_models"):
                    state |= {(value, key): attribute for key, attribute in vars(value).items()}
    return state


def test_uninstall_restores_everything(models):
    import compressai.ans
    import compressai.models.google as google

    before = attributes()
    compat.install()
    assert google.RansDecoder is compressai.ans.RansDecoder is compat.RansDecoder
    with compat.installed():
        compat.install()
        compat.uninstall()
    assert google.RansDecoder is compat.RansDecoder
    sys.modules.pop("compressai.latent_codecs.rasterscan", None)
    import compressai.latent_codecs.rasterscan as imported_meanwhile

    assert imported_meanwhile.RansDecoder is compat.RansDecoder
    compat.uninstall()
    after = attributes()
    assert imported_meanwhile.RansDecoder is google.RansDecoder is not compat.RansDecoder
    reloaded = {key for key in after if key[0] == "compressai.latent_codecs.rasterscan" or key[1] == "rasterscan"}
    assert after.keys() - reloaded == before.keys() - reloaded
    assert [key for key in after.keys() - reloaded if after[key] is not before[key]] == []
    with pytest.raises(RuntimeError, match="`install` must be called first"):
        compat.uninstall()


def test_an_error_inside_the_block_uninstalls(models):
    import compressai.ans

    original = compressai.ans.RansEncoder
    with pytest.raises(KeyError), compat.installed():
        raise KeyError
    assert compressai.ans.RansEncoder is original


def test_models_copied_and_pickled_while_installed(models):
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        with compat.installed():
            model = copy.deepcopy(pickle.loads(pickle.dumps(small(models, "FactorizedPrior"))))
            expected = model.compress(x)
        assert model.compress(x) == expected


def test_other_versions(models, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.3.0")
    with (
        pytest.warns(PylatentWarning, match=r"tested with CompressAI 1\.2\.6 to 1\.2\.8, and this is 1\.3\.0"),
        compat.installed(),
    ):
        pass
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.2.9.dev0")
    assert _install.TESTED == ((1, 2, 6), (1, 2, 8))
    monkeypatch.delattr("compressai.entropy_models.entropy_models.GaussianConditional.build_indexes")
    with pytest.raises(RuntimeError, match="GaussianConditional has no `build_indexes`"), pytest.warns(PylatentWarning):
        compat.install()
