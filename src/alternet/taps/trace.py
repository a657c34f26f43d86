"""One traced forward pass: every call on tensors, what flowed into it, and the module it ran in.

The trace is a graph of values. A value is one state of one tensor: an operation in place makes a new value of the same
tensor, and of every view that shares its memory, so that "x += f(x)" and "x = x + f(x)" give the same graph.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from alternet.untouched import no_inference


@dataclass(frozen=True)
class Ref:
    """Stands for a value in the recorded arguments of a call."""

    value: int


@dataclass(eq=False)
class Value:
    """One state of a tensor; `call` is what made it, None for images, weights and constants."""

    index: int
    tensor: Tensor
    call: "Call | None"
    place: int
    from_images: bool

    @property
    def shape(self) -> torch.Size:
        """Shape of the tensor."""
        return self.tensor.shape


@dataclass(eq=False)
class Call:
    """One call of a torch function. `inputs` and `outputs` are indices of values; `place` counts calls of this name."""

    name: str
    func: Callable | None
    args: tuple
    kwargs: dict
    inputs: tuple[int, ...]
    scope: "Scope"
    ordinal: int
    outputs: tuple[int, ...] = ()

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """What was given by position or by name."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    @property
    def sources(self) -> tuple[int, ...]:
        """The inputs whose values matter, not their shapes alone."""
        if self.name.endswith("_like") or self.name.startswith("new_"):
            return ()
        return self.inputs[:1] if self.name.endswith("_as") else self.inputs


@dataclass(eq=False)
class Scope:
    """One call of a module: its path, which call of it this is, and the values that went in and came out.

    The values with indices from `begun` to before `ended` arose in it.
    """

    path: str
    module: nn.Module
    ordinal: int
    parent: "Scope | None"
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    begun: int = 0
    ended: int = 0

    def up(self) -> "Iterator[Scope]":
        """This scope and those around it, innermost first."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent


@dataclass(eq=False)
class Trace:
    """The graph of one pass, values in the order in which they arose."""

    values: list[Value] = field(default_factory=list)
    scopes: list[Scope] = field(default_factory=list)
    image: int = 0
    outputs: tuple[int, ...] = ()
    lists: bool = False
    """Whether the model returned a list with a dictionary for each image, as detection networks do."""


def tensors_in(thing: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and mappings, in order.

    Example:
        >>> [t.item() for t in tensors_in((torch.tensor(1), {"a": [torch.tensor(2)]}))]
        [1, 2]
    """
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, dict):
        yield from tensors_in(tuple(thing.values()))
    elif isinstance(thing, list | tuple):
        for part in thing:
            yield from tensors_in(part)


def map_tensors(thing: Any, change: Callable[[Any], Any], kind: type = Tensor) -> Any:
    """The same nest of tuples, lists and mappings with every `kind` in it replaced.

    Example:
        >>> map_tensors(([1, "a"], {"b": 2}), lambda number: number + 1, int)
        ([2, 'a'], {'b': 3})
    """
    if isinstance(thing, kind):
        return change(thing)
    if isinstance(thing, dict):
        return {key: map_tensors(part, change, kind) for key, part in thing.items()}
    if isinstance(thing, slice):  # in an index its ends may be tensors
        return slice(*(map_tensors(part, change, kind) for part in (thing.start, thing.stop, thing.step)))
    if isinstance(thing, list | tuple):
        parts = [map_tensors(part, change, kind) for part in thing]
        return parts if isinstance(thing, list) else tuple(parts)
    return thing


def name_of(func: Callable) -> str:
    """The plain name of a torch function; a property such as `x.mT` goes by the property's name.

    Example:
        >>> name_of(torch.Tensor.view), name_of(torch.Tensor.mT.__get__)
        ('view', 'mT')
    """
    name = getattr(func, "__name__", "")
    return getattr(func.__self__, "__name__", name) if name == "__get__" else name  # type: ignore[attr-defined]


class nothing_hidden(AbstractContextManager):
    """Keep `nn.TransformerEncoderLayer` and `nn.MultiheadAttention` from their fused path, which no hook can see."""

    # no generator, as `untouched` is none

    def __enter__(self) -> None:
        self._before = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)

    def __exit__(self, *error: object) -> None:
        torch.backends.mha.set_fastpath_enabled(self._before)


@contextmanager
def scopes_followed(model: nn.Module, enter: Callable, leave: Callable) -> Iterator[None]:
    """Call `enter(path, module, args, kwargs)` and `leave(path, module, args, kwargs, output)` around every module."""
    with ExitStack() as undo:
        for path, module in model.named_modules():

            def before(module: nn.Module, args: tuple, kwargs: dict, path: str = path) -> None:
                enter(path, module, args, kwargs)

            def after(module: nn.Module, args: tuple, kwargs: dict, output: Any, path: str = path) -> None:
                leave(path, module, args, kwargs, output)

            undo.callback(module.register_forward_pre_hook(before, with_kwargs=True, prepend=True).remove)
            undo.callback(module.register_forward_hook(after, with_kwargs=True).remove)
        yield


