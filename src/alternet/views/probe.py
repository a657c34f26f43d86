"""Probe: read the feature map at every tap while a model runs, and change or leave out the branch at one of them."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any, Self

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from alternet.shapes import FeatureMap, Images, Logits
from alternet.views.subject import Subject, logits_of
from alternet.views.taps import Address, Tap, find_tap, find_taps
from alternet.views.trace import name_of, nothing_hidden, scopes_followed, tensors_in
from alternet.views.untouched import untouched

Visit = Callable[[Tap, FeatureMap], None]
Change = Callable[[Tensor], Tensor]


class Probe:
    """A model under observation: inside the `with` block in evaluation mode, afterwards as it was.

    Attributes:
        subject: The model with its facts.
        taps: The taps that are read, in forward order.

    Examples:
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
        >>> with Probe(Subject(net, name="mine", input_size=(3, 8, 8))) as probe:
        ...     logits = probe.observe(torch.rand(5, 3, 8, 8), lambda tap, feature: print(tap.name, feature.shape))
        0 torch.Size([5, 8, 6, 6])
    """

    def __init__(self, subject: Subject, taps: Sequence[Tap | str] | None = None) -> None:
        """Observe some taps, given themselves or by name, or all of them.

        Raises:
            ValueError: The model has no tap of such a name.
        """
        self.subject = subject
        chosen = subject.taps if taps is None else [self._known(tap) for tap in taps]
        self.taps: tuple[Tap, ...] = tuple(sorted(chosen, key=lambda tap: tap.unit))
        self._changes: dict[str, Change] = {}
        self._of_size: dict[tuple[int, int], dict[str, Tap]] = {}
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        """Switch to evaluation mode, without gradients."""
        self._undo.enter_context(untouched(self.subject.model))
        self._undo.enter_context(nothing_hidden())
        return self

    def __exit__(self, *error: object) -> None:
        """Put the model back."""
        self._undo.close()

    def observe(self, images: Images, visit: Visit) -> Logits:
        """Run a batch and hand over each feature map as soon as it arises; none is kept.

        Args:
            images: In [0, 1]; normalised as the subject declares. Any number of them.
            visit: Called with each tap and its feature [n, c, h, w], in forward order. The feature may be a view of
                memory that the model goes on to use: do not change it, and copy what you keep.

        Raises:
            ValueError: A tap was not reached, or its map has another size than the traced one.
        """
        return self._run(images, visit)

    def features(self, images: Images) -> tuple[dict[str, FeatureMap], Logits]:
        """Run a batch and keep a copy of every feature map, by the tap's name."""
        kept: dict[str, FeatureMap] = {}

        def keep(tap: Tap, feature: FeatureMap) -> None:
            kept[tap.name] = feature.clone(memory_format=torch.contiguous_format)

        return kept, self._run(images, keep)

    @contextmanager
    def intervene(self, tap: Tap | str, change: Change) -> Iterator[Self]:
        """Let the branch at a tap go through `change` before it is added to the skip.

        Args:
            tap: A tap that is `silenceable`, or its name.
            change: Takes the branch as the model lays it out and returns what is added instead, of the same shape.

        Raises:
            ValueError: The unit is no "skip + branch".
        """
        tap = self._known(tap)
        if not tap.silenceable:
            raise ValueError(
                f"Unit {tap.name!r} of {self.subject.name!r} cannot be changed or silenced: it is no sum of a skip and "
                "a branch, so nothing would be left of it. Choose taps with `tap.silenceable`."
            )
        before = self._changes.get(tap.name)
        self._changes[tap.name] = change
        try:
            yield self
        finally:
            self._changes.pop(tap.name)
            if before is not None:
                self._changes[tap.name] = before

    def silence(self, tap: Tap | str) -> Any:
        """Leave out the branch at a tap: the result of the addition is the skip alone. A context manager."""
        return self.intervene(tap, torch.zeros_like)

    def _known(self, tap: Tap | str) -> Tap:
        return find_tap(self.subject.taps, tap) if isinstance(tap, str) else tap

    def _run(self, images: Images, visit: Visit) -> Logits:
        model, watch = self.subject.model, _Watch(self._at_size(images), self._changes_at_sums(), visit)
        inputs = self.subject.normalise(images)
        with scopes_followed(model, watch.enter, watch.leave), watch:
            output = model(inputs)
        watch.check(self.subject.name)
        return logits_of(output, self.subject.name)

    def _changes_at_sums(self) -> dict[Address, tuple[Tap, Change]]:
        changed = [(find_tap(self.subject.taps, name), change) for name, change in self._changes.items()]
        return {tap.sum: (tap, change) for tap, change in changed if tap.sum is not None}

    def _at_size(self, images: Images) -> list[Tap]:
        """The taps for the size of these images: addresses are the same, maps have another size."""
        size = (images.shape[-2], images.shape[-1])
        traced = self.subject.input_size
        if traced is not None and size == traced[1:]:
            return list(self.taps)
        if size not in self._of_size:
            fresh = find_taps(self.subject, images[:1].repeat(2, 1, 1, 1))
            self._of_size[size] = {tap.name: tap for tap in fresh}
        return [find_tap(self._of_size[size].values(), tap.name) for tap in self.taps]


