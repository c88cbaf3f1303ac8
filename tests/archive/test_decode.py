"""Archives of several shards, and their records as latents: batches, failures, the dataset."""

import pickle

import pytest
import torch
from archive_cases import record, records, write
from small_codec import make_codec, picture

from pylatent.archive import Archive, LatentBatch, LatentDataset, Record, collate, decode_batches
from pylatent.errors import FormatError, MismatchError

SIZES = [(48, 64), (33, 20), (48, 64), (64, 64)]


@pytest.fixture(scope="module")
def codec():
    return make_codec()


@pytest.fixture(scope="module")
def coded(codec):
    """22 records in three sizes."""
    found = []
    for n in range(22):
        size = SIZES[n % len(SIZES)]
        found.append(Record(f"k{n:02}", f"c{n % 2}", codec.compress(picture(*size, seed=n), 1 + n % 4)[0]))
    return found


@pytest.fixture
def archive(tmp_path, codec, coded):
    """The same in three shards."""
    for number, part in enumerate((coded[:9], coded[9:10], coded[10:])):
        write(tmp_path / f"{number}.lats", part, "small-1", codec.fingerprint()[:8])
    return Archive(tmp_path)


def damage(path, key: str) -> None:
    """Flips a bit of the last byte of the CRC of a record: that in front of the next key."""
    data = bytearray(path.read_bytes())
    at = data.index(b"\x03" + key.encode()) + 30
    data[at] ^= 1
    path.write_bytes(data)


def test_positions_and_keys(archive, coded):
    assert len(archive) == 22
    assert list(archive) == coded
    assert list(archive.keys()) == [one.key for one in coded]
    assert archive.labels() == [one.label for one in coded]
    assert archive["k13"] == archive[13] == coded[13]
    assert "k13" in archive
    assert "k1" not in archive
    assert archive.find("\ud800") is None
    with pytest.raises(KeyError):
        archive["nothing"]
    with pytest.raises(IndexError, match="there is no number 22"):
        archive[22]
    assert list(pickle.loads(pickle.dumps(archive))) == coded


def test_more_shards_than_are_kept_open(tmp_path, monkeypatch):
    monkeypatch.setattr("pylatent.archive.folder._OPEN_SHARDS", 2)
    wanted = records(30)
    for n in range(0, 30, 5):
        write(tmp_path / f"{n:02}.lats", wanted[n : n + 5])
    archive = Archive(tmp_path)
    held = next(archive.shards())
    assert sorted(archive.keys()) == sorted(one.key for one in wanted)
    assert all(archive[one.key] == one for one in wanted)
    assert len(held) == 5
    assert held.key(0)


def test_a_shard_alone_is_an_archive(tmp_path):
    archive = Archive(write(tmp_path / "a.lats", records(4)))
    assert len(archive) == 4
    assert len(Archive(write(tmp_path / "empty.lats", []))) == 0


def test_mixed_models_are_refused(tmp_path):
    write(tmp_path / "a.lats", [record("a")])
    write(tmp_path / "b.lats", [record("b")], "other-1")
    with pytest.raises(MismatchError, match=r"mixes models: .*a\.lats is of tiny-1 .*b\.lats of other-1"):
        Archive(tmp_path)


def test_no_archive(tmp_path):
    with pytest.raises(FormatError, match="holds no shard"):
        Archive(tmp_path)
    with pytest.raises(FileNotFoundError):
        Archive(tmp_path / "nothing")


def test_damage_at_the_ends_of_a_shard_hides_nothing_else(archive, coded):
    path = archive.path / "0.lats"
    whole = path.read_bytes()
    at = whole.index(b"\x03k00")
    for place, value in ((at + 1, ord("z")), (at + 1, 0xFF), (at + 4, 0x7F)):  # another key, no text, no label
        data = bytearray(whole)
        data[place] = value
        path.write_bytes(data)
        damaged = Archive(archive.path)
        assert all(damaged[one.key] == one for one in coded[1:])
        assert damaged.find("k00") is None or place == at + 4
        assert len(damaged.labels()) == 22
        with pytest.raises(FormatError, match="record 0 at byte"):
            damaged[0]


def test_a_damaged_shard_raises_or_is_recorded(archive, coded):
    path = archive.path / "1.lats"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FormatError, match="1.lats"):
        Archive(archive.path)
    failures = []
    assert list(Archive(archive.path, failures=failures)) == coded[:9] + coded[10:]
    assert [(failure.source, failure.key) for failure in failures] == [(str(path), None)]


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_batches_hold_every_record_once(archive, codec, coded, batch):
    seen = {}
    for found in decode_batches(archive, codec, batch=batch):
        assert len(found.keys) <= batch
        for row, (position, key, label) in enumerate(zip(found.positions, found.keys, found.labels, strict=True)):
            assert (coded[position].key, coded[position].label) == (key, label)
            wanted = codec.decode([coded[position].stream])
            assert torch.equal(found.latents.levels[0][row], wanted.levels[0][0])
            assert torch.equal(found.latents.scales[0][row], wanted.scales[0][0])
            assert found.latents.quality[row] == coded[position].stream.quality
            assert key not in seen
            seen[key] = True
    assert len(seen) == len(coded)


def test_rare_sizes_do_not_pile_up(archive, codec, coded, monkeypatch):
    monkeypatch.setattr("pylatent.archive.order._WAITING", 1)
    keys = [key for found in decode_batches(archive, codec, batch=8) for key in found.keys]
    assert sorted(keys) == [one.key for one in coded]


def test_chosen_positions(archive, codec):
    found = list(decode_batches(archive, codec, positions=[20, 4, 0, 2]))
    assert sorted(key for batch in found for key in batch.keys) == ["k00", "k02", "k04", "k20"]


