"""Settings: frozen dataclasses whose values are checked by their declared types, with errors of one line."""

import json
import re
from collections.abc import Mapping
from dataclasses import field, fields
from functools import wraps
from typing import Annotated, Any, TypeVar, dataclass_transform, get_type_hints

import yaml
from pydantic import ConfigDict, Field, Strict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from alternet.errors import nearest, shortened

T = TypeVar("T")
Element = TypeVar("Element")

CONFIG = ConfigDict(
    strict=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True, use_attribute_docstrings=True
)

List = Annotated[tuple[Element, ...], Strict(False)]
"""A tuple that may be given as a list, as YAML and JSON bring it."""

Pair = Annotated[tuple[Element, Element], Strict(False)]
"""Two values, which may be given as a list."""

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field, Field))
def settings(kind: type[T]) -> type[T]:
    """Make a class a frozen dataclass that refuses what its annotations do not allow, and numbers that are not finite.

    The docstring below a field says what it means. An int serves as a float, and becomes one. A classmethod
    `understood` may turn what is given into what is meant. Errors are ValueErrors of one line; one of `__post_init__`
    goes through as it is.

    Examples:
        >>> @settings
        ... class Reach:
        ...     steps: Count = 3
        >>> Reach(steps=0)
        Traceback (most recent call last):
        ValueError: Reach got steps=0, expected a number of at least 1.
    """
    made: Any = dataclass(frozen=True, kw_only=True, config=CONFIG)(kind)
    validated = made.__init__

    @wraps(validated)
    def checked(self: Any, *args: Any, **given: Any) -> None:
        understood = getattr(type(self), "understood", None)
        try:
            validated(self, *args, **(understood(given) if understood else given))
        except ValidationError as error:
            raise ValueError(explained(called(type(self)), error)) from error

    made.__init__ = checked
    return made


def called(kind: type) -> str:
    """How messages call a class of settings: by the name in its spec, or by its own."""
    spec = getattr(kind, "spec", None)
    return spec.name if spec else kind.__name__


def explained(what: str, error: ValidationError) -> str:
    """The first of pydantic's complaints as one line: what, got, expected."""
    first: Any = error.errors()[0]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    name, *where = first["loc"] or ("",)
    if first["type"] == "unexpected_keyword_argument":
        return f"{what} has no setting {str(name)!r}."
    place = "" if first["type"] == "missing" else "".join(f"[{part}]" for part in where if isinstance(part, int))
    return f"{what} got {name}{place}={shortened(first['input'], 200)}, expected {_expected(first)}."


def _got(kind: type, name: str, value: Any, error: ValidationError) -> str:
    return f"{called(kind)} got {name}={shortened(value, 200)}, expected {_expected(error.errors()[0])}."


def _expected(complaint: Any) -> str:
    context = complaint.get("ctx", {})
    if complaint["type"] == "literal_error":
        return "one of " + context["expected"].replace(" or ", ", ")
    known = _EXPECTED.get(complaint["type"])
    return complaint["msg"] if known is None else known.format(**context)


_EXPECTED = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "int_parsing": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "string_unicode": "text",
    "tuple_type": "a list",
    "missing": "more values",
    "too_long": "at most {max_length} values",
    "greater_than_equal": "a number of at least {ge}",
    "greater_than": "a number above {gt}",
    "less_than_equal": "a number of at most {le}",
    "less_than": "a number below {lt}",
}
"""What was expected, by pydantic's name of the complaint."""


def names(kind: type) -> list[str]:
    """Names of the settings of a class."""
    return [field.name for field in fields(kind) if field.init]  # pyright: ignore[reportArgumentType]


def meaning(kind: type, name: str) -> str:
    """What a setting means: the docstring below it, in one line; pydantic does not hand it on to subclasses."""
    declared = (base.__dict__.get("__pydantic_fields__", {}).get(name) for base in kind.__mro__)
    return next((" ".join(field.description.split()) for field in declared if field and field.description), "")


