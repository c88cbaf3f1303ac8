"""Archives behind URLs: the same records, read ahead; servers that fail, cut off or have no ranges; streams."""

import pickle

import pytest
import torch
from archive_cases import records, write
from range_server import Server
from small_codec import make_codec, picture

from pylatent import cli
from pylatent.archive import Archive, LatentStream, Record, decode_batches, storage
from pylatent.errors import FormatError, MismatchError, PylatentError

fsspec = pytest.importorskip("fsspec")
SIZES = [(48, 64), (33, 20)]


@pytest.fixture(scope="module")
def codec():
    return make_codec()


@pytest.fixture(scope="module")
def coded(codec):
    found = []
    for n in range(12):
        streams = codec.compress(picture(*SIZES[n % 3 == 2], seed=n), 1 + n % 4)
        found.append(Record(f"k{n:02}", f"c{n % 2}", streams[0]))
    return found


@pytest.fixture
def folder(tmp_path, codec, coded):
    """The records in four shards."""
    for number in range(4):
        write(
            tmp_path / f"shard-{number:05}.lats", coded[3 * number : 3 * number + 3], "small-1", codec.fingerprint()[:8]
        )
    return tmp_path


@pytest.fixture
def server(folder, monkeypatch):
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(storage, "_WAITS", (0.0, 0.01, 0.01))
    server = Server(folder)
    yield server
    server.shutdown()
    server.server_close()


def in_memory(folder, name):
    system = fsspec.filesystem("memory")
    for path in folder.iterdir():
        system.pipe_file(f"/{name}/{path.name}", path.read_bytes())
    return f"memory://{name}"


def test_memory(folder, coded, request):
    url = in_memory(folder, request.node.name)
    archive = Archive(url)
    assert list(archive) == coded
    assert archive.path == url
    assert archive["k07"] == coded[7]
    assert archive.source(4).startswith("memory://")
    assert list(pickle.loads(pickle.dumps(archive))) == coded
    assert list(Archive(f"{url}/shard-00001.lats")) == coded[3:6]
    with pytest.raises(FileNotFoundError, match=f"{url}/none.lats"):
        Archive(f"{url}/none.lats")
    with pytest.raises(FormatError, match=r"memory://nothing: no archive: the folder holds no shard"):
        Archive("memory://nothing")


def test_http(server, folder, coded):
    archive = Archive(server.url + "/")
    assert list(archive) == coded
    assert archive.labels() == [one.label for one in coded]
    assert all("bytes=" in request for request in server.requests if request.startswith("GET /shard"))
    server.lists = False
    with pytest.raises(FormatError, match=r"no archive: .*no archive\.json"):
        Archive(server.url)
    (folder / "archive.json").write_text('{"shards": [3, 3, 3, 3]}')
    assert list(Archive(server.url)) == coded