def test_damaged_records_are_recorded_and_the_others_decoded(archive, codec, coded):
    damage(archive.path / "0.lats", "k05")
    # Intact by its CRCs, but not what the model would have written.
    wrong = Record("k09", None, codec.compress(picture(8, 8), 2)[0].__class__((48, 64), 2.0, (b"a", b"b"), 1))
    write(archive.path / "1.lats", [wrong], "small-1", codec.fingerprint()[:8])
    failures = []
    batches = list(decode_batches(Archive(archive.path), codec, batch=64, failures=failures))
    keys = sorted(key for batch in batches for key in batch.keys)
    assert keys == [one.key for one in coded if one.key not in ("k05", "k09")]
    assert sorted(failure.key for failure in failures) == ["k05", "k09"]
    assert failures[0].source.endswith("0.lats")
    with pytest.raises(FormatError):
        list(decode_batches(Archive(archive.path), codec))


def test_another_model_is_refused(archive):
    other = make_codec(seed=1)
    other.name = "other-2"
    with pytest.raises(MismatchError, match="was written by model small-1 .* the codec given is other-2"):
        decode_batches(archive, other)
    with pytest.raises(MismatchError):
        LatentDataset(archive, other)


def test_a_consumer_that_leaves_ends_the_thread(archive, codec):
    import threading

    batches = decode_batches(archive, codec, batch=1)
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "pylatent-decode"]


@pytest.mark.parametrize(("workers", "context"), [(0, None), (1, "fork"), (1, "spawn")])
def test_the_dataset_in_a_loader(archive, codec, coded, workers, context):
    dataset = LatentDataset(archive, codec)
    assert len(dataset) == 22
    one = dataset[5]
    wanted = codec.decode([coded[5].stream])
    assert (one.key, one.label) == ("k05", "c1")
    assert torch.equal(one.y_hat, wanted.levels[0][0])
    assert torch.equal(one.scales, wanted.scales[0][0])
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=5, num_workers=workers, collate_fn=list, multiprocessing_context=context
    )
    items = [item for batch in loader for item in batch]
    assert [item.key for item in items] == [one.key for one in coded]
    assert torch.equal(items[5].y_hat, one.y_hat)


@pytest.mark.parametrize(("workers", "seed"), [(0, None), (0, 3), (1, None)])
def test_loader(archive, codec, coded, workers, seed):
    """Every record once, in batches of one size."""
    loader = LatentDataset(archive, codec).loader(4, seed=seed, workers=workers)
    batches = list(loader)
    by_key = {one.key: one for one in coded}
    keys = [key for batch in batches for key in batch.keys]
    assert sorted(keys) == sorted(by_key)
    assert (keys == sorted(keys)) is False or seed is None
    for batch in batches:
        assert isinstance(batch, LatentBatch)
        wanted = codec.decode([by_key[key].stream for key in batch.keys])
        assert torch.equal(batch.y_hat, wanted.y)
        assert torch.equal(batch.scales, wanted.scales[0])
        assert batch.labels == [by_key[key].label for key in batch.keys]
    assert max(len(batch.keys) for batch in batches) == 4
    again = [key for batch in loader for key in batch.keys]
    assert sorted(again) == sorted(keys)
    assert (again == keys) is (seed is None)


def test_a_loader_of_your_own(archive, codec, coded):
    dataset = LatentDataset(archive, codec)
    same = [place for place, one in enumerate(coded) if one.stream.size == (48, 64)]
    subset = torch.utils.data.Subset(dataset, same)
    (batch,) = torch.utils.data.DataLoader(subset, batch_size=16, collate_fn=collate)
    assert batch.keys == [coded[place].key for place in same]
    with pytest.raises(ValueError, match=r"got latents of 3x2 and 3x4: `LatentDataset.loader` makes batches"):
        list(torch.utils.data.DataLoader(dataset, batch_size=2, collate_fn=collate))


@pytest.mark.parametrize("seed", [None, 5])
def test_parts_hold_every_record_once(archive, codec, coded, seed):
    dataset = LatentDataset(archive, codec)
    loaders = [dataset.loader(3, seed=seed, part=(index, 3)) for index in range(3)]
    parts = [[key for batch in loader for key in batch.keys] for loader in loaders]
    assert sorted(len(part) for part in parts) == [7, 7, 8]
    assert sorted(key for part in parts for key in part) == [one.key for one in coded]
    several = [decode_batches(archive, codec, batch=3, seed=seed, part=(index, 3)) for index in range(3)]
    assert [sorted(key for batch in batches for key in batch.keys) for batches in several] == [
        sorted(part) for part in parts
    ]


def test_shuffled_batches(archive, codec, coded):
    def keys(**options):
        return [key for batch in decode_batches(archive, codec, batch=1, **options) for key in batch.keys]

    assert keys() == [one.key for one in coded]
    assert keys(seed=1) == keys(seed=1) != keys(seed=2)
    assert sorted(keys(seed=1)) == keys()
    assert sorted(keys(positions=[3, 1, 4], seed=1)) == ["k01", "k03", "k04"]
    assert keys(positions=iter([5, 2]), part=(1, 2)) == ["k02"]


def test_wrong_parts_and_sizes(archive, codec):
    dataset = LatentDataset(archive, codec)
    for part in ((2, 2), (-1, 3), (0, 0)):
        with pytest.raises(ValueError, match=r"`part` must be \(i, n\) with 0 <= i < n, got"):
            dataset.loader(part=part)
        with pytest.raises(ValueError, match="`part` must be"):
            decode_batches(archive, codec, part=part)
    with pytest.raises(ValueError, match="`batch_size` must be at least 1, got 0"):
        dataset.loader(0)
