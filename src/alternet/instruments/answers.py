"""Answers: what a model says of a batch, image by image, for whoever changes the images."""

from jaxtyping import Float64
from torch import Tensor

from alternet.probe.probe import Probe
from alternet.scores import require_classes, right_and_nll
from alternet.shapes import Images, Labels


def answered(probe: Probe, images: Images, targets: Labels, *, instrument: str) -> Float64[Tensor, "n 2"]:
    """For each image, 1 if the answer is right, else 0, and its negative log likelihood.

    Raises:
        ValueError: A label is mixed, missing or unknown to the model, or a logit is not a number or +inf.
    """
    logits = probe.logits(images).cpu()
    require_classes(logits, targets, instrument=instrument)
    return right_and_nll(logits, targets)
