"""Losses that have no second derivative, no finite value or no meaning are refused, and the model is left as it was."""

from typing import Any

import pytest
import torch
from tests.loss.test_risk import Softmax, data, subject
from torch import Tensor, nn

from alternet.data.image_batches import Batches
from alternet.loss.risk import Risk


class Careless(Softmax):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(x))


def test_a_model_that_is_random_in_evaluation_is_refused_and_left_as_it_was() -> None:
    net = subject(Careless)
    net.model.train()
    with (
        pytest.raises(ValueError, match="answers the same images differently when asked twice"),
        Risk(net, data(side=2)),
    ):
        pass
    assert net.model.training


def test_a_model_without_a_finite_answer_is_refused_as_such() -> None:
    net = subject(Softmax)
    net.model.get_parameter("fc.bias").data[0] = float("nan")
    with (
        pytest.raises(ValueError, match="'net' gives logits that are infinite or not a number"),
        Risk(net, data(side=2)),
    ):
        pass


def test_labels_and_images_are_needed() -> None:
    with pytest.raises(ValueError, match="needs labels, but 'tensors' has none"):
        Risk(subject(Softmax), Batches.of(torch.rand(2, 3, 2, 2)))
    with pytest.raises(ValueError, match="no image"), Risk(subject(Softmax), data(2, side=2, mixed=False).shard(3, 4)):
        pass


@pytest.mark.parametrize("work", ["value", "gradient"])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 5]), "The data has the label 5, but the model knows 3 classes, 0 to 2"),
        (torch.tensor([0, -1]), "The loss needs a label for every image, but some have none"),
        (torch.full((2, 4), 0.25), "The data has 4 classes, but the model knows 3"),
    ],
)
def test_labels_that_the_model_does_not_know_are_refused(labels: Tensor, message: str, work: str) -> None:
    batches = Batches.of(torch.rand(2, 3, 2, 2), torch.tensor([0, 1]))
    with Risk(subject(Softmax), batches) as risk:
        risk.batches = [(torch.rand(2, 3, 2, 2), labels)]  # pyright: ignore[reportAttributeAccessIssue]
        with pytest.raises(ValueError, match=message):
            getattr(risk, work)()


class Square(torch.autograd.Function):
    """Its backward works on plain numbers, and is marked so."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return 2 * ctx.saved_tensors[0] * gradients[0]


class OnceDifferentiable(Softmax):
    def forward(self, x: Tensor) -> Tensor:
        return Square.apply(super().forward(x))


class Detached(Softmax):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().forward(x)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (OnceDifferentiable, "marked as once differentiable"),
        (Detached, "does not require grad"),
    ],
)
def test_a_loss_without_a_second_derivative_is_refused(make: Any, reason: str) -> None:
    message = f"The loss of 'net' cannot be differentiated twice by these parameters .*{reason}.*Give the plain nn.Mod"
    with Risk(subject(make), data(side=2)) as risk, pytest.raises(ValueError, match=message):
        risk.product(risk.theta)


class Wide(Softmax):
    """Two more classes than the data has, which it never thinks of, or one fewer."""

    def __init__(self, more: int) -> None:
        super().__init__()
        self.more = more

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(super().forward(x), (0, self.more), value=-1e4)


@pytest.mark.parametrize("mixed", [False, True])
def test_a_model_may_know_more_classes_than_the_data_and_not_fewer(mixed: bool) -> None:
    batches = data(side=2, mixed=mixed)
    with Risk(subject(Softmax), batches) as few, Risk(subject(lambda: Wide(2)), batches) as many:
        assert many.value() == few.value()
    with Risk(subject(lambda: Wide(-1)), batches) as risk, pytest.raises(ValueError, match="model knows 2"):
        risk.value()


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="got micro_batch=-3, expected a number of images"):
        Risk(subject(Softmax), data(), micro_batch=-3)
    with pytest.raises(ValueError, match="'net' has no parameter to vary"):
        Risk(subject(nn.Flatten), data())
