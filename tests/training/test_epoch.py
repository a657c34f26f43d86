"""An epoch: its mean loss, the test, and how a loss that is no number stops everything before it is stored."""

from collections.abc import Iterator

import pytest
import torch
from tests.training.toy import pictures
from torch import nn

from alternet.training import epoch as epochs
from alternet.training.epoch import Losses, Stopwatch, evaluate, train_epoch
from alternet.training.recipe import Recipe
from alternet.training.trainer import Trainer


def trainer(steps: int = 100) -> Trainer:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(192, 4))
    recipe = Recipe(opt="momentum", lr=0.1, sched="multistep")
    device = torch.device("cpu")
    return Trainer(model=net, recipe=recipe, device=device, steps_per_epoch=steps, mean=(0.5,) * 3, std=(0.2,) * 3)


def test_the_loss_is_the_mean_over_images_not_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    learning, losses = trainer(), iter([1.0, 4.0])
    monkeypatch.setattr(learning, "step", lambda *_: torch.tensor(next(losses)))
    images, classes = pictures(10, 0)
    mean, speed, waited = train_epoch(learning, [(images[:8], classes[:8]), (images[8:], classes[8:])])
    assert mean == pytest.approx((8 * 1.0 + 2 * 4.0) / 10)
    assert speed > 0 and waited >= 0


def test_training_switches_dropout_on_and_the_test_off() -> None:
    learning = trainer()
    images, classes = pictures(50, 0)
    train_epoch(learning, [(images, classes)])
    assert learning.model.training
    evaluate(learning.model, learning, [(images, classes)])
    assert not learning.model.training


def test_the_test_counts_every_image_once_whatever_the_batches() -> None:
    learning = trainer()
    images, classes = pictures(47, 3)
    logits = learning.model.eval()((images - 0.5) / 0.2).double().detach()
    right = sum(int(row.argmax() == truth) for row, truth in zip(logits, classes, strict=True))
    surprise = [-torch.log(torch.exp(row[k]) / torch.exp(row).sum()) for row, k in zip(logits, classes, strict=True)]
    for size in (47, 10, 1):
        batches = list(zip(images.split(size), classes.split(size), strict=True))
        accuracy, nll = evaluate(learning.model, learning, batches)
        assert accuracy == right / 47
        assert nll == pytest.approx(float(torch.stack(surprise).mean()), rel=1e-6)


def test_nothing_to_test_on_is_told() -> None:
    learning = trainer()
    with pytest.raises(ValueError, match="No image to test on"):
        evaluate(learning.model, learning, [])


@pytest.mark.parametrize("every", [1, 4, 50])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_first_loss_that_is_no_number_is_named_at_the_latest_at_the_end(
    monkeypatch: pytest.MonkeyPatch, every: int, bad: float
) -> None:
    learning = trainer(steps=5)
    monkeypatch.setattr(epochs, "CHECK_EVERY", every)
    monkeypatch.setattr(epochs, "world_size", lambda: 2)  # looks as seldom as with a GPU
    watched = Losses(learning)

    def learn() -> None:
        for step in range(9):
            learning.steps = step + 1
            watched.add(torch.tensor(bad if step >= 6 else 1.0), 2)
        learning.optimizer.param_groups[0]["lr"] = 7.0
        watched.check()

    with pytest.raises(
        FloatingPointError, match=r"epoch 2, step 2 of 5, at learning rate 0\.1\b.*epoch before is kept"
    ):
        learn()


def test_the_end_of_an_epoch_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    learning = trainer()
    monkeypatch.setattr(epochs, "world_size", lambda: 2)
    monkeypatch.setattr(learning, "step", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(FloatingPointError, match="loss is not finite"):
        train_epoch(learning, [pictures(4, 0)])


def test_the_earliest_of_all_processes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    learning = trainer(steps=5)
    monkeypatch.setattr(epochs, "gather", lambda found: [found, (2, 0.3), None])
    learning.steps = 9
    with pytest.raises(FloatingPointError, match=r"epoch 1, step 3 of 5, at learning rate 0\.3\b"):
        Losses(learning).add(torch.tensor(float("nan")), 2)


def test_on_a_cpu_the_very_step_stops() -> None:
    learning = trainer()
    watched = Losses(learning)
    learning.steps = 1
    with pytest.raises(FloatingPointError, match=r"epoch 1, step 1 .*no epoch was finished"):
        watched.add(torch.tensor(float("nan")), 2)


def test_weights_that_the_last_step_broke_are_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    learning = trainer()

    def break_it(*_: object) -> torch.Tensor:
        learning.steps += 1
        with torch.no_grad():
            next(learning.model.parameters()).fill_(float("inf"))
        return torch.tensor(1.0)

    monkeypatch.setattr(learning, "step", break_it)
    with pytest.raises(FloatingPointError, match="A weight is not finite"):
        train_epoch(learning, [pictures(4, 0)])


def test_the_watch_measures_the_waiting_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(epochs.time, "perf_counter", lambda: clock[0])

    def slow() -> Iterator[int]:
        for item in range(3):
            clock[0] += 2.0
            yield item

    watch = Stopwatch()
    for _ in watch.timed(slow()):
        clock[0] += 10.0
    assert watch.seconds == 6.0
