"""Shape bias: where shape says one class and texture another, which of them does the model go by?

Of the images whose shape and texture belong to different classes, those count that are decided for one of the two:

    shape bias = decisions for the shape / (decisions for the shape + decisions for the texture)

(Geirhos et al. 2019). Its 95 % interval is Wilson's, for independent images.

The model's classes are joined to the classes of the cues first: the probability of a category is the mean of those of
its classes, as the authors recommend, and the largest is the decision.

A model that recognises neither cue decides for each of them as often as the other: 50 % is also what blindness gives.
"""

from collections.abc import Mapping, Sequence
from math import nan
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor

from alternet.instruments.shape_bias.entry_level import ALL, CATEGORIES, IMAGENET_CLASSES
from alternet.instruments.work import Batch, OnePass, Row, Tables
from alternet.scores import require_numbers
from alternet.shapes import Labels, Logits
from alternet.student import wilson

if TYPE_CHECKING:
    from alternet.instruments.shape_bias import ShapeBias

Vocabulary = Mapping[str, Sequence[int]]
"""Which classes of the model, by number, have a name in common."""


class Count(NamedTuple):
    """A row of the table: the images of a pair of cues and what was decided."""

    shape: str
    texture: str
    images: int
    chose_shape: int
    chose_texture: int


def cue_pairs(classes: Sequence[str]) -> list[tuple[str, str]]:
    """Shape and texture of classes called `shape-texture`.

    Raises:
        ValueError: One of them has another name, or there are none.

    Examples:
        >>> cue_pairs(["cat-dog", "dog-cat"])
        [('cat', 'dog'), ('dog', 'cat')]
    """
    pairs = [(shape, texture) for shape, _, texture in (name.partition("-") for name in classes)]
    strange = [name for name, pair in zip(classes, pairs, strict=True) if not all(pair) or "-" in pair[1]]
    if strange or not pairs:
        got = f"there is {strange[0]!r}" if strange else "there are none"
        raise ValueError(
            f"shape_bias needs classes called shape-texture, as cat-elephant, but {got}. "
            "Measure on --data cue-conflict, or cue-conflict:PATH for images of your own."
        )
    return pairs


def vocabulary(classes: str, cues: Sequence[str], outputs: int) -> Vocabulary:
    """What a model with so many outputs calls its classes.

    Args:
        classes: The setting of that name.
        cues: Names of the classes that shapes and textures belong to, in alphabetical order.
        outputs: How many classes the model has.

    Raises:
        ValueError: It is not known, or some of the cues are not among the classes.

    Examples:
        >>> vocabulary("auto", ["cat", "dog"], 2), vocabulary("dog,cat,bird", ["cat", "dog"], 3)["cat"]
        ({'cat': [0], 'dog': [1]}, [1])
        >>> vocabulary("auto", ["bicycle", "cat"], 1000)["bicycle"]
        (444, 671)
    """
    if classes != "auto":
        names = [name.strip() for name in classes.split(",")]
        if len(set(names)) != outputs or len(names) != outputs:
            raise ValueError(f"shape_bias got {len(set(names))} different classes, but the model has {outputs}.")
        known: Vocabulary = {name: [number] for number, name in enumerate(names)}
    elif outputs == len(cues):
        known = {name: [number] for number, name in enumerate(cues)}
    elif outputs == IMAGENET_CLASSES:
        known = CATEGORIES
    else:
        raise ValueError(
            f"What the {outputs} classes of the model are called is not known: the cues have {len(cues)} classes. "
            'Say it, in the order of its outputs: --set "classes=cat,dog,...".'
        )
    if unknown := [name for name in cues if name not in known]:
        raise ValueError(f"The model has no class {', '.join(unknown)}; it knows {', '.join(known)}.")
    return known


def decisions(logits: Logits, groups: Sequence[Sequence[int]]) -> Labels:
    """For every image the group of classes with the largest mean probability.

    Examples:
        >>> decisions(torch.tensor([[2.0, 1.9, -9.0]]), [[0, 2], [1]]).tolist()
        [1]
    """
    probabilities = logits.double().softmax(1)
    return torch.stack([probabilities[:, list(group)].mean(1) for group in groups], dim=1).argmax(1)


class ShapeBiasWork(OnePass):
    """Decisions for the shape and for the texture, counted by pair of classes.

    Attributes:
        pairs: Shape and texture of every class of the images.
    """

    reads_features: ClassVar = False
    instrument: "ShapeBias"

    def begin(self) -> None:
        self.pairs = cue_pairs(self.batches.classes)

    def part(self, batch: Batch, readings: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Images of every pair, and how many of them were decided for the shape and for the texture [pairs, 3]."""
        logits, targets = batch.logits.cpu(), batch.targets.cpu()
        require_numbers(logits)
        cues = sorted({cue for pair in self.pairs for cue in pair})
        known = vocabulary(self.instrument.classes, cues, logits.shape[1])
        numbers = {name: number for number, name in enumerate(known)}
        wanted = torch.tensor([[numbers[cue] for cue in pair] for pair in self.pairs])[targets]
        chosen = (decisions(logits, list(known.values()))[:, None] == wanted).double()
        counts = torch.zeros(len(self.pairs), 3, dtype=torch.float64)
        return {"counts": counts.index_add_(0, targets, torch.cat([torch.ones_like(chosen[:, :1]), chosen], dim=1))}

    def tables(self, sums: Mapping[str, Tensor]) -> Tables:
        counted = zip(self.pairs, sums["counts"].long().tolist(), strict=True)
        rows = [Count(*pair, *count) for pair, count in counted if pair[0] != pair[1] and count[0]]
        if not rows:
            raise ValueError(f"{self.batches.name!r} gave no image whose shape and texture are of different classes.")
        shapes = dict.fromkeys(row.shape for row in rows)
        parts = {ALL: rows} | {shape: [row for row in rows if row.shape == shape] for shape in shapes}
        bias: list[Row] = []
        for name, part in parts.items():
            shape, texture = sum(row.chose_shape for row in part), sum(row.chose_texture for row in part)
            made, images = shape + texture, sum(row.images for row in part)
            bias.append((name, images, made, shape / made if made else nan, *wilson(shape, made)))
        return {"table": rows, "bias": bias}
