"""Small variants of every model module of timm and of torchvision, and a ViT of transformers.

Asked of each: units, grids, kinds, silence, the model left as it was, and the same units at other sizes of images.

`coverage.csv` names those of timm, one for each design that a module holds. Its columns: the module; the variant; the
image size; settings of `create_model`; a size that makes some grid odd and a rectangular one, empty where the model
refuses all that were tried; the classes of the layers that attend over the map, told by reading each module (not those
that read the map into a class token); how many of the maps that timm itself offers (`forward_intermediates`) are maps
of ours, at every size, and how many it offers.
"""

import csv
import inspect
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from packaging.version import Version
from timm.models import _registry
from torch import Tensor, nn

from alternet.probe.probe import Probe
from alternet.subject.loading import load
from alternet.subject.subject import Subject
from alternet.taps.find import Tap
from alternet.taps.trace import nothing_hidden

HERE = Path(__file__).parent
TESTED = "1.0.31"
"""The version of timm that `coverage.csv` was reviewed with."""

UNSUPPORTED: dict[str, str] = {}
"""Modules that cannot be tapped, and why."""


@dataclass(frozen=True)
class Case:
    """A row of the table."""

    module: str
    variant: str
    size: int
    settings: str
    odd: str
    wide: str
    attention: str
    maps: str

    def subject(self, height: int, width: int) -> Subject:
        torch.manual_seed(0)
        settings = json.loads(self.settings or "{}")
        if "img_size" in settings:
            settings["img_size"] = (height, width)
        model = timm.create_model(self.variant, num_classes=7, **settings)
        return Subject(model.eval(), name=self.variant, input_size=(3, height, width))


