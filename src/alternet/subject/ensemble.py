"""Ensembles: several networks as one, whose probabilities are the mean of theirs."""

import re
from collections.abc import Sequence
from math import log
from typing import Any

import torch
from torch import Tensor, nn

from alternet.subject.subject import Subject, logits_of
from alternet.untouched import untouched

WRITTEN = re.compile(r"ensemble\((?P<members>.*)\)", flags=re.DOTALL)


class Ensemble(nn.Module):
    """Several classifiers as one: the logarithm of the mean of their probabilities stands in place of the logits.

    So every score that is a function of softmax(logits) is that of the mean. It takes images in [0, 1], which each
    member normalises with its own mean and std.

    Examples:
        >>> one, other = (Subject(nn.Flatten(), name=name, mean=0.0, std=1.0) for name in "ab")
        >>> both = Ensemble([one, other])
        >>> both(torch.tensor([[[[0.0, 1.0]]]])).exp().sum().round(decimals=5)
        tensor(1.)
    """

    answers_only = True
    """Says that it is no network of which maps could be read: see `Subject.taps_on`."""

    def __init__(self, members: Sequence[Subject]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(member.model for member in members)
        for number, member in enumerate(members):
            for fact in ("mean", "std"):
                value = getattr(member, fact)
                still = torch.tensor(value if value is not None else (float(fact == "std"),)).view(-1, 1, 1)
                self.register_buffer(f"{fact}{number}", still.to(member.device, member.dtype))

    def forward(self, images: Tensor) -> Tensor:
        """Log-probabilities [n, k] of images [n, c, h, w] in [0, 1]."""
        answers = []
        for number, network in enumerate(self.networks):
            mean, std = (self.get_buffer(f"{fact}{number}") for fact in ("mean", "std"))
            answers.append(logits_of(network((images - mean) / std)).log_softmax(1))
        return torch.stack(answers).logsumexp(0) - log(len(answers))


def members_of(model: str) -> list[str]:
    """The MODELs of `ensemble(MODEL,MODEL,...)`; none where a MODEL is no ensemble.

    Raises:
        ValueError: It is one of fewer than two.

    Examples:
        >>> members_of("ensemble(run:a, resnet18+msa(layer3.1,layer4.1))"), members_of("resnet18")
        (['run:a', 'resnet18+msa(layer3.1,layer4.1)'], [])
    """
    if (found := WRITTEN.fullmatch(model.strip())) is None:
        return []
    members, open_brackets = [""], 0
    for letter in found["members"]:
        open_brackets += (letter == "(") - (letter == ")")
        if letter == "," and not open_brackets:
            members.append("")
        else:
            members[-1] += letter
    members = [member.strip() for member in members]
    if open_brackets or len(members) < 2 or not all(members):
        raise ValueError(f"An ensemble is written ensemble(MODEL,MODEL,...) with at least two of them, got {model!r}.")
    return members


def ensemble(members: Sequence[Subject], name: str) -> Subject:
    """Several loaded models as one.

    Raises:
        ValueError: They take images of another size, or tell another number of classes apart.
    """
    first, logits = members[0], []
    for member in members:
        if member.input_size != first.input_size:
            raise ValueError(
                f"{name}: {member.name} takes images {member.input_size}, {first.name} {first.input_size}. "
                "Give --img-size, or members of one size."
            )
        logits.append(_classes(member))
        if logits[-1] != logits[0]:
            raise ValueError(
                f"{name}: {member.name} tells {logits[-1]} classes apart, {first.name} {logits[0]}. Members must know "
                "the same classes."
            )
    origin: dict[str, Any] = {
        "weights": {"from": "ensemble", "members": {member.name: dict(member.origin) for member in members}},
        "normalisation": "each member's own",
    }
    channels = (first.input_size or (3,))[0]
    facts = {"input_size": first.input_size, "mean": (0.0,) * channels, "std": (1.0,) * channels}
    return Subject(Ensemble(members).eval(), name=name, origin=origin, **facts)


def _classes(member: Subject) -> int:
    with untouched(member.model):
        return member.logits(member.example()).shape[1]
