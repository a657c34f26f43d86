"""Risk against closed forms, dense Hessians and the same sums taken another way."""

import copy
from typing import Any

import numpy as np
import pytest
import timm
import torch
from tests.contract.state import differences, lived_in, of
from torch import Tensor, nn
from torch.autograd.functional import hessian
from torch.func import functional_call

from alternet.data.augment import PAPER_CIFAR
from alternet.data.image_batches import Batches
from alternet.loss.parameters import chosen, decayed
from alternet.loss.penalty import SquaredNorm, SumOfNorms
from alternet.loss.risk import Risk
from alternet.subject.subject import Subject

K = 3


class Softmax(nn.Module):
    """Multinomial logistic regression."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(12, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1))


class Convolutions(nn.Module):
    """What second derivatives may stumble over in a CNN: BatchNorm, in-place activations, a skip, pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.branch = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.GELU())
        self.head = nn.Linear(4, K)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.silu(self.norm(self.stem(x)), inplace=True)
        x = x + self.branch(x)
        return self.head(nn.functional.avg_pool2d(x, 2).mean((2, 3)))


def vit() -> nn.Module:
    sizes: dict[str, Any] = {"img_size": 8, "patch_size": 4, "embed_dim": 8, "depth": 1, "num_heads": 2}
    return timm.create_model("vit_tiny_patch16_224", **sizes, mlp_ratio=1, num_classes=K)


NETWORKS = {"cnn": Convolutions, "vit": vit}


def subject(make: Any) -> Subject:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.4)
    return Subject(model, name="net", input_size=(3, 8, 8), mean=(0.5,) * 3, std=(0.25,) * 3)


def data(images: int = 7, batch_size: int = 4, side: int = 8, *, mixed: bool = True) -> Batches:
    generator = torch.Generator().manual_seed(1)
    pictures = torch.rand(images, 3, side, side, generator=generator)
    plain = Batches.of(pictures, torch.arange(images) % K, batch_size=batch_size)
    return plain.frozen(PAPER_CIFAR, seed=3) if mixed else plain


def loss_by_hand(net: Subject, batches: Batches, wd: float, l2: str) -> Any:
    """The loss over all images at once, as a function of the parameters by name; for torch.func."""
    images, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
    model = copy.deepcopy(net.model).double().eval()
    x = ((images - 0.5) / 0.25).double()
    names = decayed(net.model)

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            logits = functional_call(model, parameters, (x,))
        soft = targets.double() if targets.ndim == 2 else torch.eye(K, dtype=torch.float64)[targets]
        nll = -(soft * logits.log_softmax(1)).sum(1).mean()
        if l2 == "textbook":
            return nll + wd * sum(p.square().sum() for n, p in parameters.items() if n in names) / 2
        return nll + wd * sum(p.square().sum().sqrt() for p in parameters.values())

    return loss, {name: p.detach().double() for name, p in net.model.named_parameters()}


