from types import SimpleNamespace

import pytest
import torch
from torch import nn

from shared.finetuning.keep import KeepBest


def run(folder, scores, patience):
    """Give the scores one after another, the start first; return the epoch that training ended with and the
    weight that was kept, which is the epoch's number."""
    model, given = nn.Linear(1, 1, bias=False), iter(scores)
    keep = KeepBest(model, lambda: {"score": next(given), "loss": 1.0}, folder, patience)
    for epoch in range(len(scores)):
        with torch.no_grad():
            model.weight.fill_(epoch)
        state, control = SimpleNamespace(global_step=epoch * 10, epoch=float(epoch)), SimpleNamespace()
        if epoch == 0:
            keep.on_train_begin(None, state, control)
        else:
            keep.on_epoch_end(None, state, control)
        if getattr(control, "should_training_stop", False):
            break
    keep.restore()
    return epoch, model.weight.item()


@pytest.mark.parametrize(
    ("scores", "patience", "ended", "kept"),
    [
        ([0.5, 0.6, 0.7, 0.65, 0.66, 0.9], 2, 4, 2),  # two epochs without a better one
        ([0.9, 0.6, 0.7, 0.8, 0.85, 0.95], 2, 5, 5),  # rising all the time, at last above the start
        ([0.9, 0.6, 0.7, 0.65, 0.66, 0.95], 2, 4, 0),  # the start was better than all that was tuned
        ([0.5, 0.4, 0.3, 0.2, 0.1], None, 4, 0),
    ],
)
def test_patience_counts_from_the_best_epoch_and_the_start_may_be_kept(
    tmp_path, scores, patience, ended, kept
):
    assert run(tmp_path, scores, patience) == (ended, kept)