@pytest.mark.parametrize("block", [7, 64, 1000])
def test_any_block_gives_the_same_bytes(tmp_path, server, monkeypatch, block):
    monkeypatch.setattr(storage, "_BLOCK", block)
    wanted = records(300)
    path = write(tmp_path / "many.lats", wanted)
    data = storage.open_bytes(f"{server.url}/many.lats")
    whole = path.read_bytes()
    assert len(data) == len(whole)
    for start, end in ((0, 5), (3, 2000), (len(whole) - 9, len(whole)), (5, 5), (9, 4), (0, len(whole) + 10)):
        assert data[start:end] == whole[start:end]
    assert data[70] == whole[70]
    assert len(data._blocks) <= max(storage._KEPT, -(-len(whole) // block))


def test_it_reads_ahead_of_who_goes_forward(tmp_path, server, monkeypatch):
    monkeypatch.setattr(storage, "_BLOCK", 100)
    (tmp_path / "x").write_bytes(bytes(10_000))
    data = storage.open_bytes(f"{server.url}/x")
    first = data[:10]
    for block in data._blocks.values():  # their requests are counted below
        block.result()
    assert (len(first), len(data._blocks)) == (10, storage._AHEAD + 1)
    asked = sum("GET" in request for request in server.requests)
    assert data[5000:5010] == bytes(10)
    assert sum("GET" in request for request in server.requests) == asked + 1
    for start in range(0, 10_000, 50):
        data[start : start + 50]
    assert len(data._blocks) <= storage._KEPT + storage._AHEAD


def test_what_passes_is_tried_again(server, coded):
    server.failures = 2
    assert list(Archive(f"{server.url}/shard-00000.lats")) == coded[:3]
    archive = Archive(f"{server.url}/shard-00001.lats")
    archive._open.clear()
    server.failures = 2
    assert archive[0] == coded[3]


def test_a_server_that_fails_for_good(server, coded, codec):
    archive = Archive(server.url)
    archive._open.clear()
    server.failures = 1 << 30
    with pytest.raises(OSError, match=r"shard-00000\.lats: cannot be read: 503"):
        archive[0]
    with pytest.raises(OSError, match="cannot be read: 503"):  # it is no damaged record
        list(decode_batches(archive, codec, failures=[]))


def test_nothing_half_read_is_passed_on(server):
    archive = Archive(server.url)
    archive._open.clear()
    server.cut = 1
    with pytest.raises(OSError, match=r"shard-00000\.lats: cannot be read: .*(bytes 0 to \d+ arrived|payload)"):
        archive[0]


def test_a_server_without_ranges(tmp_path, server):
    server.ranges = False
    write(tmp_path / "large.lats", records(30_000))
    with pytest.raises(OSError, match=r"large\.lats: of \d+ bytes .* sent \d+: it does not serve ranges; copy"):
        Archive(f"{server.url}/large.lats")


def test_a_shard_that_is_cut_off(folder, server, coded):
    path = folder / "shard-00001.lats"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(FormatError, match=r"http://.*shard-00001\.lats: byte \d+: the file does not end with"):
        Archive(server.url)
    failures = []
    assert list(Archive(server.url, failures=failures)) == coded[:3] + coded[6:]
    assert [failure.source for failure in failures] == [f"{server.url}/shard-00001.lats"]


def test_urls_that_lead_nowhere(server):
    with pytest.raises(OSError, match=r"127\.0\.0\.1:9/a\.lats: cannot be read: .*[Cc]onnect"):
        Archive("http://127.0.0.1:9/a.lats")
    with pytest.raises(FileNotFoundError, match=r"none\.lats"):
        Archive(f"{server.url}/none.lats")
    with pytest.raises(PylatentError, match="nonsense://x/a.lats: fsspec cannot open this: Protocol not known"):
        Archive("nonsense://x/a.lats")


def test_without_fsspec(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fsspec.core", None)
    with pytest.raises(PylatentError, match=r"pip install 'pylatent\[remote\]'"):
        Archive("s3://bucket/archive")


def test_commands(server, capsys, coded):
    for words, text in (
        (["ls", server.url], "k00\nk01"),
        (["info", f"{server.url}/shard-00000.lats"], "records   3 in 1 shard"),
        (["verify", server.url, "--json"], '{"records": 12, "failures": []}'),
    ):
        with pytest.raises(SystemExit) as caught:
            cli.main(["archive", *words])
        assert not caught.value.code
        assert text in capsys.readouterr().out


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("seed", [None, 3])
def test_a_stream_holds_every_record_once(server, codec, coded, workers, seed):
    by_key = {one.key: one for one in coded}
    stream = LatentStream(Archive(server.url), codec, 4, seed=seed)
    batches = list(stream.loader(workers=workers))
    keys = [key for batch in batches for key in batch.keys]
    assert sorted(keys) == sorted(by_key)
    assert (
        seed is not None
        or workers
        or [key for key in keys if by_key[key].stream.size == (48, 64)]
        == [one.key for one in coded if one.stream.size == (48, 64)]
    )
    for batch in batches:
        wanted = codec.decode([by_key[key].stream for key in batch.keys])
        assert torch.equal(batch.y_hat, wanted.y)
        assert torch.equal(batch.scales, wanted.scales[0])
        assert batch.labels == [by_key[key].label for key in batch.keys]


def test_the_order_of_a_stream(folder, codec, coded):
    def keys(**options):
        epoch = options.pop("epoch", 0)
        stream = LatentStream(Archive(folder), codec, 1, **options)
        stream.set_epoch(epoch)
        return [key for batch in stream for key in batch.keys]

    whole = [one.key for one in coded]
    assert keys() == whole
    assert keys(seed=1) == keys(seed=1) != keys(seed=2)
    assert keys(seed=1, epoch=1) == keys(seed=2) != whole
    shards = [tuple(sorted(keys(seed=1)[first : first + 3])) for first in range(0, 12, 3)]
    assert sorted(shards) == [tuple(whole[first : first + 3]) for first in range(0, 12, 3)]
    parts = [keys(seed=1, part=(number, 3)) for number in range(3)]
    assert sorted(key for part in parts for key in part) == whole
    assert [len(part) for part in parts] == [6, 3, 3]
    with pytest.raises(ValueError, match="`batch` must be at least 1"):
        LatentStream(Archive(folder), codec, 0)
    with pytest.raises(ValueError, match="`part` must be"):
        LatentStream(Archive(folder), codec, part=(3, 3))
    with pytest.raises(MismatchError, match="was written by model"):
        LatentStream(Archive(folder), make_codec(seed=4))
