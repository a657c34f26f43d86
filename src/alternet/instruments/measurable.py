"""What can be measured: refusals before the work, and what one should know before one believes the numbers."""

import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from alternet.data.image_batches import Batches
from alternet.errors import first_line
from alternet.instruments.spec import Spec
from alternet.seeding import noise
from alternet.subject.declared import classes_of
from alternet.subject.ensemble import Ensemble
from alternet.subject.subject import Subject
from alternet.untouched import untouched

if TYPE_CHECKING:
    from alternet.instruments.base import Instrument


def doubts(instruments: "Sequence[Instrument]", subject: Subject, batches: Batches) -> Iterator[str]:
    """What one should know before one believes the numbers: of weights, normalisation and classes."""
    if subject.origin["weights"].get("from") == "random":
        model = subject.origin.get("model", "MODEL")
        others = "" if "code" in subject.origin else f" or published ones, {model}@pretrained, where there are some,"
        yield (
            f"{subject.name} has random weights; name a file, {model}@FILE,{others} or train it: alternet train -m "
            f"{model}."
        )
    if subject.doubt:
        yield subject.doubt
    specs = [kind.spec for kind in instruments]
    yield from _of_precision(subject, specs)
    judged = [spec.name for spec in specs if "labels" in spec.needs and not spec.joins_classes]
    if not (judged and batches.labelled and batches.classes and subject.classifies):
        return
    # Labels count classes and so do logits; nothing but their number can tell that they count different ones.
    known = classes_of(subject.model)
    if known and known != (count := len(batches.classes)):
        verb = "takes" if len(judged) == 1 else "take"
        yield (
            f"{batches.name} has {count} classes and {subject.name} has {known}; {', '.join(judged)} {verb} class k of "
            "the one for class k of the other."
        )


def as_measured(subject: Subject, spec: Spec) -> Subject:
    """The model as an instrument takes it: unrounded where it takes derivatives, uncompiled where it looks inside."""
    if spec.exact:
        return subject.in_arithmetic()
    return subject.in_arithmetic(subject.precision, compiled=subject.compiled and "features" not in spec.needs)


def _of_precision(subject: Subject, specs: Sequence[Spec]) -> Iterator[str]:
    """What is measured otherwise than the precision of a model says."""
    exact = [spec.name for spec in specs if spec.exact]
    if exact and subject.in_arithmetic() is not subject:
        yield (
            f"{', '.join(exact)}: precision and compile act on what only goes forward; derivatives are taken, and this "
            "is measured, as without them."
        )
    inside = [spec.name for spec in specs if "features" in spec.needs]
    if inside and subject.compiled:
        yield f"{', '.join(inside)}: a compiled network lets nobody look inside, so this is measured uncompiled."


def require_fitting(subject: Subject, batches: Batches) -> None:
    """Refuse images that the model does not take, before torch does; once for all instruments, since it is a pass.

    Raises:
        ValueError: The model takes other channels, or fails at images of this size.
    """
    if subject.input_size is None or isinstance(subject.model, Ensemble):
        return
    channels, *size = subject.input_size
    images, *side = batches.shape
    if channels != images:
        way = "batches(..., colour=False)" if channels == 1 else "images of as many channels"
        raise ValueError(
            f"{subject.name} takes {'1 channel' if channels == 1 else f'{channels} channels'}, but the images of "
            f"{batches.name!r} have {images}. Give {way}, or a model that takes them."
        )
    if side == size:
        return
    try:
        with untouched(subject.model):
            subject.model(subject.normalise(noise(batches.shape)))
    except Exception as error:
        raise ValueError(
            f"{subject.name} takes images of {size[0]} x {size[1]} and cannot take {batches.name!r} at {side[0]} x "
            f"{side[1]} ({first_line(error)}). Give batches(..., img_size={size[0]}), or load the model for that size."
        ) from error


def require_measurable(instrument: "Instrument", subject: Subject, batches: Batches) -> None:
    """Refuse what cannot be measured of this model on these images.

    Raises:
        ValueError: It cannot.
    """
    spec = instrument.spec
    if subject.precision != "float32" and not spec.exact and subject.dtype != torch.float32:
        raise ValueError(
            f"precision={subject.precision} rounds single precision, but the weights of {subject.name} are "
            f"{str(subject.dtype).removeprefix('torch.')}. Leave precision out."
        )
    if isinstance(subject.model, Ensemble) and (needs := spec.needs - {"labels"}):
        raise ValueError(
            f"{spec.name} needs the {', '.join(sorted(needs))} of one network, and {subject.name} is several, of which "
            "only the answers are averaged. Measure its members one by one."
        )
    if spec.needs & {"labels", "logits"} and not subject.classifies:
        raise ValueError(
            f"{spec.name} needs class scores, but {subject.name} has no classifier and gives features. "
            "Load it with weights that have one, or measure features: fourier, variance, similarity."
        )
    if "labels" in spec.needs and not batches.labelled:
        raise ValueError(
            f"{spec.name} needs labels, but {batches.name!r} has none. "
            "Give a folder with one subfolder a class (at least two), or a labelled data set such as photos."
        )
    if not batches.images:
        raise ValueError(f"{batches.name!r} holds no image to measure. Give a larger limit or other data.")
    if spec.split == "train" and batches.split == "test":
        # stacklevel: the line that called Instrument.measure
        warnings.warn(
            f"{spec.name} asks about the images that a model was trained on, but {batches.name!r} is its test split. "
            "Give the others, batches(..., split='train'), unless that is what you want to know.",
            stacklevel=5,
        )
