"""CLC on several bases: what is coded and counted, what the references change, and which dictionaries are refused."""

import copy
import dataclasses
import json
import math

import pytest
import torch
import torch.nn.functional as F
from small_codec import make_codec, make_context, make_residual, picture
from small_dictionary import make_clc, make_dictionary

from pylatent import cli, zoo
from pylatent.codecs import CLC, TCM, Dictionary, references
from pylatent.codecs.clc import PUBLISHED
from pylatent.codecs.dictionary import GRIDS, pooled
from pylatent.codecs.model_file import load_codec, save_codec
from pylatent.codecs.rounding import nearest
from pylatent.coding.container import Bitstream, LatFile
from pylatent.coding.rans import encode_batch
from pylatent.errors import FormatError, MismatchError, ModelError, PylatentError
from pylatent.refine import SgaPlus

SIZES = [(1, 1), (17, 31), (96, 80), (1024, 33)]


def make_tcm():
    torch.manual_seed(0)
    codec = TCM(32, 20, Z=6, attention=False).eval()
    codec.update()
    return codec


BASES = {
    "residual": make_residual,
    "context": make_context,
    "hyperprior": lambda: make_codec(gains=0),
    "tcm": make_tcm,
}


@pytest.fixture(scope="module", params=BASES)
def any_clc(request):
    return make_clc(BASES[request.param]())


@pytest.fixture(scope="module")
def codec():
    return make_clc()


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.levels, b.levels, strict=True))


def test_pooled_cells_are_those_of_each_grid() -> None:
    for height, width in ((1, 1), (3, 5), (2, 9), (17, 31)):
        maps = torch.randn(2, 3, height, width)
        each = [F.adaptive_max_pool2d(maps, grid).flatten(1) for grid in GRIDS]
        assert torch.equal(pooled(maps), torch.cat(each, 1))


@pytest.mark.parametrize("size", SIZES[:2], ids=lambda size: f"{size[0]}x{size[1]}")
@torch.no_grad()
def test_any_codec_of_steps_can_be_the_base(any_clc, size):
    x = picture(*size, batch=2)
    latents = any_clc.analyze(x)
    streams = [Bitstream.from_record(stream.to_record()) for stream in any_clc.encode(latents)]
    decoded = any_clc.decode(streams)
    assert same(decoded, any_clc.as_coded(latents))
    assert torch.equal(decoded.levels[-1], latents.levels[-1])
    assert any_clc.synthesize(decoded).shape == x.shape
    base = any_clc.base.encode(any_clc.base.analyze(x))
    assert [stream.sections[1:] for stream in streams] == [stream.sections for stream in base]
    assert [stream.index_crc for stream in streams] == [stream.index_crc for stream in base]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@torch.no_grad()