class Onlooker(TorchFunctionMode, ABC):
    """A mode that sees every call of a torch function while it is entered, and none afterwards.

    torch takes a mode off its stack for the length of each call; after an interrupt at a bad moment it comes back only
    when it was left already.
    """

    entered = False

    def __enter__(self) -> Self:
        super().__enter__()
        self.entered = True
        return self

    def __exit__(self, *error: Any) -> None:
        self.entered = False
        if self in _get_current_function_mode_stack():
            super().__exit__(*error)

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return self.seen(func, args, kwargs or {}) if self.entered else func(*args, **(kwargs or {}))

    @abstractmethod
    def seen(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        """Make the call, and give what it gave."""


class Recorder(Onlooker):
    """Writes a `Trace` while it is the active mode."""

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        """Start with the images as the only value."""
        super().__init__()
        self.trace = Trace()
        self.now: dict[int, int] = {}  # the latest value of each tensor, which the trace keeps alive, by its identity
        self.sharing: dict[int, list[Tensor]] = {}  # tensors by where their memory begins
        self.visits: Counter[str] = Counter()
        self.calls: Counter[tuple[str, str]] = Counter()
        self.scope = Scope("", model, 0, None)
        self.trace.scopes.append(self.scope)
        self.trace.image = self._new(images, None, 0, True)

    def seen(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        """Run one call and note it, if tensors came out or were changed."""
        given = list(tensors_in((args, kwargs)))
        inputs = tuple(self._known(tensor) for tensor in given)
        noted = map_tensors((args, kwargs), lambda tensor: Ref(self._known(tensor)))
        counted = [tensor for tensor in given if not tensor.is_inference()]  # the others have no version to compare
        versions = [tensor._version for tensor in counted]
        result = func(*args, **kwargs)
        changed = [tensor for tensor, old in zip(counted, versions, strict=True) if tensor._version != old]
        # An input that comes out again unchanged, as from a dropout that is off, is no new value.
        kept = {id(tensor) for tensor in given} - {id(tensor) for tensor in changed}
        fresh = [tensor for tensor in tensors_in(result) if id(tensor) not in kept] or changed[:1]
        if fresh:
            self._note(name_of(func), func, noted, inputs, fresh)
        for tensor in changed:  # the change reaches every view of the same memory
            for view in self.sharing.get(memory_of(tensor), []):
                if view is not tensor:
                    before, source = self.now[id(view)], self.now[id(tensor)]
                    self._note("shared_write", None, ((Ref(before), Ref(source)), {}), (before, source), [view])
        return result

    def enter(self, path: str, module: nn.Module, args: tuple, kwargs: dict) -> None:
        """A module begins."""
        self.scope = Scope(path, module, self.visits[path], self.scope)
        self.scope.inputs = tuple(self._known(tensor) for tensor in tensors_in((args, kwargs)))
        self.scope.begun = len(self.trace.values)
        self.visits[path] += 1
        self.trace.scopes.append(self.scope)

    def leave(self, path: str, module: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
        """A module ends; what it returned without any call seen (compiled code) is taken as made from its input."""
        unseen = [tensor for tensor in tensors_in(output) if id(tensor) not in self.now]
        if unseen:
            self._note("opaque", None, ((), {}), self.scope.inputs, unseen)
        self.scope.outputs = tuple(self._known(tensor) for tensor in tensors_in(output))
        self.scope.ended = len(self.trace.values)
        assert self.scope.parent is not None
        self.scope = self.scope.parent

    def _note(self, name: str, func: Callable | None, noted: tuple, inputs: tuple[int, ...], out: list[Tensor]) -> None:
        ordinal = self.calls[self.scope.path, name]
        self.calls[self.scope.path, name] += 1
        call = Call(name, func, *noted, inputs=inputs, scope=self.scope, ordinal=ordinal)
        depends = any(self.trace.values[i].from_images for i in call.sources)
        call.outputs = tuple(self._new(tensor, call, place, depends) for place, tensor in enumerate(out))

    def _new(self, tensor: Tensor, call: Call | None, place: int, from_images: bool) -> int:
        index = len(self.trace.values)
        self.trace.values.append(Value(index, tensor, call, place, from_images))
        if id(tensor) not in self.now and call is not None:
            self.sharing.setdefault(memory_of(tensor), []).append(tensor)
        self.now[id(tensor)] = index
        return index

    def _known(self, tensor: Tensor) -> int:
        return self.now[id(tensor)] if id(tensor) in self.now else self._new(tensor, None, 0, False)


def scopes_around(values: Iterable[Value]) -> list[Scope]:
    """The scopes that the calls of all these values ran in, outermost first."""
    ways = [list(value.call.scope.up())[::-1] for value in values if value.call is not None]
    return [scope for scope in ways[0] if all(scope in way for way in ways)] if ways else []


def record(model: nn.Module, images: Tensor) -> Trace:
    """Trace one forward pass; the caller keeps the model as it was.

    Args:
        model: The network.
        images: Its input, normalised, on its device.
    """
    recorder = Recorder(model, images)
    with ExitStack() as around:
        # Tensors made in inference mode keep no version, by which writing in place is noticed.
        for context in (no_inference(), torch.no_grad(), nothing_hidden()):
            around.enter_context(context)
        around.enter_context(scopes_followed(model, recorder.enter, recorder.leave))
        around.enter_context(recorder)
        output = model(images)
    recorder.trace.lists = isinstance(output, list) and bool(output) and isinstance(output[0], Mapping)
    recorder.trace.outputs = tuple(recorder._known(tensor) for tensor in tensors_in(output))
    return recorder.trace


def memory_of(tensor: Tensor) -> int:
    """Where the memory of a tensor begins, which all its views share; 0 if that is not known."""
    try:
        return tensor.untyped_storage().data_ptr()
    except RuntimeError:
        return 0