class _Watch(TorchFunctionMode):
    """One observed pass: counts the calls that the taps' addresses name, and acts at those of the taps."""

    def __init__(self, taps: Sequence[Tap], changes: dict[Address, tuple[Tap, Change]], visit: Visit) -> None:
        super().__init__()
        self.visit = visit
        self.reads = {(t.read.module, t.read.function, t.read.ordinal): t for t in taps}
        self.sums = {(a.module, a.function, a.ordinal): change for a, change in changes.items()}
        self.functions = {function for _, function, _ in (*self.reads, *self.sums)}
        self.counts: Counter[tuple[str, str]] = Counter()
        self.path: list[str] = [""]
        self.missing = {tap.name for tap in taps}

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = name_of(func)
        if name not in self.functions:
            return func(*args, **(kwargs or {}))
        spot = (self.path[-1], name)
        key = (*spot, self.counts[spot])
        self.counts[spot] += 1
        if key in self.sums:
            args, kwargs = _with_branch(*self.sums[key], args, kwargs or {})
        result = func(*args, **(kwargs or {}))
        if key in self.reads:
            self._read(self.reads[key], result)
        return result

    def enter(self, path: str, module: object, args: tuple, kwargs: dict) -> None:
        self.path.append(path)

    def leave(self, path: str, module: object, args: tuple, kwargs: dict, output: Any) -> None:
        self.path.pop()
        if "output" in self.functions:
            key = (path, "output", self.counts[path, "output"])
            self.counts[path, "output"] += 1
            if key in self.reads:
                self._read(self.reads[key], output)

    def _read(self, tap: Tap, result: Any) -> None:
        feature = next(islice(tensors_in(result), tap.read.place, None))
        self.missing.discard(tap.name)
        self.visit(tap, tap.layout.lay(feature))

    def check(self, name: str) -> None:
        if self.missing:
            raise ValueError(
                f"{name!r} did not reach {', '.join(sorted(self.missing))} in this pass, though it did when it was "
                "traced. A model whose path depends on the input cannot be observed there; leave these taps out."
            )


def _with_branch(tap: Tap, change: Change, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """The arguments of an addition, with the branch changed."""
    assert tap.sum is not None
    if tap.sum.function.startswith("addcmul"):
        factors = [kwargs.pop(name) for name in ("tensor1", "tensor2") if name in kwargs]
        first, second = (*args[1:], *factors)[-2:]
        branch = change(first * second * kwargs.pop("value", 1))
        return (args[0], branch, torch.ones_like(branch)), kwargs
    place = 0 if tap.skip_last else 1
    if place == 1 and "other" in kwargs:
        return args, {**kwargs, "other": change(kwargs["other"])}
    changed = change(args[place])
    if place == 0 and tap.sum.function.endswith("_"):
        changed = args[0].copy_(changed)
    return (*args[:place], changed, *args[place + 1 :]), kwargs
