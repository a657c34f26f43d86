"""One step of the trainer against the formulas of its parts, written out by hand."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from alternet.training.recipe import Recipe
from alternet.training.trainer import Trainer

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def network(width: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width * 4, 4))


def trainer(net: nn.Module, **options: Any) -> Trainer:
    recipe = Recipe(**{"lr": 0.1, "sched": "multistep", "opt": "momentum", "momentum": 0.0} | options)
    return Trainer(model=net, recipe=recipe, device=torch.device("cpu"), steps_per_epoch=2, mean=MEAN, std=STD)


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(6, 3, 4, 4, generator=generator), torch.randint(4, (6,), generator=generator)


def by_hand(net: nn.Module, images: Tensor, targets: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Loss and gradients: cross-entropy against the classes or a distribution over them."""
    shape = (1, 3, 1, 1)
    logits = net((images - torch.tensor(MEAN).view(shape)) / torch.tensor(STD).view(shape))
    wanted = targets if targets.ndim == 2 else torch.eye(4)[targets]
    loss = -(wanted * log_softmax(logits, 1)).sum(1).mean()
    return loss.detach(), list(torch.autograd.grad(loss, list(net.parameters())))


@pytest.mark.parametrize("spared", [True, False])
def test_a_step_of_gradient_descent_with_decay(spared: bool) -> None:
    net = network()
    twin = copy.deepcopy(net)
    loss, gradients = by_hand(twin, *batch())
    options = {"weight_decay": 0.2, "filter_bias_and_bn": spared}
    assert trainer(net, **options).step(*batch()).item() == pytest.approx(loss.item(), rel=1e-6)
    for new, old, gradient in zip(net.parameters(), twin.parameters(), gradients, strict=True):
        decay = 0.0 if spared and old.ndim < 2 else 0.2
        torch.testing.assert_close(new, old - 0.1 * (gradient + decay * old))


def test_mixed_targets_are_learnt_as_probabilities() -> None:
    net = network()
    images, _ = batch()
    soft = torch.rand(6, 4).softmax(1)
    loss, _ = by_hand(copy.deepcopy(net), images, soft)
    assert trainer(net).step(images, soft).item() == pytest.approx(loss.item(), rel=1e-6)


def test_the_norm_of_the_gradient_is_clipped() -> None:
    net = network()
    twin = copy.deepcopy(net)
    _, gradients = by_hand(twin, *batch())
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    assert norm > 0.05
    trainer(net, clip_grad=0.05).step(*batch())
    for new, old, gradient in zip(net.parameters(), twin.parameters(), gradients, strict=True):
        torch.testing.assert_close(new, old - 0.1 * gradient * (0.05 / norm))


def test_each_gradient_is_clipped_by_value() -> None:
    net = network()
    twin = copy.deepcopy(net)
    _, gradients = by_hand(twin, *batch())
    bound = 0.01
    assert {bool(gradient.abs().max() > bound) for gradient in gradients} == {True, False}
    trainer(net, clip_grad=bound, clip_mode="value").step(*batch())
    for new, old, gradient in zip(net.parameters(), twin.parameters(), gradients, strict=True):
        torch.testing.assert_close(new, old - 0.1 * gradient.clamp(-bound, bound))


def test_the_average_s_decay_may_begin_low() -> None:
    net = network()
    learning = trainer(net, model_ema=True, model_ema_decay=0.5, model_ema_warmup=True)
    weight = net.get_parameter("3.weight")
    average = weight.detach().clone()
    for step, decay in enumerate([0.0, 1 - 2 ** (-2 / 3), 0.5, 0.5]):  # 1 - (1 + n) ** (-2 / 3), at most 0.5
        learning.step(*batch(step))
        average = decay * average + (1 - decay) * weight.detach()
    torch.testing.assert_close(learning.networks()["ema"].state_dict()["3.weight"], average)


def test_the_average_follows_its_recurrence() -> None:
    net = network()
    learning = trainer(net, model_ema=True, model_ema_decay=0.75)
    weight = net.get_parameter("3.weight")
    average, first = weight.detach().clone(), True
    for seed in range(4):
        learning.step(*batch(seed))
        decay = 0.0 if first else 0.75  # timm's average begins with the first step's weights
        average, first = decay * average + (1 - decay) * weight.detach(), False
    kept = learning.networks()["ema"].state_dict()
    torch.testing.assert_close(kept["3.weight"], average)
    assert not torch.allclose(kept["3.weight"], weight)
    assert kept["1.num_batches_tracked"] == 4


def test_the_rate_of_each_step_is_the_schedule_s() -> None:
    learning = trainer(network(), sched="cosine", epochs=2, warmup_epochs=1, sched_on_updates=True)
    rates = []
    for seed in range(4):
        learning.step(*batch(seed))
        rates.append(learning.lr)
    cosine = [0.1 / 2 * (1 + math.cos(math.pi * time / 2)) for time in (1.0, 1.5)]
    assert rates == pytest.approx([0.0, 0.05, *cosine])


def test_half_precision_computes_in_bfloat16_and_keeps_float32_weights() -> None:
    net, dtypes = network(), []
    net[-1].register_forward_hook(lambda _module, _inputs, output: dtypes.append(output.dtype))
    loss = trainer(net, amp_dtype="bfloat16").step(*batch())
    assert dtypes == [torch.bfloat16]
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    exact = trainer(network()).step(*batch())
    assert 0 < abs(loss.item() - exact.item()) < 0.05


@pytest.mark.parametrize("opt", ["adamw", "momentum"])
def test_a_loaded_trainer_goes_on_bit_for_bit(opt: str) -> None:
    options = {"opt": opt, "momentum": 0.9, "model_ema": True, "model_ema_warmup": True, "sched": "cosine", "epochs": 3}
    first = trainer(network(), **options)
    for seed in range(3):
        first.step(*batch(seed))
    state = copy.deepcopy(first.state())
    second = trainer(network(), **options)
    second.load(state)
    for learning in (first, second):
        learning.step(*batch(3))
    for ours, theirs in zip(first.networks().values(), second.networks().values(), strict=True):
        assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())
    assert first.lr == second.lr


def test_a_weight_or_a_buffer_that_is_no_number_is_found() -> None:
    for place in ("3.weight", "1.running_var"):
        learning = trainer(network(), model_ema=True)
        assert learning.finite()
        learning.networks()["ema"].state_dict()[place].view(-1)[0] = float("inf")
        assert not learning.finite()


def test_channels_last_changes_where_numbers_lie_and_no_number() -> None:
    plain, last = network(), network()
    for net, option in ((plain, False), (last, True)):
        for seed in range(3):
            trainer(net, channels_last=option).step(*batch(seed))
    assert last[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert trainer(last, channels_last=True).normalise(batch()[0]).is_contiguous(memory_format=torch.channels_last)
    for ours, theirs in zip(last.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