def enliven(model: nn.Module) -> None:
    """Move every gain, bias and constant off its initial value, so that no branch is silent from the start."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim <= 1 or parameter.numel() == max(parameter.shape) or parameter.std() < 1e-3:
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)


def table() -> list[Case]:
    with (HERE / "coverage.csv").open(newline="") as lines:
        rows = [Case(**{**row, "size": int(row["size"])}) for row in csv.DictReader(lines)]
    return [row for row in rows if row.variant in set(timm.list_models())]


CASES = {case.variant: case for case in table()}


@dataclass
class Pass:
    """What one model showed."""

    subject: Subject
    plain: Tensor
    features: dict[str, Tensor]


STATED = Version("1.0.31")
"""The timm whose maps the table states; earlier ones offer those of fewer networks."""

ALWAYS = {
    "crossvit_tiny_240", "gmlp_ti16_224", "levit_128s", "mobilevit_xxs", "resnet18", "swin_tiny_patch4_window7_224",
    "test_coatnet", "test_convnext", "test_efficientnet", "test_resnet", "test_vit",
}  # fmt: skip
"""Asked whenever tests run, one for each way to lay out a map; all others only in `make thorough`."""


def by_duration(names: Iterable[str]) -> list[Any]:
    return [
        pytest.param(name, marks=[getattr(pytest.mark, "slow" if name in ALWAYS else "thorough")]) for name in names
    ]


@pytest.mark.parametrize("variant", by_duration(CASES))
def test_model(variant: str) -> None:
    """All that is asked of one model at its own size; in one test, so that it is made once and not kept."""
    case = CASES[variant]
    seen = what_is_asked_of_every_model(case.subject(case.size, case.size), case.attention.split())
    offered = as_stated(maps_that_timm_offers(seen))
    none_yet = Version(timm.__version__) < STATED and offered == "0/0"
    assert none_yet or offered == case.maps


@pytest.mark.thorough
@pytest.mark.parametrize("variant", [case.variant for case in CASES.values() if case.odd or case.wide])
def test_model_at_other_sizes(variant: str) -> None:
    """The same units, whatever the size, and the same maps of timm among them."""
    case = CASES[variant]
    own = units(case.subject(case.size, case.size))
    for size in filter(None, (case.odd, case.wide)):
        height, width = map(int, size.split("x"))
        seen = observe_without_a_trace(case.subject(height, width))
        every_feature_is_a_map(seen)
        assert units(seen.subject) == own
        assert as_stated(maps_that_timm_offers(seen)) == case.maps


def units(subject: Subject) -> list[tuple[str, str, str | None]]:
    return [(tap.name, tap.kind, tap.skip) for tap in subject.taps]


def as_stated(matches: list[bool]) -> str:
    return f"{sum(matches)}/{len(matches)}"


TORCHVISION = {
    "alexnet": "",
    "convnext_tiny": "",
    "densenet121": "",
    "efficientnet_b0": "",
    "googlenet": "",
    "inception_v3": "",
    "maxvit_t": "RelativePositionalMultiHeadAttention",
    "mnasnet0_5": "",
    "mobilenet_v2": "",
    "mobilenet_v3_small": "",
    "regnet_y_400mf": "",
    "resnet18": "",
    "shufflenet_v2_x0_5": "",
    "squeezenet1_1": "",
    "swin_t": "ShiftedWindowAttention",
    "swin_v2_t": "ShiftedWindowAttentionV2",
    "vgg11": "",
    "vit_b_32": "MultiheadAttention",
}
"""The smallest classifier of each module of torchvision, with the class of its attention layers."""


@pytest.mark.parametrize("name", by_duration(TORCHVISION))
def test_torchvision(name: str) -> None:
    subject = load(f"tv:{name}")
    what_is_asked_of_every_model(subject, TORCHVISION[name].split())


ONE_SIZE = {"maxvit_t", "vit_b_32"}
"""Those of torchvision that refuse images of another size than they were made for."""

ADAPTED = {"alexnet", "vgg11"}
"""Those with a pool to a fixed size ahead of the classifier, which is a unit where it changes something."""


@pytest.mark.thorough
@pytest.mark.parametrize("name", sorted(set(TORCHVISION) - ONE_SIZE))
@pytest.mark.parametrize("size", [(100, 100), (112, 160)])
def test_torchvision_at_other_sizes(name: str, size: tuple[int, int]) -> None:
    model = load(f"tv:{name}")
    other = observe_without_a_trace(Subject(model.model, name=name, input_size=(3, *size)))
    every_feature_is_a_map(other)
    ours = [unit for unit in units(other.subject) if not (name in ADAPTED and unit[0] == "avgpool")]
    assert ours == units(model)


def test_every_module_of_torchvision_is_in_the_table() -> None:
    builders = {name: torchvision.models.get_model_builder(name) for name in TORCHVISION}
    everything = torchvision.models.list_models(module=torchvision.models)
    modules = {torchvision.models.get_model_builder(name).__module__ for name in everything}
    assert {builder.__module__ for builder in builders.values()} == modules


def test_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=32, patch_size=8
    )
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    transformers.ViTImageProcessor().save_pretrained(tmp_path)
    seen = what_is_asked_of_every_model(load(f"hf:{tmp_path}"), ["ViTAttention"])
    assert [tap.kind for tap in seen.subject.taps] == ["stem", *["msa", "mlp"] * 3]
    assert seen.subject.taps[-1].shape == (32, 4, 4)


def what_is_asked_of_every_model(subject: Subject, attention: list[str]) -> "Pass":
    seen = observe_without_a_trace(subject)
    every_feature_is_a_map(seen)
    as_many_attention_units_as_layers(seen, attention)
    taps = [tap for tap in seen.subject.taps if tap.silenceable]
    for unit in sorted({0, len(taps) // 2, len(taps) - 1} if taps else ()):
        silence_leaves_the_skip(seen, taps[unit])
    return seen


def observe_without_a_trace(subject: Subject) -> Pass:
    """The output is bit for bit the plain one, and the model is left as it was."""
    enliven(subject.model)
    with torch.no_grad(), nothing_hidden():
        plain = subject.logits(subject.example())
    before = {name: value.clone() for name, value in subject.model.state_dict().items()}
    with Probe(subject) as probe:
        features, logits = probe.features(subject.example())
    assert torch.equal(logits, plain)
    assert all(torch.equal(before[name], value) for name, value in subject.model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in subject.model.modules())
    return Pass(subject, plain, features)


def every_feature_is_a_map(seen: Pass) -> None:
    """Every tap was reached and gives [n, c, h, w] of the shape it states."""
    assert len(seen.subject.taps) >= 5
    assert {t.name: (2, *t.shape) for t in seen.subject.taps} == {n: tuple(f.shape) for n, f in seen.features.items()}
    assert all(feature.isfinite().all() for feature in seen.features.values())
    assert seen.subject.taps[0].kind == "stem"


def as_many_attention_units_as_layers(seen: Pass, names: list[str]) -> None:
    """Count the calls of the attention layers, known by their class."""
    calls: Counter[str] = Counter()
    layers = [layer for layer in seen.subject.model.modules() if type(layer).__name__ in names]
    count = [layer.register_forward_hook(lambda m, args, out: calls.update([type(m).__name__])) for layer in layers]
    with torch.no_grad():
        seen.subject.logits(seen.subject.example())
    for handle in count:
        handle.remove()
    assert set(calls) == set(names)
    assert sum(tap.kind == "msa" for tap in seen.subject.taps) == sum(calls.values())


def maps_that_timm_offers(seen: Pass) -> list[bool]:
    """Whether each map that timm lays out itself, by code of each family, is one of ours: the true grid."""
    offer = getattr(seen.subject.model, "forward_intermediates", None)
    if offer is None:
        return []
    settings = {"intermediates_only": True, "norm": False, "output_fmt": "NCHW"}
    settings = {k: v for k, v in settings.items() if k in inspect.signature(offer).parameters}
    with torch.no_grad():
        maps = offer(seen.subject.normalise(seen.subject.example()), **settings)
    ours = seen.features.values()
    return [any(f.shape == m.shape and torch.allclose(f, m, rtol=1e-4, atol=1e-4) for f in ours) for m in maps]


def silence_leaves_the_skip(seen: Pass, tap: Tap) -> None:
    """What is left without the branch is the skip, and the classifier notices."""
    whole, skip, branch, logits = _silenced(seen.subject, tap)
    torch.testing.assert_close(whole, skip + branch, rtol=0, atol=0)
    assert branch.abs().max() > 0
    assert not torch.equal(logits, seen.plain)


def _silenced(subject: Subject, tap: Tap) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The sum, the sum without the branch, the branch, and the output without it; read at the addition itself."""
    assert tap.sum is not None
    at_sum, branches = replace(tap, read=tap.sum), []

    def nothing(branch: Tensor) -> Tensor:
        branches.append(tap.layout.lay(branch.clone()))
        return torch.zeros_like(branch)

    with Probe(subject, [at_sum]) as probe:
        whole, _ = probe.features(subject.example())
        with probe.intervene(tap, nothing):
            skip, logits = probe.features(subject.example())
    return whole[tap.name], skip[tap.name], branches[0], logits


def test_every_module_of_timm_is_in_the_table() -> None:
    theirs = {name for name in timm.list_models() if timm.model_entrypoint(name).__module__.startswith("timm.")}
    modules = {_registry._model_to_module[name] for name in theirs}
    missing = modules - {case.module for case in CASES.values()} - set(UNSUPPORTED)
    assert timm.__version__ != TESTED or not missing


def test_the_documented_coverage_is_the_measured_one() -> None:
    page = (HERE.parents[1] / "docs" / "taps.md").read_text(encoding="utf-8")
    stated = re.search(r"(\d+) of (\d+) model modules of timm ([\d.]+\d)", page)
    assert stated is not None
    with (HERE / "coverage.csv").open(newline="") as lines:
        rows = len({row["module"] for row in csv.DictReader(lines)})
    assert stated.groups() == (str(rows), str(rows + len(UNSUPPORTED)), TESTED)
    assert rows >= 0.9 * (rows + len(UNSUPPORTED))
