"""Names of models, weights, runs, data sets, instruments, recipes and snapshots that nobody would give."""

from pathlib import Path

from tests.hostile.battery import Case, said
from tests.hostile.values import WORDS

from alternet.cli.measure import choose
from alternet.data import dataset
from alternet.storage import safe_name
from alternet.subject.loading import check
from alternet.training import Recipe

REFUSED = r"does not hold|must hold|An ensemble is written|There is no|There are no|is no|names no|has no|not a folder|No instrument|cannot open|needs|brings its own|Write|Give|expected|holds no images|cannot be"

KINDS = {
    "a model": lambda word: check(word),
    "a model of torchvision": lambda word: check(f"tv:{word}"),
    "weights": lambda word: check(f"resnet18@{word}"),
    "a run": lambda word: check(f"run:{word}"),
    "a folder of a model": lambda word: check(f"local-dir:{word}"),
    "a member of an ensemble": lambda word: check(f"ensemble(resnet18,{word})"),
    "a data set": lambda word: dataset(word),
    "a data set of torchvision": lambda word: dataset(f"torch/{word}"),
    "a folder of CIFAR": lambda word: dataset(f"cifar10:{word}"),
    "a split": lambda word: dataset("photos", split=word),
    "an instrument": lambda word: choose([word], {}, 0),
    "a recipe": lambda word: Recipe.load(word),
}
"""What each kind of name is given to."""

CASES = [
    *(
        Case(f"{kind} called {name}", (kind, word), REFUSED)
        for kind in KINDS
        for name, word in WORDS.items()
        if (kind, word) not in {("a data set", ".."), ("a data set", "/"), ("a data set", ".")}
    ),
    *(Case(f"a folder of results of {name}", ("results", word), r"^[\w.+=-]{1,200}$") for name, word in WORDS.items()),
]
"""All names."""


def met(case: Case, folder: Path) -> str:
    """What is said of a name before anything is opened."""
    del folder
    kind, word = case.content
    if kind == "results":
        return safe_name(word)
    return said(lambda: f"taken for {kind}: {KINDS[kind](word)}")
