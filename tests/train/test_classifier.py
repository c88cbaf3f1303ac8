import numpy as np
import pytest
import torch
from torch import nn

from pylatent.errors import ModelError
from pylatent.train.classifier import ClassifierRecipe, predict, train_classifier

LABELS = np.array([0] * 40 + [1] * 8 + [2] * 12)
ITEMS = torch.randn(60, 5, generator=torch.Generator().manual_seed(0)) + 3 * torch.eye(5)[LABELS]
RECIPE = ClassifierRecipe(epochs=6, epoch_size=30, batch=10, learning_rate=0.05)


def make():
    torch.manual_seed(0)
    return nn.Linear(5, 3)


def fetch(positions):
    return ITEMS[torch.from_numpy(positions)]


def test_training_learns_and_ends_in_eval_mode():
    model = make()
    before = (predict(model, fetch, 60).argmax(1).numpy() == LABELS).mean()
    assert not train_classifier(model, fetch, LABELS, RECIPE).training
    probabilities = predict(model, fetch, 60, batch=7)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(60))
    assert (probabilities.argmax(1).numpy() == LABELS).mean() > max(0.85, before)


def test_every_class_is_drawn_equally_often_and_the_rate_falls():
    drawn, losses = [], []

    def record(positions):
        drawn.extend(LABELS[positions])
        return fetch(positions)

    train_classifier(make(), record, LABELS, RECIPE, report=losses.append)
    assert np.bincount(drawn).tolist() == [60, 60, 60]
    assert [report.epoch for report in losses] == [epoch for epoch in range(6) for _ in range(3)]
    assert losses[-1].fraction == 1


def test_a_run_that_was_cut_ends_as_one_that_was_not(tmp_path):
    whole = train_classifier(make(), fetch, LABELS, RECIPE)
    checkpoint = tmp_path / "checkpoint.pt"

    def stop(epoch):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_classifier(make(), fetch, LABELS, RECIPE, checkpoint=checkpoint, after_epoch=stop)
    epochs = []
    again = train_classifier(make(), fetch, LABELS, RECIPE, checkpoint=checkpoint, after_epoch=epochs.append)
    assert epochs == [3, 4, 5]
    for ours, theirs in zip(again.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_checkpoint_of_another_run(tmp_path):
    checkpoint = tmp_path / "checkpoint.pt"
    train_classifier(make(), fetch, LABELS, RECIPE, checkpoint=checkpoint)
    with pytest.raises(ModelError, match="choose another folder"):
        train_classifier(make(), fetch, LABELS, ClassifierRecipe(epochs=7), checkpoint=checkpoint)
    with pytest.raises(ModelError, match="another architecture"):
        train_classifier(nn.Linear(5, 4), fetch, LABELS, RECIPE, checkpoint=checkpoint)


def test_frozen_parameters_stay():
    model = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 3))
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    train_classifier(model, fetch, LABELS, RECIPE)
    assert torch.equal(model[0].weight, before)