def dense(function: Any, parameters: dict[str, Tensor]) -> Tensor:
    """The whole Hessian, row by row; torch.func's is wrong for the weights of LayerNorm (torch 2.15): not symmetric."""
    sizes = [p.numel() for p in parameters.values()]

    def flat(theta: Tensor) -> Tensor:
        parts = zip(parameters, theta.split(sizes), strict=True)
        return function({name: part.view(parameters[name].shape) for name, part in parts})

    return hessian(flat, torch.cat([p.flatten() for p in parameters.values()]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("l2", ["textbook", "paper"])
def test_value_gradient_and_product_are_those_of_a_dense_hessian(kind: str, l2: Any) -> None:
    net, batches = subject(NETWORKS[kind]), data()
    function, parameters = loss_by_hand(net, batches, 0.7, l2)
    with Risk(net, batches, weight_decay=0.7, l2=l2, dtype=torch.float64) as risk:
        assert risk.value().loss == pytest.approx(function(parameters).item(), rel=1e-10)
        by_hand = torch.func.grad(function)(parameters)
        torch.testing.assert_close(risk.gradient(), risk.space.join(by_hand))
        vectors = torch.randn(risk.space.size, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        exact = dense(function, parameters)
        torch.testing.assert_close(risk.product(vectors), exact @ vectors)
        torch.testing.assert_close(risk.product(vectors[:, 0]), exact @ vectors[:, 0])


def test_the_hessian_of_logistic_regression_has_a_closed_form() -> None:
    net, batches = subject(Softmax), data(5, 5, side=2, mixed=False)
    images, _ = next(iter(batches))
    x = torch.cat([((images - 0.5) / 0.25).flatten(1), torch.ones(5, 1)], dim=1).double()
    with torch.no_grad():
        p = net.logits(images).double().softmax(1)
    curvature = torch.einsum("nk,kl->nkl", p, torch.eye(K, dtype=torch.float64)) - torch.einsum("nk,nl->nkl", p, p)
    exact = torch.einsum("nkl,ni,nj->kilj", curvature, x, x).div(5)  # [class, input, class, input], bias last
    with Risk(net, batches, weight_decay=0.0, dtype=torch.float64) as risk:
        whole = risk.product(torch.eye(risk.space.size, dtype=torch.float64))
    places = torch.cat([torch.arange(K * 12).view(K, 12), torch.arange(K * 12, K * 13)[:, None]], dim=1).flatten()
    torch.testing.assert_close(whole[places][:, places], exact.reshape(K * 13, K * 13), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("mixed", [True, False])
def test_value_says_what_the_loss_is_made_of(mixed: bool) -> None:
    net, batches = subject(Softmax), data(5, 2, side=2, mixed=mixed)
    images, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
    with torch.no_grad():
        logits = net.logits(images).double().numpy()
    soft = targets.numpy() if mixed else np.eye(K)[targets.numpy()]
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    with Risk(net, batches, weight_decay=0.1) as risk:
        value = risk.value()
    weight = net.model.get_parameter("fc.weight").detach().double()
    assert value.nll == pytest.approx(-(soft * log_p).sum(1).mean(), rel=1e-5)
    assert value.l2 == pytest.approx(0.5 * float((weight**2).sum()), rel=1e-6)
    assert value.loss == pytest.approx(value.nll + 0.1 * value.l2)
    assert value.accuracy == pytest.approx((logits.argmax(1) == soft.argmax(1)).mean())
    assert value.images == 5


def test_another_point_is_that_point_and_the_model_stays() -> None:
    net = subject(Convolutions)
    other = subject(Convolutions)
    for parameter in other.model.parameters():
        parameter.data += 0.1
    with Risk(net, data()) as here, Risk(other, data()) as there:
        theta = there.theta
        assert here.value(theta) == there.value() != here.value()
        torch.testing.assert_close(here.gradient(theta), there.gradient())
        torch.testing.assert_close(here.product(theta, theta), there.product(theta))


def test_micro_batches_change_no_number() -> None:
    net, batches = subject(Convolutions), data(8, 8)
    vector = torch.randn(Risk(net, batches).space.size, dtype=torch.float64)
    results = []
    for size in (0, 1, 3):
        with Risk(net, batches, micro_batch=size, dtype=torch.float64) as risk:
            curvature = risk.on(*next(iter(batches)))
            results.append((curvature.gradient, curvature(vector), curvature.products))
    for gradient, product, count in results[1:]:
        torch.testing.assert_close(gradient, results[0][0])
        torch.testing.assert_close(product, results[0][1])
        assert count == 1


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["branch.*", "conv", "head.bias"])
def test_a_part_of_the_parameters_gives_its_block(pattern: str) -> None:
    net, batches = subject(Convolutions), data()
    function, parameters = loss_by_hand(net, batches, 0.05, "textbook")
    exact = dense(function, parameters)
    with Risk(net, batches, parameters=pattern, dtype=torch.float64) as risk:
        offsets = dict(zip(parameters, np.cumsum([0, *(p.numel() for p in parameters.values())]), strict=False))
        rows = torch.cat([torch.arange(parameters[n].numel()) + int(offsets[n]) for n in risk.space.names])
        assert 0 < len(rows) < len(exact)
        torch.testing.assert_close(risk.product(torch.eye(len(rows), dtype=torch.float64)), exact[rows][:, rows])
        assert risk.value().loss == pytest.approx(function(parameters).item())


def test_what_no_parameter_answers_to_is_refused() -> None:
    net = subject(Convolutions)
    assert chosen(net, "conv") == ["branch.0.weight", "branch.0.bias", "branch.1.weight", "branch.1.bias"]
    with pytest.raises(ValueError, match=r"No parameter of 'net' answers to 'branch.0.wieght'.*branch.0.weight"):
        Risk(net, data(), parameters="branch.0.wieght")
    with pytest.raises(
        ValueError, match=r"answers to 'msa'. Give all, a kind of unit that it has \(conv, pool, stem\)"
    ):
        Risk(net, data(), parameters="msa")


class Numbers(Softmax):
    """Logistic regression with a parameter that is no real number."""

    def __init__(self, numbers: Tensor) -> None:
        super().__init__()
        self.numbers = nn.Parameter(numbers, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.numbers.real


def test_parameters_that_are_no_real_numbers_do_not_vary() -> None:
    whole = Subject(Numbers(torch.arange(K)), name="net")
    assert chosen(whole, "all", frozen=True) == ["fc.weight", "fc.bias"]
    with Risk(whole, data(side=2), frozen=True) as risk:
        assert risk.gradient().norm() > 0
    with pytest.raises(ValueError, match="'net' has the complex parameter numbers, expected real ones"):
        chosen(Subject(Numbers(torch.ones(K, dtype=torch.complex64)), name="net"), "all", frozen=True)
    with pytest.raises(ValueError, match="'net' has no parameter to vary"):
        chosen(Subject(nn.Flatten(), name="net"), "all")


def test_weight_decay_acts_by_timms_rule_on_frozen_parameters_too() -> None:
    model = vit()
    model.get_parameter("blocks.0.attn.qkv.weight").requires_grad_(False)
    names = decayed(model)
    assert "blocks.0.attn.qkv.weight" in names
    assert not names & {"pos_embed", "cls_token", "head.bias", "norm.weight"}


def test_a_caller_in_inference_mode_gets_derivatives_too() -> None:
    net, batches = subject(Softmax), data(side=2)
    with Risk(net, batches) as risk:
        expected = risk.product(risk.gradient())
    with torch.inference_mode(), Risk(net, batches) as risk:
        torch.testing.assert_close(risk.product(risk.gradient()), expected)


@pytest.mark.parametrize("batch_norm", ["running", "batch"])
def test_the_model_is_left_as_it_was(batch_norm: Any) -> None:
    net = subject(Convolutions)
    lived_in(net.model)
    before = of(net.model)
    with Risk(net, data(), batch_norm=batch_norm) as risk:
        risk.value(risk.theta + 1)
        risk.product(risk.gradient())
    assert differences(before, of(net.model)) == []
    with pytest.raises(KeyboardInterrupt), Risk(net, data(), batch_norm=batch_norm) as risk:
        raise KeyboardInterrupt
    assert differences(before, of(net.model)) == []


class Shared(nn.Module):
    """A layer under two names, and two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.tied, self.head = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, K)
        self.tied.weight = self.first.weight
        self.again = self.head

    def forward(self, x: Tensor) -> Tensor:
        return self.again(self.tied(self.first(x.flatten(1)).tanh()).tanh())


def test_shared_layers_and_weights_count_once_and_stay() -> None:
    net, batches = subject(Shared), data(side=2)
    loss, parameters = loss_by_hand(net, batches, wd=0.1, l2="textbook")
    before = of(net.model)
    with Risk(net, batches, weight_decay=0.1, dtype=torch.float64) as risk:
        assert risk.space.names == ("first.weight", "first.bias", "tied.bias", "head.weight", "head.bias")
        risk.value(risk.theta + 1)
        found = risk.product(torch.eye(risk.space.size, dtype=torch.float64))
    torch.testing.assert_close(found, dense(loss, parameters))
    assert differences(before, of(net.model)) == []


def test_statistics_of_the_batch_are_those_of_training() -> None:
    net, batches = subject(Convolutions), data(8, 8)
    with Risk(net, batches, batch_norm="batch", weight_decay=0.0) as risk:
        value = risk.value().nll
    images, targets = next(iter(batches))
    logits = copy.deepcopy(net.model).train()((images - 0.5) / 0.25)
    assert value == pytest.approx(nn.functional.cross_entropy(logits, targets).item(), rel=1e-5)
    with pytest.raises(ValueError, match="micro_batch=2 would change the statistics"):
        Risk(net, batches, batch_norm="batch", micro_batch=2)


def test_the_graph_of_a_batch_is_kept_for_further_products() -> None:
    net, batches = subject(Convolutions), data(4, 4)
    calls = []
    net.model.register_forward_hook(lambda *_: calls.append(0))
    with Risk(net, batches) as risk:
        curvature = risk.on(*next(iter(batches)))
        calls.clear()
        vector = torch.ones(risk.space.size)
        first, *others = (curvature(vector) for _ in range(3))
        assert len(calls) == 1
        again = risk.on(*next(iter(batches)))
        torch.testing.assert_close(again.gradient, curvature.gradient)
        again(vector)
    assert len(calls) == 2 and all(torch.equal(first, other) for other in others)


def test_the_value_on_other_batches_is_theirs() -> None:
    net, others = subject(Convolutions), data(9, 3, mixed=False)
    with Risk(net, data()) as here, Risk(net, others) as there:
        assert here.value(batches=others) == there.value() != here.value()


@pytest.mark.parametrize("shape", [(3,), (1024,), (700, 41, 11)])
def test_the_penalty_is_summed_to_as_many_digits_as_the_parameters_have(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    exact = float(weight.double().square().sum())
    assert float(SquaredNorm({"w"}).value({"w": weight})) == pytest.approx(exact / 2, rel=2e-7)
    assert float(SumOfNorms().value({"w": weight, "v": weight})) == pytest.approx(2 * exact**0.5, rel=2e-7)


@pytest.mark.parametrize("name", ["levit_128s", pytest.param("efficientformer_l1", marks=pytest.mark.slow)])
def test_what_a_network_keeps_of_its_weights_is_not_that_of_others(name: str) -> None:
    """LeViT reads its attention biases once a device, and from then on keeps them."""
    torch.manual_seed(0)
    net = Subject(timm.create_model(name, num_classes=K).eval(), name=name)
    batches = Batches.of(torch.rand(2, *net.input_size), torch.tensor([0, 1]), classes=[str(k) for k in range(K)])
    with torch.no_grad():  # as it is made, its branches are scaled with 0
        for parameter in net.model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        other = copy.deepcopy(net.model)
        for key, parameter in other.named_parameters():
            if key.endswith("attention_biases"):
                parameter += 3 * torch.randn_like(parameter)
    _ = net.taps  # a pass that fills the caches
    with Risk(net, batches) as risk, Risk(Subject(other, name=name), batches) as expected:
        theta = risk.space.join(dict(other.named_parameters()))
        here, there = risk.value(), risk.value(theta)
        assert there.nll == pytest.approx(expected.value().nll, rel=1e-6)
        assert abs(there.nll - here.nll) > 1e-4
        torch.testing.assert_close(risk.gradient(theta), expected.gradient(), rtol=1e-3, atol=1e-5)
        assert risk.value().nll == here.nll
