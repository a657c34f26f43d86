"""Recipes: texts that are none, options that there are not, and values that unfold to gigabytes."""

from pathlib import Path

import yaml
from tests.hostile.battery import EXECUTED, Case, said
from tests.hostile.values import PLACES, TEXTS, VALUES, deep

from alternet.training import Recipe

NO = "is not YAML|is no recipe|must hold options|has no setting"
READ = "^read"


def bomb(levels: int = 12, merged: bool = False) -> bytes:
    """Aliases of aliases: 10 ** levels values in a line each."""
    lines = ["a0: &a0 {x: 1}" if merged else "a0: &a0 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]"]
    for n in range(1, levels):
        ten = ", ".join([f"*a{n - 1}"] * 10)
        lines.append(f"a{n}: &a{n} [{ten}]")
    return "\n".join(lines).encode()


YAML: dict[str, tuple[bytes, str]] = {
    "a bomb of aliases": (bomb(), "it stands for more than 10000 values"),
    "a bomb for one option": (bomb() + b"\nfreeze: *a11", "it stands for more than 10000 values"),
    "an alias within itself": (b"a: &a [*a]", "nested too deeply, or within itself"),
    "an alias of nothing": (b"a: *b", NO),
    "a small alias": (b"hflip: &x 0.5\nreprob: *x", READ),
    "an object of Python": (f"!!python/object/apply:os.system ['touch {EXECUTED}']".encode(), NO),
    "a name of Python": (b"lr: !!python/name:os.system", NO),
    "a module of Python": (b"lr: !!python/module:os", NO),
    "a tag of nobody's": (b"lr: !nobody 1", NO),
    "bytes": (b"lr: !!binary aGVsbG8=", "expected"),
    "a set": (b"lr: !!set {a, b}", "expected"),
    "a truth that is none": (b"lr: !!bool x", NO),
    "a number of nothing": (b"lr: !!int ''", NO),
    "a fraction of nothing": (b"lr: !!float ''", NO),
    "a day that is none": (b"lr: !!timestamp x", NO),
    "a day as a name": (b"freeze: [{2020-01-01: 1}]", "expected"),
    "a date that there is not": (b"lr: 2020-99-99", NO),
    "a date": (b"lr: 2020-01-01", "expected a number"),
    "a mapping as a key": (b"? {a: 1}\n: 2", NO),
    "a number as a key": (b"1: 2", "has no setting 1"),
    "a key twice": (b"lr: 0.1\nlr: 0.2", READ),
    "tabs": (b"\tlr: 0.1", NO),
    "lists in lists": (b"freeze: " + deep("[", "]", 5000), "nested too deeply|is not YAML"),
    "half a megabyte": (b"# " + b"x" * 2**19, "more than 262144 bytes"),
    "sixty to the power of many": (b"lr: " + b":".join([b"59"] * 3000), "expected|is not YAML"),
}

FIELDS = ("lr", "epochs", "batch_size", "opt", "freeze", "amp_dtype", "subset", "seed", "mixup", "model_ema")
"""Options of every type."""

TAKEN = {
    ("lr", "1e308"), ("epochs", "a truth"), ("freeze", "a long list"), ("freeze", "an empty list"),
    ("freeze", "a word"), ("model_ema", "a truth"),
}  # fmt: skip

CASES = [
    *(Case(f"a recipe of {name}", text, f"{NO}|expected") for name, text in TEXTS.items()),
    *(Case(name, *of) for name, of in YAML.items()),
    *(
        Case(f"{name} as {field}", yaml.safe_dump({field: value}).encode(), "expected|There is no optimiser|is not YAML|Give|^read", "recipe.yaml" if name == "a long list" else field)
        for field in FIELDS
        for name, value in VALUES.items()
    ),
    *(Case(f"a recipe that is {name}", make, f"There is no recipe|{NO}", "recipe.yaml") for name, make in PLACES.items()),
]  # fmt: skip
"""All recipes."""


def met(case: Case, folder: Path) -> str:
    """What comes of a recipe that is read from a file."""
    file = folder / "recipe.yaml"
    if isinstance(case.content, bytes):
        file.write_bytes(case.content)
    else:
        case.content(file)

    def read() -> str:
        recipe = Recipe.load(file)
        changed = [name for name, value in recipe.as_dict().items() if value != Recipe().as_dict()[name]]
        return f"read, with other {', '.join(changed) or case.got}"

    line = said(read)
    return f"{line} of {file}" if line.startswith("read") else line
