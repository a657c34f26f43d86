"""Steps that are more than one pass: parts of a batch, sharpness-aware steps, frozen parts, rates by layer."""

import copy
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.distributed as dist
from tests.training.test_trainer import batch, trainer
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parallel import DistributedDataParallel

from alternet import transplant
from alternet.models import NAMES
from alternet.training.recipe import Recipe
from alternet.training.trainer import Trainer

Weights = dict[str, Tensor]


def network(norm: Callable[[int], nn.Module] = nn.Identity, drop: float = 0.0) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), norm(4), nn.Tanh(), nn.Dropout(drop), nn.Flatten(), nn.Linear(16, 4))


def groups(channels: int) -> nn.Module:
    return nn.GroupNorm(2, channels)


def weights(net: nn.Module) -> Weights:
    return {name: value.detach().clone() for name, value in net.state_dict().items()}


def assert_close(one: Weights, other: Weights, **tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], msg=lambda text, name=name: f"{name}: {text}", **tolerance)


@pytest.mark.parametrize("parts", [2, 4, 6])
@pytest.mark.parametrize("options", [{"clip_grad": 0.05}, {"opt": "adamw", "model_ema": True, "model_ema_decay": 0.5}])
def test_a_batch_in_parts_is_learnt_as_a_whole(parts: int, options: dict[str, Any]) -> None:
    """Four parts of six images are of unequal size."""
    nets = [network(groups).double() for _ in range(2)]
    losses: list[list[float]] = [[], []]
    averages = []
    for net, steps, seen in zip(nets, (1, parts), losses, strict=True):
        learning = trainer(net, grad_accum_steps=steps, **options)
        for seed in range(3):
            images, targets = batch(seed)
            seen.append(learning.step(images.double(), targets).item())
        averages.append(weights(learning.networks().get("ema", net)))
    assert losses[1] == pytest.approx(losses[0], rel=1e-12)
    assert_close(weights(nets[1]), weights(nets[0]), rtol=1e-9, atol=1e-12)
    assert_close(averages[1], averages[0], rtol=1e-9, atol=1e-12)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[None]:
    """A group of processes of which this one is all."""
    dist.init_process_group("gloo", store=dist.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("parts", [1, 3])
def test_gradients_are_exchanged_once_a_step_and_whole(parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alternet.training.trainer.world_size", lambda: 2)
    net, twin = network(groups), network(groups)
    learning = trainer(net, grad_accum_steps=parts)
    assert isinstance(learning._network, DistributedDataParallel)
    exchanged: list[Tensor] = []

    def note(state: None, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        del state
        exchanged.append(bucket.buffer().clone())
        future: torch.futures.Future[Tensor] = torch.futures.Future()
        future.set_result(bucket.buffer())
        return future

    learning._network.register_comm_hook(None, note)
    for seed in range(2):
        learning.step(*batch(seed))
    assert len(exchanged) == 2  # one bucket a step
    nn.functional.cross_entropy(twin(learning.normalise(batch(0)[0])), batch(0)[1]).backward()
    whole = math.sqrt(sum(p.grad.square().sum().item() for p in twin.parameters() if p.grad is not None))
    assert exchanged[0].norm().item() == pytest.approx(whole, rel=1e-5)


def test_each_part_has_batch_statistics_of_its_own() -> None:
    net = network(nn.BatchNorm2d)
    twin = copy.deepcopy(net)
    learning = trainer(net, grad_accum_steps=2)
    images, targets = batch()
    learning.step(images, targets)
    for part in learning.normalise(images).split(3):
        twin(part)
    assert_close(
        {name: value for name, value in weights(net).items() if name.startswith("1.") and "running" in name},
        {name: value for name, value in weights(twin).items() if "running" in name},
    )
    assert net.state_dict()["1.num_batches_tracked"] == 2


def gradients(net: nn.Module, at: Weights, parts: list[tuple[Tensor, Tensor]]) -> Weights:
    """Of the mean loss over the images of all parts, at other weights; buffers are not kept."""
    leaves = {name: value.clone().requires_grad_() for name, value in at.items()}
    buffers = {name: value.clone() for name, value in net.named_buffers()}
    count = sum(len(images) for images, _ in parts)
    loss = torch.zeros((), dtype=torch.float64)
    for images, targets in parts:
        logits = functional_call(net, leaves | buffers, (images,))
        loss = loss + nn.functional.cross_entropy(logits, targets, reduction="sum") / count
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("adaptive", [False, True])
def test_a_sharpness_aware_step_by_hand(adaptive: bool, parts: int) -> None:
    """Foret et al. (2021, equation 2) and Kwon et al. (2021, equation 8): w <- w - lr g(w + e), clipped.

    Dropout draws the same in both passes, and batch statistics are those of the first.
    """
    rho, lr, bound = 0.3, 0.1, 0.02
    net = network(nn.BatchNorm2d, drop=0.5).double()
    twin, options = copy.deepcopy(net), {"sam": "asam" if adaptive else "sam", "sam_rho": rho}
    learning = trainer(net, clip_grad=bound, grad_accum_steps=parts, **options)
    images, targets = batch()
    pairs = list(zip(learning.normalise(images.double()).split(6 // parts), targets.split(6 // parts), strict=True))

    at = {name: value.detach() for name, value in twin.named_parameters()}
    torch.manual_seed(7)
    g = gradients(twin, at, pairs)
    scale = {name: value.abs() if adaptive else torch.ones_like(value) for name, value in at.items()}
    norm = math.sqrt(sum((scale[name] * g[name]).square().sum().item() for name in g))
    torch.manual_seed(7)
    there = gradients(twin, {name: at[name] + rho * scale[name] ** 2 * g[name] / norm for name in g}, pairs)
    whole = math.sqrt(sum(value.square().sum().item() for value in there.values()))
    assert whole > bound
    expected = {name: at[name] - lr * there[name] * bound / whole for name in at}
    torch.manual_seed(7)
    for part, _ in pairs:
        twin(part)  # the statistics of one pass

    torch.manual_seed(7)
    learning.step(images.double(), targets)
    # pytorch_optimizer takes the norm in single precision
    assert_close({name: value.detach() for name, value in net.named_parameters()}, expected, rtol=1e-6, atol=1e-8)
    assert_close(dict(net.named_buffers()), dict(twin.named_buffers()))


@pytest.mark.parametrize("sam", ["sam", "asam"])
def test_a_sharpness_aware_trainer_goes_on_bit_for_bit(sam: str) -> None:
    options = {"opt": "adamw", "sam": sam, "amp_dtype": "bfloat16"}
    first = trainer(network(groups), **options)
    for seed in range(2):
        first.step(*batch(seed))
    second = trainer(network(groups), **options)
    second.load(copy.deepcopy(first.state()))
    for learning in (first, second):
        learning.step(*batch(2))
    assert all(torch.equal(value, second.model.state_dict()[name]) for name, value in first.model.state_dict().items())
    assert not [name for state in first.optimizer.state.values() for name in state if name == "old_p"]


def test_a_sharpness_aware_step_in_bfloat16_goes_by_the_moved_weights() -> None:
    """A half-precision copy of the weights that outlived the first pass would give the plain step."""
    moved: dict[str, Weights] = {}
    for sam in ("none", "sam"):
        for half in ("float32", "bfloat16"):
            net = network(groups)
            trainer(net, sam=sam, sam_rho=1.0, amp_dtype=half).step(*batch())
            moved[sam, half] = weights(net)
    apart = (moved["sam", "float32"]["5.weight"] - moved["none", "float32"]["5.weight"]).abs().max()
    off = (moved["sam", "bfloat16"]["5.weight"] - moved["sam", "float32"]["5.weight"]).abs().max()
    assert off < 0.2 * apart


def test_without_its_package_a_sharpness_aware_recipe_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pytorch_optimizer", None)
    with pytest.raises(ValueError, match=r"sam: asam needs pytorch_optimizer. Install it with: pip install 'alternet"):
        trainer(network(), sam="asam")


def test_what_is_frozen_stays_and_its_norms_keep_their_statistics() -> None:
    net = nn.Sequential(network(nn.BatchNorm2d)[:3], nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 4))
    before = weights(net)
    learning = trainer(net, freeze=["0", "*.bias", "!3.bias"], weight_decay=0.1, opt="adamw")
    assert learning.said == (
        "72 of 196 parameters are trained, the others are frozen. Norms that keep their statistics: 1.",
    )
    learning.train()
    learning.step(*batch())
    changed = {name for name, value in weights(net).items() if not torch.equal(value, before[name])}
    statistics = {f"1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert changed == {"1.weight", "3.weight", "3.bias"} | statistics


def test_all_but_the_head() -> None:
    net = timm.create_model("preresnet_mini", num_classes=4)
    learning = trainer(net, freeze=["all-but-head"])
    assert {name for name, p in net.named_parameters() if p.requires_grad} == {"head.fc.weight", "head.fc.bias"}
    learning.train()
    assert {type(module) for module in net.modules() if isinstance(module, nn.BatchNorm2d) and module.training} == set()


@pytest.mark.parametrize(
    ("patterns", "says"),
    [
        (["stages.1", "stagse.0"], "no module or parameter 'stagse.0'. Did you mean stages.0"),
        (["!heads"], "no module or parameter 'heads'"),
        (["*"], "leaves nothing to train"),
    ],
)
def test_what_cannot_be_frozen_is_told(patterns: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        trainer(timm.create_model("preresnet_mini"), freeze=patterns)


def scales(net: nn.Module, factor: float = 0.5) -> Weights:
    """The factor of every parameter's learning rate, by name."""
    groups = trainer(net, layer_decay=factor, opt="adamw").optimizer.param_groups
    of = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    return {name: torch.tensor(of[id(p)]) for name, p in net.named_parameters()}


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(("mini", "tiny"))])
def test_the_rate_of_each_layer_of_our_networks_falls_towards_the_input(name: str) -> None:
    net = timm.create_model(name, num_classes=4)
    rates = scales(net)
    blocks: dict[tuple[str, ...], set[float]] = {}
    for key, value in rates.items():
        if not key.startswith(("stem", "head", "pos_embed", "cls_token", "patch_embed", "norm")):
            deep = 3 if key.startswith("stages") else 2
            blocks.setdefault(tuple(key.split(".")[:deep]), set()).add(value.item())
    ladder = [block.pop() for block in blocks.values() if len(block) == 1]
    assert len(ladder) == len(blocks) > 1
    assert ladder == pytest.approx([0.5 ** (len(ladder) - i) for i in range(len(ladder))])
    assert {rates[key].item() for key in rates if key.startswith("head.fc")} <= {1.0}
    assert {rates[key].item() for key in rates if key.startswith("stem")} <= {0.5 ** (len(ladder) + 1)}


def test_attention_learns_at_the_rate_of_its_place() -> None:
    net = timm.create_model("test_resnet", num_classes=4)
    there = scales(transplant(net, ["layer2.0"], heads=2))
    (rate,) = {value.item() for name, value in there.items() if ".attn." in name}
    assert rate == there["layer2.0.conv1.weight"].item() < 1


def test_the_schedule_moves_all_rates_and_the_log_names_the_whole_one() -> None:
    net = timm.create_model("preresnet_mini", num_classes=4)
    learning = trainer(net, layer_decay=0.5, sched="cosine", epochs=2)
    images, targets = batch()
    for _ in range(3):
        learning.step(nn.functional.interpolate(images, 32), targets)
    assert learning.lr == pytest.approx(0.05)
    assert min(group["lr"] for group in learning.optimizer.param_groups) < 0.05 / 4


def test_a_network_without_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="layer_decay has no effect: timm sees no layers in Sequential"):
        trainer(nn.Sequential(nn.Flatten(), nn.Linear(48, 4)), layer_decay=0.5)


@pytest.mark.slow
def test_a_compiled_network_learns_the_same_under_the_same_names() -> None:
    plain, compiled = network(groups), network(groups)
    for net, option in ((plain, False), (compiled, True)):
        learning = trainer(net, torchcompile=option, model_ema=True, grad_accum_steps=2)
        assert learning.state()["model"].keys() == plain.state_dict().keys()
        for seed in range(2):
            learning.step(*batch(seed))
    assert_close(weights(compiled), weights(plain))


def test_more_parts_than_images_are_refused() -> None:
    with pytest.raises(ValueError, match="grad_accum_steps is 9, more than the 8 images of a step"):
        Recipe(batch_size=8, grad_accum_steps=9)


def test_every_optimiser_clips_ahead_of_its_step() -> None:
    from timm.optim import list_optimizers

    for name in map(str, list_optimizers()):
        net = nn.Sequential(nn.Flatten(), nn.Linear(48, 4))
        facts = {"device": torch.device("cpu"), "steps_per_epoch": 1, "mean": (0.5,) * 3, "std": (0.2,) * 3}
        try:
            learning = Trainer(model=net, recipe=Recipe(opt=name, clip_grad=1e-3), **facts)
        except (RuntimeError, TypeError, ImportError, AssertionError):  # bitsandbytes and APEX are not here
            continue
        assert getattr(type(learning.optimizer).step, "hooked", False), name
