"""Taps: the places in a network where a feature map can be read or a residual branch silenced."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from torch import Tensor, nn

from alternet.errors import nearest
from alternet.taps.blocks import PlainBlock, PlainBlocks
from alternet.taps.graph import Graph
from alternet.taps.kinds import BranchKinds, alike
from alternet.taps.layout import Layout, layout_of
from alternet.taps.operations import ACTIVATIONS
from alternet.taps.pixels import PixelMap
from alternet.taps.trace import Scope, Trace, Value, record, scopes_around
from alternet.taps.units import PROJECTED, ResidualSum, ResidualSums
from alternet.untouched import no_inference, untouched


@dataclass(frozen=True, kw_only=True)
class Address:
    """Which call of a pass made a value: the `ordinal`-th call of `function` while `module` was the innermost module.

    The function "output" stands for what the module returned; `place` counts tensors where there are several.
    """

    module: str
    function: str
    ordinal: int
    place: int = 0

    @property
    def spot(self) -> tuple[str, str, int]:
        """The call alone, whichever of its tensors is meant."""
        return self.module, self.function, self.ordinal


@dataclass(frozen=True, kw_only=True)
class Tap:
    """One unit of a network: where its feature map is read, and where its branch meets the skip.

    Attributes:
        unit: Number of the unit, from 0 in forward order.
        name: Readable and unique: the path of the module that computes the unit, as in `blocks.3.attn`; the second
            unit of a module ends in `:2`.
        kind: Name of one of `alternet.kinds.KINDS`.
        stage: Counts the resolutions of the maps from 0, in the order in which they first appear.
        depth: 0 at the first unit to 1 at the last.
        shape: Channels, height and width of the feature map of the traced image size.
        read: Where the feature map arises.
        layout: How it lies there.
        sum: The addition that ends the unit; None for a unit by its output.
        skip: What the skip does to the unit's input: "identity", "scaled" (elementwise or normalised) or "projected"
            (convolved or pooled); None where no one operand of an addition is the skip.
        skip_last: Whether the skip is the second operand of the addition.
        convolutions: The spatial convolutions in the branch, if each of them keeps channels and resolution, so that its
            input could stand in for it; empty otherwise.
        spatial: All convolutions over several positions that act in the unit, in forward order.
    """

    unit: int
    name: str
    kind: str
    stage: int
    depth: float
    shape: tuple[int, int, int]
    read: Address
    layout: Layout
    sum: Address | None = None
    skip: str | None = None
    skip_last: bool = False
    convolutions: tuple[Address, ...] = ()
    spatial: tuple[Address, ...] = ()

    @property
    def silenceable(self) -> bool:
        """Whether the unit is "skip + branch", so that the branch can be changed or left out."""
        return self.skip is not None


def find_taps(
    model: nn.Module,
    inputs: Tensor,
    *,
    prefix_tokens: int = 0,
    grid: tuple[int, int] | None = None,
    name: str = "the model",
) -> tuple[Tap, ...]:
    """Find every unit of a network by tracing one forward pass; the model is left as it was.

    Args:
        model: The network.
        inputs: At least two images as the network takes them, normalised and on its device [n, c, h, w].
        prefix_tokens: Class and register tokens before the grid of patches, where the pass cannot tell.
        grid: Height and width of the patch grid, likewise.
        name: What the model is called, for messages.

    Returns:
        The units in forward order: see `docs/taps.md` for what counts as a unit.

    Raises:
        ValueError: No unit was found, or nothing tells how a feature map lies.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 10))
        >>> [(tap.name, tap.kind, tap.shape) for tap in find_taps(net, torch.rand(2, 3, 8, 8))]
        [('0', 'stem', (8, 6, 6)), ('2', 'pool', (8, 3, 3))]
    """
    with untouched(model), no_inference():
        trace = record(model, inputs.clone())  # some models write into their input
    units = _TapFinder(trace, PixelMap(trace, prefix=prefix_tokens, grid=grid)).taps()
    if not units and trace.lists:
        raise ValueError(
            f"{name!r} takes a list of images of any size and gives a dictionary for each, as detection networks do: "
            "it copies each image by itself into a batch, where no map can be followed to the pixels. Measure the "
            "network inside that makes its maps: Subject(model.backbone, name=..., input_size=(3, 224, 224))."
        )
    if not units:
        raise ValueError(
            f"No unit found in {name!r}: no feature map [n, c, h, w], [n, h, w, c] or [n, tokens, c] could be "
            "followed from the images. Give the plain nn.Module (not compiled or scripted)."
        )
    return units


def find_tap(taps: Iterable[Tap], name: str) -> Tap:
    """The tap of a name.

    Raises:
        ValueError: There is none; near matches are offered.
    """
    by_name = {tap.name: tap for tap in taps}
    if name not in by_name:
        near = nearest(name, by_name, shown=5)
        raise ValueError(f"No tap {name!r} among the {len(by_name)} of this model. Did you mean {near}?")
    return by_name[name]


@dataclass(frozen=True)
class _Unit:
    """A unit before it is numbered.

    Attributes:
        read: Index in the trace of its feature map.
        ends: Index of the value that tells its place in forward order.
        sum: The residual sum, if it is "skip + branch".
        convolutions: Those that their input could stand in for.
        spatial: All that reach over several positions.
    """

    read: int
    ends: int
    kind: str
    name: str
    sum: ResidualSum | None = None
    convolutions: tuple[Value, ...] = ()
    spatial: tuple[Value, ...] = ()


class _TapFinder:
    """Turns a trace into taps."""

    def __init__(self, trace: Trace, pixels: PixelMap) -> None:
        self.graph, self.pixels = Graph(trace), pixels
        self.kinds = BranchKinds(self.graph, self.pixels)
        self.sums = ResidualSums(self.graph, self.pixels, self.kinds).find()
        self.blocks = PlainBlocks(self.graph, self.pixels, self.kinds, self.sums).find()

    def taps(self) -> tuple[Tap, ...]:
        """The units in forward order, numbered and named apart."""
        units = [self.of_sum(s) for s in self.sums] + [self.of_block(b) for b in self.blocks]
        units.sort(key=lambda unit: unit.ends)
        seen: Counter[str] = Counter()
        grids: list[tuple[int, int]] = []
        taps = []
        for number, unit in enumerate(units):
            seen[unit.name] += 1
            again = seen[unit.name]
            layout = layout_of(self.pixels, unit.read)
            assert layout is not None
            stage = next((place for place, grid in enumerate(grids) if alike(grid, layout.grid)), len(grids))
            if stage == len(grids):
                grids.append(layout.grid)
            tap = Tap(
                unit=number,
                name=unit.name if again == 1 else f"{unit.name}:{again}",
                kind=unit.kind,
                stage=stage,
                depth=number / max(len(units) - 1, 1),
                shape=(self.graph.values[unit.read].shape[layout.channel_axis], *layout.grid),
                read=self._address(unit.read),
                layout=layout,
                convolutions=tuple(self._address(value.index) for value in unit.convolutions),
                spatial=tuple(self._address(value.index) for value in unit.spatial),
            )
            if unit.sum is not None:
                at = self._address(unit.sum.value)
                tap = replace(tap, sum=at, skip=unit.sum.skip_kind, skip_last=unit.sum.swapped)
            taps.append(tap)
        return tuple(taps)

    def of_sum(self, found: ResidualSum) -> _Unit:
        """The unit that a residual sum ends: what ran in the branch, without the units within it, tells the kind."""
        span = self.graph.between(found.fork, found.branch)
        inner = [s for s in self.sums if s.value in span]
        theirs = {i for s in inner for i in self.graph.between(s.fork, s.branch)}
        layers = [value for value in self.kinds.layers_acting(span, found.branch) if value.index not in theirs]
        moves = {call.name for i in span if i not in theirs and (call := self.graph.values[i].call)}
        kind = self.kinds.kind(layers, moves) or "mlp"
        if found.skip_kind in (PROJECTED, None) and self._is_first(found.value):
            kind = "stem"
        spatial = [value for value in layers if self.kinds.spatial(value)]
        home, children = self.graph.values[found.value].call, self.graph.children[found.value]
        assert home is not None
        read = found.value
        if len(children) == 1 and (user := self.graph.values[children[0]].call) is not None:
            # Where the module of the sum activates it at once and uses nothing else, the map is the activated sum: that
            # of a post-activation ResNet is the output of its block, as in the paper.
            read = children[0] if user.name in ACTIVATIONS and home.scope in user.scope.up() else read
        return _Unit(
            read=read,
            ends=found.value,
            kind=kind,
            name=_path(layers, home.scope),
            sum=found,
            convolutions=tuple(spatial if all(map(self.kinds.keeps_map, spatial)) else ()),
            spatial=tuple(spatial),
        )

    def of_block(self, block: PlainBlock) -> _Unit:
        """The unit that a block without a skip is."""
        kind = self.kinds.kind(block.layers) or "mlp"
        before, after = layout_of(self.pixels, block.start), layout_of(self.pixels, block.read)
        assert after is not None
        coarser = before is not None and not alike(before.grid, after.grid)
        convolutions = sum(self.kinds.of_layer(layer) == "conv" for layer in block.layers)
        if kind != "msa" and coarser and convolutions <= 1:
            kind = "pool"  # a strided convolution between stages as well; with more layers it is a block with a stride
        if self._is_first(block.read):
            kind = "stem"
        name = block.scope.path or _path(block.layers) or _path(block.layers[:1])
        spatial = tuple(filter(self.kinds.spatial, block.layers))
        return _Unit(read=block.read, ends=block.read, kind=kind, name=name, spatial=spatial)

    def _is_first(self, index: int) -> bool:
        """Whether no other unit comes before."""
        others = [s.value for s in self.sums] + [b.read for b in self.blocks]
        return not any(self.graph.is_from(index, other) for other in others if other != index)

    def _address(self, index: int) -> Address:
        call = self.graph.values[index].call
        while call is not None and call.name == "shared_write":  # no call of the model: what wrote is meant
            index = call.inputs[-1]
            call = self.graph.values[index].call
        assert call is not None
        place = self.graph.values[index].place
        if call.name == "opaque":
            return Address(module=call.scope.path, function="output", ordinal=call.scope.ordinal, place=place)
        return Address(module=call.scope.path, function=call.name, ordinal=call.ordinal, place=place)


def _path(layers: list[Value], home: Scope | None = None) -> str:
    """Path of the module around all these calls: the outermost that is not around `home`, or else the innermost."""
    common = scopes_around(layers)
    own = [scope for scope in common if home is not None and scope not in home.up()]
    return (own[:1] or common[-1:])[0].path if common else ""
