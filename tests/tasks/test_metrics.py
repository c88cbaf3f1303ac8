import numpy as np
import pytest

from pylatent.tasks.metrics import accuracy, balanced_accuracy, bootstrap, confusion


def test_confusion_and_accuracies_by_hand():
    matrix = confusion([0, 0, 0, 0, 1, 1, 2], [0, 0, 0, 1, 1, 0, 0], 4)
    assert matrix.tolist() == [[3, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert accuracy(matrix) == pytest.approx(4 / 7)
    assert balanced_accuracy(matrix) == pytest.approx((3 / 4 + 1 / 2 + 0) / 3)  # class 3 does not occur
    assert accuracy(np.zeros((2, 2))) == balanced_accuracy(np.zeros((2, 2))) == 0


def test_several_matrices_at_once():
    matrices = np.random.default_rng(0).integers(0, 9, (5, 3, 3))
    assert balanced_accuracy(matrices).tolist() == [float(balanced_accuracy(matrix)) for matrix in matrices]


@pytest.mark.parametrize(
    ("labels", "predictions", "message"), [([0], [0, 1], "shape"), ([0], [2], "`predictions`"), ([-1], [0], "`labels`")]
)
def test_wrong_arguments(labels, predictions, message):
    with pytest.raises(ValueError, match=message):
        confusion(labels, predictions, 2)


def test_the_interval_agrees_with_the_normal_one():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 2000)
    right = generator.random(2000) < 0.8
    found = bootstrap(labels, np.where(right, labels, 1 - labels), np.arange(2000), accuracy)
    error = 1.96 * np.sqrt(found.value * (1 - found.value) / 2000)
    assert found.value == pytest.approx(right.mean())
    assert found.value - found.low == pytest.approx(error, rel=0.1)
    assert found.high - found.value == pytest.approx(error, rel=0.1)


def test_items_of_one_group_count_as_one():
    generator = np.random.default_rng(0)
    labels = np.zeros(1000, dtype=int)
    predictions = np.repeat(generator.integers(0, 2, 20), 50)
    alone = bootstrap(labels, predictions, np.arange(1000), accuracy)
    grouped = bootstrap(labels, predictions, np.repeat(np.arange(20), 50), accuracy)
    assert grouped.value == alone.value
    assert grouped.high - grouped.low > 5 * (alone.high - alone.low)


def test_a_paired_difference_is_narrower_than_its_sides():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 1500)
    hard = generator.random(1500) < 0.3
    ours = np.where(hard, (labels + 1) % 3, labels)
    theirs = np.where(hard | (generator.random(1500) < 0.02), (labels + 1) % 3, labels)
    groups = np.arange(1500) // 3
    difference = bootstrap(labels, ours, groups, against=theirs)
    one = bootstrap(labels, ours, groups)
    assert difference.value == pytest.approx(one.value - bootstrap(labels, theirs, groups).value)
    assert difference.low > 0
    assert difference.high - difference.low < (one.high - one.low) / 2
    same = bootstrap(labels, ours, groups, against=ours)
    assert (same.value, same.low, same.high) == (0, 0, 0)
