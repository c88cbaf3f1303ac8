"""Large tensors of model files: without loss, shorter, and refused where they are damaged."""

import json
import zlib

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_codec import make_codec

from pylatent import ModelError, zoo
from pylatent.codecs.packing import pack, unpack


def weights(dtype, *shape):
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(3)) * 20
    return values.to(dtype)


TENSORS = {
    "bytes": weights(torch.int8, 100, 200),
    "integers": weights(torch.int16, 40, 30, 3, 3),
    "tables": weights(torch.int32, 5000),
    "halves": weights(torch.float16, 64, 32, 3, 3),
    "floats": weights(torch.float32, 70, 80),
    "zeros": torch.zeros(100_000, 1, dtype=torch.int16),
    "special": torch.tensor([float("nan"), float("-inf"), -0.0] * 4000).half(),
}


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.view(torch.uint8), b.view(torch.uint8))


def test_every_kind_of_tensor_comes_back_bit_by_bit_and_is_shorter():
    stored, packed = pack(TENSORS)
    assert packed.keys() == TENSORS.keys()
    assert all(stored[name].nbytes < 0.95 * tensor.nbytes for name, tensor in TENSORS.items())
    found = unpack(stored, json.loads(json.dumps(packed)))
    assert found.keys() == TENSORS.keys()
    assert all(same(found[name], tensor) for name, tensor in TENSORS.items())


def test_what_is_small_or_random_stays_as_it_is():
    random = torch.randint(-128, 128, (200, 200), dtype=torch.int8, generator=torch.Generator().manual_seed(5))
    tensors = {"small": weights(torch.int16, 100), "random": random, "none": torch.zeros(0), "one": torch.tensor(3)}
    stored, packed = pack(tensors)
    assert packed == {}
    assert all(stored[name] is tensor for name, tensor in tensors.items())
    assert unpack(stored, packed) == stored


def test_a_model_file_is_of_the_second_version_only_where_a_tensor_is_packed(tmp_path):
    path = tmp_path / "m.safetensors"
    codec = make_codec()
    zoo.save_codec(codec, path, name="tiny-1", card={})
    with safe_open(path, framework="pt") as file:
        header, stored = json.loads(file.metadata()["pylatent"]), file.get_tensor("coding.tables.y.cdf")
    assert header["version"] == 2
    assert stored.nbytes < codec.coding_state()["tables.y.cdf"].nbytes / 2
    plain = unpack(load_file(path), header.pop("packed"))
    save_file(plain, path, {"pylatent": json.dumps(header | {"version": 1})})
    assert zoo.load(path).fingerprint().hex() == zoo.read_header(path).hash


def damaged(change):
    stored, packed = pack({"halves": TENSORS["halves"]})
    data = bytearray(stored["halves"].numpy().tobytes())
    result = change(data, packed)
    stored["halves"] = torch.frombuffer(data if result is None else result, dtype=torch.uint8)
    return stored, packed


def flip(data, packed):
    data[len(data) // 2] ^= 8


def cut(data, packed):
    del data[-9:]


def extend(data, packed):
    data += b"more"


def replace_stream(data, packed):
    return bytearray(zlib.compress(bytes(TENSORS["halves"].nbytes + 1)))


def other_shape(data, packed):
    packed["halves"][1][0] -= 1


def too_large(data, packed):
    packed["halves"][1][0] = 10**12


def negative(data, packed):
    packed["halves"][1][:2] = -64, -32


def other_type(data, packed):
    packed["halves"][0] = "F32"


DAMAGES = (flip, cut, extend, replace_stream, other_shape, too_large, negative, other_type)


@pytest.mark.parametrize("change", DAMAGES, ids=lambda change: change.__name__)
def test_damaged_tensors_are_refused(change):
    with pytest.raises(ValueError, match="halves|shape"):
        unpack(*damaged(change))


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ([1], "cannot be read"),
        (None, "cannot be read"),
        ({"a": ["F64", [1]]}, "cannot be read: .*F64"),
        ({"a": ["F16", 3]}, "cannot be read"),
        ({"b": ["F16", [3]]}, "tensor b is listed"),
        ({"a": ["F16", [3]]}, "tensor a .* not bytes"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(listed, message):
    with pytest.raises(ValueError, match=message):
        unpack({"a": torch.zeros(3)}, listed)


def test_a_model_file_with_a_damaged_tensor_is_refused_by_its_name(tmp_path):
    path = tmp_path / "m.safetensors"
    zoo.save_codec(make_codec(), path, name="tiny-1", card={})
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors["coding.tables.y.cdf"] = tensors["coding.tables.y.cdf"][:-1]
    save_file(tensors, path, metadata)
    with pytest.raises(ModelError, match=r"m\.safetensors .*coding\.tables\.y\.cdf is damaged"):
        zoo.load(path)
