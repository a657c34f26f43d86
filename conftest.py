"""While tests run, functions of ours refuse arguments and results of other shapes than their annotations state.

And signals end what tests start, also where whoever started them ignores some, as `nohup` and `&` let them.
"""

import signal
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import FunctionType, ModuleType
from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray, jaxtyped


def states_shape(annotation: Any) -> bool:
    """Whether it is a shape, or a container or union with one in it."""
    if isinstance(annotation, type) and issubclass(annotation, AbstractArray):
        return True
    return any(states_shape(part) for part in get_args(annotation))


def check_shapes(scope: ModuleType | type, module: str) -> None:
    """Wrap the functions of a module and the methods of its classes that state a shape; all others cost nothing."""
    for name, value in list(vars(scope).items()):
        kind = type(value) if isinstance(value, staticmethod | classmethod) else lambda function: function
        function = getattr(value, "__func__", value)
        if isinstance(value, type) and value.__module__ == module:
            check_shapes(value, module)
        elif isinstance(function, FunctionType) and function.__module__ == module:
            # pyright looks after the other annotations, some of which name what is imported for it alone
            shapes = {part: hint for part, hint in function.__annotations__.items() if states_shape(hint)}
            if shapes:
                function.__annotations__ = shapes
                setattr(scope, name, kind(jaxtyped(function, typechecker=beartype)))


class ShapesChecked(SourceFileLoader):
    """Loads a module as ever, then checks its shapes."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        check_shapes(module, module.__name__)


class OfOurs(MetaPathFinder):
    """Finds our own modules for that loader."""

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname.partition(".")[0] != "alternet":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and isinstance(spec.loader, SourceFileLoader):
            spec.loader = ShapesChecked(spec.loader.name, spec.loader.path)
        return spec


sys.meta_path.insert(0, OfOurs())

for ignored in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, signal.default_int_handler if ignored == signal.SIGINT else signal.SIG_DFL)
