"""Transplants: a network whose chosen units attend, planned from what one forward pass shows of them."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from torch import Tensor, nn

from alternet.errors import unknown
from alternet.models.transplanted import Graft, grafted
from alternet.settings import from_text, require_known
from alternet.subject.subject import Subject
from alternet.taps.find import Address, Tap
from alternet.taps.graph import MIXING, Graph
from alternet.taps.operations import ACTIVATIONS
from alternet.taps.trace import Scope, Value, record
from alternet.untouched import untouched

WRITTEN = re.compile(r"(?P<base>.+)\+msa\((?P<plan>[^()]*)\)(?:@(?P<weights>.+))?")

Units = Sequence[str] | Mapping[str, Mapping[str, Any]]
CHOSEN = ("heads", "head_dim", "window_size", "relative_bias", "attention", "zero_init")
"""Settings of a graft that are the user's; the others follow from the network."""


def transplant(
    model: nn.Module | Subject,
    units: Units,
    *,
    form: Literal["conv", "unit"] = "conv",
    seed: int = 0,
    input_size: tuple[int, int, int] | None = None,
    **settings: Any,
) -> nn.Module:
    """A copy of a network in which chosen units attend; everything else keeps its weights (paper, section 4).

    Args:
        model: The network, or a Subject that holds it; it stays as it is.
        units: Names of units as `alternet taps` gives them, or a mapping from names to settings of their own. Where a
            unit holds several places, as a block of DenseNet, the path of a module in it that holds one.
        form: "conv" puts windowed attention in the place of the unit's spatial convolution, as Srinivas et al. (2021)
            do in BoTNet; of several in a row it takes the last. "unit" puts AlterNet's attention unit (figure 3c) in
            the place of the whole residual unit, activated before or after as that was.
        seed: Seed of the new weights.
        input_size: Channels, height and width of the images, where the network does not declare them.
        settings: For all units, which may differ from them: `heads`, `head_dim`, `window_size` (7), `relative_bias`
            (True), `attention` ("dynamic", or "static": the same windows with weights that do not depend on the image),
            `zero_init` (False; True lets the attention begin with zeros). By default heads have 64 channels. All heads
            together are as wide as the convolution's output, or a quarter of it where that has groups (such a
            convolution is cheap, attention over all its channels is not); in a unit three times as wide as its inner
            map, which gives AlterNet's 3, 6, 12 and 24 heads.

    Returns:
        A network of the same class in the same mode. Follow it with `alternet.recalibrate` if it was trained: the batch
        statistics behind the new places are those of the old ones.

    Raises:
        ValueError: A unit that is not there or cannot be replaced, with the reason; a setting that there is not.

    Examples:
        >>> import torch
        >>> body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU())
        >>> net = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
        >>> changed = transplant(net, ["0.2"], heads=2, window_size=4, input_size=(3, 32, 32))
        >>> type(changed[0][2].attn).__name__, changed(torch.zeros(1, 3, 20, 32)).shape
        ('WindowAttention', torch.Size([1, 5]))
    """
    subject = model if isinstance(model, Subject) else Subject(model, name=type(model).__name__, input_size=input_size)
    plan = plan_transplant(subject, units, form=form, **settings)
    return grafted(deepcopy(subject.model), plan, seed=seed)


def plan_transplant(
    subject: Subject, units: Units, *, form: Literal["conv", "unit"] = "conv", **settings: Any
) -> list[Graft]:
    """The plan of a transplant: what `alternet.models.transplanted.grafted` puts where.

    The arguments and errors are those of `transplant`.
    """
    if form not in ("conv", "unit"):
        raise ValueError(f"transplant got form={form!r}, expected 'conv' or 'unit'.")
    if isinstance(units, str):
        raise ValueError(
            f"transplant got units={units!r}, expected a list of names or a mapping from them to settings."
        )
    asked = dict(units) if isinstance(units, Mapping) else {name: {} for name in units}
    if not asked:
        raise ValueError("transplant got no units, expected at least one name. `alternet taps -m MODEL` lists them.")
    network = _Network(subject)
    return [network.graft(name, form, {**settings, **own}) for name, own in asked.items()]


