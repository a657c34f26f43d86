"""Kinds of units: what a unit does to the feature map, and how every sentence, table and drawing shows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of unit. `alternet.taps.kinds` tells from a traced pass which kind a unit is.

    Attributes:
        name: As it stands in tables: `msa`, `mlp`, ...
        words: What people call it.
        plural: What people call its units together, as the subject of a sentence.
        singular: Whether the verb after `plural` is in the singular: "attention lowers", but "MLPs raise".
        lowers: Whether the paper says that it lowers a quantity, as the variance of feature maps; of all other kinds it
            says that they raise it.
        marker: Of matplotlib, at the depth of a unit.
        filled: Whether the marker is filled with the colour of the model; it is white otherwise.
        shade: How matplotlib fills the depth over which a unit acts; empty for white, as in the paper.
    """

    name: str
    words: str
    plural: str
    singular: bool = False
    lowers: bool = False
    marker: str = "X"
    filled: bool = False
    shade: Mapping[str, Any] = field(default_factory=dict)


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Kind(name="stem", words="stem", plural="stem units", marker="D"),
            Kind(
                name="msa",
                words="attention",
                plural="attention",
                singular=True,
                lowers=True,
                marker="o",
                filled=True,
                shade={"facecolor": "#C8C8C8"},
            ),
            Kind(name="conv", words="convolution", plural="convolutions", marker="s"),
            Kind(name="mlp", words="MLP", plural="MLPs", marker="^"),
            Kind(
                name="mixer",
                words="token mixing",
                plural="token mixing",
                singular=True,
                marker="P",
                shade={"facecolor": "#F3E3B5", "hatch": "....", "edgecolor": "#C9AE5D"},
            ),
            Kind(
                name="pool",
                words="subsampling",
                plural="subsampling",
                singular=True,
                marker="v",
                shade={"facecolor": "#CFE6F7", "hatch": "////", "edgecolor": "#7FB2D9"},
            ),
        )
    }
)
"""All kinds that this version knows, by name, in the order in which legends and sentences take them."""


def kind_of(name: str) -> Kind:
    """The kind of a name; one that this version does not know stands for itself, with a marker of its own.

    Tables may come from another version, which tells more kinds apart.

    Examples:
        >>> kind_of("msa").words, kind_of("gru").plural, kind_of("gru").marker
        ('attention', 'gru units', 'X')
    """
    return KINDS.get(name) or Kind(name=name, words=name, plural=f"{name} units")
