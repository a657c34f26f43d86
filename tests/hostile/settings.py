"""`--set`: keys that nobody knows and values of another type, of instruments, recipes and models."""

from pathlib import Path

from tests.hostile.battery import Case, said
from tests.hostile.values import WORDS

from alternet.cli.measure import choose
from alternet.cli.options import for_loading, of_model, parse_settings
from alternet.training import Recipe

INSTRUMENTS = ("calibration", "hessian", "landscape", "fourier", "corruption")
BAD = {
    **WORDS,
    "a bomb of aliases": "[&a [0,0,0,0,0,0,0,0,0,0], " + ", ".join(f"&{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]" for n in range(12)) + "]",
    "an alias within itself": "&a [*a]",
    "an object of Python": "!!python/object/apply:os.system ['touch x']",
    "a number of 5000 digits": "9" * 5000,
    "a date that there is not": "2020-99-99",
    "brackets": "[" * 3000 + "]" * 3000,
    "a mapping": "{a: 1}",
    "a truth that is none": "!!bool x",
    "a number of nothing": "!!int ''",
    "a day that is none": "!!timestamp x",
    "a day as a name": "[{2020-01-01: 1}]",
    "a list as a name": "[{[1]: 1}]",
    "NaN": "nan",
    "infinity": "1e999",
    "less than nothing": "-5",
}  # fmt: skip
"""Texts behind the =."""

KEYS = ("bins", "top", "points", "axis", "only", "seed", "augment")
"""Settings of instruments, of all types."""

CASES = [
    *(Case(f"--set {key}={name}", f"{key}={text}", "expected|There is no|Give|has no|Choose from|^taken", key) for key in KEYS for name, text in BAD.items()),
    *(Case(f"--set {name}=1 as a name", f"{text}=1", "has no setting|takes KEY=VALUE|addresses|^taken") for name, text in WORDS.items()),
    *(Case(f"--set {name} alone", text, "takes KEY=VALUE|has no setting") for name, text in WORDS.items()),
    *(Case(f"--set lr={name} of a recipe", f"recipe.lr={text}", "expected", "lr") for name, text in BAD.items()),
    *(Case(f"--set model.depth={name}", f"model.depth={text}", "^model") for name, text in BAD.items()),
    Case("--set a list of words", "only=[fog, nonsense]", "nonsense"),
]  # fmt: skip
"""All settings."""


def met(case: Case, folder: Path) -> str:
    """What comes of a setting, given as the commands give it."""
    del folder

    def taken() -> str:
        given = parse_settings([case.content])
        if case.content.startswith("recipe."):
            return f"taken, lr={Recipe().with_settings({'lr': given['recipe.lr']}).lr}"
        if case.content.startswith("model."):
            return f"model {str(for_loading(of_model(given)))[:200]}"
        chosen = choose(INSTRUMENTS, given, 0)
        return f"taken by {', '.join(one.spec.name for one in chosen)}: {case.got}"

    return said(taken)