@dataclass(frozen=True)
class Written:
    """A transplant as a MODEL says it: `BASE+msa(UNIT[:SETTING=VALUE]...,SETTING=VALUE)[@WEIGHTS]`.

    Attributes:
        base: The MODEL that attention is put into, with its weights.
        units: Its units, each with settings of its own.
        settings: Settings of all of them; `form` is one.
        weights: A file of weights of the whole, or nothing.

    Examples:
        >>> written = Written.of("resnet50@pretrained+msa(layer4.2, layer3.5:heads=12, form=unit)")
        >>> written.base, written.units, written.settings
        ('resnet50@pretrained', {'layer4.2': {}, 'layer3.5': {'heads': 12}}, {'form': 'unit'})
        >>> Written.of("resnet50") is None
        True
    """

    base: str
    units: dict[str, dict[str, Any]]
    settings: dict[str, Any]
    weights: str = ""

    @classmethod
    def of(cls, model: str) -> "Written | None":
        """What a MODEL says, if attention is put into it.

        Raises:
            ValueError: A setting that there is not, or with a value that it does not take.
        """
        said = WRITTEN.fullmatch(model)
        if said is None:
            return None
        units, general = {}, {}
        for item in filter(None, (part.strip() for part in said["plan"].split(","))):
            name, *settings = item.split(":")
            if settings and "=" not in settings[0]:  # the second unit of a module is called MODULE:2
                name = f"{name}:{settings.pop(0)}"
            if "=" in name:
                general |= _settings([name, *settings])
            else:
                units[name] = _settings(settings)
        return cls(said["base"], units, general, said["weights"] or "")


def _settings(items: Iterable[str]) -> dict[str, Any]:
    pairs = {key.strip(): text.strip() for key, _, text in (item.partition("=") for item in items)}
    require_known(Graft, pairs, "+msa(...)")
    return {key: from_text(Graft, key, text) for key, text in pairs.items()}


