"""What a MODEL is called: `NAME=MODEL` gives it a name of one's own."""

import re
from collections.abc import Sequence

NAMED = re.compile(r"\s*([\w .-]+)=\s*(.*)", flags=re.DOTALL)
WITHIN = (":", "@", "+msa(", "ensemble(")
"""What stands ahead of an equals sign that belongs to the MODEL itself: to a path, or to the settings of a plan."""


def named(text: str) -> tuple[str, str]:
    """The name that is given to a MODEL, empty where none is, and the MODEL.

    A name is made of letters, digits, blanks, points, dashes and underscores, ahead of the first equals sign.

    Raises:
        ValueError: There is nothing on one side of that sign, or what stands ahead of it is no name.

    Examples:
        >>> named("my net=run:runs/a"), named("resnet50+msa(layer4.2:heads=12)"), named("vit_mini@a=b.pth")
        (('my net', 'run:runs/a'), ('', 'resnet50+msa(layer4.2:heads=12)'), ('', 'vit_mini@a=b.pth'))
    """
    found = NAMED.fullmatch(text)
    if found and (name := found[1].strip()) and found[2]:
        return name, found[2]
    ahead, equals, _ = text.partition("=")
    if found or (equals and not any(sign in ahead for sign in WITHIN)):
        raise ValueError(
            f"A model got the name {ahead!r} in {text!r}, expected NAME=MODEL with a name of letters, digits, blanks, "
            "points, dashes and underscores, as in my-net=run:runs/a."
        )
    return "", text


def by_name(models: Sequence[str]) -> dict[str, str]:
    """MODELs by the names that tables and figures give them, in their order: their own, or else the MODEL itself.

    Raises:
        ValueError: Two have the same name.

    Examples:
        >>> by_name(["mine=run:runs/a", "resnet18"])
        {'mine': 'run:runs/a', 'resnet18': 'resnet18'}
    """
    found: dict[str, str] = {}
    for text in models:
        name, model = named(text)
        if found.setdefault(name or model, model) != model:
            raise ValueError(f"Two models are called {name or model!r}. Give each a name of its own: NAME=MODEL.")
    return found
