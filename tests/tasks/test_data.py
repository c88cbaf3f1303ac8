import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pylatent.errors import FormatError, ImageError
from pylatent.tasks.annotations import Box, is_agar, is_voc, read_agar, read_voc
from pylatent.tasks.data import balanced_sample, crops, folder_items, group_split, letterbox

VOC = """<annotation><filename>{name}.jpg</filename><object><name>RBC</name><bndbox><xmin>11</xmin><ymin>21</ymin>
<xmax>30</xmax><ymax>30</ymax></bndbox></object><object><name>WBC</name><bndbox><xmin>50</xmin><ymin>50</ymin>
<xmax>999</xmax><ymax>60</ymax></bndbox></object><object><name>RBC</name><bndbox><xmin>5</xmin><ymin>5</ymin>
<xmax>5</xmax><ymax>5</ymax></bndbox></object></annotation>"""


def save_picture(path, seed, size=(96, 80)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def voc(tmp_path):
    (tmp_path / "Annotations").mkdir()
    for number, name in enumerate("ab"):
        (tmp_path / "Annotations" / f"{name}.xml").write_text(VOC.format(name=name))
        save_picture(tmp_path / "JPEGImages" / f"{name}.png", number)
    return tmp_path


@pytest.fixture
def agar(tmp_path):
    """As AGAR's files are described: 1 is counted, 2 has too many colonies to count, 3 is empty."""
    labels = [
        {"class": "E.coli", "x": 10, "y": 20, "width": 30, "height": 15, "id": 1},
        {"class": "Defect", "x": 1, "y": 1, "width": 5, "height": 5, "id": 2},
        {"class": "S.aureus", "x": 60, "y": 60, "width": 20, "height": 20, "id": 3},
    ]
    for number, count in ((1, 2), (2, -1), (3, 0)):
        content = {"background": "dark", "classes": ["E.coli", "S.aureus"], "colonies_number": count}
        content |= {"labels": labels if count == 2 else [], "sample_id": number}
        (tmp_path / f"{number}.json").write_text(json.dumps(content))
        save_picture(tmp_path / f"{number}.jpg", number)
    return tmp_path


def test_voc(voc):
    assert is_voc(voc)
    assert not is_agar(voc)
    pictures = read_voc(voc)
    assert [picture.path.name for picture in pictures] == ["a.png", "b.png"]
    assert pictures[0].boxes == (Box("RBC", 10, 20, 30, 30), Box("WBC", 49, 49, 999, 60))  # the third has no area


def test_agar(agar):
    assert is_agar(agar)
    assert not is_voc(agar)
    (picture,) = read_agar(agar)
    assert picture.path.name == "1.jpg"
    assert picture.boxes == (Box("E.coli", 10, 20, 40, 35), Box("S.aureus", 60, 60, 80, 80))
    assert [item.label for item in crops([picture])] == ["E.coli", "S.aureus"]


def test_annotations_that_cannot_be_read(voc, tmp_path_factory):
    (voc / "Annotations" / "a.xml").write_text("<annotation><object><name>x</name></object></annotation>")
    with pytest.raises(FormatError, match=r"a\.xml: .*no bndbox/xmin"):
        read_voc(voc)
    (voc / "Annotations" / "a.xml").write_text("<annotation>")
    with pytest.raises(FormatError, match=r"a\.xml: not a Pascal VOC annotation"):
        read_voc(voc)
    empty = tmp_path_factory.mktemp("empty")
    for read, kind in ((read_voc, "Pascal VOC"), (read_agar, "AGAR")):
        with pytest.raises(FileNotFoundError, match=kind):
            read(empty)
    for text in ("[1]", "{", '{"colonies_number": 1, "labels": [{"class": "x"}]}', "{}"):
        (empty / "1.json").write_text(text)
        with pytest.raises(FormatError, match=r"1\.json: not an annotation of AGAR"):
            read_agar(empty)


def test_a_picture_that_is_missing(voc):
    (voc / "JPEGImages" / "b.png").unlink()
    with pytest.raises(FileNotFoundError, match="no picture b"):
        read_voc(voc)


def test_crops_are_cut_at_the_border_and_letterboxed(voc):
    items = list(crops(read_voc(voc)))
    assert [(item.key, item.label, item.group) for item in items] == [
        ("a-0", "RBC", "a"),
        ("a-1", "WBC", "a"),
        ("b-0", "RBC", "b"),
        ("b-1", "WBC", "b"),
    ]
    pixels = np.asarray(items[0].picture)  # 20 x 10 pixels of the source
    assert pixels.shape == (224, 224, 3)
    assert pixels[:56].max() == pixels[168:].max() == 0
    assert (pixels[56:168].max((1, 2)) > 0).all()
    # Noise, enlarged and reduced again, comes back roughly; another place would differ by 85 on average.
    source = np.asarray(Image.open(voc / "JPEGImages" / "a.png"))[20:30, 10:30]
    small = items[0].picture.crop((0, 56, 224, 168)).resize((20, 10), Image.Resampling.BOX)
    assert np.abs(np.asarray(small).astype(int) - source).mean() < 40


@pytest.mark.parametrize("size", [(1, 1), (500, 3), (3, 500), (224, 224), (1000, 999)])
def test_letterbox_keeps_the_aspect(size):
    square = np.asarray(letterbox(Image.new("RGB", size, "white")))
    assert square.shape == (224, 224, 3)
    rows, columns = (square.max((axis, 2)) > 127 for axis in (1, 0))
    assert max(rows.sum(), columns.sum()) == 224
    assert rows.sum() == max(1, round(size[1] * 224 / max(size)))
    assert columns.sum() == max(1, round(size[0] * 224 / max(size)))


def test_a_damaged_picture_is_named(voc):
    (voc / "JPEGImages" / "b.png").write_bytes(b"no picture")
    with pytest.raises(ImageError):
        list(crops(read_voc(voc)))


def test_the_same_file_twice_is_one_group(voc, tmp_path):
    (voc / "JPEGImages" / "b.png").write_bytes((voc / "JPEGImages" / "a.png").read_bytes())
    assert {item.group for item in crops(read_voc(voc))} == {"a"}
    folder = tmp_path / "classes"
    for name in ("x/1.png", "x/2.png", "y/1.png"):
        save_picture(folder / name, seed=name == "y/1.png")
    items = list(folder_items(folder, sorted(folder.rglob("*.png"))))
    assert [(item.key, item.label, item.group) for item in items] == [
        ("x/1.png", "x", "x/1.png"),
        ("x/2.png", "x", "x/1.png"),
        ("y/1.png", "y", "y/1.png"),
    ]


@given(
    st.lists(st.integers(0, 60).map(str), min_size=40, max_size=300).filter(lambda groups: len(set(groups)) >= 10),
    st.integers(0, 9),
    st.integers(0, 4),
)
def test_no_group_crosses_a_split(groups, seed, fold):
    split = group_split(groups, seed=seed, fold=fold)
    parts = [{groups[position] for position in part} for part in (split.train, split.validation, split.test)]
    assert sum(len(part) for part in parts) == len(set(groups))
    assert parts[0] | parts[1] | parts[2] == set(groups)
    everything = np.concatenate([split.train, split.validation, split.test])
    assert sorted(everything) == list(range(len(groups)))
    assert len(parts[1]) == len(parts[2]) == round(0.15 * len(set(groups)))


def test_the_test_parts_of_five_folds_do_not_overlap():
    groups = [str(number % 97) for number in range(500)]
    tests = [set(group_split(groups, fold=fold).test.tolist()) for fold in range(5)]
    assert len(set().union(*tests)) == sum(map(len, tests))
    assert group_split(groups, seed=1).test.tolist() != group_split(groups, seed=2).test.tolist()
    assert group_split(groups, seed=1).test.tolist() == group_split(groups, seed=1).test.tolist()


def test_too_few_groups():
    with pytest.raises(ValueError, match="2 groups are too few"):
        group_split(["a", "b", "b"])


@pytest.mark.parametrize("size", [1, 7, 30, 100])
def test_balanced_sample(size):
    labels = np.array([0] * 50 + [1] * 3 + [5] * 10)
    sample = balanced_sample(labels, size, (0, 1))
    counts = [int((labels[sample] == label).sum()) for label in (0, 1, 5)]
    assert sum(counts) == len(sample) == size
    assert max(counts) - min(counts) <= 1
    for label in (0, 1, 5):  # none again before all of its class have come
        times = np.bincount(sample, minlength=len(labels))[labels == label]
        assert times.max() - times.min() <= 1
    assert sample.tolist() == balanced_sample(labels, size, (0, 1)).tolist()
    if size > 7:
        assert sample.tolist() != balanced_sample(labels, size, (0, 2)).tolist()