class _Network:
    """A network with one traced pass of it, which says what lies where."""

    def __init__(self, subject: Subject) -> None:
        self.subject, self.model = subject, subject.model
        self.taps = subject.taps
        with untouched(self.model):
            trace = record(self.model, subject.normalise(subject.example()))
        self.graph = Graph(trace)
        self.scopes = trace.scopes

    def graft(self, name: str, form: str, settings: dict[str, Any]) -> Graft:
        """What takes a unit's place."""
        for key in settings:
            if key not in CHOSEN:
                require_known(Graft, {key: 0}, "transplant")
                raise ValueError(f"transplant cannot set {key!r}: it follows from the network.")
        tap = next((tap for tap in self.taps if tap.name == name), None)
        inner = dict.fromkeys(a for tap in self.taps for a in tap.spatial if f"{a.module}.".startswith(f"{name}."))
        if tap is not None and form == "unit":
            return self._unit(tap, settings)
        if tap is None and (form == "unit" or not inner):
            raise unknown(f"{self.subject.name} has no unit", name, [tap.name for tap in self.taps])
        kind = "" if tap is None else f"it is of kind {tap.kind} and has no convolution over several positions"
        spatial = inner if tap is None else tap.spatial
        self._require(name, len(spatial) > 0, kind)
        return self._convolution(name, [self._value(address) for address in spatial], tap, settings)

    def _convolution(self, name: str, places: list[Value], tap: Tap | None, settings: dict[str, Any]) -> Graft:
        """Attention in the place of a unit's last spatial convolution, or of the one within a path that is no unit."""
        paths = list(dict.fromkeys(value.call.scope.path for value in places if value.call))
        in_a_row = all(self.graph.is_from(b.index, a.index) for a, b in pairwise(places))
        together = len({path.rpartition(".")[0] for path in paths}) == 1  # conv1 and conv2 of a block, not two blocks
        shown = ", ".join(paths[:4]) + ", ..." * (len(paths) > 4)
        many = (
            f"it holds {len(places)} convolutions side by side or in modules of their own ({shown}); name one of these"
        )
        self._require(name, in_a_row and together and (tap is not None or len(places) == 1), many)
        value = places[-1]
        assert value.call is not None
        path, conv = value.call.scope.path, value.call.scope.module
        self._require(name, isinstance(conv, nn.Conv2d), f"{path} is no nn.Conv2d but {type(conv).__name__}")
        assert isinstance(conv, nn.Conv2d)
        calls = sum(scope.path == path for scope in self.scopes)
        self._require(name, calls == 1, f"{path} is called {calls} times a pass")
        owners = {
            p for p, m in self.model.named_modules(remove_duplicate=False) if getattr(m, "weight", 0) is conv.weight
        }
        self._require(name, len(owners) == 1, f"{path} shares its weight with {', '.join(sorted(owners - {path}))}")
        given, made = self._map(value.call.scope.inputs[0]), self._map(value.call.scope.outputs[0])
        return self._checked(
            settings,
            path,
            form="conv",
            channels=(conv.in_channels, conv.out_channels),
            inner=conv.out_channels if conv.groups == 1 else max(conv.out_channels // 4, 1),
            **self._steps(name, given, made, tuple(conv.stride)),
        )

    def _unit(self, tap: Tap, settings: dict[str, Any]) -> Graft:
        """AlterNet's attention unit in the place of a residual unit, which must be all that one module does."""
        name = tap.name
        self._require(name, tap.sum is not None, f"it is no residual unit (kind {tap.kind}); form='conv' may do")
        assert tap.sum is not None
        total = self._value(tap.sum)
        assert total.call is not None
        scope = total.call.scope
        others = [
            t.name for t in self.taps if t.sum and f"{t.sum.module}.".startswith(f"{scope.path}.") and t is not tap
        ]
        self._require(
            name, scope.path != "" and not others, f"{scope.path or 'the network'} holds {', '.join(others)} too"
        )
        end = self.graph.values[scope.outputs[0]] if len(scope.outputs) == 1 else None
        after = None if end is None or end is total else end.call
        whole = len(scope.inputs) == 1 and end is not None and self.graph.is_from(end.index, total.index)
        whole = whole and (after is None or (after.name in ACTIVATIONS and total.index in after.inputs))
        self._require(name, whole, f"{scope.path} does more than this unit, or takes more than one map")
        assert end is not None
        source = scope.inputs[0]
        within = self.graph.between(source, total.index)
        first = next(i for i in within if (c := self.graph.values[i].call) and c.name in MIXING)
        normed = any((c := self.graph.values[i].call) and "norm" in c.name for i in within if i < first)
        activated = "before" if normed else "never" if after is None else "after"
        given, made = self.graph.values[source], end
        # As wide inside as the spatial convolution that it replaces; where that has groups, it is wide as it is cheap.
        width, conv = made.shape[1] // 4 or 1, self._value(tap.spatial[-1]).call if tap.spatial else None
        if conv is not None and conv.argument(6, "groups", 1) == 1:
            width = self.graph.values[conv.inputs[0]].shape[1]
        return self._checked(
            settings,
            scope.path,
            form="unit",
            channels=(given.shape[1], made.shape[1]),
            inner=3 * int(width),
            width=int(width),
            activated=activated,
            shortcut=self._inner(scope, lambda s: s.inputs == (source,) and self._is_skip(s, total, tap)),
            activation=self._inner(scope, lambda s: after is not None and s.outputs == (end.index,)),
            **self._steps(name, self._map(source), self._map(end.index), None),
        )

    def _is_skip(self, scope: Scope, total: Value, tap: Tap) -> bool:
        assert total.call is not None
        return tap.skip == "projected" and scope.outputs == (total.call.inputs[1 if tap.skip_last else 0],)

    def _inner(self, home: Scope, is_it: Callable[[Scope], bool]) -> str | None:
        """Path, within a module, of the outermost module of its pass that is meant."""
        inner = (s for s in self.scopes if s.path.startswith(f"{home.path}.") and is_it(s))
        return next((s.path.removeprefix(f"{home.path}.") for s in inner), None)

    def _checked(
        self, chosen: dict[str, Any], path: str, *, inner: int, channels: Iterable[int], **facts: Any
    ) -> Graft:
        """The graft; heads that are not set are 64 channels wide and `inner` channels together."""
        heads, (dim_in, dim_out) = chosen.get("heads"), map(int, channels)
        head_dim = chosen.get("head_dim") or (
            max(inner // heads, 1) if isinstance(heads, int) and heads > 0 else min(64, inner)
        )
        chosen = {"head_dim": head_dim, "heads": max(inner // head_dim, 1)} | chosen
        return Graft(module=path, channels=(dim_in, dim_out), **facts, **chosen)

    def _steps(self, name: str, given: Tensor, made: Tensor, stride: tuple[int, ...] | None) -> dict[str, Any]:
        """The stride between two maps, and how it rounds what does not divide."""
        before, after = tuple(given.shape[2:]), tuple(made.shape[2:])
        steps = stride or tuple(max(round(b / a), 1) for b, a in zip(before, after, strict=True))
        for ceil in (True, False):
            if after == tuple(-(-b // s) if ceil else b // s for b, s in zip(before, steps, strict=True)):
                return {"stride": steps, "ceil": ceil}
        sizes = f"{before[0]} x {before[1]} into {after[0]} x {after[1]}"
        raise self._refused(name, f"it makes a map of {sizes}, which is no average over {steps[0]} x {steps[1]}")

    def _map(self, index: int) -> Tensor:
        return self.graph.values[index].tensor

    def _value(self, address: Address) -> Value:
        return next(
            value
            for value in self.graph.values
            if (call := value.call)
            and (call.scope.path, call.name, call.ordinal, value.place)
            == (address.module, address.function, address.ordinal, address.place)
        )

    def _require(self, name: str, fits: bool, reason: str) -> None:
        if not fits:
            raise self._refused(name, reason)

    def _refused(self, name: str, reason: str) -> ValueError:
        return ValueError(f"Unit {name!r} of {self.subject.name} cannot be replaced: {reason}.")