def test_sizes_batches_and_qualities(codec, size):
    latents = codec.analyze(picture(*size, batch=3), [1, 2.5, 3])
    streams = codec.encode(latents)
    assert [codec.encode(latents[number])[0] for number in range(3)] == streams
    pixels = codec.synthesize(codec.decode(streams))
    for number, stream in enumerate(streams):
        torch.testing.assert_close(codec.decompress([stream]), pixels[number : number + 1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("entries", "references"), [(2, 1), (5, 3), (3000, 3), (4080, 5)])
@torch.no_grad()
def test_the_numbers_of_the_references_are_in_the_file_and_counted(entries, references):
    base = make_residual()
    needed = {"name": "none-1", "hash": "00" * 32, "entries": entries}
    codec = CLC(base, needed, references=references, width=4, inner=4, hidden=4)
    latents = base.analyze(picture(32, 32))
    numbers = torch.randint(0, entries, (1, references, 1, 1)).float()
    numbers[0, -1] = entries - 1
    latents = dataclasses.replace(latents, levels=(*latents.levels, numbers))
    (stream,) = codec.encode(latents)
    assert torch.equal(codec.decode([stream]).levels[-1], numbers)
    # A lane stream: its head, the coder's last state, and what the symbols take.
    assert len(stream.sections[0]) <= 5 + math.ceil(references * math.ceil(math.log2(entries)) / 8)
    bits = codec.quantize(latents, nearest, exact=True).bits
    assert float(bits[-1]) == pytest.approx(references * math.log2(entries))
    assert len(bits) == 3


@torch.no_grad()
def test_references_are_the_nearest_entries_the_nearest_first(codec):
    x = picture(64, 64, batch=4, seed=9)
    latents = codec.analyze(x, 2.0)
    dictionary = codec.dictionary
    features = (pooled(codec.base.without_gain(x)) - dictionary.mean) @ dictionary.axes
    expected = torch.cdist(features, dictionary.features).argsort(1)[:, :2]
    assert torch.equal(latents.levels[-1][:, :, 0, 0].long(), expected)
    own = picture(64, 64, batch=5, seed=1)
    assert codec.analyze(own).levels[-1][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    quality = codec.analyze(own, 1.0).levels[-1]
    assert torch.equal(quality, codec.analyze(own, 3.0).levels[-1])  # features are of y before the gain


@torch.no_grad()
@pytest.mark.parametrize("quality", [1.0, 2.5, 3.0])
def test_an_entry_is_its_picture_at_every_quality(quality):
    """Also where a decoder's gains are not one over the encoder's, as after training."""
    base = make_residual()
    base.inverse_gain.mul_(torch.rand_like(base.inverse_gain) + 0.2)
    codec = CLC.around(base, make_dictionary(base, half=True), references=2, inner=12).eval()
    own, at = picture(64, 64, batch=5, seed=1), torch.tensor([quality])
    levels = codec.analyze(own, quality).levels
    assert levels[-1][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    values, _ = codec._known_of(levels[-1], at.expand(5), own.device)
    torch.testing.assert_close(values[:, 0], base.for_synthesis(levels[0], at.expand(5)), rtol=1e-2, atol=1e-2)


@torch.no_grad()
def test_references_change_the_pixels_and_nothing_that_is_coded(codec):
    latents = codec.decode(codec.encode(codec.analyze(picture(64, 64))))
    others = dataclasses.replace(latents, levels=(*latents.levels[:-1], (latents.levels[-1] + 2) % 5))
    difference = codec.synthesize(latents) - codec.synthesize(others)
    assert float(difference.abs().max()) > 1e-4
    assert torch.equal(codec.synthesize(latents), codec.synthesize(latents))  # nothing is sampled


def test_widths_follow_the_codec_unless_they_are_given():
    needed, base = {"name": "none-1", "hash": "00" * 32, "entries": 9}, TCM(attention=False)
    assert CLC(base, needed).config["inner"] == 80
    published = CLC(base, needed, **PUBLISHED)
    assert (published.config["width"], published.config["inner"], published.config["hidden"]) == (256, 320, 128)
    assert published.matching.align.branches[0].in_channels == 320
    assert CLC(make_residual(), needed).config["inner"] == 8
    with pytest.raises(ValueError, match="`inner` must be from 1 to 12, the channels of y, got 13"):
        CLC(make_residual(), needed, inner=13)


@torch.no_grad()
def test_what_is_known_of_entries_is_kept_until_weights_change(monkeypatch):
    codec, asked = make_clc(), []
    known = codec.matching.known
    monkeypatch.setattr(codec.matching, "known", lambda y: asked.append(len(y)) or known(y))
    y, numbers = torch.randn(2, 12, 4, 4), torch.tensor([[0, 3], [3, 1]])[:, :, None, None]
    first = codec.conditioned(y, numbers, None)
    assert asked == [1, 1, 1, 2]  # three entries, and y
    assert torch.equal(codec.conditioned(y, numbers, None), first)
    assert asked == [1, 1, 1, 2, 2]
    direct = codec.blend(y, codec.matching(y, codec.dictionary.entries(numbers[:, :, 0, 0])))
    torch.testing.assert_close(first, direct)
    codec.matching.narrow.weight.mul_(0.5)
    assert not torch.allclose(codec.conditioned(y, numbers, None), first)
    with torch.inference_mode():
        codec.matching.narrow.weight.mul_(2)
        codec.conditioned(y, numbers, None)
    codec.requires_grad_(False)
    with torch.enable_grad():
        codec.conditioned(y.requires_grad_(), numbers, None).sum().backward()  # what is kept takes part
    assert y.grad.abs().sum() > 0


def test_entries_that_were_not_asked_for_lately_are_forgotten(monkeypatch):
    monkeypatch.setattr(references, "_KEPT", 2)
    codec, y = make_clc().requires_grad_(False), torch.randn(1, 12, 4, 4)
    for numbers in ([0, 1], [1, 2], [1, 4], [3, 0]):
        codec.conditioned(y, torch.tensor(numbers)[None, :, None, None], None)
    assert [number for number, _ in codec._known._kept] == [3, 0]


def test_gradients_reach_the_networks_and_the_base():
    codec = make_clc().train()
    torch.nn.init.normal_(codec.matching.align.head[-1].weight, std=0.1)
    output = codec(picture(64, 64, batch=2), [1, 3])
    assert len(output.bits) == 3
    (output.bpp.sum() + 100 * output.x_hat.square().mean()).backward()
    still = {"base.entropy_bottleneck.quantiles", "base.gain", "base.inverse_gain", "matching.score.bias"}
    for name, parameter in codec.named_parameters():
        if name not in still:
            assert parameter.grad is not None, name
            assert torch.any(parameter.grad != 0), name


def test_refinement_leaves_the_references_alone(codec):
    x = picture(32, 48)
    latents = codec.analyze(x)
    refined = SgaPlus(codec, learning_rate=0.05).refine(x, lam=0.01, steps=4)
    assert torch.equal(refined.latents.levels[-1], latents.levels[-1])
    assert same(codec.decode(codec.encode(refined.latents)), codec.as_coded(refined.latents))


# Dictionaries.


@pytest.mark.parametrize("half", [False, True])
def test_a_dictionary_is_the_same_after_a_file(tmp_path, half):
    dictionary = make_dictionary(make_residual(), half=half)
    dictionary.save(tmp_path / "tiny-1.dictionary")
    loaded = Dictionary.load(tmp_path / "tiny-1.dictionary")
    assert loaded.hash == dictionary.hash
    assert loaded.facts == dictionary.facts
    numbers = torch.tensor([[4, 0]])
    assert torch.equal(loaded.entries(numbers), dictionary.entries(numbers))
    with torch.no_grad():
        exact = make_residual().analyze(picture(64, 64, batch=5, seed=1))
        y = make_residual().ungained(exact.y, torch.tensor(exact.quality))
    step = 2e-3 if half else float(y[[4, 0]].abs().amax()) / 127
    assert float((loaded.entries(numbers)[0] - y[[4, 0]]).abs().max()) <= 0.51 * step * (8 if half else 1)


def test_damaged_and_other_files_are_refused(tmp_path):
    path = tmp_path / "tiny-1.dictionary"
    dictionary = make_dictionary(make_residual())
    dictionary.save(path)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ModelError, match=f"dictionary tiny-1 should have hash {dictionary.hash[:16]}"):
        Dictionary.load(path)
    for wrong in (data[:-9], b"", b"no dictionary"):
        path.write_bytes(wrong)
        with pytest.raises(ModelError, match="is no dictionary of pylatent, or is damaged"):
            Dictionary.load(path)
    with pytest.raises(ModelError, match="there is no dictionary"):
        Dictionary.load(tmp_path / "none.dictionary")
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        at = int(torch.randint(len(data), (1,), generator=generator))
        path.write_bytes(
            data[:at] + bytes([data[at] ^ int(torch.randint(1, 256, (1,), generator=generator))]) + data[at + 1 :]
        )
        with pytest.raises(PylatentError):
            Dictionary.load(path)


def test_the_dictionary_of_another_codec_is_refused(codec):
    other = make_residual(seed=5)
    with pytest.raises(
        ModelError, match="is for codec unnamed with hash .*, got unnamed with hash .*: build one for it"
    ):
        CLC.around(other, codec.dictionary)
    another = make_dictionary(codec.base, name="other-2")
    with pytest.raises(
        ModelError, match=f"needs dictionary tiny-1 with hash {codec.dictionary.hash[:16]}, got other-2"
    ):
        codec.attach(another)
    with pytest.raises(ValueError, match="`references` must be from 1 to 5, the entries, got 6"):
        CLC.around(codec.base, codec.dictionary, references=6)


@torch.no_grad()
def test_a_model_file_finds_its_dictionary_beside_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PYLATENT_HOME", str(tmp_path / "home"))
    codec, path = make_clc(), tmp_path / "clc-1.safetensors"
    header = save_codec(codec, path, name="clc-1", card={})
    assert header.qualities == (1.0, 3.0)
    alone = load_codec(path)
    x, message = (
        picture(48, 32),
        f"needs dictionary tiny-1 with hash {codec.dictionary.hash[:16]}, which is missing: put",
    )
    with pytest.raises(ModelError, match=message):
        alone.analyze(x)
    with pytest.raises(ModelError, match=message):
        zoo.add(path)
    codec.dictionary.save(tmp_path / "tiny-1.dictionary")
    zoo.add(path)
    stored = zoo.load("clc-1")
    assert stored.fingerprint().hex() == header.hash
    streams = stored.compress(x, 2.0)
    assert same(alone.decode(streams), stored.decode(streams))  # latents do not need the dictionary
    with pytest.raises(ModelError, match=message):
        alone.decompress(streams)
    other = make_clc(make_residual(seed=4))
    other.dictionary.save(tmp_path / "tiny-1.dictionary")
    save_codec(other, path, name="clc-2", card={})
    with pytest.raises(ModelError, match="another dictionary named tiny-1 is installed already"):
        zoo.add(path)
    # A file is described without model and dictionary.
    LatFile("clc-1", stored.fingerprint()[:8], streams[0]).write(tmp_path / "a.lat")
    (tmp_path / "home" / "tiny-1.dictionary").unlink()
    with pytest.raises(SystemExit):
        cli.main(["info", "--json", str(tmp_path / "a.lat")])
    assert json.loads(capsys.readouterr().out)["model"] == "clc-1"


@torch.no_grad()
def test_another_dictionary_is_another_model():
    base = make_residual()
    one, other = make_clc(base), copy.deepcopy(make_clc(base))
    other.needed["hash"] = "ab" * 32
    assert one.fingerprint() != other.fingerprint()


# Streams.


@torch.no_grad()
def test_entries_beyond_the_dictionary_are_refused(codec):
    (stream,) = codec.encode(codec.analyze(picture(32, 32)))
    for wrong in (5, -1, 70000):
        symbols = torch.tensor([wrong, 0], dtype=torch.int32)
        section = encode_batch([symbols], [torch.zeros(2, dtype=torch.uint8)], codec.tables_of(2))[0]
        damaged = dataclasses.replace(stream, sections=(section, *stream.sections[1:]))
        for decode in (codec.decode, codec.decompress):
            with pytest.raises(FormatError, match=f"refers to entry {wrong} of dictionary tiny-1, which has 5: 0 to 4"):
                decode([damaged])
    latents = codec.analyze(picture(32, 32))
    with pytest.raises(ValueError, match="references must be from 0 to 4"):
        codec.synthesize(dataclasses.replace(latents, levels=(*latents.levels[:-1], latents.levels[-1] + 9)))
    with pytest.raises(FormatError, match="has 2 sections, model unnamed needs 3"):
        codec.decode([dataclasses.replace(stream, sections=stream.sections[1:])])
    with pytest.raises(MismatchError, match="table indexes"):
        codec.decode([dataclasses.replace(stream, index_crc=stream.index_crc ^ 1)])


@torch.no_grad()
def test_damaged_records_are_refused_and_damaged_sections_end_well(codec):
    (stream,) = codec.encode(codec.analyze(picture(40, 24)))
    record, generator = stream.to_record(), torch.Generator().manual_seed(0)

    def changed(data):
        at = int(torch.randint(len(data), (1,), generator=generator))
        return data[:at] + bytes([data[at] ^ int(torch.randint(1, 256, (1,), generator=generator))]) + data[at + 1 :]

    for _ in range(10_000):  # the record's CRC covers the references, too
        with pytest.raises(FormatError):
            Bitstream.from_record(changed(record))
    refused = 0
    for _ in range(200):
        try:
            decoded = codec.decode(
                [dataclasses.replace(stream, sections=(changed(stream.sections[0]), *stream.sections[1:]))]
            )
        except PylatentError:
            refused += 1
        else:
            assert 0 <= float(decoded.levels[-1].min()) <= float(decoded.levels[-1].max()) < 5
    assert refused > 100