def require_known(kind: type, given: Mapping[str, Any], what: str) -> None:
    """Refuse names that are no settings of a class, with near matches.

    Raises:
        ValueError: There is one.
    """
    known = names(kind)
    for name in given:
        if name not in known:
            way = f"Did you mean {nearest(str(name), known)}?" if known else "It has no settings: leave this out."
            raise ValueError(f"{what} has no setting {name!r}. {way}")


def from_text(kind: type, name: str, text: str) -> Any:
    """The value that a text on the command line gives to a setting, by the setting's declared type.

    So `1e-3` is a number where a number is wanted, and a name stays a name though it looks like a number. Lists and
    None are written as in YAML.

    Raises:
        ValueError: The text is nothing of that type.
    """
    adapter, value = _adapter(kind, name), from_yaml(text)
    try:
        if value is None or isinstance(value, list):
            try:
                return _validated(adapter, value, name)
            except ValidationError:
                if isinstance(value, list):
                    raise
        return adapter.validate_strings(text)
    except ValidationError as error:
        raise ValueError(_got(kind, name, text, error)) from error


def from_file(kind: type, name: str, value: Any) -> Any:
    """The value that YAML or JSON gives to a setting: a list serves as a tuple, and a text is read as `from_text` does.

    Raises:
        ValueError: The value is nothing of the setting's type.
    """
    if isinstance(value, str):
        return from_text(kind, name, value)
    try:
        return _validated(_adapter(kind, name), value, name)
    except ValidationError as error:
        raise ValueError(_got(kind, name, value, error)) from error


def from_yaml(text: str) -> Any:
    """What a text says in YAML, where 1e-3 is a number as everywhere else; a text that is no YAML stays a text.

    Examples:
        >>> from_yaml("[1e-3, a]"), from_yaml("a: [")
        ([0.001, 'a'], 'a: [')
    """
    try:
        return yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError:
        return text


class Loader(yaml.SafeLoader):
    """YAML 1.1 takes 1e-3 for a text, as it wants a decimal point and a sign; this one takes it for a number.

    What is nested too deeply, or would be large once its aliases are written out, is no YAML to it.
    """

    def __init__(self, stream: str) -> None:
        """Read a text."""
        if stream.count("[") + stream.count("{") > DEEPEST:  # each within another takes longer than the one before
            raise yaml.YAMLError("it is nested too deeply, or within itself")
        super().__init__(stream)

    def get_single_node(self) -> Any:
        """The node of a text that holds one document."""
        try:
            node: Any = super().get_single_node()
            if node is not None and _unfolded(node, {}) > LARGEST:
                raise yaml.YAMLError(f"it stands for more than {LARGEST} values")
        except RecursionError as error:
            raise yaml.YAMLError("it is nested too deeply, or within itself") from error
        return node

    def get_single_data(self) -> Any:
        """What a text that holds one document says."""
        try:
            return super().get_single_data()
        except (ValueError, ArithmeticError, RecursionError, LookupError, AttributeError, TypeError) as error:
            # a date or a number that there is not, or a word that its tag calls one
            raise yaml.YAMLError(str(error)) from error


LARGEST, DEEPEST = 10_000, 1000
"""Values that a text in YAML may stand for, and lists and mappings in brackets that it may hold."""


def _unfolded(node: Any, known: dict[int, int]) -> int:
    """How many values a node stands for where every alias is written out; one within itself never ends."""
    if id(node) not in known:
        parts = node.value if isinstance(node.value, list) else ()
        inner = (part for pair in parts for part in (pair if isinstance(pair, tuple) else (pair,)))
        known[id(node)] = 1 + sum(_unfolded(part, known) for part in inner)
    return known[id(node)]


Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789"))


def _adapter(kind: type, name: str) -> TypeAdapter[Any]:
    return TypeAdapter(get_type_hints(kind, include_extras=True)[name], config=CONFIG)


def _validated(adapter: TypeAdapter[Any], value: Any, name: str) -> Any:
    """Validate as JSON, where strict types take a list for a tuple."""
    try:
        text = json.dumps(value, default=str)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{name} cannot be written, expected numbers, texts and lists ({error})") from error
    return adapter.validate_json(text)
